package targettest

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"
)

// script is what an HTTP peer does with a connection that a message came over.
type script struct {
	mute    bool   // accepts the connection and does nothing at all, not even TLS
	unread  bool   // leaves the request's body unread
	answer  string // as it goes over the wire
	endless string // comes again and again behind answer
	slow    bool   // endless comes a piece each millisecond
	hangs   bool   // then says nothing more, but keeps the connection
	closes  bool   // then closes the connection
	// retryAfter is what answer asks for.
	retryAfter time.Duration
	// impostor has a certificate that nobody trusts.
	impostor bool
}

const readBuffer = 4 << 10

// httpPeer plays a script for every request it gets.
type httpPeer struct {
	script
	url       string // of its root
	roots     *x509.CertPool
	messageOf func(r *http.Request, body []byte) []byte
	hanging   chan struct{}
	stop      chan struct{} // closed when the test is over

	mu          sync.Mutex
	received    [][]byte
	connections int
}

func startHTTPPeer(t *testing.T, s script, overTLS bool, messageOf func(*http.Request, []byte) []byte) *httpPeer {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &httpPeer{
		script: s, messageOf: messageOf, url: "http://" + listener.Addr().String(),
		hanging: make(chan struct{}), stop: make(chan struct{}),
	}
	wrap := func(c net.Conn) net.Conn { return c }
	if overTLS {
		p.url = "https://" + listener.Addr().String()
		var config *tls.Config
		config, p.roots = certificate(t)
		if s.impostor {
			p.roots = x509.NewCertPool()
		}
		wrap = func(c net.Conn) net.Conn { return tls.Server(c, config) }
	}
	if s.mute {
		wrap = func(c net.Conn) net.Conn { return c }
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			p.mu.Lock()
			p.connections++
			p.mu.Unlock()
			if s.unread { // so that what the sender has left soon fills all buffers
				_ = conn.(*net.TCPConn).SetReadBuffer(readBuffer)
			}
			ended := make(chan struct{})
			wg.Go(func() {
				defer close(ended)
				c := wrap(conn)
				p.serve(c)
				_ = c.Close()
			})
			wg.Go(func() {
				select {
				case <-p.stop:
					_ = conn.Close()
				case <-ended:
				}
			})
		}
	})
	t.Cleanup(func() {
		close(p.stop)
		_ = listener.Close()
		wg.Wait()
	})
	return p
}

// certificate is one for 127.0.0.1, and what trusts it. HTTP/2 is not asked
// for, but offered.
func certificate(t *testing.T) (*tls.Config, *x509.CertPool) {
	t.Helper()
	server := httptest.NewTLSServer(nil)
	defer server.Close()
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	return &tls.Config{
		MinVersion: tls.VersionTLS12, Certificates: server.TLS.Certificates, NextProtos: []string{"h2", "http/1.1"},
	}, roots
}

func (p *httpPeer) serve(conn net.Conn) {
	if p.mute {
		p.hang()
		return
	}
	reader := bufio.NewReader(conn)
	for {
		r, err := http.ReadRequest(reader)
		if err != nil {
			return
		}
		var message []byte
		if !p.unread {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				return // the sender gave up
			}
			message = p.messageOf(r, body)
		}
		p.mu.Lock()
		p.received = append(p.received, message)
		p.mu.Unlock()
		if !p.act(conn) {
			return
		}
	}
}

// act plays the script. It is false if the connection is done.
func (p *httpPeer) act(conn io.Writer) bool {
	if _, err := io.WriteString(conn, p.answer); err != nil {
		return false
	}
	var pieces <-chan time.Time
	if p.slow {
		ticker := time.NewTicker(time.Millisecond)
		defer ticker.Stop()
		pieces = ticker.C
	}
	for p.endless != "" {
		if p.slow {
			<-pieces
		}
		if _, err := io.WriteString(conn, p.endless); err != nil {
			return false
		}
	}
	if p.hangs {
		p.hang()
	}
	return !p.hangs && !p.closes
}

func (p *httpPeer) hang() {
	select {
	case p.hanging <- struct{}{}:
		<-p.stop
	case <-p.stop:
	}
}

func (p *httpPeer) all() [][]byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.received)
}

func (p *httpPeer) connected() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.connections
}
