package app_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/internal/sign"
)

const (
	crashAWSKeyID  = "AKIDCRASHCRASHCRASH0"
	crashAWSSecret = "crashcrashcrashcrashcrashcrashcrash"

	// busVisibility is for how long a received message is hidden: so long that
	// some are at each kill, so short that they come back during the test.
	busVisibility = 2 * time.Second
	// busSeed is how many events the replays replay: enough for a kill to come
	// in between.
	busSeed = 600
	// busReplays is how many of them there can be.
	busReplays = 8
)

// TestCrashBus kills the real binary while events are put, rules leave them in
// two queues, consumers receive and delete, and an archive and replays are
// under way. Afterwards:
//   - every acknowledged event was in each queue whose rule it matches, as
//     exactly one message, and in no other queue;
//   - a message that was received and not deleted came back, not before its
//     visibility timeout; one whose deletion was answered did not;
//   - every replay completed, and put each of its events back at least once,
//     into the queues of its rules only;
//   - the archive holds every acknowledged event: a last replay brings all.
//
// WAYBILL_CRASH_KILLS sets four times the number of kills.
func TestCrashBus(t *testing.T) {
	t.Parallel()
	b := newBusCrash(t)
	b.start()
	b.setUp()
	for b.acknowledged() < busSeed {
		if err := b.put(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	seeded := time.Now().Add(time.Second) // a replay's times are in seconds
	until(t, "the archive holds all that was put before the first kill", func() bool { return b.archived() >= busSeed })
	ctx, stop := context.WithCancel(t.Context())
	var publishers, consumers sync.WaitGroup
	for range 2 {
		publishers.Go(func() {
			for ctx.Err() == nil {
				_ = b.put(ctx) // an error is no promise
				wait(ctx, 4*time.Millisecond)
			}
		})
	}
	receiving, finish := context.WithCancel(t.Context())
	defer consumers.Wait()
	defer finish()
	for _, q := range b.queues {
		for range 2 {
			consumers.Go(func() { b.consume(receiving, q) })
		}
	}
	for i := range max(2, crashKills(t)/4) {
		if i < busReplays {
			b.startReplay(fmt.Sprintf("replay-%d", i), seeded, i%2 == 1)
		}
		wait(ctx, time.Duration(20+rand.IntN(250))*time.Millisecond)
		b.kill()
		b.start()
	}
	wait(ctx, 100*time.Millisecond)
	stop()
	publishers.Wait()
	b.kill()
	b.start()

	b.awaitReplays()
	b.within(2*time.Minute, "the first queue had all that was acknowledged, and the archive holds what it had", func() bool {
		arrived, missing := b.arrivals()
		return missing == 0 && b.archived() == arrived
	})
	b.startReplay("last", time.Now().Add(time.Minute), true)
	b.awaitReplays()
	b.within(2*time.Minute, "both queues are empty", func() bool { return b.depth(b.queues[0]) == 0 && b.depth(b.queues[1]) == 0 })
	finish()
	consumers.Wait()
	b.check()
}

// within is until for what takes longer.
func (b *busCrash) within(d time.Duration, what string, holds func() bool) {
	b.t.Helper()
	for deadline := time.Now().Add(d); !holds(); wait(b.t.Context(), 20*time.Millisecond) {
		if time.Now().After(deadline) {
			b.t.Fatalf("gave up waiting until %s", what)
		}
	}
}

// busCrash is a crash whose events come in and go out by AWS's protocols.
type busCrash struct {
	*crash

	queues   []*crashQueue // of all events; of those whose n is even
	ruleARNs []string
	archive  string // its ARN
	bus      string
	began    time.Time
	replays  map[string]bool // by name, whether they are for the first queue only

	mu   sync.Mutex
	n    int
	acks map[string]int // n by the id of an acknowledged event
}

// crashQueue is a queue and what was received from it.
type crashQueue struct {
	url, arn string
	messages map[string]*crashMessage    // by message id
	events   map[string]map[string][]int // n in each message, by event id and replay
}

// crashMessage is one message, over all of its receives.
type crashMessage struct {
	hiddenUntil time.Time // not to be received before
	deleted     time.Time // when its deletion was answered
	abandoned   bool      // received, and left to come back
	back        bool
}

func newBusCrash(t *testing.T) *busCrash {
	t.Helper()
	return &busCrash{crash: newCrash(t), replays: map[string]bool{}, acks: map[string]int{}, began: time.Now().Add(-time.Minute)}
}

// aws calls an operation of AWS's JSON protocol.
func (b *busCrash) aws(ctx context.Context, target string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+b.address+"/", bytes.NewReader(body))
	if err != nil {
		return err
	}
	service, version := "events", "1.1"
	if strings.HasPrefix(target, "AmazonSQS.") {
		service, version = "sqs", "1.0"
	}
	req.Header.Set("Content-Type", "application/x-amz-json-"+version)
	req.Header.Set("X-Amz-Target", target)
	sign.SignSigV4(req, body, crashAWSKeyID, crashAWSSecret, "us-east-1", service, time.Now())
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %w: %s: %s", target, errRefused, res.Status, answer)
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(answer, out)
}

// errRefused tells an answer from a connection that broke.
var errRefused = errors.New("refused")

// must is aws while nobody kills the server.
func (b *busCrash) must(target string, in, out any) {
	b.t.Helper()
	err := b.aws(b.t.Context(), target, in, out)
	for range 5 {
		if err == nil || errors.Is(err, errRefused) {
			break
		}
		err = b.aws(b.t.Context(), target, in, out) // the connection was to a server that was killed
	}
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *busCrash) setUp() {
	b.t.Helper()
	var bus struct{ Arn string }
	b.must("AWSEvents.DescribeEventBus", object{}, &bus)
	b.bus = bus.Arn
	for i, pattern := range []string{`{"source":["crash"]}`, `{"source":["crash"],"detail":{"even":[true],"n":[{"numeric":[">=",0]}]}}`} {
		name := fmt.Sprintf("crash-%d", i)
		q := &crashQueue{messages: map[string]*crashMessage{}, events: map[string]map[string][]int{}}
		var made struct{ QueueURL string }
		b.must("AmazonSQS.CreateQueue", object{"QueueName": name, "Attributes": object{"VisibilityTimeout": fmt.Sprint(int(busVisibility.Seconds()))}}, &made)
		var got struct{ Attributes map[string]string }
		b.must("AmazonSQS.GetQueueAttributes", object{"QueueUrl": made.QueueURL, "AttributeNames": []string{"QueueArn"}}, &got)
		q.url, q.arn = made.QueueURL, got.Attributes["QueueArn"]
		b.queues = append(b.queues, q)
		var rule struct{ RuleArn string }
		b.must("AWSEvents.PutRule", object{"Name": name, "EventPattern": pattern}, &rule)
		b.ruleARNs = append(b.ruleARNs, rule.RuleArn)
		b.must("AWSEvents.PutTargets", object{"Rule": name, "Targets": []object{{"Id": "1", "Arn": q.arn}}}, nil)
	}
	var archive struct{ ArchiveArn string }
	b.must("AWSEvents.CreateArchive", object{"ArchiveName": "crash", "EventSourceArn": b.bus}, &archive)
	b.archive = archive.ArchiveArn
}

// put puts ten events. Those that got an id are promises.
func (b *busCrash) put(ctx context.Context) error {
	b.mu.Lock()
	first := b.n
	b.n += 10
	b.mu.Unlock()
	entries := make([]object, 10)
	for i := range entries {
		n := first + i
		entries[i] = object{
			"Source": "crash", "DetailType": "order.paid",
			"Detail": fmt.Sprintf(`{"n":%d,"even":%t,"note":%q}`, n, n%2 == 0, strings.Repeat("x", 300)),
		}
	}
	var out struct {
		FailedEntryCount int
		Entries          []struct{ EventID, ErrorCode string }
	}
	if err := b.aws(ctx, "AWSEvents.PutEvents", object{"Entries": entries}, &out); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(out.Entries) != len(entries) {
		b.t.Errorf("an answer of 200 about %d entries of %d", len(out.Entries), len(entries))
	}
	for i, e := range out.Entries {
		if e.ErrorCode == "" && e.EventID != "" {
			b.acks[e.EventID] = first + i
		}
	}
	return nil
}

func (b *busCrash) acknowledged() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.acks)
}

// arrivals are how many events were received from the first queue, which is
// for all, and how many are missing.
func (b *busCrash) arrivals() (arrived, missing int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for id := range b.acks {
		if b.queues[0].events[id] == nil {
			missing++
		}
	}
	return len(b.queues[0].events), missing
}

func (b *busCrash) archived() int {
	b.t.Helper()
	var archive struct{ EventCount int }
	b.must("AWSEvents.DescribeArchive", object{"ArchiveName": "crash"}, &archive)
	return archive.EventCount
}

// depth is everything that a queue holds, hidden or not.
func (b *busCrash) depth(q *crashQueue) int {
	b.t.Helper()
	names := []string{"ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible", "ApproximateNumberOfMessagesDelayed"}
	var got struct{ Attributes map[string]string }
	b.must("AmazonSQS.GetQueueAttributes", object{"QueueUrl": q.url, "AttributeNames": names}, &got)
	sum := 0
	for _, name := range names {
		var n int
		if _, err := fmt.Sscan(got.Attributes[name], &n); err != nil {
			b.t.Fatalf("%s of a queue: %q: %v", name, got.Attributes[name], err)
		}
		sum += n
	}
	return sum
}

// startReplay replays all events until to, or only into the first queue.
func (b *busCrash) startReplay(name string, to time.Time, onlyFirst bool) {
	b.t.Helper()
	target := object{"Arn": b.bus}
	if onlyFirst {
		target["FilterArns"] = b.ruleARNs[:1]
	}
	b.must("AWSEvents.StartReplay", object{
		"ReplayName": name, "EventSourceArn": b.archive, "Destination": target,
		"EventStartTime": b.began.Unix(), "EventEndTime": to.Unix(),
	}, nil)
	b.replays[name] = onlyFirst
}

func (b *busCrash) awaitReplays() {
	b.t.Helper()
	for name := range b.replays {
		var replay struct{ State, StateReason string }
		b.within(2*time.Minute, name+" has completed", func() bool {
			b.must("AWSEvents.DescribeReplay", object{"ReplayName": name}, &replay)
			return replay.State != "STARTING" && replay.State != "RUNNING"
		})
		if replay.State != "COMPLETED" {
			b.t.Errorf("%s is %s: %s", name, replay.State, replay.StateReason)
		}
	}
}

type crashReceived struct{ MessageID, ReceiptHandle, Body string }

// consume receives until ctx ends. It leaves every fifth message to come back
// once, and deletes all others.
func (b *busCrash) consume(ctx context.Context, q *crashQueue) {
	for ctx.Err() == nil {
		began := time.Now()
		var out struct{ Messages []crashReceived }
		if err := b.aws(ctx, "AmazonSQS.ReceiveMessage", object{"QueueUrl": q.url, "MaxNumberOfMessages": 10, "WaitTimeSeconds": 1}, &out); err != nil {
			if ctx.Err() == nil && errors.Is(err, errRefused) && !strings.Contains(err.Error(), "503") {
				b.t.Error(err)
				return
			}
			wait(ctx, 3*time.Millisecond)
			continue
		}
		var entries []object
		for _, m := range out.Messages {
			if b.took(q, m, began) {
				entries = append(entries, object{"Id": m.MessageID, "ReceiptHandle": m.ReceiptHandle})
			}
		}
		if len(entries) == 0 {
			continue
		}
		var deleted struct{ Successful []struct{ ID string } }
		if err := b.aws(ctx, "AmazonSQS.DeleteMessageBatch", object{"QueueUrl": q.url, "Entries": entries}, &deleted); err != nil {
			continue // it comes back
		}
		now := time.Now()
		b.mu.Lock()
		for _, d := range deleted.Successful {
			q.messages[d.ID].deleted = now
		}
		b.mu.Unlock()
	}
}

// took notes a message that was received by a request that began at a time, and
// tells whether to delete it.
func (b *busCrash) took(q *crashQueue, got crashReceived, began time.Time) bool {
	now := time.Now()
	var envelope struct {
		ID     string
		Replay string `json:"replay-name"`
		Detail struct{ N int }
	}
	if err := json.Unmarshal([]byte(got.Body), &envelope); err != nil {
		b.t.Errorf("a message is no event: %v: %s", err, got.Body)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	m := q.messages[got.MessageID]
	if m == nil {
		m = &crashMessage{abandoned: len(q.messages)%5 == 0}
		q.messages[got.MessageID] = m
		if q.events[envelope.ID] == nil {
			q.events[envelope.ID] = map[string][]int{}
		}
		q.events[envelope.ID][envelope.Replay] = append(q.events[envelope.ID][envelope.Replay], envelope.Detail.N)
		m.hiddenUntil = began.Add(busVisibility)
		return !m.abandoned
	}
	if !m.deleted.IsZero() && began.After(m.deleted) {
		b.t.Errorf("message %s was received %s after its deletion was answered", got.MessageID, began.Sub(m.deleted))
	}
	// A store counts in milliseconds.
	if m.deleted.IsZero() && now.Add(5*time.Millisecond).Before(m.hiddenUntil) {
		b.t.Errorf("message %s came back %s too early", got.MessageID, m.hiddenUntil.Sub(now))
	}
	m.back = true
	m.hiddenUntil = began.Add(busVisibility)
	return true
}

// check holds what was received against what was promised, and reports.
func (b *busCrash) check() {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	complain := newComplaints(b.t)
	for id, n := range b.acks {
		for i, q := range b.queues {
			want := 1
			if i == 1 && n%2 == 1 {
				want = 0
			}
			if copies := q.events[id][""]; len(copies) != want || want == 1 && copies[0] != n {
				complain.add("event %d is in queue %d as messages %v, want %d", n, i, copies, want)
			}
			for name, onlyFirst := range b.replays {
				copies := len(q.events[id][name])
				into := want == 1 && (i == 0 || !onlyFirst)
				switch {
				case !into && copies > 0:
					complain.add("%s put event %d into queue %d, where it does not belong", name, n, i)
				case into && copies == 0 && (name == "last" || n < busSeed):
					complain.add("%s did not put event %d into queue %d", name, n, i)
				}
			}
		}
	}
	extra, replayed, twice, abandoned, back := 0, 0, 0, 0, 0
	for _, q := range b.queues {
		for id, copies := range q.events {
			if _, ok := b.acks[id]; !ok {
				extra++
				if len(copies[""]) > 1 {
					complain.add("an event that was not acknowledged is in a queue %d times", len(copies[""]))
				}
			}
			for name, of := range copies {
				if name != "" {
					replayed += len(of)
					twice += len(of) - 1
				}
			}
		}
		for id, m := range q.messages {
			if m.abandoned {
				abandoned++
				if m.back {
					back++
				} else {
					complain.add("message %s was received, not deleted, and did not come back", id)
				}
			}
		}
	}
	complain.report()
	b.t.Logf("%d events acknowledged, each a message once in each queue it belongs in; %d messages of events that were not acknowledged; %d replays put back %d messages, %d of them again; %d of %d messages left in flight came back",
		len(b.acks), extra, len(b.replays), replayed, twice, back, abandoned)
	if len(b.acks) <= busSeed || abandoned == 0 || replayed == 0 {
		b.t.Error("the test proved nothing: nothing was put during the kills, left in flight or replayed")
	}
}

// complaints are errors of which the first few tell enough.
type complaints struct {
	t *testing.T
	n int
}

func newComplaints(t *testing.T) *complaints { t.Helper(); return &complaints{t: t} }

func (c *complaints) add(format string, args ...any) {
	if c.n++; c.n <= 10 {
		c.t.Errorf(format, args...)
	}
}

func (c *complaints) report() {
	if c.n > 10 {
		c.t.Errorf("and %d more", c.n-10)
	}
}
