package wire

import (
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/waybill-dev/waybill/internal/event"
)

const (
	// maxReadBody is how much of a body is read in the hope of its end, after
	// which the connection can serve again. Beyond it, a new connection is
	// cheaper than an endless answer.
	maxReadBody = 64 << 10

	maxKeptHeaders     = 64
	maxKeptHeaderBytes = 8 << 10
)

const readChunk = 16 << 10

// readBuffers hold a body while it is read: first what will be kept, then a
// chunk that each further read overwrites.
var readBuffers = sync.Pool{New: func() any { return new([event.MaxKeptBody + readChunk]byte) }}

// readBody reads up to maxReadBody bytes and returns a copy of the first
// event.MaxKeptBody of them. truncated tells that the copy is not the whole
// body, ended that its end was seen, err why not; stopping at maxReadBody is no
// error.
func readBody(body io.Reader) (kept []byte, truncated, ended bool, err error) {
	if body == http.NoBody {
		return nil, false, true, nil
	}
	buf := readBuffers.Get().(*[event.MaxKeptBody + readChunk]byte)
	defer readBuffers.Put(buf)
	total := 0
	for total < maxReadBody {
		free := buf[event.MaxKeptBody:]
		if total < event.MaxKeptBody {
			free = buf[total:event.MaxKeptBody]
		}
		var n int
		n, err = body.Read(free[:min(len(free), maxReadBody-total)])
		total += n
		if err != nil {
			break
		}
	}
	ended = errors.Is(err, io.EOF)
	if ended {
		err = nil
	}
	if n := min(total, event.MaxKeptBody); n > 0 {
		kept = slices.Clone(buf[:n])
	}
	return kept, !ended || total > event.MaxKeptBody, ended, err
}

// keepHeaders returns the headers that are kept of a parsed answer.
func keepHeaders(h http.Header) []event.Header {
	if len(h) == 0 {
		return nil
	}
	all := make([]event.Header, 0, len(h)+2)
	for name, values := range h {
		for _, value := range values {
			all = append(all, event.Header{Name: Clean(name), Value: Clean(value)})
		}
	}
	return boundHeaders(all)
}

// boundHeaders puts headers into the order of their names and leaves out what
// is secret or beyond the limits. It reuses the slice.
func boundHeaders(all []event.Header) []event.Header {
	slices.SortStableFunc(all, func(a, b event.Header) int { return strings.Compare(a.Name, b.Name) })
	kept, size := all[:0], 0
	for _, header := range all {
		if header.Name == "Set-Cookie" {
			header.Value = "[redacted]"
		}
		n := len(header.Name) + len(header.Value)
		if len(kept) == maxKeptHeaders || size+n > maxKeptHeaderBytes {
			continue
		}
		size += n
		kept = append(kept, header)
	}
	if cap(kept) > 2*maxKeptHeaders {
		kept = slices.Clone(kept) // do not hold on to what a header bomb took
	}
	return kept
}

// Clean makes foreign text fit to be stored and shown: UTF-8 without control
// characters. Text that is clean already, nearly all of it, is not copied.
func Clean(s string) string {
	for i := range len(s) {
		if c := s[i]; c < ' ' && c != '\t' || c >= 0x7f {
			return strings.Map(func(r rune) rune {
				if r < ' ' && r != '\t' || r >= 0x7f && r < 0xa0 {
					return '\uFFFD'
				}
				return r
			}, strings.ToValidUTF8(s, "\uFFFD"))
		}
	}
	return s
}

// StatusText is a status with its name, as in "404 Not Found".
func StatusText(status int) string {
	text := strconv.Itoa(status)
	if name := http.StatusText(status); name != "" {
		text += " " + name
	}
	return text
}

// redirectMessage says of a redirect only the host that it leads to: a path or a
// query may hold a token.
func redirectMessage(status int, location string) string {
	where := ""
	if location != "" {
		where = " elsewhere"
		if u, err := url.Parse(location); err == nil {
			switch {
			case u.Host != "":
				where = " to " + Shorten(Clean(u.Host))
			case u.Scheme == "":
				where = " to another path on the same host"
			}
		}
	}
	return "The endpoint redirects" + where + " (" + StatusText(status) +
		"). Redirects are never followed; update the destination's URL to the final one."
}

// Shorten keeps a foreign text from filling the record.
func Shorten(s string) string {
	const limit = 200
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit], "") + "…"
}

// seconds writes a time-out for a person.
func seconds(d time.Duration) string {
	return strconv.FormatFloat(d.Seconds(), 'f', -1, 64) + " s"
}
