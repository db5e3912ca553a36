package storetest

import (
	"bytes"
	"fmt"
	"time"

	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/store"
)

func (f *fixture) logged(p store.LogQuery) []string {
	f.Helper()
	if p.Limit == 0 {
		p.Limit = 1000
	}
	entries, err := f.s.LogEntries(f.ctx, p)
	f.ok(err)
	var messages []string
	last := p.After
	for _, e := range entries {
		if e.ID <= last {
			f.Fatalf("entry %d after %d", e.ID, last)
		}
		last = e.ID
		messages = append(messages, string(e.Message))
	}
	return messages
}

func (f *fixture) archivedIn(archive int64) []store.ArchivedEvent {
	f.Helper()
	found, err := f.s.ArchivedEvents(f.ctx, store.ArchiveQuery{Archive: archive, Limit: 1000})
	f.ok(err)
	return found
}

func (f *fixture) testDeposits() {
	queue, group, archive := f.resource(store.KindQueue, "q"), f.resource(store.KindLogGroup, "l"), f.resource(store.KindArchive, "a")
	fifo, gone := f.resource(store.KindQueue, "q.fifo"), f.resource(store.KindQueue, "gone")
	f.remove(gone)
	e := f.busEvent(1, 0, f.now)
	fill := func(b *store.Batch, n int) {
		for i := range n {
			body := []byte(fmt.Sprint("m", i))
			b.Deposits = append(b.Deposits,
				&event.Deposit{Kind: event.IntoQueue, Into: queue.Number, Body: body, Attributes: []event.Attribute{{Name: "n", Type: "Binary", Value: "\xff\x00"}}},
				&event.Deposit{Kind: event.IntoLog, Into: group.Number, Body: body},
				&event.Deposit{Kind: event.IntoArchive, Into: archive.Number, Event: e}, // once, however often
				&event.Deposit{Kind: event.IntoQueue, Into: gone.Number, Body: body},
				&event.Deposit{Kind: event.IntoQueue, Into: 1 << 40, Body: body},
				&event.Deposit{Kind: event.IntoLog, Into: queue.Number, Body: body},
				&event.Deposit{Kind: event.IntoQueue, Into: fifo.Number, Body: body, GroupID: "g", DedupID: fmt.Sprint(i / 2)})
		}
	}
	refused := f.batch()
	fill(refused, 3)
	refused.Epoch--
	f.is(f.s.Commit(f.ctx, refused), store.ErrFenced)
	double := f.batch()
	fill(double, 3)
	taken := f.accepted(draft{})
	double.Submissions = []*store.Submission{{Events: []*event.Event{taken}}}
	if f.s.Commit(f.ctx, double) == nil {
		f.Fatal("a sequence number was given out twice")
	}
	f.same("depth after refusal", f.depth(queue), store.QueueDepth{})

	const n = 45 // more than one chunk of any driver's inserts
	b := f.batch()
	fill(b, n)
	b.Deposits[0].VisibleAt = f.now.Add(time.Minute)
	f.commit(b)
	f.same("depth", f.depth(queue), store.QueueDepth{Visible: n - 1, Delayed: 1})
	f.same("depth of FIFO", f.depth(fifo), store.QueueDepth{Visible: (n + 1) / 2})
	f.same("depth of a deleted queue", f.depth(gone), store.QueueDepth{})
	got := f.receive(queue, &store.QueueReceive{Max: n})
	f.same("received", bodies(got)[:2], []string{"m1", "m2"})
	f.same("attributes", got[0].Attributes, b.Deposits[0].Attributes)
	f.same("sent", got[0].Sent, f.now)
	if got[0].MessageID == got[1].MessageID || got[0].MessageID == (event.UUID{}) {
		f.Fatal("messages without ids of their own")
	}
	inGroup := f.receive(fifo, &store.QueueReceive{Max: 3, FIFO: true})
	f.same("received from FIFO", bodies(inGroup), []string{"m0", "m2", "m4"})
	f.same("logged", len(f.logged(store.LogQuery{Group: group.Number})), n)
	f.same("archived", f.archivedIn(archive.Number), []store.ArchivedEvent{{Seq: e.Seq, Time: e.Created, Payload: e.Payload}})

	// The contents go with what held them, even many.
	b = f.batch()
	fill(b, 2500)
	f.commit(b)
	for _, r := range []*store.Resource{queue, group, archive} {
		f.remove(r)
	}
	f.same("depth of what was deleted", f.depth(queue), store.QueueDepth{})
	f.same("log of what was deleted", len(f.logged(store.LogQuery{Group: group.Number})), 0)
	f.same("archive of what was deleted", len(f.archivedIn(archive.Number)), 0)
	f.same("depth of what was not", f.depth(fifo).Visible > 1, true)
}

func (f *fixture) testLogEntries() {
	group, other := f.resource(store.KindLogGroup, "l").Number, f.resource(store.KindLogGroup, "m").Number
	at := func(s int) time.Time { return start.Add(time.Duration(s) * time.Second) }
	var entries []store.LogEntry
	for i, s := range []int{3, 1, 2, 5, 4} {
		entries = append(entries, store.LogEntry{Time: at(s), Stream: fmt.Sprint("s", i%2), Message: []byte(fmt.Sprintf("%d \xff%% error", s))})
	}
	entries[4].Message = nil
	f.ok(f.s.AppendLog(f.ctx, group, entries))
	f.ok(f.s.AppendLog(f.ctx, other, entries[:1]))
	f.is(f.s.AppendLog(f.ctx, 1<<40, entries), store.ErrNotFound)
	got, err := f.s.LogEntries(f.ctx, store.LogQuery{Group: group, Limit: 9})
	f.ok(err)
	f.same("entries", len(got), 5)
	for i, e := range got {
		f.same("time", e.Time, entries[i].Time)
		f.same("stream", e.Stream, entries[i].Stream)
		f.same("message", bytes.Equal(e.Message, entries[i].Message), true)
	}
	m := func(i int) string { return string(entries[i].Message) }
	for name, tt := range map[string]struct {
		p    store.LogQuery
		want []string
	}{
		"page":      {store.LogQuery{Limit: 2}, []string{m(0), m(1)}},
		"next page": {store.LogQuery{After: got[1].ID, Limit: 2}, []string{m(2), m(3)}},
		"from":      {store.LogQuery{From: at(2)}, []string{m(0), m(2), m(3), m(4)}},
		"within":    {store.LogQuery{From: at(2).Add(time.Microsecond), To: at(5)}, []string{m(0), m(4)}},
		"stream":    {store.LogQuery{Stream: "s1"}, []string{m(1), m(3)}},
		"contains":  {store.LogQuery{Contains: "\xff% e"}, []string{m(0), m(1), m(2), m(3)}},
		"nothing":   {store.LogQuery{Contains: "E"}, nil},
	} {
		tt.p.Group = group
		f.same(name, f.logged(tt.p), tt.want)
	}
	for _, want := range []int{2, 1, 0} {
		n, err := f.s.TrimLog(f.ctx, group, at(4), 2)
		f.ok(err)
		f.same("trimmed", n, want)
	}
	f.same("left", f.logged(store.LogQuery{Group: group}), []string{m(3), m(4)})
	f.same("left elsewhere", len(f.logged(store.LogQuery{Group: other})), 1)
	// A reader's cursor stays good when all it has seen is gone.
	if _, err := f.s.TrimLog(f.ctx, group, at(99), 99); err != nil {
		f.Fatal(err)
	}
	f.ok(f.s.AppendLog(f.ctx, group, entries[:1]))
	f.same("after the cursor", f.logged(store.LogQuery{Group: group, After: got[4].ID}), []string{m(0)})
}

func (f *fixture) testArchive() {
	archive, other := f.resource(store.KindArchive, "a").Number, f.resource(store.KindArchive, "b").Number
	var want []store.ArchivedEvent
	var size int64
	b := f.batch()
	for i, s := range []int{5, 1, 1, 3, 4} {
		f.now = f.now.Add(time.Second)
		e := f.busEvent(1, 0, start.Add(time.Duration(s)*time.Minute))
		b.Deposits = append(b.Deposits, &event.Deposit{Kind: event.IntoArchive, Into: archive, Event: e})
		if i == 0 {
			b.Deposits = append(b.Deposits, &event.Deposit{Kind: event.IntoArchive, Into: other, Event: e})
		}
		want = append(want, store.ArchivedEvent{Seq: e.Seq, Time: e.Created, Payload: e.Payload})
		size += int64(len(e.Payload))
	}
	f.commit(b)
	accepted := want[2].Seq.Time()
	want = []store.ArchivedEvent{want[1], want[2], want[3], want[4], want[0]}
	read := func(p store.ArchiveQuery, want ...store.ArchivedEvent) {
		f.Helper()
		p.Archive = archive
		if p.Limit == 0 {
			p.Limit = 10
		}
		got, err := f.s.ArchivedEvents(f.ctx, p)
		f.ok(err)
		f.same("archived", got, want)
	}
	read(store.ArchiveQuery{}, want...)
	read(store.ArchiveQuery{Limit: 1}, want[0])
	read(store.ArchiveQuery{Limit: 2, AfterTime: want[0].Time, AfterSeq: want[0].Seq}, want[1:3]...)
	read(store.ArchiveQuery{From: want[2].Time, To: want[4].Time}, want[2:4]...)
	read(store.ArchiveQuery{From: want[2].Time, AfterTime: want[0].Time, AfterSeq: want[0].Seq}, want[2:]...)
	read(store.ArchiveQuery{From: want[2].Time, AfterTime: want[3].Time, AfterSeq: want[3].Seq}, want[4])
	count, bytes, err := f.s.ArchiveSize(f.ctx, archive)
	f.ok(err)
	f.same("count", count, int64(5))
	f.same("bytes", bytes, size)
	// By acceptance, not by the time that the events state.
	for _, n := range []int{1, 1, 0} {
		got, err := f.s.TrimArchive(f.ctx, archive, accepted, 1)
		f.ok(err)
		f.same("trimmed", got, n)
	}
	read(store.ArchiveQuery{}, want[1:4]...)
	count, bytes, err = f.s.ArchiveSize(f.ctx, other)
	f.ok(err)
	f.same("other's count", count, int64(1))
	f.same("other's bytes", bytes, int64(len(want[4].Payload)))
}
