package wire

import (
	"bytes"
	"net/textproto"

	"github.com/waybill-dev/waybill/internal/event"
)

// Most answers are plain: HTTP/1.1, a few short headers that have all arrived,
// a Content-Length. parsePlain reads those without a map and without copying
// what is not kept; everything else, and everything it is not sure of, is left
// to http.ReadResponse, with which it must agree (FuzzPlain).

// plain is what parsePlain found.
type plain struct {
	status  int
	headers []event.Header // as received; names canonical
	length  int            // of the body
	size    int            // of the head, to be discarded before the body
}

const maxPlainHeaders = 32

// parsePlain parses the head of an answer from what is buffered of it. It
// returns false where it is not sure.
func parsePlain(buffered []byte) (p plain, ok bool) {
	end := bytes.Index(buffered, []byte("\r\n\r\n"))
	if end < 0 || len(buffered) < len("HTTP/1.1 200\r\n") || string(buffered[:9]) != "HTTP/1.1 " {
		return p, false
	}
	p.size = end + 4
	line, rest, _ := bytes.Cut(buffered[:end+2], []byte("\r\n"))
	if len(line) < 12 || len(line) > 12 && line[12] != ' ' {
		return p, false
	}
	for _, c := range line[9:12] {
		if c < '0' || c > '9' {
			return p, false
		}
		p.status = p.status*10 + int(c-'0')
	}
	for _, c := range line[12:] {
		if c < ' ' || c > '~' {
			return p, false
		}
	}
	// 1xx is followed by another answer; 204 and 304 have no body whatever
	// they claim.
	if p.status < 200 || p.status == 204 || p.status == 304 {
		return p, false
	}
	text := string(rest) // one copy that all names and values share
	p.length = -1
	p.headers = make([]event.Header, 0, 8)
	for text != "" {
		n := 0
		for n < len(text) && text[n] != '\r' && text[n] != '\n' {
			n++
		}
		if len(text) < n+2 || text[n] != '\r' || text[n+1] != '\n' {
			return p, false
		}
		name, value, ok := plainHeader(text[:n])
		if !ok || len(p.headers) == maxPlainHeaders {
			return p, false
		}
		switch name {
		case "Content-Length":
			if p.length >= 0 {
				return p, false
			}
			if p.length, ok = plainLength(value); !ok {
				return p, false
			}
		case "Transfer-Encoding", "Connection", "Upgrade", "Trailer":
			return p, false
		}
		p.headers = append(p.headers, event.Header{Name: name, Value: value})
		text = text[n+2:]
	}
	return p, p.length >= 0
}

// plainHeader splits a line "Name: value" of printable ASCII.
func plainHeader(line string) (name, value string, ok bool) {
	n, upper, canonical := 0, true, true
	for ; n < len(line) && line[n] != ':'; n++ {
		c := line[n]
		switch {
		case c >= 'a' && c <= 'z':
			canonical = canonical && !upper
		case c >= 'A' && c <= 'Z':
			canonical = canonical && upper
		case c != '-' && (c < '0' || c > '9'):
			return "", "", false
		}
		upper = c == '-'
	}
	if n == 0 || n == len(line) {
		return "", "", false
	}
	name, value = line[:n], line[n+1:]
	for i := range len(value) {
		if value[i] < ' ' || value[i] > '~' {
			return "", "", false
		}
	}
	for value != "" && value[0] == ' ' {
		value = value[1:]
	}
	for value != "" && value[len(value)-1] == ' ' {
		value = value[:len(value)-1]
	}
	if !canonical {
		name = textproto.CanonicalMIMEHeaderKey(name)
	}
	return name, value, true
}

func plainLength(value string) (int, bool) {
	if value == "" || len(value) > 9 {
		return 0, false
	}
	n := 0
	for i := range len(value) {
		if value[i] < '0' || value[i] > '9' {
			return 0, false
		}
		n = n*10 + int(value[i]-'0')
	}
	return n, true
}
