package netguard

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
)

func TestCheckURLAccepts(t *testing.T) {
	t.Parallel()
	for _, raw := range []string{
		"https://example.com",
		"https://example.com/webhooks?a=b&c=%20d",
		"HTTP://EXAMPLE.COM:8080/",
		"https://example.com./x",
		"https://a_b.xn--bcher-kva.example/",
		"https://my-service:8443/hooks",
		"https://8.8.8.8/",
		"https://8.8.8.8:65535/",
		"https://[2606:4700::1111]:443/",
		"https://1.2.3.4.example.com/",
		"https://cafe/",
		"https://notlocalhost/",
		"https://localhost.example.com/",
		"https://example.com/a@b",
		"https://example.com/" + strings.Repeat("a", MaxURLLength-len("https://example.com/")),
	} {
		u, err := Policy{}.CheckURL(raw)
		if err != nil {
			t.Errorf("%s: %v", raw, err)
		} else if u == nil || u.Host == "" {
			t.Errorf("%s: returned %v", raw, u)
		}
	}
}

func TestCheckURLRefuses(t *testing.T) {
	t.Parallel()
	tests := []struct{ raw, want string }{
		{"", "must start with https://"},
		{"example.com/hook", "must start with https://"},
		{"//example.com/hook", "must start with https://"},
		{"ftp://example.com/", "must start with https://"},
		{"file:///etc/passwd", "must start with https://"},
		{"javascript:alert(1)", "must start with https://"},
		{"https:example.com", "no host"},
		{"https:///path", "no host"},
		{"https://:443/", "no host"},
		{"https://user@example.com/", "user name or password"},
		{"https://user:hunter2@example.com/", "user name or password"},
		{"https://@example.com/", "user name or password"},
		{"https://example.com/#top", "fragment"},
		{"https://example.com/#", "fragment"},
		{"https://example.com:0/", "1 to 65535"},
		{"https://example.com:65536/", "1 to 65535"},
		{"https://example.com:99999999999999999999/", "1 to 65535"},
		{"https://example.com:/", "1 to 65535"},
		{"https://[2606:4700::1111]:/", "1 to 65535"},
		{"https://example.com:abc/", "invalid port"},
		{"https://example.com/%zz", "not valid"},
		{"https://exa mple.com/", "space"},
		{"https://example.com/?q=a b", "space"},
		{" https://example.com/", "space"},
		{"https://example.com/\r\nX: y", "space"},
		{"https://example.com/\x7f", "space"},
		{"https://bücher.example/", "xn--"},
		{"https://１２７.0.0.1/", "xn--"},
		{"https://127。0。0。1/", "xn--"},
		{"https://%EF%BC%91.example/", "valid name"},
		{"https://example..com/", "valid name"},
		{"https://./", "valid name"},
		{"https://exa!mple.com/", "valid name"},
		{"https://" + strings.Repeat("a", 64) + ".com/", "valid name"},
		{"https://" + strings.Repeat("a.", 126) + "example/", "valid name"},
		{"https://example.com/" + strings.Repeat("a", MaxURLLength), "longer than 2048"},
		{"https://localhost/", "localhost"},
		{"https://LocalHost.:8080/", "localhost"},
		{"https://api.localhost/", "localhost"},
		{"https://256.1.1.1/", "looks like an IP address"},
		{"https://1.2.3.4.5/", "looks like an IP address"},
		{"https://1.2.3.256/", "looks like an IP address"},
		{"https://foo.1/", "looks like an IP address"},
		{"https://foo.0x1f/", "looks like an IP address"},
		{"https://4294967296/", "looks like an IP address"},
		{"https://09.0.0.1/", "looks like an IP address"},
		{"https://1..1/", "looks like an IP address"},
		{"https://134744072/", "write it as 8.8.8.8"},
		{"https://0x8.8.8.8/", "write it as 8.8.8.8"},
		{"https://8.8.8.8./", "write it as 8.8.8.8"},
		{"https://010.0.0.1/", "write it as 8.0.0.1"},
		{"https://[example.com]/", ""},
		{"https://[127.0.0.1]/", ""},
		{"https://[::1/", ""},
	}
	for _, tt := range tests {
		t.Run(tt.raw[:min(len(tt.raw), 60)], func(t *testing.T) {
			t.Parallel()
			u, err := Policy{}.CheckURL(tt.raw)
			if err == nil {
				t.Fatalf("accepted as %s", u)
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %q does not mention %q", err, tt.want)
			}
			var urlErr *URLError
			if !errors.As(err, &urlErr) && !errors.Is(err, ErrBlocked) {
				t.Errorf("error is a %T", err)
			}
		})
	}
}

func TestCheckURLSeesThroughSpellingsOfPrivateAddresses(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]string{
		"http://127.0.0.1:8080/":        "127.0.0.1",
		"http://2130706433/":            "127.0.0.1",
		"http://0x7f000001/":            "127.0.0.1",
		"http://0X7F000001/":            "127.0.0.1",
		"http://0177.0.0.1/":            "127.0.0.1",
		"http://0x7f.1/":                "127.0.0.1",
		"http://127.1/":                 "127.0.0.1",
		"http://127.0.1/":               "127.0.0.1",
		"http://127.0.0.1./":            "127.0.0.1",
		"http://017700000001/":          "127.0.0.1",
		"http://0/":                     "0.0.0.0",
		"http://0x/":                    "0.0.0.0",
		"http://10.66051/":              "10.1.2.3",
		"http://169.254.169.254/latest": "169.254.169.254",
		"http://0xa9fea9fe/":            "169.254.169.254",
		"http://[::1]/":                 "::1",
		"http://[::ffff:127.0.0.1]/":    "127.0.0.1",
		"http://[::ffff:7f00:1]/":       "127.0.0.1",
		"http://[0:0:0:0:0:0:0:1]/":     "::1",
		"http://[fe80::1%25eth0]/":      "fe80::1%eth0",
		"http://[64:ff9b::127.0.0.1]/":  "64:ff9b::7f00:1",
	} {
		_, err := Policy{}.CheckURL(raw)
		var blocked *BlockedError
		if !errors.As(err, &blocked) {
			t.Errorf("%s: %v, want a BlockedError", raw, err)
		} else if blocked.Addr.String() != want {
			t.Errorf("%s: blocked %s, want %s", raw, blocked.Addr, want)
		}
	}
}

func TestCheckURLWithAPolicy(t *testing.T) {
	t.Parallel()
	dev := Policy{AllowPrivate: true}
	for _, raw := range []string{"http://localhost:3000/", "http://api.localhost/", "http://127.0.0.1:3000/", "http://[::1]:3000/", "http://10.0.0.1/"} {
		if _, err := dev.CheckURL(raw); err != nil {
			t.Errorf("dev, %s: %v", raw, err)
		}
	}
	allow := Policy{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}}
	for raw, want := range map[string]bool{"http://127.0.0.1/": true, "http://[::ffff:127.0.0.1]/": true, "http://127.0.0.2/": false, "http://localhost/": false} {
		if _, err := allow.CheckURL(raw); (err == nil) != want {
			t.Errorf("allow, %s: %v, want allowed: %t", raw, err, want)
		}
	}
}

func TestCheckURLNeverRepeatsACredential(t *testing.T) {
	t.Parallel()
	for _, raw := range []string{
		"https://user:hunter2@example.com/",
		"https://user:hunter2@example.com:hunter2/",
		"https://us[er:hunter2@example.com/",
		"https://user:hunter2%zz@example.com/",
		"ftp://user:hunter2@example.com/",
		"https://user:hunter2@127.0.0.1/",
	} {
		_, err := Policy{AllowPrivate: true}.CheckURL(raw)
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", raw, err)
		}
	}
}

func FuzzCheckURL(f *testing.F) {
	for _, seed := range []string{
		"https://example.com/hook?x=1", "http://8.8.8.8/", "http://8.8.8.8:80", "https://[2606:4700::1111]/",
		"http://127.0.0.1/", "http://2130706433/", "http://0x7f.1/", "http://0177.0.0.1/", "http://127.1./",
		"http://[::ffff:127.0.0.1]/", "http://[fe80::1%25eth0]/", "http://user:pw@host/#f", "http://１.1/", "http://localhost", "http://a:99999/", "",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		u, err := Policy{}.CheckURL(raw)
		if err != nil {
			if u != nil {
				t.Fatalf("returned both %v and %v", u, err)
			}
			if !errors.Is(err, ErrBlocked) {
				var urlErr *URLError
				if !errors.As(err, &urlErr) || urlErr.Reason == "" {
					t.Fatalf("untyped or empty error %v", err)
				}
			}
			return
		}
		if u.Scheme != "http" && u.Scheme != "https" || u.User != nil || u.Fragment != "" || u.Opaque != "" || len(raw) > MaxURLLength {
			t.Fatalf("accepted %q", raw)
		}
		host := strings.TrimSuffix(u.Hostname(), ".")
		if strings.EqualFold(host, "localhost") {
			t.Fatalf("accepted %q", raw)
		}
		addr, err := netip.ParseAddr(host)
		if err != nil {
			// A name: nothing a resolver could read as a number.
			if last := host[strings.LastIndexByte(host, '.')+1:]; last == "" || strings.Trim(last, "0123456789") == "" || strings.ContainsAny(host, ":[]%") {
				t.Fatalf("accepted %q, whose host is no name", raw)
			}
			return
		}
		addr = addr.Unmap()
		if !addr.IsGlobalUnicast() || addr.IsPrivate() || addr.Zone() != "" {
			t.Fatalf("accepted %q, address %s", raw, addr)
		}
		for _, r := range deniedRanges {
			if r.prefix.Contains(addr) {
				t.Fatalf("accepted %q, address %s is in %s", raw, addr, r.prefix)
			}
		}
	})
}

func FuzzParseAllow(f *testing.F) {
	for _, seed := range []string{"10.0.0.0/8", "::1", "::ffff:10.0.0.0/104", "fe80::1%eth0", "10.1.2.3/8", "::/0"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		prefixes, err := ParseAllow([]string{value})
		if err != nil {
			return
		}
		p := prefixes[0]
		if len(prefixes) != 1 || p != p.Masked() || p.Addr().Is4In6() {
			t.Fatalf("%q parsed as %v", value, prefixes)
		}
		if err := (Policy{Allow: prefixes}).Check(p.Addr()); err != nil {
			t.Fatalf("%q does not allow its own first address: %v", value, err)
		}
		again, err := ParseAllow([]string{p.String()})
		if err != nil || again[0] != p {
			t.Fatalf("%s does not parse as itself: %v, %v", p, again, err)
		}
	})
}
