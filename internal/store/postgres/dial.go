package postgres

import (
	"context"
	"net"
	"sync"
	"time"
)

// dial connects with a bound on how long the server can be silent while
// somebody waits for it: a network that swallows everything ends no read by
// itself.
func dial(ctx context.Context, network, address string) (net.Conn, error) {
	d := net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: 2 * time.Second, Count: 3}}
	c, err := d.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &patient{Conn: c}, nil
}

// patient gives up a read after a while, unless its user set a deadline.
type patient struct {
	net.Conn

	mu  sync.Mutex
	set bool
}

func (p *patient) SetDeadline(t time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.set = !t.IsZero()
	return p.Conn.SetDeadline(t)
}

func (p *patient) SetReadDeadline(t time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.set = !t.IsZero()
	return p.Conn.SetReadDeadline(t)
}

func (p *patient) Read(b []byte) (int, error) {
	if err := p.limit(); err != nil {
		return 0, err
	}
	return p.Conn.Read(b)
}

func (p *patient) limit() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.set {
		return nil
	}
	return p.Conn.SetReadDeadline(time.Now().Add(timeout))
}
