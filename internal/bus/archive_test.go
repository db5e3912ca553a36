package bus

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/fault"
	"github.com/waybill-dev/waybill/internal/pattern"
	"github.com/waybill-dev/waybill/internal/store"
)

func faultCode(err error) string {
	if f := fault.As(err); f != nil {
		return f.Code
	}
	return ""
}

func TestArchiveLifeCycle(t *testing.T) {
	t.Parallel()
	f := newWorks(t)
	ctx := t.Context()
	made, err := f.CreateArchive(ctx, f.caller, NewArchive{Name: "orders", SourceARN: f.busARN(), Pattern: `{"source":["shop"]}`, Retention: 2})
	f.must(err)
	if made.ARN != arn(f.caller, "archive/orders") || made.State != ArchiveEnabled {
		t.Errorf("%+v", made)
	}
	_, err = f.CreateArchive(ctx, f.caller, NewArchive{Name: "orders", SourceARN: f.busARN()})
	mustFault(t, err, codeExists)
	f.put("order", time.Time{}, `{"n":1}`)
	f.until("the event in the archive", func() bool {
		v, err := f.DescribeArchive(ctx, f.caller, "orders")
		return err == nil && v.Count == 1 && v.Size > 100
	})

	days := 5
	text := "all of them"
	changed, err := f.UpdateArchive(ctx, f.caller, ArchiveChange{Name: "orders", Retention: &days, Description: &text})
	f.must(err)
	if changed.Retention != 5 || changed.Description != text || changed.Pattern != `{"source":["shop"]}` {
		t.Errorf("%+v", changed)
	}
	list, next, err := f.ListArchives(ctx, f.caller, ArchiveFilter{Prefix: "ord"}, "", 0)
	if err != nil || len(list) != 1 || next != "" || list[0].Count != 1 {
		t.Errorf("%v, %q, %v", list, next, err)
	}

	f.must(f.TrimShelves(ctx))
	if v, err := f.DescribeArchive(ctx, f.caller, "orders"); err != nil || v.Count != 1 {
		t.Errorf("trimmed before its time: %+v, %v", v, err)
	}
	f.advance(6 * 24 * time.Hour)
	f.must(f.TrimShelves(ctx))
	if v, err := f.DescribeArchive(ctx, f.caller, "orders"); err != nil || v.Count != 0 {
		t.Errorf("not trimmed: %+v, %v", v, err)
	}

	f.must(f.DeleteArchive(ctx, f.caller, "orders"))
	_, err = f.DescribeArchive(ctx, f.caller, "orders")
	mustFault(t, err, codeNotFound)
	mustFault(t, f.DeleteArchive(ctx, f.caller, "orders"), codeNotFound)
}

func TestArchiveRefuses(t *testing.T) {
	t.Parallel()
	f := newWorks(t)
	for name, test := range map[string]struct {
		p    NewArchive
		code string
	}{
		"name":      {NewArchive{Name: "a b", SourceARN: f.busARN()}, codeValidation},
		"no name":   {NewArchive{SourceARN: f.busARN()}, codeValidation},
		"long name": {NewArchive{Name: strings.Repeat("a", 49), SourceARN: f.busARN()}, codeValidation},
		"source":    {NewArchive{Name: "a", SourceARN: "default"}, codeValidation},
		"no bus":    {NewArchive{Name: "a", SourceARN: arn(f.caller, "event-bus/none")}, codeNotFound},
		"rule":      {NewArchive{Name: "a", SourceARN: arn(f.caller, "rule/none")}, codeValidation},
		"pattern":   {NewArchive{Name: "a", SourceARN: f.busARN(), Pattern: `{"source":"shop"}`}, codePattern},
		"retention": {NewArchive{Name: "a", SourceARN: f.busARN(), Retention: -1}, codeValidation},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := f.CreateArchive(t.Context(), f.caller, test.p)
			mustFault(t, err, test.code)
		})
	}
	_, _, err := f.ListArchives(t.Context(), f.caller, ArchiveFilter{Prefix: "a", State: ArchiveEnabled}, "", 0)
	mustFault(t, err, codeValidation)
}

func TestArchivesTakeNoReplays(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", `{}`, `{"source":["shop"]}`, `{"replay-name":["r"]}`, `{"$or":[{"source":["shop"]},{"source":["x"]}]} tail`} {
		p, err := withoutReplays(text)
		if err != nil {
			t.Fatal(err)
		}
		compiled, err := pattern.Parse(p)
		if err != nil {
			t.Fatalf("%s: %v", p, err)
		}
		if !compiled.Matches([]byte(`{"source":"shop","detail":{}}`)) {
			t.Errorf("%s does not match", p)
		}
		if compiled.Matches([]byte(`{"source":"shop","detail":{},"replay-name":"r"}`)) {
			t.Errorf("%s matches a replayed event", p)
		}
	}
}

// archived makes an archive of n events, a minute apart, and returns the time
// of the first.
func (f *worksFixture) archived(n int) time.Time {
	f.t.Helper()
	_, err := f.CreateArchive(f.t.Context(), f.caller, NewArchive{Name: "all", SourceARN: f.busARN()})
	f.must(err)
	first := f.now().Add(-24 * time.Hour).Truncate(time.Minute)
	for i := range n {
		f.put("order", first.Add(time.Duration(n-1-i)*time.Minute), fmt.Sprintf(`{"n":%d,"even":%t}`, n-1-i, (n-1-i)%2 == 0)) // newest first
	}
	f.until("the events in the archive", func() bool {
		v, err := f.DescribeArchive(f.t.Context(), f.caller, "all")
		return err == nil && v.Count == int64(n)
	})
	return first
}

func (f *worksFixture) replayIn(state string) func() bool {
	return func() bool {
		r, err := f.DescribeReplay(f.t.Context(), f.caller, "again")
		return err == nil && r.State == state
	}
}

func numbers(t *testing.T, got []string) []int {
	t.Helper()
	all := make([]int, len(got))
	for i, one := range got {
		_, payload, _ := strings.Cut(one, " ")
		var v struct {
			Replay string `json:"replay-name"`
			Detail struct{ N int }
		}
		if err := json.Unmarshal([]byte(payload), &v); err != nil || v.Replay != "again" {
			t.Fatalf("%s: %v", one, err)
		}
		all[i] = v.Detail.N
	}
	return all
}

func TestReplayInOrderOfTime(t *testing.T) {
	t.Parallel()
	f := newWorks(t)
	const n = 2*replayChunk + 5
	first := f.archived(n)
	f.rule("all-orders", `{"source":["shop"]}`, "")
	f.run(f.RunReplays)
	started, err := f.StartReplay(t.Context(), f.caller, NewReplay{
		Name: "again", ArchiveARN: arn(f.caller, "archive/all"), BusARN: f.busARN(),
		From: first.Add(time.Minute), To: first.Add((n - 1) * time.Minute),
	})
	f.must(err)
	if started.State != ReplayStarting || started.ARN != arn(f.caller, "replay/again") {
		t.Errorf("%+v", started)
	}
	got := numbers(t, f.received(n-2))
	slices.Sort(got) // deliveries are concurrent
	for i, number := range got {
		if number != i+1 {
			t.Fatalf("got %v", got)
		}
	}
	f.until("the end", f.replayIn(ReplayCompleted))
	r, err := f.DescribeReplay(t.Context(), f.caller, "again")
	f.must(err)
	if !r.Last.Equal(first.Add((n-2)*time.Minute)) || r.Ended.IsZero() {
		t.Errorf("%+v", r)
	}
	page, err := f.db.ListEvents(t.Context(), store.ListEvents{Scope: f.caller.Scope, Kind: event.OnBus, Limit: 1000})
	f.must(err)
	var order []string
	for _, e := range slices.Backward(page.Items) {
		if strings.Contains(string(e.Payload), `"replay-name":"again"`) {
			order = append(order, "- "+string(e.Payload))
		}
	}
	if was := numbers(t, order); !slices.IsSorted(was) || len(was) != n-2 {
		t.Errorf("put back as %v", was)
	}
	if v, err := f.DescribeArchive(t.Context(), f.caller, "all"); err != nil || v.Count != n {
		t.Errorf("the archive has %+v, %v", v, err)
	}
	_, err = f.CancelReplay(t.Context(), f.caller, "again")
	mustFault(t, err, codeIllegal)
}

func TestReplayToNamedRules(t *testing.T) {
	t.Parallel()
	f := newWorks(t)
	first := f.archived(6)
	f.rule("others", `{"source":["shop"]}`, "")
	named := f.rule("evens", `{"detail":{"even":[true]}}`, "")
	f.run(f.RunReplays)
	_, err := f.StartReplay(t.Context(), f.caller, NewReplay{
		Name: "again", ArchiveARN: arn(f.caller, "archive/all"), BusARN: f.busARN(),
		RuleARNs: []string{arn(f.caller, "rule/"+named.Name)}, From: first, To: f.now(),
	})
	f.must(err)
	got := f.received(3)
	f.until("the end", f.replayIn(ReplayCompleted))
	was := numbers(t, got)
	slices.Sort(was)
	if !slices.Equal(was, []int{0, 2, 4}) || strings.Contains(strings.Join(got, "\n"), "others ") {
		t.Errorf("got %q", got)
	}
	// The rules see what they would without being named: the replay's name.
	replayed, live := f.rule("replayed", `{"replay-name":["by-name"]}`, ""), f.rule("live", `{"replay-name":[{"exists":false}]}`, "")
	_, err = f.StartReplay(t.Context(), f.caller, NewReplay{
		Name: "by-name", ArchiveARN: arn(f.caller, "archive/all"), BusARN: f.busARN(),
		RuleARNs: []string{arn(f.caller, "rule/"+replayed.Name), arn(f.caller, "rule/"+live.Name)}, From: first, To: f.now(),
	})
	f.must(err)
	for _, one := range f.received(6) {
		if !strings.HasPrefix(one, "replayed ") {
			t.Error(one)
		}
	}
	_, err = f.StartReplay(t.Context(), f.caller, NewReplay{
		Name: "more", ArchiveARN: arn(f.caller, "archive/all"), BusARN: f.busARN(),
		RuleARNs: []string{arn(f.caller, "rule/none")}, From: first, To: f.now(),
	})
	mustFault(t, err, codeNotFound)
}

// A replay goes on where the process before had got to.
func TestReplaySurvivesItsProcess(t *testing.T) {
	t.Parallel()
	f := newWorks(t)
	const n = replayChunk + 10
	first := f.archived(n)
	f.rule("all-orders", `{"source":["shop"]}`, "")
	_, err := f.StartReplay(t.Context(), f.caller, NewReplay{
		Name: "again", ArchiveARN: arn(f.caller, "archive/all"), BusARN: f.busARN(), From: first, To: f.now(),
	})
	f.must(err)
	active, err := f.activeReplays(t.Context())
	f.must(err)
	if done, err := f.replayStep(t.Context(), active[0]); done || err != nil {
		t.Fatal(done, err)
	}
	if !f.replayIn(ReplayRunning)() {
		t.Error("not running")
	}
	before := f.received(replayChunk)
	f.open()
	f.run(f.RunReplays)
	f.until("the end", f.replayIn(ReplayCompleted))
	got := numbers(t, append(before, f.received(n-replayChunk)...))
	slices.Sort(got)
	for i, number := range got {
		if number != i {
			t.Fatalf("got %v", got)
		}
	}
}

func TestReplayIsCancelled(t *testing.T) {
	t.Parallel()
	f := newWorks(t)
	first := f.archived(1)
	_, err := f.StartReplay(t.Context(), f.caller, NewReplay{
		Name: "again", ArchiveARN: arn(f.caller, "archive/all"), BusARN: f.busARN(), From: first, To: f.now(),
	})
	f.must(err)
	v, err := f.CancelReplay(t.Context(), f.caller, "again")
	if err != nil || v.State != ReplayCancelling {
		t.Fatal(v, err)
	}
	f.run(f.RunReplays)
	f.until("the end", f.replayIn(ReplayCancelled))
	list, _, err := f.ListReplays(t.Context(), f.caller, ReplayFilter{State: ReplayCancelled}, "", 10)
	if err != nil || len(list) != 1 || list[0].Name != "again" {
		t.Error(list, err)
	}
	f.advance(replayKept + time.Hour)
	f.must(f.TrimShelves(t.Context()))
	_, err = f.DescribeReplay(t.Context(), f.caller, "again")
	mustFault(t, err, codeNotFound)
}

func TestReplayRefuses(t *testing.T) {
	t.Parallel()
	f := newWorks(t)
	first := f.archived(1)
	good := NewReplay{Name: "again", ArchiveARN: arn(f.caller, "archive/all"), BusARN: f.busARN(), From: first, To: f.now()}
	for name, test := range map[string]struct {
		edit func(*NewReplay)
		code string
	}{
		"times":       {func(p *NewReplay) { p.From, p.To = p.To, p.From }, codeValidation},
		"no times":    {func(p *NewReplay) { p.From, p.To = time.Time{}, time.Time{} }, codeValidation},
		"name":        {func(p *NewReplay) { p.Name = "a b" }, codeValidation},
		"no archive":  {func(p *NewReplay) { p.ArchiveARN = arn(f.caller, "archive/none") }, codeNotFound},
		"not archive": {func(p *NewReplay) { p.ArchiveARN = f.busARN() }, codeValidation},
		"other bus":   {func(p *NewReplay) { p.BusARN = arn(f.caller, "event-bus/other") }, codeValidation},
		"other rule":  {func(p *NewReplay) { p.RuleARNs = []string{arn(f.caller, "rule/other/r")} }, codeValidation},
	} {
		t.Run(name, func(t *testing.T) {
			p := good
			test.edit(&p)
			_, err := f.StartReplay(t.Context(), f.caller, p)
			mustFault(t, err, test.code)
		})
	}
	_, err := f.StartReplay(t.Context(), f.caller, good)
	f.must(err)
	_, err = f.StartReplay(t.Context(), f.caller, good)
	mustFault(t, err, codeExists)
	for n := range maxReplays {
		p := good
		p.Name = fmt.Sprint("more-", n)
		_, err = f.StartReplay(t.Context(), f.caller, p)
	}
	mustFault(t, err, codeLimit)
	f.must(f.DeleteArchive(t.Context(), f.caller, "all"))
	f.run(f.RunReplays)
	f.until("its failure", f.replayIn(ReplayFailed))
}
