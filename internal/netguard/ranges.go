package netguard

import "net/netip"

// A deniedRange is a network that is not the public internet.
type deniedRange struct {
	prefix netip.Prefix
	reason string // completes "address X is …"
}

// deniedRanges is searched in order, so a narrow range that deserves its own
// reason stands before the wide one that contains it. The ranges are IANA's
// special-purpose registries, plus what the clouds put in public space.
//
// Addresses that embed an IPv4 address for a translator (NAT64, 6to4, Teredo,
// SIIT) are denied wholly: where they lead is the translator's decision.
var deniedRanges = []deniedRange{
	deny("0.0.0.0/32", "the unspecified address"),
	deny("0.0.0.0/8", `in "this network" (0.0.0.0/8)`),
	deny("10.0.0.0/8", "private (10.0.0.0/8)"),
	deny("100.100.100.200/32", "a cloud metadata service"),
	deny("100.64.0.0/10", "shared by a carrier's NAT (100.64.0.0/10)"),
	deny("127.0.0.0/8", "loopback"),
	deny("168.63.129.16/32", "Azure's host agent"), // public space, yet it answers every Azure VM
	deny("169.254.169.254/32", "the cloud metadata service"),
	deny("169.254.0.0/16", "link-local (169.254.0.0/16)"),
	deny("172.16.0.0/12", "private (172.16.0.0/12)"),
	deny("192.0.0.0/24", "reserved for IETF protocols (192.0.0.0/24)"),
	deny("192.0.2.0/24", "reserved for documentation (192.0.2.0/24)"),
	deny("192.88.99.0/24", "a 6to4 relay (192.88.99.0/24)"),
	deny("192.168.0.0/16", "private (192.168.0.0/16)"),
	deny("198.18.0.0/15", "reserved for benchmarking (198.18.0.0/15)"),
	deny("198.51.100.0/24", "reserved for documentation (198.51.100.0/24)"),
	deny("203.0.113.0/24", "reserved for documentation (203.0.113.0/24)"),
	deny("224.0.0.0/4", "multicast"),
	deny("255.255.255.255/32", "broadcast"),
	deny("240.0.0.0/4", "reserved (240.0.0.0/4)"),

	deny("::/128", "the unspecified address"),
	deny("::1/128", "loopback"),
	deny("::/96", "IPv4-compatible IPv6 (::/96)"),
	deny("::ffff:0:0:0/96", "translated IPv4 (SIIT, ::ffff:0:0:0/96)"),
	deny("64:ff9b::/96", "translated IPv4 (NAT64, 64:ff9b::/96)"),
	deny("64:ff9b:1::/48", "translated IPv4 (NAT64, 64:ff9b:1::/48)"),
	deny("100::/64", "discard-only (100::/64)"),
	deny("fc00::/7", "private (unique local, fc00::/7)"),
	deny("fe80::/10", "link-local (fe80::/10)"),
	deny("fec0::/10", "private (site-local, fec0::/10)"),
	deny("ff00::/8", "multicast"),
	deny("2001::/32", "tunnelled IPv4 (Teredo, 2001::/32)"),
	deny("2001:2::/48", "reserved for benchmarking (2001:2::/48)"),
	deny("2001:10::/28", "an ORCHID identifier (2001:10::/28)"),
	deny("2001:20::/28", "an ORCHID identifier (2001:20::/28)"),
	deny("2001::/23", "reserved for IETF protocols (2001::/23)"),
	deny("2001:db8::/32", "reserved for documentation (2001:db8::/32)"),
	deny("2002::/16", "tunnelled IPv4 (6to4, 2002::/16)"),
	deny("3fff::/20", "reserved for documentation (3fff::/20)"),
}

// globalUnicast6 is all of IPv6 that has been opened for global unicast.
// Denying the rest means a range invented tomorrow is closed today.
var globalUnicast6 = netip.MustParsePrefix("2000::/3")

func deny(prefix, reason string) deniedRange {
	return deniedRange{netip.MustParsePrefix(prefix), reason}
}

// denied returns why the unmapped addr is not public, or "" if it is.
func denied(addr netip.Addr) string {
	for _, r := range deniedRanges {
		if r.prefix.Contains(addr) {
			return r.reason
		}
	}
	if addr.Is6() && !globalUnicast6.Contains(addr) {
		return "outside global IPv6 (2000::/3)"
	}
	return ""
}
