package netguard

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestCheckDeniesWhatIsNotPublic(t *testing.T) {
	t.Parallel()
	tests := []struct{ addr, reason string }{
		{"0.0.0.0", "unspecified"},
		{"0.1.2.3", "this network"},
		{"10.0.0.0", "private"},
		{"10.255.255.255", "private"},
		{"100.64.0.1", "carrier"},
		{"100.100.100.200", "metadata"},
		{"100.127.255.255", "carrier"},
		{"127.0.0.1", "loopback"},
		{"127.255.255.255", "loopback"},
		{"168.63.129.16", "Azure"},
		{"169.254.0.1", "link-local"},
		{"169.254.169.254", "metadata"},
		{"172.16.0.0", "private"},
		{"172.31.255.255", "private"},
		{"192.0.0.192", "IETF"},
		{"192.0.2.1", "documentation"},
		{"192.88.99.1", "6to4"},
		{"192.168.1.1", "private"},
		{"198.18.0.1", "benchmarking"},
		{"198.19.255.255", "benchmarking"},
		{"198.51.100.1", "documentation"},
		{"203.0.113.1", "documentation"},
		{"224.0.0.1", "multicast"},
		{"239.255.255.255", "multicast"},
		{"240.0.0.1", "reserved"},
		{"255.255.255.254", "reserved"},
		{"255.255.255.255", "broadcast"},
		{"::", "unspecified"},
		{"::1", "loopback"},
		{"::8.8.8.8", "IPv4-compatible"},
		{"::ffff:127.0.0.1", "loopback"},
		{"::ffff:169.254.169.254", "metadata"},
		{"::ffff:0:8.8.8.8", "SIIT"},
		{"64:ff9b::7f00:1", "NAT64"},
		{"64:ff9b::808:808", "NAT64"},
		{"64:ff9b:1::1", "NAT64"},
		{"100::1", "discard"},
		{"100:0:0:1::1", "outside global"},
		{"5f00::1", "outside global"},
		{"4000::1", "outside global"},
		{"fc00::1", "private"},
		{"fd00:ec2::254", "private"},
		{"fe80::1", "link-local"},
		{"febf::1", "link-local"},
		{"fec0::1", "site-local"},
		{"ff02::1", "multicast"},
		{"2001::1", "Teredo"},
		{"2001:1::1", "IETF"},
		{"2001:2::1", "benchmarking"},
		{"2001:10::1", "ORCHID"},
		{"2001:2f::1", "ORCHID"},
		{"2001:db8::1", "documentation"},
		{"2002:7f00:1::", "6to4"},
		{"3fff::1", "documentation"},
		{"fe80::1%eth0", "zone"},
		{"2606:4700::1111%eth0", "zone"},
	}
	for _, tt := range tests {
		t.Run(tt.addr, func(t *testing.T) {
			t.Parallel()
			addr := netip.MustParseAddr(tt.addr)
			err := Policy{}.Check(addr)
			var blocked *BlockedError
			if !errors.As(err, &blocked) || !errors.Is(err, ErrBlocked) {
				t.Fatalf("Check = %v, want a BlockedError", err)
			}
			if !strings.Contains(blocked.Reason, tt.reason) {
				t.Errorf("reason %q does not mention %q", blocked.Reason, tt.reason)
			}
			if blocked.Addr != addr.Unmap() {
				t.Errorf("Addr = %s, want %s", blocked.Addr, addr.Unmap())
			}
			if err := (Policy{AllowPrivate: true}).Check(addr); err != nil {
				t.Errorf("AllowPrivate: %v", err)
			}
		})
	}
}

func TestCheckAllowsThePublicInternet(t *testing.T) {
	t.Parallel()
	for _, s := range []string{
		"1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0",
		"126.255.255.255", "128.0.0.0", "168.63.129.15", "172.15.255.255", "172.32.0.0",
		"192.0.1.0", "192.167.255.255", "192.169.0.0", "198.17.255.255", "198.20.0.0",
		"223.255.255.255", "::ffff:8.8.8.8",
		"2000::1", "2001:200::1", "2001:4860:4860::8888", "2003::1", "2606:4700::1111", "3ffe::1", "3fff:1000::1",
	} {
		if err := (Policy{}).Check(netip.MustParseAddr(s)); err != nil {
			t.Errorf("%s: %v", s, err)
		}
	}
}

func TestCheckRefusesTheZeroAddr(t *testing.T) {
	t.Parallel()
	for _, p := range []Policy{{}, {AllowPrivate: true}} {
		if err := p.Check(netip.Addr{}); !errors.Is(err, ErrBlocked) {
			t.Errorf("%+v: Check = %v", p, err)
		}
	}
}

func TestAllowOverridesTheDenyList(t *testing.T) {
	t.Parallel()
	allow, err := ParseAllow([]string{"10.1.0.0/16", "127.0.0.1", "fd00::/8", "::ffff:192.168.7.0/120"})
	if err != nil {
		t.Fatal(err)
	}
	p := Policy{Allow: allow}
	for addr, want := range map[string]bool{
		"10.1.2.3": true, "::ffff:10.1.2.3": true, "10.2.0.0": false,
		"127.0.0.1": true, "127.0.0.2": false, "::1": false,
		"fd12::1": true, "fd12::1%eth0": false, "fc00::1": false,
		"192.168.7.9": true, "192.168.8.9": false,
		"8.8.8.8": true,
	} {
		if err := p.Check(netip.MustParseAddr(addr)); (err == nil) != want {
			t.Errorf("%s: Check = %v, want allowed: %t", addr, err, want)
		}
	}
}

func TestBlockedErrorSaysWhatToDo(t *testing.T) {
	t.Parallel()
	tests := map[string]string{
		"127.0.0.1": "address 127.0.0.1 is loopback; Waybill does not deliver to private networks. " +
			"To allow it, start with --allow-network 127.0.0.1/32 (or --dev on your own machine)",
		"::ffff:10.0.0.1": "address 10.0.0.1 is private (10.0.0.0/8); Waybill does not deliver to private networks. " +
			"To allow it, start with --allow-network 10.0.0.1/32 (or --dev on your own machine)",
		"::1": "address ::1 is loopback; Waybill does not deliver to private networks. " +
			"To allow it, start with --allow-network ::1/128 (or --dev on your own machine)",
		"fe80::1%eth0": "address fe80::1%eth0 is bound to one network interface (it has an IPv6 zone); Waybill does not deliver to it",
	}
	for addr, want := range tests {
		if got := (Policy{}).Check(netip.MustParseAddr(addr)).Error(); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

// The advice in an error must work when it is followed.
func TestAdviceInBlockedErrorWorks(t *testing.T) {
	t.Parallel()
	for _, r := range deniedRanges {
		err := Policy{}.Check(r.prefix.Addr())
		_, advice, _ := strings.Cut(err.Error(), "--allow-network ")
		advice, _, _ = strings.Cut(advice, " ")
		allow, parseErr := ParseAllow([]string{advice})
		if parseErr != nil {
			t.Fatalf("%s: %v", r.prefix, parseErr)
		}
		if err := (Policy{Allow: allow}).Check(r.prefix.Addr()); err != nil {
			t.Errorf("%s: still blocked: %v", r.prefix, err)
		}
	}
}

// A range whose first and last addresses both get another's reason is dead.
func TestEveryDeniedRangeIsReached(t *testing.T) {
	t.Parallel()
	for i, r := range deniedRanges {
		if r.prefix != r.prefix.Masked() {
			t.Errorf("%s has bits set beyond its length", r.prefix)
		}
		for _, earlier := range deniedRanges[:i] {
			if earlier.prefix.Bits() <= r.prefix.Bits() && earlier.prefix.Contains(r.prefix.Addr()) {
				t.Errorf("%s is hidden by %s", r.prefix, earlier.prefix)
			}
		}
	}
}

func TestParseAllow(t *testing.T) {
	t.Parallel()
	got, err := ParseAllow([]string{"10.0.0.0/8", " 192.168.1.5 ", "::1", "fd00::/8", "::ffff:10.0.0.1", "::ffff:10.0.0.0/104", "0.0.0.0/0"})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"10.0.0.0/8", "192.168.1.5/32", "::1/128", "fd00::/8", "10.0.0.1/32", "10.0.0.0/8", "0.0.0.0/0"}
	if !slices.EqualFunc(got, want, func(p netip.Prefix, s string) bool { return p.String() == s }) {
		t.Errorf("got %v, want %v", got, want)
	}
	for _, bad := range []string{"", "localhost", "10.0.0.0/33", "10.1.2.3/8", "fd00::1/8", "::ffff:0:0/95", "::ffff:10.0.0.1/104", "fe80::1%eth0", "fe80::%eth0/10", "10.0.0/8", "10.0.0.0/-1", "10.0.0.0/08"} {
		if got, err := ParseAllow([]string{"::1", bad}); err == nil {
			t.Errorf("%q: accepted as %v", bad, got)
		}
	}
	if _, err := ParseAllow([]string{"10.1.2.3/8"}); err == nil || !strings.Contains(err.Error(), "10.0.0.0/8 for the network or 10.1.2.3/32") {
		t.Errorf("error does not help: %v", err)
	}
}

func TestControl(t *testing.T) {
	t.Parallel()
	tests := []struct {
		network, address string
		want             bool
	}{
		{"tcp4", "8.8.8.8:443", true},
		{"tcp6", "[2606:4700::1111]:443", true},
		{"tcp6", "[::ffff:8.8.8.8]:443", true},
		{"tcp4", "127.0.0.1:80", false},
		{"tcp6", "[::ffff:127.0.0.1]:80", false},
		{"tcp6", "[2606:4700::1111%eth0]:443", false},
		{"tcp", "8.8.8.8:443", false},
		{"udp4", "8.8.8.8:53", false},
		{"unix", "/run/docker.sock", false},
		{"tcp4", "example.com:443", false},
		{"tcp4", "8.8.8.8", false},
		{"tcp4", "", false},
	}
	for _, tt := range tests {
		err := Policy{}.Control(tt.network, tt.address, nil)
		if (err == nil) != tt.want || (err != nil && !errors.Is(err, ErrBlocked)) {
			t.Errorf("%s %s: %v, want allowed: %t", tt.network, tt.address, err, tt.want)
		}
	}
	if err := (Policy{AllowPrivate: true}).Control("unix", "/run/docker.sock", nil); !errors.Is(err, ErrBlocked) {
		t.Errorf("AllowPrivate let a unix socket through: %v", err)
	}
}

// The guard must hold on a real dial, whatever the name said: "localhost"
// stands for any name that resolves to a private address.
func TestDialer(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	_, port, _ := net.SplitHostPort(listener.Addr().String())

	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for _, host := range []string{"127.0.0.1", "localhost", "::ffff:127.0.0.1"} {
		conn, err := Policy{}.Dialer(time.Second).DialContext(ctx, "tcp", net.JoinHostPort(host, port))
		if err == nil {
			_ = conn.Close()
			t.Errorf("%s: connected", host)
		}
		if !errors.Is(err, ErrBlocked) {
			t.Errorf("%s: %v, want ErrBlocked", host, err)
		}
	}

	for name, p := range map[string]Policy{
		"dev":   {AllowPrivate: true},
		"allow": {Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}},
	} {
		conn, err := p.Dialer(5*time.Second).DialContext(ctx, "tcp", net.JoinHostPort("127.0.0.1", port))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		_ = conn.Close()
	}
}
