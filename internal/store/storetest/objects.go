package storetest

import (
	"fmt"
	"time"

	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/store"
)

func object(scope event.Scope, id string, made int64) *store.Object {
	return &store.Object{Scope: scope, ID: id, Kind: "refund", Parent: "ch_1", Made: made, Body: []byte(`{"id":"` + id + `"}`)}
}

// put stores what it is given, each with the revision it has.
func (f *fixture) put(objects ...*store.Object) error {
	var changes []store.ObjectChange
	for _, o := range objects {
		changes = append(changes, store.ObjectChange{Object: o})
	}
	return f.s.ChangeObjects(f.ctx, changes, nil)
}

func (f *fixture) testObjects() {
	a, other := object(scopeA, "re_1", 1), object(scopeB, "re_1", 1)
	f.ok(f.put(a, other))
	if a.Revision != 1 {
		f.Fatalf("a new object has revision %d", a.Revision)
	}
	found, err := f.s.Object(f.ctx, scopeA, "re_1")
	f.ok(err)
	f.same("object", found, a)
	_, err = f.s.Object(f.ctx, scopeA, "re_2")
	f.is(err, store.ErrNotFound)

	stale := *a
	a.Body, a.Parent = []byte(`{}`), "ch_2"
	f.ok(f.put(a))
	found, err = f.s.Object(f.ctx, scopeA, "re_1")
	f.ok(err)
	f.same("changed object", found, a)
	found, err = f.s.Object(f.ctx, scopeB, "re_1")
	f.ok(err)
	f.same("object of the other scope", found, other)

	// All or nothing, whatever is in the way.
	fresh := func() *store.Object { return object(scopeA, "re_3", 3) }
	f.is(f.put(fresh(), &stale), store.ErrConflict)
	f.is(f.put(fresh(), object(scopeA, "re_1", 4)), store.ErrExists)
	f.is(f.s.ChangeObjects(f.ctx, []store.ObjectChange{{Object: fresh()}, {Object: &stale, Remove: true}}, nil), store.ErrConflict)
	_, err = f.s.Object(f.ctx, scopeA, "re_3")
	f.is(err, store.ErrNotFound)

	f.ok(f.s.ChangeObjects(f.ctx, []store.ObjectChange{{Object: a, Remove: true}}, nil))
	_, err = f.s.Object(f.ctx, scopeA, "re_1")
	f.is(err, store.ErrNotFound)
	_, err = f.s.Object(f.ctx, scopeB, "re_1")
	f.ok(err)
}

func (f *fixture) testListObjects() {
	for i := int64(1); i <= 5; i++ {
		o := object(scopeA, fmt.Sprint("re_", i), i)
		if i == 3 {
			o.Parent = ""
		}
		charge := object(scopeA, fmt.Sprint("ch_", i), 10+i)
		charge.Kind = "charge"
		f.ok(f.put(o, charge, object(scopeB, fmt.Sprint("re_", 10+i), i)))
	}
	for _, tt := range []struct {
		p    store.ListObjects
		want []string
		more bool
	}{
		{store.ListObjects{Limit: 5}, []string{"re_5", "re_4", "re_3", "re_2", "re_1"}, false},
		{store.ListObjects{Limit: 2}, []string{"re_5", "re_4"}, true},
		{store.ListObjects{Limit: 2, Older: 4}, []string{"re_3", "re_2"}, true},
		{store.ListObjects{Limit: 2, Newer: 2}, []string{"re_4", "re_3"}, true},
		{store.ListObjects{Limit: 9, Newer: 3}, []string{"re_5", "re_4"}, false},
		{store.ListObjects{Limit: 9, Parent: "ch_1", Older: 5}, []string{"re_4", "re_2", "re_1"}, false},
		{store.ListObjects{Limit: 9, Parent: "ch_2"}, nil, false},
	} {
		tt.p.Scope, tt.p.Kind = scopeA, "refund"
		page, err := f.s.ListObjects(f.ctx, tt.p)
		f.ok(err)
		var ids []string
		for _, o := range page.Items {
			ids = append(ids, o.ID)
		}
		f.same(fmt.Sprintf("list %+v", tt.p), ids, tt.want)
		f.same("more", page.More, tt.more)
	}
}

func (f *fixture) testObjectIdempotency() {
	idem := &store.Idempotency{Scope: scopeA, Generation: 1, Key: "k", Hash: hash("a"), Result: []byte("answer"), Created: f.now}
	change := func(id string) error {
		return f.s.ChangeObjects(f.ctx, []store.ObjectChange{{Object: object(scopeA, id, 1)}}, idem)
	}
	f.ok(change("re_1"))
	f.is(change("re_2"), store.ErrExists)
	_, err := f.s.Object(f.ctx, scopeA, "re_2")
	f.is(err, store.ErrNotFound)
	known, err := f.s.Idempotent(f.ctx, scopeA, 1, "k", f.now)
	f.ok(err)
	f.same("record", known, idem)
}

// latest is where an object is mentioned last; 0 if nowhere.
func (f *fixture) latest(scope event.Scope, id string) event.Seq {
	f.Helper()
	e, err := f.s.LatestMention(f.ctx, scope, id)
	if e == nil {
		f.is(err, store.ErrNotFound)
		return 0
	}
	f.ok(err)
	return e.Seq
}

// indexAll takes note of everything, a few events at a time.
func (f *fixture) indexAll() {
	f.Helper()
	for {
		n, err := f.s.IndexMentions(f.ctx, 2)
		f.ok(err)
		if n == 0 {
			return
		}
	}
}

// What is found is the same before, during and after the index catches up.
func (f *fixture) testMentions() {
	at := func(d time.Duration) time.Time { return start.Add(d) }
	older := f.accepted(draft{object: "in_1", created: at(time.Minute)})
	newest := f.accepted(draft{object: "in_1", created: at(time.Hour)})
	f.accepted(draft{object: "in_1", created: at(time.Second)})
	f.accepted(draft{object: "in_1", kind: event.Thin, created: at(2 * time.Hour)})
	f.accepted(draft{})
	first := f.accepted(draft{object: "in_2", created: at(0)})
	second := f.accepted(draft{object: "in_2", created: at(0)})
	elsewhere := f.accepted(draft{scope: scopeB, object: "in_1", created: at(3 * time.Hour)})
	if older.Seq > newest.Seq || first.Seq > second.Seq {
		f.Fatal("the sequence does not rise")
	}
	check := func(when string) {
		f.Helper()
		f.same(when+", in_1", f.latest(scopeA, "in_1"), newest.Seq)
		f.same(when+", in_2", f.latest(scopeA, "in_2"), second.Seq)
		f.same(when+", in_1 of the other scope", f.latest(scopeB, "in_1"), elsewhere.Seq)
		f.same(when+", in_2 of the other scope", f.latest(scopeB, "in_2"), event.Seq(0))
		f.same(when+", no object", f.latest(scopeA, "in_3"), event.Seq(0))
	}
	check("before")
	_, err := f.s.IndexMentions(f.ctx, 3)
	f.ok(err)
	check("during")
	f.indexAll()
	check("after")

	// What comes later counts only if it is newer.
	f.accepted(draft{object: "in_1", created: at(2 * time.Minute)})
	check("after an older one")
	f.indexAll()
	check("indexed an older one")
	newest = f.accepted(draft{object: "in_1", created: at(time.Hour)})
	check("after a newer one")
	f.indexAll()
	check("indexed a newer one")
	found, err := f.s.LatestMention(f.ctx, scopeA, "in_1")
	f.ok(err)
	f.same("event", found, newest)
}

func (f *fixture) testOldMentions() {
	f.accepted(draft{object: "in_1"})
	f.indexAll()
	b := f.batch()
	b.Watermark = f.seq
	f.commit(b)
	old := f.now.Add(time.Hour)
	for more := true; more; {
		var err error
		more, err = f.s.Retain(f.ctx, store.Retain{Attempts: old, Events: old, Summaries: start, Limit: 10})
		f.ok(err)
	}
	f.same("of an event that is gone", f.latest(scopeA, "in_1"), event.Seq(0))
}
