package queue_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/waybill-dev/waybill/internal/account"
	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/fault"
	"github.com/waybill-dev/waybill/internal/queue"
	"github.com/waybill-dev/waybill/internal/store"
	"github.com/waybill-dev/waybill/internal/store/sqlite"
)

const base = "http://queues.test"

var caller = account.AWSCaller{Scope: event.NewScope(1, true), AccountID: "000000000042", Region: "us-east-1"}

func arnOf(name string) string { return "arn:aws:sqs:us-east-1:000000000042:" + name }

func ptr[T any](v T) *T { return &v }

// watched counts transactions, and fails them while err is set.
type watched struct {
	*sqlite.DB
	mu      sync.Mutex
	err     error
	changes int
	during  func() // called in each
}

func (w *watched) ChangeQueues(ctx context.Context, ops []*store.QueueOp, now time.Time) error {
	w.mu.Lock()
	w.changes++
	err, during := w.err, w.during
	w.mu.Unlock()
	if err != nil {
		return err
	}
	if during != nil {
		during()
	}
	return w.DB.ChangeQueues(ctx, ops, now)
}

type fixture struct {
	t  *testing.T
	db *watched
	*queue.Service
	moves sync.WaitGroup
}

func open(t *testing.T) *watched {
	t.Helper()
	db, err := sqlite.Open(t.Context(), sqlite.Options{Path: filepath.Join(t.TempDir(), "waybill.db")})
	if err != nil {
		t.Fatal(err)
	}
	return &watched{DB: db}
}

func start(t *testing.T, db *watched) *fixture {
	t.Helper()
	s := queue.New(queue.Options{Store: db, URL: func() string { return base }})
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	f := &fixture{t: t, db: db, Service: s}
	f.moves.Go(func() { s.RunMoves(context.WithoutCancel(t.Context())) })
	return f
}

// Stop ends the process.
func (f *fixture) Stop() {
	f.Service.Stop()
	f.moves.Wait()
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	f := start(t, open(t))
	t.Cleanup(f.close)
	return f
}

func (f *fixture) close() {
	f.Stop()
	if err := f.db.Close(); err != nil {
		f.t.Error(err)
	}
}

func (f *fixture) create(name string, attributes map[string]string) string {
	f.t.Helper()
	url, err := f.Create(f.t.Context(), caller, name, attributes, nil)
	if err != nil {
		f.t.Fatalf("create %s: %v", name, err)
	}
	return url
}

func (f *fixture) send(url string, e queue.Entry) queue.Sent {
	f.t.Helper()
	sent, err := f.Send(f.t.Context(), caller, url, e)
	if err != nil {
		f.t.Fatalf("send: %v", err)
	}
	return sent
}

func (f *fixture) receive(url string, p queue.Receive) []queue.Received {
	f.t.Helper()
	p.QueueURL = url
	got, err := f.Receive(f.t.Context(), caller, p)
	if err != nil {
		f.t.Fatalf("receive: %v", err)
	}
	return got
}

func (f *fixture) attribute(url, name string) string {
	f.t.Helper()
	got, err := f.Attributes(f.t.Context(), caller, url, []string{name})
	if err != nil {
		f.t.Fatal(err)
	}
	return got[name]
}

func wantCode(t *testing.T, what string, err error, code string) {
	t.Helper()
	f := fault.As(err)
	if f == nil || f.Code != code {
		t.Errorf("%s: %v, want code %s", what, err, code)
	}
}

func bodies(got []queue.Received) string {
	var all []string
	for _, m := range got {
		all = append(all, m.Body)
	}
	return strings.Join(all, " ")
}

func TestCreateIsIdempotent(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	url := f.create("orders", map[string]string{"DelaySeconds": "5"})
	if url != base+"/000000000042/orders" {
		t.Errorf("url %q", url)
	}
	for _, same := range []map[string]string{nil, {"DelaySeconds": "5"}, {"VisibilityTimeout": "30"}} {
		if again, err := f.Create(t.Context(), caller, "orders", same, nil); err != nil || again != url {
			t.Errorf("again with %v: %q, %v", same, again, err)
		}
	}
	_, err := f.Create(t.Context(), caller, "orders", map[string]string{"DelaySeconds": "6"}, nil)
	wantCode(t, "other attributes", err, "QueueNameExists")

	other := caller
	other.Scope, other.AccountID = event.NewScope(2, true), "000000000043"
	_, err = f.URL(t.Context(), other, "orders", "")
	wantCode(t, "another account's queue", err, "QueueDoesNotExist")
	_, err = f.Send(t.Context(), other, url, queue.Entry{Body: "x"})
	wantCode(t, "send to another account's queue", err, "QueueDoesNotExist")
	if _, err := f.Send(t.Context(), caller, "https://elsewhere:99/000000000042/orders", queue.Entry{Body: "x"}); err != nil {
		t.Errorf("by another host: %v", err)
	}
	elsewhere := caller
	elsewhere.Region = "eu-west-1"
	_, err = f.Send(t.Context(), elsewhere, url, queue.Entry{Body: "x"})
	wantCode(t, "another region", err, "QueueDoesNotExist")

	if err := f.Delete(t.Context(), caller, url); err != nil {
		t.Fatal(err)
	}
	_, err = f.Send(t.Context(), caller, url, queue.Entry{Body: "x"})
	wantCode(t, "send to a deleted queue", err, "QueueDoesNotExist")
	wantCode(t, "delete twice", f.Delete(t.Context(), caller, url), "QueueDoesNotExist")
	f.create("orders", nil)
	if got := f.receive(url, queue.Receive{}); len(got) != 0 {
		t.Errorf("the new queue has the old one's messages: %v", got)
	}
}

func TestCreateRefuses(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.create("dead.fifo", map[string]string{"FifoQueue": "true"})
	f.create("closed", map[string]string{"RedriveAllowPolicy": `{"redrivePermission":"denyAll"}`})
	redrive := func(arn, count string) map[string]string {
		return map[string]string{"RedrivePolicy": fmt.Sprintf(`{"deadLetterTargetArn":%q,"maxReceiveCount":%s}`, arn, count)}
	}
	for _, tc := range []struct {
		name, code string
		attributes map[string]string
	}{
		{"", "MissingParameter", nil},
		{"a b", "InvalidParameterValue", nil},
		{strings.Repeat("a", 81), "InvalidParameterValue", nil},
		{"a.fifo", "InvalidParameterValue", nil},
		{"a", "InvalidParameterValue", map[string]string{"FifoQueue": "true"}},
		{"a", "InvalidAttributeName", map[string]string{"Nonsense": "1"}},
		{"a", "InvalidAttributeName", map[string]string{"QueueArn": "x"}},
		{"a", "InvalidAttributeName", map[string]string{"ContentBasedDeduplication": "true"}},
		{"a", "InvalidAttributeValue", map[string]string{"DelaySeconds": "901"}},
		{"a", "InvalidAttributeValue", map[string]string{"DelaySeconds": "-1"}},
		{"a", "InvalidAttributeValue", map[string]string{"MaximumMessageSize": "1023"}},
		{"a", "InvalidAttributeValue", map[string]string{"MaximumMessageSize": "1048577"}},
		{"a", "InvalidAttributeValue", map[string]string{"MessageRetentionPeriod": "59"}},
		{"a", "InvalidAttributeValue", map[string]string{"ReceiveMessageWaitTimeSeconds": "21"}},
		{"a", "InvalidAttributeValue", map[string]string{"VisibilityTimeout": "x"}},
		{"a", "InvalidAttributeValue", map[string]string{"VisibilityTimeout": ""}},
		{"a", "InvalidAttributeValue", map[string]string{"Policy": "{"}},
		{"a.fifo", "InvalidAttributeValue", map[string]string{"FifoQueue": "true", "FifoThroughputLimit": "perMessageGroupId"}},
		{"a", "InvalidParameterValue", map[string]string{"RedrivePolicy": "3"}},
		{"a", "InvalidParameterValue", map[string]string{"RedrivePolicy": "{}"}},
		{"a", "InvalidParameterValue", map[string]string{"RedriveAllowPolicy": `{"redrivePermission":"some"}`}},
		{"a", "InvalidParameterValue", redrive(arnOf("nowhere"), "3")},
		{"a", "InvalidParameterValue", redrive(arnOf("dead.fifo"), "3")},
		{"a", "InvalidParameterValue", redrive(arnOf("closed"), "3")},
		{"a", "InvalidParameterValue", redrive(arnOf("closed"), "0")},
	} {
		_, err := f.Create(t.Context(), caller, tc.name, tc.attributes, nil)
		wantCode(t, fmt.Sprintf("%q %v", tc.name, tc.attributes), err, tc.code)
	}
}

func TestAttributesAndPermissions(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	url := f.create("q", nil)
	if err := f.SetAttributes(t.Context(), caller, url, map[string]string{"VisibilityTimeout": "7", "KmsMasterKeyId": "alias/k"}); err != nil {
		t.Fatal(err)
	}
	all, err := f.Attributes(t.Context(), caller, url, []string{"All"})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"VisibilityTimeout": "7", "KmsMasterKeyId": "alias/k", "DelaySeconds": "0", "MaximumMessageSize": "1048576",
		"MessageRetentionPeriod": "345600", "QueueArn": arnOf("q"), "ApproximateNumberOfMessages": "0",
	} {
		if all[name] != want {
			t.Errorf("%s = %q, want %q", name, all[name], want)
		}
	}
	for _, absent := range []string{"FifoQueue", "Policy", "RedrivePolicy"} {
		if v, ok := all[absent]; ok {
			t.Errorf("%s = %q, want none", absent, v)
		}
	}
	if err := f.SetAttributes(t.Context(), caller, url, map[string]string{"KmsMasterKeyId": ""}); err != nil {
		t.Fatal(err)
	}
	if got := f.attribute(url, "KmsMasterKeyId"); got != "" {
		t.Errorf("a key taken away is %q", got)
	}
	wantCode(t, "another type", f.SetAttributes(t.Context(), caller, url, map[string]string{"FifoQueue": "true"}), "InvalidAttributeValue")
	_, err = f.Attributes(t.Context(), caller, url, []string{"Nonsense"})
	wantCode(t, "unknown name", err, "InvalidAttributeName")

	if err := f.AddPermission(t.Context(), caller, url, "share", []string{"111111111111"}, []string{"SendMessage"}); err != nil {
		t.Fatal(err)
	}
	wantCode(t, "label twice", f.AddPermission(t.Context(), caller, url, "share", []string{"1"}, []string{"*"}), "InvalidParameterValue")
	if got := f.attribute(url, "Policy"); !strings.Contains(got, "arn:aws:iam::111111111111:root") {
		t.Errorf("policy %q", got)
	}
	if err := f.RemovePermission(t.Context(), caller, url, "share"); err != nil {
		t.Fatal(err)
	}
	wantCode(t, "label gone", f.RemovePermission(t.Context(), caller, url, "share"), "InvalidParameterValue")
}

func TestSendRefuses(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	std := f.create("std", map[string]string{"MaximumMessageSize": "1024"})
	fifo := f.create("f.fifo", map[string]string{"FifoQueue": "true"})
	attr := func(name, kind, value string) []event.Attribute {
		return []event.Attribute{{Name: name, Type: kind, Value: value}}
	}
	for _, tc := range []struct {
		name, url, code string
		e               queue.Entry
	}{
		{"no queue", base + "/000000000042/none", "QueueDoesNotExist", queue.Entry{Body: "x"}},
		{"no url", "", "MissingParameter", queue.Entry{Body: "x"}},
		{"no body", std, "MissingParameter", queue.Entry{}},
		{"control character", std, "InvalidMessageContents", queue.Entry{Body: "a\x01"}},
		{"too long", std, "InvalidParameterValue", queue.Entry{Body: strings.Repeat("a", 1025)}},
		{"too long with attributes", std, "InvalidParameterValue", queue.Entry{Body: strings.Repeat("a", 1020), Attributes: attr("a", "String", "b")}},
		{"delay", std, "InvalidParameterValue", queue.Entry{Body: "x", Delay: ptr(901)}},
		{"deduplication", std, "InvalidParameterValue", queue.Entry{Body: "x", DedupID: "d"}},
		{"attribute name", std, "InvalidParameterValue", queue.Entry{Body: "x", Attributes: attr("AWS.x", "String", "b")}},
		{"attribute type", std, "InvalidParameterValue", queue.Entry{Body: "x", Attributes: attr("x", "Text", "b")}},
		{"attribute value", std, "InvalidParameterValue", queue.Entry{Body: "x", Attributes: attr("x", "String", "")}},
		{"attribute number", std, "InvalidParameterValue", queue.Entry{Body: "x", Attributes: attr("x", "Number", "one")}},
		{"system attribute", std, "InvalidParameterValue", queue.Entry{Body: "x", SystemAttributes: attr("Other", "String", "b")}},
		{"no group", fifo, "MissingParameter", queue.Entry{Body: "x", DedupID: "d"}},
		{"no deduplication", fifo, "InvalidParameterValue", queue.Entry{Body: "x", GroupID: "g"}},
		{"bad group", fifo, "InvalidParameterValue", queue.Entry{Body: "x", GroupID: "g h", DedupID: "d"}},
		{"fifo delay", fifo, "InvalidParameterValue", queue.Entry{Body: "x", GroupID: "g", DedupID: "d", Delay: ptr(1)}},
	} {
		_, err := f.Send(t.Context(), caller, tc.url, tc.e)
		wantCode(t, tc.name, err, tc.code)
	}
}

func TestBatches(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	url := f.create("q", nil)
	sent, failed, err := f.SendBatch(t.Context(), caller, url, []queue.Entry{{ID: "a", Body: "1"}, {ID: "b"}, {ID: "c", Body: "3"}})
	if err != nil || len(sent) != 2 || len(failed) != 1 || failed[0].ID != "b" || failed[0].Code != "MissingParameter" || !failed[0].SenderFault {
		t.Fatalf("sent %v, failed %v, %v", sent, failed, err)
	}
	got := f.receive(url, queue.Receive{Max: ptr(10)})
	if len(got) != 2 {
		t.Fatalf("received %v", got)
	}
	done, failed, err := f.ChangeVisibilities(t.Context(), caller, url, []queue.Change{
		{ID: "a", Handle: got[0].Handle, Visibility: ptr(0)}, {ID: "b", Handle: got[1].Handle}, {ID: "c", Handle: "x", Visibility: ptr(0)},
	})
	if err != nil || fmt.Sprint(done) != "[a]" || len(failed) != 2 {
		t.Errorf("changed %v, failed %v, %v", done, failed, err)
	}
	done, failed, err = f.DeleteMessages(t.Context(), caller, url, []queue.Change{{ID: "a", Handle: got[0].Handle}, {ID: "b", Handle: "?"}})
	if err != nil || fmt.Sprint(done) != "[a]" || len(failed) != 1 || failed[0].Code != "ReceiptHandleIsInvalid" {
		t.Errorf("deleted %v, failed %v, %v", done, failed, err)
	}
	eleven := make([]queue.Entry, 11)
	half := strings.Repeat("x", queue.MaxRequest/2)
	for _, tc := range []struct {
		code    string
		entries []queue.Entry
	}{
		{"EmptyBatchRequest", nil},
		{"TooManyEntriesInBatchRequest", eleven},
		{"BatchEntryIdsNotDistinct", []queue.Entry{{ID: "a", Body: "1"}, {ID: "a", Body: "2"}}},
		{"InvalidBatchEntryId", []queue.Entry{{ID: "a b", Body: "1"}}},
		{"BatchRequestTooLong", []queue.Entry{{ID: "a", Body: half}, {ID: "b", Body: half + "x"}}},
	} {
		_, _, err := f.SendBatch(t.Context(), caller, url, tc.entries)
		wantCode(t, tc.code, err, tc.code)
	}
}

func TestVisibility(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := start(t, open(t))
		defer func() { f.close() }()
		url := f.create("q", map[string]string{"VisibilityTimeout": "10"})
		f.send(url, queue.Entry{Body: "m"})
		first := f.receive(url, queue.Receive{System: []string{"All"}})
		if bodies(first) != "m" || first[0].System["ApproximateReceiveCount"] != "1" {
			t.Fatalf("received %v", first)
		}
		if got := f.receive(url, queue.Receive{}); len(got) != 0 {
			t.Fatalf("hidden, but received %v", got)
		}
		if n := f.attribute(url, "ApproximateNumberOfMessagesNotVisible"); n != "1" {
			t.Errorf("%s in flight", n)
		}
		began := time.Now()
		second := f.receive(url, queue.Receive{Wait: ptr(20), System: []string{"ApproximateReceiveCount"}})
		if bodies(second) != "m" || second[0].System["ApproximateReceiveCount"] != "2" {
			t.Fatalf("received %v", second)
		}
		if waited := time.Since(began); waited < 9*time.Second || waited > 11*time.Second {
			t.Errorf("waited %v for a timeout of 10 s", waited)
		}
		wantCode(t, "outdated receipt", f.ChangeVisibility(t.Context(), caller, url, first[0].Handle, ptr(5)), "MessageNotInflight")
		if err := f.DeleteMessage(t.Context(), caller, url, first[0].Handle); err != nil {
			t.Errorf("delete with an outdated receipt: %v", err)
		}
		if err := f.ChangeVisibility(t.Context(), caller, url, second[0].Handle, ptr(0)); err != nil {
			t.Fatal(err)
		}
		third := f.receive(url, queue.Receive{})
		if len(third) != 1 {
			t.Fatal("made visible, but not received")
		}
		if err := f.DeleteMessage(t.Context(), caller, url, third[0].Handle); err != nil {
			t.Fatal(err)
		}
		began = time.Now()
		if got := f.receive(url, queue.Receive{Wait: ptr(20)}); len(got) != 0 {
			t.Errorf("deleted, but received %v", got)
		}
		if waited := time.Since(began); waited != 20*time.Second {
			t.Errorf("waited %v, want 20 s", waited)
		}
	})
}

func TestLongPolling(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := start(t, open(t))
		defer func() { f.close() }()
		url := f.create("q", nil)
		const pollers = 5
		got := make(chan []queue.Received, pollers)
		for range pollers {
			go func() { got <- f.receive(url, queue.Receive{Wait: ptr(20)}) }()
		}
		synctest.Wait()
		began := time.Now()
		for i := range pollers - 1 {
			f.send(url, queue.Entry{Body: fmt.Sprint(i)})
		}
		f.send(url, queue.Entry{Body: "late", Delay: ptr(3)})
		seen := map[string]bool{}
		for range pollers {
			seen[bodies(<-got)] = true
		}
		if len(seen) != pollers || !seen["late"] {
			t.Errorf("received %v", seen)
		}
		if waited := time.Since(began); waited < 3*time.Second || waited > 4*time.Second {
			t.Errorf("waited %v for a delay of 3 s", waited)
		}

		ctx, cancel := context.WithCancel(t.Context())
		failed := make(chan error)
		go func() {
			_, err := f.Receive(ctx, caller, queue.Receive{QueueURL: url, Wait: ptr(20)})
			failed <- err
		}()
		synctest.Wait()
		cancel()
		if err := <-failed; !errors.Is(err, context.Canceled) {
			t.Errorf("a receiver that left got %v", err)
		}

		go func() { got <- f.receive(url, queue.Receive{Wait: ptr(20)}) }()
		synctest.Wait()
		began = time.Now()
		f.Stop()
		<-got
		if time.Since(began) != 0 {
			t.Error("stopping waits for receivers")
		}
		_, err := f.Send(t.Context(), caller, url, queue.Entry{Body: "x"})
		wantCode(t, "send after stop", err, "service_unavailable")
	})
}

func TestAReceiverThatLeftKeepsNothing(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	url := f.create("q", nil)
	f.send(url, queue.Entry{Body: "m"})
	ctx, cancel := context.WithCancel(t.Context())
	f.db.mu.Lock()
	f.db.during = cancel
	f.db.mu.Unlock()
	if _, err := f.Receive(ctx, caller, queue.Receive{QueueURL: url}); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	if got := f.receive(url, queue.Receive{}); bodies(got) != "m" {
		t.Errorf("the next receiver gets %v", got)
	}
}

func TestFIFO(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	url := f.create("q.fifo", map[string]string{"FifoQueue": "true", "ContentBasedDeduplication": "true"})
	a1 := f.send(url, queue.Entry{Body: "a1", GroupID: "a"})
	f.send(url, queue.Entry{Body: "a2", GroupID: "a"})
	f.send(url, queue.Entry{Body: "b1", GroupID: "b"})
	if again := f.send(url, queue.Entry{Body: "a1", GroupID: "a"}); again.MessageID != a1.MessageID || again.Sequence != a1.Sequence {
		t.Errorf("the duplicate is %+v, the first %+v", again, a1)
	}
	first := f.receive(url, queue.Receive{System: []string{"All"}})
	if bodies(first) != "a1" || first[0].System["SequenceNumber"] != a1.Sequence || first[0].System["MessageGroupId"] != "a" {
		t.Fatalf("received %+v", first)
	}
	if got := bodies(f.receive(url, queue.Receive{Max: ptr(10)})); got != "b1" {
		t.Errorf("with a1 in flight: %q, want b1", got)
	}
	got := make(chan []queue.Received)
	go func() { got <- f.receive(url, queue.Receive{Wait: ptr(20)}) }()
	if err := f.DeleteMessage(t.Context(), caller, url, first[0].Handle); err != nil {
		t.Fatal(err)
	}
	if got := bodies(<-got); got != "a2" {
		t.Errorf("after a1: %q, want a2", got)
	}
	wantCode(t, "outdated receipt", f.DeleteMessage(t.Context(), caller, url, first[0].Handle), "InvalidParameterValue")
}

func TestDeadLettersAndMovingBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := start(t, open(t))
		defer func() { f.close() }()
		dead := f.create("dead", nil)
		source := f.create("source", map[string]string{
			"RedrivePolicy": `{"deadLetterTargetArn":"` + arnOf("dead") + `","maxReceiveCount":"1"}`,
		})
		waiting := make(chan []queue.Received)
		go func() {
			waiting <- f.receive(dead, queue.Receive{Wait: ptr(20), Visibility: ptr(0), System: []string{"DeadLetterQueueSourceArn"}})
		}()
		synctest.Wait()
		for i := range 5 {
			f.send(source, queue.Entry{Body: fmt.Sprint(i)})
		}
		f.receive(source, queue.Receive{Max: ptr(10), Visibility: ptr(0)})
		if got := f.receive(source, queue.Receive{Max: ptr(10)}); len(got) != 0 {
			t.Fatalf("received too often, but again: %v", got)
		}
		if got := <-waiting; len(got) != 1 || got[0].System["DeadLetterQueueSourceArn"] != arnOf("source") {
			t.Errorf("waiting for dead letters: %+v", got)
		}
		urls, _, err := f.DeadLetterSources(t.Context(), caller, dead, 0, "")
		if err != nil || len(urls) != 1 || urls[0] != source {
			t.Errorf("sources %v, %v", urls, err)
		}

		_, err = f.StartMove(t.Context(), caller, arnOf("source"), "", nil)
		wantCode(t, "no dead-letter queue", err, "InvalidParameterValue")
		_, err = f.StartMove(t.Context(), caller, arnOf("none"), "", nil)
		wantCode(t, "no queue", err, "ResourceNotFoundException")

		// One a second, so that it can be caught at work, and restarted.
		handle, err := f.StartMove(t.Context(), caller, arnOf("dead"), "", ptr(1))
		if err != nil {
			t.Fatal(err)
		}
		_, err = f.StartMove(t.Context(), caller, arnOf("dead"), "", nil)
		wantCode(t, "two at a time", err, "UnsupportedOperation")
		f.receive(source, queue.Receive{Wait: ptr(20), Visibility: ptr(600)})
		f.Stop()
		f = start(t, f.db)
		f.receive(source, queue.Receive{Wait: ptr(20), Visibility: ptr(600)})
		moved, err := f.CancelMove(t.Context(), caller, handle)
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		tasks, err := f.Moves(t.Context(), caller, arnOf("dead"), 10)
		if err != nil || len(tasks) != 1 || tasks[0].Status != "CANCELLED" || tasks[0].ToMove != 5 || tasks[0].Moved < 1 || moved > tasks[0].Moved {
			t.Errorf("tasks %+v (%d moved when cancelled), %v", tasks, moved, err)
		}
		_, err = f.CancelMove(t.Context(), caller, handle)
		wantCode(t, "cancel twice", err, "UnsupportedOperation")

		if _, err := f.StartMove(t.Context(), caller, arnOf("dead"), arnOf("source"), nil); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if got := f.receive(source, queue.Receive{Wait: ptr(20), Visibility: ptr(600)}); len(got) != 1 {
				t.Errorf("received %v", got)
			}
		}
		<-time.After(5 * time.Second) // the bubble's clock: the task ends meanwhile
		tasks, err = f.Moves(t.Context(), caller, arnOf("dead"), 0)
		if err != nil || len(tasks) != 1 || tasks[0].Status != "COMPLETED" || tasks[0].Handle != "" {
			t.Errorf("tasks %+v, %v", tasks, err)
		}
		if n := f.attribute(dead, "ApproximateNumberOfMessages"); n != "0" {
			t.Errorf("%s dead letters left", n)
		}
	})
}

func TestPurgeAndRetention(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := start(t, open(t))
		defer func() { f.close() }()
		url := f.create("q", map[string]string{"MessageRetentionPeriod": "60"})
		f.send(url, queue.Entry{Body: "m"})
		if err := f.Purge(t.Context(), caller, url); err != nil {
			t.Fatal(err)
		}
		wantCode(t, "purge twice", f.Purge(t.Context(), caller, url), "PurgeQueueInProgress")
		if got := f.receive(url, queue.Receive{}); len(got) != 0 {
			t.Errorf("purged, but received %v", got)
		}
		f.send(url, queue.Entry{Body: "m"})
		<-time.After(time.Hour) // the bubble's clock
		if err := f.DropExpired(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := f.attribute(url, "ApproximateNumberOfMessages"); n != "0" {
			t.Errorf("%s messages past their retention", n)
		}
		if err := f.Purge(t.Context(), caller, url); err != nil {
			t.Errorf("purge later: %v", err)
		}
	})
}

func TestListAndTags(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for _, name := range []string{"a1", "a2", "a3", "b1"} {
		f.create(name, nil)
	}
	one, next, err := f.List(t.Context(), caller, "a", 2, "")
	if err != nil || len(one) != 2 || next == "" {
		t.Fatalf("page %v, next %q, %v", one, next, err)
	}
	two, next, err := f.List(t.Context(), caller, "a", 2, next)
	if err != nil || len(two) != 1 || next != "" || two[0] != base+"/000000000042/a3" {
		t.Errorf("page %v, next %q, %v", two, next, err)
	}
	if err := f.Tag(t.Context(), caller, one[0], map[string]string{"k": "v", "l": "w"}); err != nil {
		t.Fatal(err)
	}
	if err := f.Untag(t.Context(), caller, one[0], []string{"l", "m"}); err != nil {
		t.Fatal(err)
	}
	if tags, err := f.Tags(t.Context(), caller, one[0]); err != nil || fmt.Sprint(tags) != "map[k:v]" {
		t.Errorf("tags %v, %v", tags, err)
	}
	wantCode(t, "a tag of AWS's", f.Tag(t.Context(), caller, one[0], map[string]string{"aws:x": "1"}), "InvalidParameterValue")
}

func TestDeposit(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.create("q", map[string]string{"MaximumMessageSize": "1024", "DelaySeconds": "9"})
	f.create("content.fifo", map[string]string{"FifoQueue": "true", "ContentBasedDeduplication": "true"})
	f.create("plain.fifo", map[string]string{"FifoQueue": "true"})
	d, err := f.Deposit(caller.Scope, arnOf("q"), "", "id", []byte("x"), nil)
	if err != nil || d.Kind != event.IntoQueue || d.Into == 0 || time.Until(d.VisibleAt) < 8*time.Second || d.DedupID != "" {
		t.Errorf("deposit %+v, %v", d, err)
	}
	d, err = f.Deposit(caller.Scope, arnOf("content.fifo"), "g", "id", []byte("x"), nil)
	if err != nil || d.GroupID != "g" || d.DedupID != "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881" {
		t.Errorf("deposit %+v, %v", d, err)
	}
	d, err = f.Deposit(caller.Scope, arnOf("plain.fifo"), "g", "id", []byte("x"), nil)
	if err != nil || d.DedupID != "id" {
		t.Errorf("deposit %+v, %v", d, err)
	}
	for _, tc := range []struct {
		scope event.Scope
		arn   string
		body  string
		want  error
	}{
		{caller.Scope, arnOf("none"), "x", queue.ErrNoQueue},
		{event.NewScope(2, true), arnOf("q"), "x", queue.ErrNoQueue},
		{caller.Scope, arnOf("q"), strings.Repeat("x", 1025), queue.ErrTooLong},
		{caller.Scope, arnOf("plain.fifo"), "x", queue.ErrNoGroup},
	} {
		if _, err := f.Deposit(tc.scope, tc.arn, "", "id", []byte(tc.body), nil); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v, want %v", tc.arn, err, tc.want)
		}
	}
}

func TestConcurrentSendsShareTransactions(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	url := f.create("q", nil)
	const senders, each = 32, 20
	var all sync.WaitGroup
	for range senders {
		all.Go(func() {
			for range each {
				f.send(url, queue.Entry{Body: "m"})
			}
		})
	}
	all.Wait()
	if n := f.attribute(url, "ApproximateNumberOfMessages"); n != fmt.Sprint(senders*each) {
		t.Errorf("%s messages, want %d", n, senders*each)
	}
	if f.db.changes > senders*each/2 {
		t.Errorf("%d transactions for %d sends", f.db.changes, senders*each)
	}
}

func TestAStoreThatFails(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	url := f.create("q", nil)
	fail := func(err error) {
		f.db.mu.Lock()
		defer f.db.mu.Unlock()
		f.db.err = err
	}
	fail(store.ErrUnavailable)
	_, err := f.Send(t.Context(), caller, url, queue.Entry{Body: "m"})
	wantCode(t, "send", err, "service_unavailable")
	_, err = f.Receive(t.Context(), caller, queue.Receive{QueueURL: url})
	wantCode(t, "receive", err, "service_unavailable")
	fail(nil)
	f.send(url, queue.Entry{Body: "m"})
	if got := f.receive(url, queue.Receive{}); bodies(got) != "m" {
		t.Errorf("received %v", got)
	}
}
