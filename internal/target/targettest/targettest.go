// Package targettest owns the conformance suite of the Send contract. Run is
// for every kind of target, RunHTTP for those that send over HTTP, against
// peers that behave well, badly and not at all.
//
// The suite runs in real time, since real sockets are what it is about, but
// waits for signals and never for a while to pass: only the time-outs of the
// target itself are waited out, and those are short.
package targettest

import (
	"bytes"
	"context"
	"fmt"
	"hash/maphash"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/target"
)

// Behavior is how a peer treats whatever is sent to it.
type Behavior int

// The behaviors.
const (
	// Accepts takes every message, with an answer if the protocol has one.
	Accepts Behavior = iota
	// Refuses takes none, but may later.
	Refuses
	// RefusesForGood says that it will never take one again.
	RefusesForGood
	// Hangs reads nothing and says nothing.
	Hangs
)

// Peer is the other end of a target under test.
type Peer struct {
	Target target.Target
	// Received returns the bodies of the messages that reached the peer, in
	// any order. A peer that never reads a body counts the message as nil.
	Received func() [][]byte
	// Hanging gets a value for each message that begins to hang.
	Hanging <-chan struct{}
	// RetryAfter is what a peer that Refuses asks for.
	RetryAfter time.Duration
}

// Harness makes the targets that the suite tests.
type Harness struct {
	// New starts a peer and returns it with a target for it, whose time-out, if
	// it has one, is long. It cleans up through t.
	New func(t *testing.T, b Behavior) Peer
	// Never lists behaviors that no peer of this kind of target can show.
	Never []Behavior
}

// Secret may be in the URL of a peer and in what it answers, but in no Message
// and in no cookie that is kept.
const Secret = "s3cret"

// prompt is how soon something has to happen that takes no time, on a machine
// that is busy with other things. It is less than the 5 s for which crypto/tls
// waits for a peer that does not read when it closes a connection.
const prompt = 4 * time.Second

// Run runs the suite.
func Run(t *testing.T, h Harness) {
	t.Helper()
	for _, test := range []struct {
		name     string
		behavior Behavior
		run      func(*testing.T, Peer)
	}{
		{"accepted", Accepts, testAccepted},
		{"concurrent", Accepts, testConcurrency},
		{"ended context", Accepts, testEndedContext},
		{"refused", Refuses, func(t *testing.T, p Peer) { testRefused(t, p, passes) }},
		{"refused for good", RefusesForGood, func(t *testing.T, p Peer) { testRefused(t, p, final) }},
		{"interrupted", Hangs, func(t *testing.T, p Peer) { testInterrupted(t, p, large()) }},
	} {
		if slices.Contains(h.Never, test.behavior) {
			continue
		}
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.run(t, h.New(t, test.behavior))
		})
	}
}

// send sends one message and checks what holds for every result.
func send(ctx context.Context, t *testing.T, p Peer, body []byte) target.Result {
	t.Helper()
	ev := &event.Event{Seq: 1, Type: "charge.succeeded", Payload: body}
	seed, evBefore := maphash.MakeSeed(), *ev
	before := maphash.Bytes(seed, body)
	start := time.Now()
	r := p.Target.Send(ctx, target.Message{EventID: "evt_1", Type: ev.Type, Body: body, Attempt: 1, Event: ev})
	elapsed := time.Since(start)

	if maphash.Bytes(seed, body) != before || !reflect.DeepEqual(*ev, evBefore) {
		t.Error("the message was changed")
	}
	if r.Started.Before(start.Add(-time.Second)) || r.Started.After(start.Add(elapsed+time.Second)) {
		t.Errorf("Started is %v, sent at %v", r.Started, start)
	}
	if r.FirstByte < 0 || r.Total < r.FirstByte || r.Total > elapsed {
		t.Errorf("FirstByte %v, Total %v, measured %v", r.FirstByte, r.Total, elapsed)
	}
	if len(r.Body) > event.MaxKeptBody {
		t.Errorf("%d bytes of the answer kept", len(r.Body))
	}
	if !slices.IsSortedFunc(r.Headers, func(a, b event.Header) int { return strings.Compare(a.Name, b.Name) }) {
		t.Errorf("headers are not in order: %v", r.Headers)
	}
	if !fit(r.Message) || strings.Contains(r.Message, Secret) {
		t.Errorf("message %q", r.Message)
	}
	for _, h := range r.Headers {
		if !fit(h.Name) || !fit(h.Value) || h.Name == "Set-Cookie" && strings.Contains(h.Value, Secret) {
			t.Errorf("header %q", h)
		}
	}
	if r.RetryAfter < 0 {
		t.Errorf("RetryAfter is %v", r.RetryAfter)
	}
	if r.Class == event.ClassNone {
		if r.Message != "" || r.Permanent || r.RetryAfter != 0 {
			t.Errorf("a success with %q, permanent %t, retry after %v", r.Message, r.Permanent, r.RetryAfter)
		}
	} else if r.Message == "" || len(r.Message) > 1000 || r.Deposit != nil {
		t.Errorf("%s with message %q, deposit %v", r.Class, r.Message, r.Deposit)
	}
	if none := r.Class == target.Interrupted || r.Class == target.Held; none && (r.Permanent || r.RetryAfter != 0) {
		t.Errorf("no attempt, but permanent %t, retry after %v", r.Permanent, r.RetryAfter)
	}
	return r
}

// fit tells whether a text can be stored and shown.
func fit(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return unicode.IsControl(r) && r != '\t' })
}

func testAccepted(t *testing.T, p Peer) {
	for i, body := range []string{`{"id":"evt_1"}`, `{"id":"evt_1"}`, `{"pad":"` + strings.Repeat("é", 100_000) + `"}`} {
		if r := send(t.Context(), t, p, []byte(body)); r.Class != event.ClassNone {
			t.Fatalf("got %s: %s", r.Class, r.Message)
		}
		got := p.Received()
		if len(got) != i+1 {
			t.Fatalf("the peer got %d messages from %d sends", len(got), i+1)
		}
		if string(got[i]) != body {
			t.Fatalf("the peer got %.60q instead of %.60q", got[i], body)
		}
	}
}

func testConcurrency(t *testing.T, p Peer) {
	const senders, each = 8, 25
	var wg sync.WaitGroup
	for i := range senders {
		wg.Go(func() {
			for j := range each {
				body := fmt.Appendf(nil, `{"n":"%02d.%02d"}`, i, j)
				if r := send(t.Context(), t, p, body); r.Class != event.ClassNone {
					t.Errorf("got %s: %s", r.Class, r.Message)
				}
			}
		})
	}
	wg.Wait()
	var got []string
	for _, body := range p.Received() {
		got = append(got, string(body))
	}
	slices.Sort(got)
	var want []string
	for i := range senders {
		for j := range each {
			want = append(want, fmt.Sprintf(`{"n":"%02d.%02d"}`, i, j))
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("the peer got %d messages, not each of the %d once", len(got), len(want))
	}
}

func testEndedContext(t *testing.T, p Peer) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, test := range []struct { // the last may find a connection that is open
		ctx      context.Context
		class    event.Class
		received int
	}{{ended, target.Interrupted, 0}, {t.Context(), event.ClassNone, 1}, {ended, target.Interrupted, 1}} {
		if r := send(test.ctx, t, p, []byte(`{}`)); r.Class != test.class {
			t.Errorf("got %q: %s", r.Class, r.Message)
		}
		if got := p.Received(); len(got) != test.received {
			t.Errorf("the peer got %d messages, want %d", len(got), test.received)
		}
	}
}

// permanence is whether a refusal must be one for good.
type permanence int

const (
	passes permanence = iota
	final
	eitherWay // it is the target's to say
)

func testRefused(t *testing.T, p Peer, want permanence) {
	for i := range 2 { // the second may go over a kept connection
		r := send(t.Context(), t, p, []byte(`{}`))
		checkRefused(t, p, &r, want)
		if got := p.Received(); len(got) != i+1 {
			t.Errorf("the peer got %d messages from %d sends", len(got), i+1)
		}
	}
}

func checkRefused(t *testing.T, p Peer, r *target.Result, want permanence) {
	t.Helper()
	switch r.Class {
	case event.ClassNone, event.ClassTimeout, target.Interrupted, target.Held:
		t.Errorf("got class %q: %s", r.Class, r.Message)
	}
	if want != eitherWay && r.Permanent != (want == final) {
		t.Errorf("permanent is %t: %s", r.Permanent, r.Message)
	}
	if r.RetryAfter != p.RetryAfter {
		t.Errorf("retry after %v, the peer asked for %v", r.RetryAfter, p.RetryAfter)
	}
}

// testInterrupted also sees that one message that hangs stops no other.
func testInterrupted(t *testing.T, p Peer, body []byte) {
	const messages = 3
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan target.Result, messages)
	for range messages {
		go func() { done <- send(ctx, t, p, body) }()
	}
	for range messages {
		select {
		case <-p.Hanging:
		case r := <-done:
			t.Fatalf("returned before the peer hung: %s: %s", r.Class, r.Message)
		}
	}
	cancel()
	for range messages {
		select {
		case r := <-done:
			if r.Class != target.Interrupted {
				t.Errorf("got %q: %s", r.Class, r.Message)
			}
		case <-time.After(prompt):
			t.Fatalf("did not return within %v of the context's end", prompt)
		}
	}
}

// large is a body that does not fit into a socket's buffers, so that a peer
// that reads nothing stops it half-way.
var large = sync.OnceValue(func() []byte { return bytes.Repeat([]byte(" "), 12<<20) })
