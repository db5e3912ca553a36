package netguard

import (
	"errors"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// MaxURLLength is the longest destination URL accepted, in bytes.
const MaxURLLength = 2048

// URLError says what is wrong with a destination URL and what to write
// instead. It never repeats the URL, which may hold a secret.
type URLError struct {
	Reason string // a full sentence about the URL
}

func (e *URLError) Error() string { return e.Reason }

// CheckURL parses a destination URL at configuration time, so that mistakes
// show at once instead of at the first delivery. It resolves no names: that
// belongs to the dial, see [Policy.Control].
//
// The URL must be absolute http or https, at most [MaxURLLength] bytes of
// visible ASCII, with a host, without credentials and without a fragment. A
// host that is an IP address must pass [Policy.Check]; localhost needs
// AllowPrivate. It returns a [*URLError] or a [*BlockedError].
func (p Policy) CheckURL(raw string) (*url.URL, error) {
	u, err := parseURL(raw)
	if err != nil {
		return nil, err
	}
	if err := checkPort(u); err != nil {
		return nil, err
	}
	if err := p.checkHost(u); err != nil {
		return nil, err
	}
	return u, nil
}

func parseURL(raw string) (*url.URL, error) {
	if len(raw) > MaxURLLength {
		return nil, &URLError{"URL is longer than " + strconv.Itoa(MaxURLLength) + " characters"}
	}
	for i := range len(raw) {
		// net/url lets a space through in a query, where it would break the
		// request line, and other alphabets in a host, where IDNA can fold
		// them into an IP address.
		if raw[i] <= ' ' || raw[i] > '~' {
			return nil, &URLError{"URL has a space, control or non-ASCII character; percent-encode it, and write an international host name in its xn-- form"}
		}
	}
	u, err := url.Parse(raw)
	if err != nil {
		return nil, &URLError{"URL is not valid" + parseDetail(raw, err) + "; write it like https://example.com/webhooks"}
	}
	switch {
	case u.Scheme != "https" && u.Scheme != "http":
		return nil, &URLError{"URL must start with https:// or http://, like https://example.com/webhooks"}
	case u.User != nil:
		return nil, &URLError{"URL must not contain a user name or password; verify the signature of each delivery instead"}
	case u.Hostname() == "":
		return nil, &URLError{"URL has no host; write it like https://example.com/webhooks"}
	case strings.Contains(raw, "#"):
		return nil, &URLError{"URL must not have a fragment (the part from # on); it is never sent to a server"}
	}
	return u, nil
}

// parseDetail is what net/url has to say, unless the URL may hold a password:
// its errors quote parts of the input.
func parseDetail(raw string, err error) string {
	var parse *url.Error
	if strings.Contains(raw, "@") || !errors.As(err, &parse) {
		return ""
	}
	return " (" + parse.Err.Error() + ")"
}

func checkPort(u *url.URL) error {
	port := u.Port()
	if port == "" && !strings.HasSuffix(u.Host, ":") {
		return nil
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return &URLError{"URL has a port that is not a number from 1 to 65535"}
	}
	return nil
}

func (p Policy) checkHost(u *url.URL) error {
	host := strings.ToLower(u.Hostname())
	if strings.HasPrefix(u.Host, "[") {
		addr, err := netip.ParseAddr(host)
		if err != nil {
			return &URLError{"URL has brackets around something that is not an IPv6 address"}
		}
		return p.Check(addr)
	}
	name := strings.TrimSuffix(host, ".")
	switch {
	case endsInNumber(name):
		return p.checkIPv4(host)
	case !validName(name):
		return &URLError{"URL has a host that is not a valid name; write it like https://example.com/webhooks"}
	case !p.AllowPrivate && (name == "localhost" || strings.HasSuffix(name, ".localhost")):
		return &URLError{"URL points to localhost; Waybill does not deliver to private networks. " +
			"To allow it, start with --dev on your own machine, or start with --allow-network 127.0.0.1/32 and use http://127.0.0.1"}
	}
	return nil
}

// checkIPv4 checks a host that a resolver may take for an IPv4 address. Only
// the dotted quad is accepted: programs disagree about every other spelling
// (010.0.0.1 is 8.0.0.1 to some and 10.0.0.1 to others). A spelling whose
// meaning is known is checked first, to give the more useful error.
func (p Policy) checkIPv4(host string) error {
	if addr, err := netip.ParseAddr(host); err == nil {
		return p.Check(addr)
	}
	addr, ok := parseLooseIPv4(strings.TrimSuffix(host, "."))
	if !ok {
		return &URLError{"URL has a host that looks like an IP address but is not one; write it like 203.0.114.5"}
	}
	if err := p.Check(addr); err != nil {
		return err
	}
	return &URLError{"URL has an IP address in an ambiguous spelling; write it as " + addr.String()}
}

// endsInNumber reports whether the last label of name is a number, decimal or
// 0x-hexadecimal. No top-level domain is, so such a host can only be meant as
// an IPv4 address. It is the rule of the WHATWG URL standard.
func endsInNumber(name string) bool {
	last := name[strings.LastIndexByte(name, '.')+1:]
	if digits, ok := strings.CutPrefix(last, "0x"); ok {
		return strings.Trim(digits, "0123456789abcdef") == ""
	}
	return last != "" && strings.Trim(last, "0123456789") == ""
}

// parseLooseIPv4 reads IPv4 as C's inet_aton does: one to four numbers, each
// decimal, octal (0…) or hexadecimal (0x…), the last filling all remaining
// bytes.
func parseLooseIPv4(name string) (netip.Addr, bool) {
	parts := strings.Split(name, ".")
	if len(parts) > 4 {
		return netip.Addr{}, false
	}
	var ip uint64
	for i, part := range parts {
		bits := 8
		if i == len(parts)-1 {
			bits = 8 * (5 - len(parts))
		}
		n, ok := parseLooseNumber(part)
		if !ok || n >= 1<<bits {
			return netip.Addr{}, false
		}
		ip = ip<<bits | n
	}
	return netip.AddrFrom4([4]byte{byte(ip >> 24), byte(ip >> 16), byte(ip >> 8), byte(ip)}), true
}

func parseLooseNumber(part string) (uint64, bool) {
	base := 10
	switch {
	case part == "0x":
		return 0, true
	case strings.HasPrefix(part, "0x"):
		part, base = part[2:], 16
	case len(part) > 1 && part[0] == '0':
		part, base = part[1:], 8
	}
	n, err := strconv.ParseUint(part, base, 64)
	return n, err == nil
}

// validName reports whether name is a DNS name of letters, digits, hyphens and
// underscores. It is lower case and has no trailing dot.
func validName(name string) bool {
	if len(name) > 253 {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return false
		}
	}
	return true
}
