package pattern

import (
	"net/netip"
	"strconv"
	"strings"
)

// parseIP reads an address as AWS does: decimal octets that may have leading
// zeros, or IPv6 without dots and zones. An IPv4 address written as IPv6 is
// the IPv4 address.
func parseIP(text string) (netip.Addr, bool) {
	if strings.IndexByte(text, ':') >= 0 {
		for i := range len(text) {
			if text[i] != ':' && !isHex(text[i]) {
				return netip.Addr{}, false
			}
		}
		addr, err := netip.ParseAddr(text)
		return addr.Unmap(), err == nil
	}
	if len(text) > 15 {
		return netip.Addr{}, false
	}
	var octets [4]byte
	i, digits, n := 0, 0, 0
	for _, c := range []byte(text) {
		switch {
		case c == '.':
			if digits == 0 || i == 3 {
				return netip.Addr{}, false
			}
			i, digits, n = i+1, 0, 0
		case '0' <= c && c <= '9':
			if n = n*10 + int(c-'0'); n > 255 {
				return netip.Addr{}, false
			}
			octets[i] = byte(n)
			digits++
		default:
			return netip.Addr{}, false
		}
	}
	return netip.AddrFrom4(octets), i == 3 && digits > 0
}

// looksLikeIP tells whether text has the shape of an address, so that a wrong
// one is worth another message than a word.
func looksLikeIP(text string) bool {
	if strings.IndexByte(text, ':') >= 0 {
		return strings.Trim(text, "0123456789abcdefABCDEF:") == ""
	}
	parts := strings.Split(text, ".")
	if len(parts) != 4 {
		return false
	}
	for _, part := range parts {
		if part == "" || strings.Trim(part, "0123456789") != "" {
			return false
		}
	}
	return true
}

// inNet tells whether addr is within net. Every address is within ::/0, IPv4
// too; otherwise the families do not mix.
func inNet(net netip.Prefix, addr netip.Addr) bool {
	if net.Bits() == 0 && net.Addr().Is6() {
		return true
	}
	return net.Contains(addr)
}

// parseCIDR returns the net, or the reason why there is none.
func parseCIDR(text string) (net netip.Prefix, reason string) {
	// A trailing slash is no second part.
	parts := strings.Split(strings.TrimRight(text, "/"), "/")
	if len(parts) != 2 {
		return netip.Prefix{}, "Malformed CIDR, one '/' required"
	}
	bits, err := strconv.ParseInt(parts[1], 10, 32)
	if err != nil {
		return netip.Prefix{}, "Malformed CIDR, mask bits must be an integer"
	}
	if bits < 0 {
		return netip.Prefix{}, "Malformed CIDR, mask bits must not be negative"
	}
	addr, ok := parseIP(parts[0])
	if !ok {
		if looksLikeIP(parts[0]) {
			return netip.Prefix{}, "Invalid IP address: " + parts[0]
		}
		return netip.Prefix{}, "Nonstandard IP address: " + parts[0]
	}
	if addr.Is4() && bits > 31 {
		return netip.Prefix{}, "IPv4 mask bits must be < 32"
	}
	if bits > 127 {
		return netip.Prefix{}, "IPv6 mask bits must be < 128"
	}
	net, err = addr.Prefix(int(bits))
	if err != nil {
		return netip.Prefix{}, "Nonstandard IP address: " + text
	}
	return net, ""
}
