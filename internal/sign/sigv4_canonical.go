package sign

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// appendCanonical appends the canonical form of r, which is what is signed.
// See https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html.
func (s *SigV4) appendCanonical(b []byte, r *http.Request, body []byte) []byte {
	method := r.Method
	if method == "" {
		method = http.MethodGet // as net/http sends it
	}
	b = append(b, method...)
	b = append(b, '\n')
	b = appendCanonicalPath(b, r.URL)
	b = append(b, '\n')
	b = s.appendCanonicalQuery(b, r.URL.RawQuery)
	b = append(b, '\n')
	for name := range strings.SplitSeq(s.SignedHeaders, ";") {
		b = append(b, name...)
		b = append(b, ':')
		b = appendHeaderValue(b, r, name)
		b = append(b, '\n')
	}
	b = append(b, '\n')
	b = append(b, s.SignedHeaders...)
	b = append(b, '\n')
	sum := sha256.Sum256(body)
	return hex.AppendEncode(b, sum[:])
}

// appendCanonicalPath appends the path as it went over the wire, without dot
// segments and empty segments, and encoded a second time.
func appendCanonicalPath(b []byte, u *url.URL) []byte {
	path := u.EscapedPath()
	if path == "" || path == "/" {
		return append(b, '/')
	}
	if strings.Contains(path, "//") || strings.Contains(path, "/.") {
		var kept []string
		for segment := range strings.SplitSeq(path, "/") {
			switch segment {
			case "", ".":
			case "..":
				kept = kept[:max(0, len(kept)-1)]
			default:
				kept = append(kept, segment)
			}
		}
		trailing := strings.HasSuffix(path, "/") && len(kept) > 0
		path = "/" + strings.Join(kept, "/")
		if trailing {
			path += "/"
		}
	}
	return appendURIEncoded(b, path, true)
}

// appendCanonicalQuery appends the parameters, sorted by their encoded names
// and then values. The signature itself is not signed.
func (s *SigV4) appendCanonicalQuery(b []byte, raw string) []byte {
	if raw == "" {
		return b
	}
	var parameters [][2]string
	for part := range strings.SplitSeq(raw, "&") {
		if part == "" {
			continue
		}
		name, value, _ := strings.Cut(part, "=")
		name, value = reencoded(name), reencoded(value)
		if s.expires > 0 && name == "X-Amz-Signature" {
			continue
		}
		parameters = append(parameters, [2]string{name, value})
	}
	slices.SortFunc(parameters, func(x, y [2]string) int {
		if c := strings.Compare(x[0], y[0]); c != 0 {
			return c
		}
		return strings.Compare(x[1], y[1])
	})
	for i, p := range parameters {
		if i > 0 {
			b = append(b, '&')
		}
		b = append(b, p[0]...)
		b = append(b, '=')
		b = append(b, p[1]...)
	}
	return b
}

// reencoded brings one part of a query to the one encoding that is signed.
func reencoded(s string) string {
	decoded, err := url.QueryUnescape(s)
	if err != nil {
		decoded = s // as it came; a percent sign that escapes nothing is itself
	}
	return string(appendURIEncoded(nil, decoded, false))
}

// appendURIEncoded encodes every byte but RFC 3986's unreserved ones, and
// slashes if they are to be kept.
func appendURIEncoded(b []byte, s string, slashes bool) []byte {
	const digits = "0123456789ABCDEF"
	for i := range len(s) {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9',
			c == '-', c == '.', c == '_', c == '~', c == '/' && slashes:
			b = append(b, c)
		default:
			b = append(b, '%', digits[c>>4], digits[c&15])
		}
	}
	return b
}

// appendHeaderValue appends all values of a header, comma-separated, each
// without the spaces around it and with single spaces within.
func appendHeaderValue(b []byte, r *http.Request, name string) []byte {
	switch name {
	case "host":
		host := r.Host
		if host == "" {
			host = r.URL.Host // of a request that is yet to be sent
		}
		return append(b, host...)
	case "content-length":
		// net/http may keep it in a field only.
		if r.Header.Get("Content-Length") == "" && r.ContentLength >= 0 {
			return strconv.AppendInt(b, r.ContentLength, 10)
		}
	}
	for i, value := range r.Header[headerKey(name)] {
		if i > 0 {
			b = append(b, ',')
		}
		value = strings.Trim(value, " \t")
		if !strings.Contains(value, "  ") {
			b = append(b, value...)
			continue
		}
		for j := range len(value) {
			if value[j] != ' ' || value[j-1] != ' ' {
				b = append(b, value[j])
			}
		}
	}
	return b
}

// headerKey returns the key of a lowercase header name in an [http.Header],
// without allocating for the names that AWS's clients sign.
func headerKey(name string) string {
	switch name {
	case "amz-sdk-invocation-id":
		return "Amz-Sdk-Invocation-Id"
	case "amz-sdk-request":
		return "Amz-Sdk-Request"
	case "x-amz-content-sha256":
		return "X-Amz-Content-Sha256"
	case "x-amz-date":
		return "X-Amz-Date"
	case "x-amz-security-token":
		return "X-Amz-Security-Token"
	case "x-amz-target":
		return "X-Amz-Target"
	case "x-amz-user-agent":
		return "X-Amz-User-Agent"
	case "x-amzn-query-mode":
		return "X-Amzn-Query-Mode"
	}
	return http.CanonicalHeaderKey(name)
}
