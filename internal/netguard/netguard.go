// Package netguard decides which addresses Waybill may connect to.
//
// Customers choose where their events go, and Waybill runs inside somebody's
// network: without a guard, a destination URL is a way to reach what only the
// inside can reach (databases, admin pages, the cloud's metadata service).
//
// Two checks share one [Policy]:
//
//   - [Policy.Control] runs at dial time, after DNS, on the very address the
//     socket is about to connect to. It is the one that protects: a name that
//     resolved well a moment ago and badly now (DNS rebinding), a redirect or
//     a second address record all pass through it.
//   - [Policy.CheckURL] runs when a URL is configured. It only makes mistakes
//     visible early; nothing relies on it.
//
// Everything fails closed: what cannot be parsed is refused, and the zero
// Policy allows public addresses only.
//
// A dialer sees the peer it connects to and nothing behind it. An HTTP client
// that uses [Policy.Dialer] must therefore have no proxy configured: with one,
// the guard would check the proxy's address instead of the destination's.
package netguard

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"time"
)

// ErrBlocked is matched, by [errors.Is], by every refusal to connect.
var ErrBlocked = errors.New("address blocked")

// BlockedError says which address was refused and why. Its text is meant for
// the person who configured the destination.
type BlockedError struct {
	Addr   netip.Addr // IPv4 is always plain, never IPv4-mapped IPv6
	Reason string     // completes "address X is …", such as "loopback"
}

func (e *BlockedError) Error() string {
	if !e.Addr.IsValid() || e.Addr.Zone() != "" {
		return fmt.Sprintf("address %s is %s; Waybill does not deliver to it", e.Addr, e.Reason)
	}
	return fmt.Sprintf("address %s is %s; Waybill does not deliver to private networks. "+
		"To allow it, start with --allow-network %s/%d (or --dev on your own machine)",
		e.Addr, e.Reason, e.Addr, e.Addr.BitLen())
}

// Is reports whether target is [ErrBlocked].
func (e *BlockedError) Is(target error) bool { return target == ErrBlocked }

// Policy says which addresses may be connected to. The zero value allows the
// public internet only. A Policy is immutable once in use and safe for
// concurrent use.
type Policy struct {
	// AllowPrivate allows every address. It is for development on one's own
	// machine.
	AllowPrivate bool

	// Allow opens networks that are denied by default. IPv4 prefixes must be
	// plain, as [ParseAllow] returns them: a prefix in IPv4-mapped form
	// matches nothing.
	Allow []netip.Prefix
}

// ParseAllow parses the values of --allow-network: a CIDR prefix such as
// 10.0.0.0/8 or fd00::/8, or a single address. IPv4-mapped IPv6 becomes IPv4.
//
// A prefix with bits set beyond its length (10.1.2.3/8) is an error rather than
// silently the whole of 10.0.0.0/8: a typing mistake must not open a network.
func ParseAllow(values []string) ([]netip.Prefix, error) {
	prefixes := make([]netip.Prefix, 0, len(values))
	for _, value := range values {
		prefix, err := parsePrefix(strings.TrimSpace(value))
		if err != nil {
			return nil, fmt.Errorf("allowed network %q: %w", value, err)
		}
		prefixes = append(prefixes, prefix)
	}
	return prefixes, nil
}

func parsePrefix(value string) (netip.Prefix, error) {
	if !strings.Contains(value, "/") {
		addr, err := netip.ParseAddr(value)
		if err != nil || addr.Zone() != "" {
			return netip.Prefix{}, errors.New("not an address or a network; write 10.0.0.0/8, 192.168.1.5 or fd00::/8")
		}
		addr = addr.Unmap()
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	prefix, err := netip.ParsePrefix(value)
	if err != nil {
		return netip.Prefix{}, errors.New("not a network; write 10.0.0.0/8, 192.168.1.5/32 or fd00::/8")
	}
	if prefix.Addr().Is4In6() {
		if prefix.Bits() < 96 {
			return netip.Prefix{}, errors.New("mixes IPv4 and IPv6; write the IPv4 network as a.b.c.d/n")
		}
		prefix = netip.PrefixFrom(prefix.Addr().Unmap(), prefix.Bits()-96)
	}
	if masked := prefix.Masked(); masked != prefix {
		return netip.Prefix{}, fmt.Errorf("has bits set beyond its length; write %s for the network or %s/%d for the one address",
			masked, prefix.Addr(), prefix.Addr().BitLen())
	}
	return prefix, nil
}

// Check returns nil if addr may be connected to, and a [*BlockedError] if not.
func (p Policy) Check(addr netip.Addr) error {
	if !addr.IsValid() {
		return &BlockedError{Addr: addr, Reason: "not valid"}
	}
	addr = addr.Unmap()
	if p.AllowPrivate {
		return nil
	}
	if addr.Zone() != "" {
		return &BlockedError{Addr: addr, Reason: "bound to one network interface (it has an IPv6 zone)"}
	}
	for _, prefix := range p.Allow {
		if prefix.Contains(addr) {
			return nil
		}
	}
	if reason := denied(addr); reason != "" {
		return &BlockedError{Addr: addr, Reason: reason}
	}
	return nil
}

// Control is a [net.Dialer] Control function: it refuses the connection unless
// network is tcp4 or tcp6 and address, an ip:port, passes [Policy.Check].
func (p Policy) Control(network, address string, _ syscall.RawConn) error {
	if network != "tcp4" && network != "tcp6" {
		return fmt.Errorf("%w: Waybill delivers over TCP only, not %q", ErrBlocked, network)
	}
	target, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("%w: %q is not an IP address and port", ErrBlocked, address)
	}
	return p.Check(target.Addr())
}

// Dialer returns a dialer that checks each address it is about to connect to.
// The timeout covers name resolution and all addresses tried; 0 means none.
func (p Policy) Dialer(timeout time.Duration) *net.Dialer {
	return &net.Dialer{Timeout: timeout, Control: p.Control}
}
