// Package targettest owns the conformance suite of the Send contract, which
// every kind of target runs against peers that behave well, badly and not at
// all.
//
// The suite runs in real time, since real sockets are what it is about, but
// waits for signals and never for a while to pass: only the time-outs of the
// target itself are waited out, and those are short.
package targettest

import (
	"bytes"
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
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
	// Refuses takes none, but may later. It asks to be left alone for
	// RetryAfter if the protocol has a way to ask.
	Refuses
	// RefusesForGood says that it will never take one again.
	RefusesForGood
	// Hangs reads nothing and says nothing.
	Hangs
	// HangsInAnswer begins an answer that looks like success and stops.
	HangsInAnswer
	// BreaksOff begins an answer that looks like success and hangs up.
	BreaksOff
	// HangsUp closes the connection without an answer.
	HangsUp
	// Floods answers with success and a body without end.
	Floods
	// FloodsAndLies is Floods with a declared length of 2 GB.
	FloodsAndLies
)

func (b Behavior) String() string {
	return [...]string{
		"accepts", "refuses", "refuses for good", "hangs", "hangs in answer",
		"breaks off", "hangs up", "floods", "floods and lies",
	}[b]
}

// RetryAfter is what a peer that Refuses asks for.
const RetryAfter = 30 * time.Second

// Peer is the other end of a target under test.
type Peer struct {
	Target target.Target
	// Received returns the bodies of the messages that reached the peer, in
	// any order. A peer that never reads a body counts the message as nil.
	Received func() [][]byte
	// Hanging gets a value when a peer that hangs begins to.
	Hanging <-chan struct{}
}

// Harness makes the targets that the suite tests.
type Harness struct {
	// New starts a peer and returns it with a target whose time-out is as
	// given. It cleans up through t.
	New func(t *testing.T, b Behavior, timeout time.Duration) Peer
	// Never lists behaviors that no peer of this kind of target can show.
	Never []Behavior
}

const (
	// patient is a time-out that no test waits for.
	patient = 2 * time.Minute
	// short is a time-out that tests do wait for.
	short = 150 * time.Millisecond
	// prompt is how soon something has to happen that takes no time, on a
	// machine that is busy with other things.
	prompt = 30 * time.Second
	// enough memory for any one try. A flood that is kept passes it at once.
	enough = 8 << 20
)

// Run runs the suite. Do not run it in parallel with other tests: it measures
// memory.
func Run(t *testing.T, h Harness) {
	t.Helper()
	tests := []struct {
		name     string
		behavior Behavior
		run      func(*testing.T, Harness, Behavior)
	}{
		{"bounded", Floods, testFlood},
		{"bounded", FloodsAndLies, testFlood},
		{"accepted", Accepts, testAccepted},
		{"concurrent", Accepts, testConcurrency},
		{"ended context", Accepts, testEndedContext},
		{"refused", Refuses, testRefused},
		{"refused", RefusesForGood, testRefused},
		{"refused", BreaksOff, testRefused},
		{"refused", HangsUp, testRefused},
		{"timeout", Hangs, testTimeout},
		{"timeout", HangsInAnswer, testTimeout},
		{"interrupted", Hangs, testInterrupted},
		{"interrupted", HangsInAnswer, testInterrupted},
	}
	for _, test := range tests {
		if slices.Contains(h.Never, test.behavior) {
			continue
		}
		t.Run(test.name+"/"+test.behavior.String(), func(t *testing.T) {
			if test.behavior != Floods && test.behavior != FloodsAndLies {
				t.Parallel()
			}
			test.run(t, h, test.behavior)
		})
	}
}

// send sends one message and checks what holds for every result.
func send(ctx context.Context, t *testing.T, p Peer, body []byte) target.Result {
	t.Helper()
	before := bytes.Clone(body)
	start := time.Now()
	r := p.Target.Send(ctx, target.Message{EventID: "evt_1", Type: "charge.succeeded", Body: body, Attempt: 1})
	elapsed := time.Since(start)

	if !bytes.Equal(body, before) {
		t.Error("the message's body was changed")
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
	if r.RetryAfter < 0 {
		t.Errorf("RetryAfter is %v", r.RetryAfter)
	}
	if r.Class == event.ClassNone {
		if r.Message != "" || r.Permanent || r.RetryAfter != 0 {
			t.Errorf("a success with %q, permanent %t, retry after %v", r.Message, r.Permanent, r.RetryAfter)
		}
	} else if r.Message == "" || !utf8.ValidString(r.Message) || len(r.Message) > 1000 {
		t.Errorf("%s with message %q", r.Class, r.Message)
	}
	return r
}

func testAccepted(t *testing.T, h Harness, b Behavior) {
	p := h.New(t, b, patient)
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

func testConcurrency(t *testing.T, h Harness, b Behavior) {
	const senders, each = 8, 25
	p := h.New(t, b, patient)
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

func testEndedContext(t *testing.T, h Harness, b Behavior) {
	p := h.New(t, b, patient)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if r := send(ctx, t, p, []byte(`{}`)); r.Class != target.Interrupted {
		t.Errorf("got %q: %s", r.Class, r.Message)
	}
	if got := p.Received(); len(got) != 0 {
		t.Errorf("the peer got %d messages", len(got))
	}
}

func testRefused(t *testing.T, h Harness, b Behavior) {
	p := h.New(t, b, patient)
	for i := range 2 { // the second may go over a kept connection
		r := send(t.Context(), t, p, []byte(`{}`))
		if r.Class == event.ClassNone || r.Class == target.Interrupted || r.Class == event.ClassTimeout {
			t.Errorf("got class %q", r.Class)
		}
		if r.Permanent != (b == RefusesForGood) {
			t.Errorf("permanent is %t: %s", r.Permanent, r.Message)
		}
		if r.RetryAfter != 0 && (b != Refuses || r.RetryAfter != RetryAfter) {
			t.Errorf("retry after %v", r.RetryAfter)
		}
		if got := p.Received(); len(got) != i+1 {
			t.Errorf("the peer got %d messages from %d sends", len(got), i+1)
		}
	}
}

func testTimeout(t *testing.T, h Harness, b Behavior) {
	p := h.New(t, b, short)
	start := time.Now()
	r := send(t.Context(), t, p, large())
	if elapsed := time.Since(start); elapsed < short || elapsed > prompt {
		t.Errorf("returned after %v with a time-out of %v", elapsed, short)
	}
	if r.Class != event.ClassTimeout || r.Permanent {
		t.Errorf("got %q, permanent %t: %s", r.Class, r.Permanent, r.Message)
	}
	if got := p.Received(); len(got) > 1 {
		t.Errorf("the peer got %d messages", len(got))
	}
}

func testInterrupted(t *testing.T, h Harness, b Behavior) {
	p := h.New(t, b, patient)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan target.Result)
	go func() { done <- send(ctx, t, p, large()) }()
	select {
	case <-p.Hanging:
	case r := <-done:
		t.Fatalf("returned before the peer hung: %s: %s", r.Class, r.Message)
	}
	cancel()
	select {
	case r := <-done:
		if r.Class != target.Interrupted {
			t.Errorf("got %q: %s", r.Class, r.Message)
		}
	case <-time.After(prompt):
		t.Fatalf("did not return within %v of the context's end", prompt)
	}
}

// testFlood must run alone: it counts what the whole process allocates.
func testFlood(t *testing.T, h Harness, b Behavior) {
	p := h.New(t, b, prompt)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	r := send(t.Context(), t, p, []byte(`{}`))
	runtime.ReadMemStats(&after)

	if r.Class != event.ClassNone {
		t.Errorf("got %s: %s", r.Class, r.Message)
	}
	if len(r.Body) != event.MaxKeptBody || !r.Truncated {
		t.Errorf("%d bytes kept, truncated is %t", len(r.Body), r.Truncated)
	}
	if used := after.TotalAlloc - before.TotalAlloc; used > enough {
		t.Errorf("allocated %d bytes", used)
	}
	if got := p.Received(); len(got) != 1 {
		t.Errorf("the peer got %d messages", len(got))
	}
}

// large is a body that does not fit into a socket's buffers, so that a peer
// that reads nothing stops it half-way.
func large() []byte { return bytes.Repeat([]byte(" "), 12<<20) }
