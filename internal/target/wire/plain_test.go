package wire

import (
	"bufio"
	"bytes"
	"net/http"
	"reflect"
	"testing"
)

// FuzzPlain holds parsePlain to http.ReadResponse: where it is sure, both see
// the same answer.
func FuzzPlain(f *testing.F) {
	for _, seed := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: text/plain; charset=utf-8\r\nDate: Sat, 21 Nov 2026 12:00:00 GMT\r\n\r\nok",
		"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\nset-cookie: a=b\r\nSet-Cookie: c=d\r\n\r\n",
		"HTTP/1.1 204\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nok",
		"HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\nx",
		"HTTP/1.1 302 Found\r\nLocation: http://example.com/\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length : 0\r\n\r\n",
		"HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		p, ok := parsePlain(data)
		if !ok {
			return
		}
		reader := bufio.NewReaderSize(bytes.NewReader(data), max(16, len(data)))
		res, err := http.ReadResponse(reader, asPOST)
		if err != nil {
			t.Fatalf("net/http refuses %q: %v", data, err)
		}
		defer res.Body.Close()
		if res.StatusCode != p.status || res.ContentLength != int64(p.length) || res.Close {
			t.Fatalf("%q: status %d, length %d, close %v; want %d, %d, false", data, p.status, p.length, false, res.StatusCode, res.ContentLength)
		}
		if rest := reader.Buffered(); rest != len(data)-p.size {
			t.Fatalf("%q: the body begins %d bytes before the end, net/http says %d", data, len(data)-p.size, rest)
		}
		if got, want := boundHeaders(p.headers), keepHeaders(res.Header); !reflect.DeepEqual(got, want) {
			t.Fatalf("%q: headers %v, net/http says %v", data, got, want)
		}
	})
}
