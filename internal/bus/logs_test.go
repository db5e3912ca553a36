package bus

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/store"
)

func messages(entries []store.LogEntry) string {
	all := make([]string, len(entries))
	for i, e := range entries {
		all[i] = string(e.Message)
	}
	return strings.Join(all, " ")
}

func TestLogStreamQuota(t *testing.T) {
	t.Parallel()
	f := newWorks(t)
	f.must(f.CreateLogGroup(t.Context(), f.caller, "g"))
	f.must(f.changeLogGroup(t.Context(), f.caller, "g", func(_ *store.Resource, doc *logGroupDoc) error {
		doc.Streams = map[string]time.Time{}
		for i := range maxStreams - 1 {
			doc.Streams[fmt.Sprint(i)] = f.now()
		}
		return nil
	}))
	f.must(f.CreateLogStream(t.Context(), f.caller, "g", "last"))
	mustFault(t, f.CreateLogStream(t.Context(), f.caller, "g", "more"), codeLogLimit)
}

func TestLogGroups(t *testing.T) {
	t.Parallel()
	f := newWorks(t)
	ctx := t.Context()
	f.must(f.CreateLogGroup(ctx, f.caller, "/aws/events/shop"))
	mustFault(t, f.CreateLogGroup(ctx, f.caller, "/aws/events/shop"), codeExists)
	mustFault(t, f.CreateLogGroup(ctx, f.caller, "a b"), codeLogParameter)
	mustFault(t, f.SetLogRetention(ctx, f.caller, "/aws/events/shop", 2), codeLogParameter)
	mustFault(t, f.SetLogRetention(ctx, f.caller, "none", 1), codeNotFound)
	f.must(f.SetLogRetention(ctx, f.caller, "/aws/events/shop", 3))
	groups, next, err := f.LogGroups(ctx, f.caller, "/aws", "", 0)
	if err != nil || next != "" || len(groups) != 1 || groups[0].Retention != 3 {
		t.Fatal(groups, next, err)
	}
	number, err := f.LogGroupNumber(f.caller.Scope, groups[0].ARN)
	if err != nil || number == 0 {
		t.Error(number, err)
	}
	if _, err := f.LogGroupNumber(event.NewScope(99, true), groups[0].ARN); err == nil {
		t.Error("found for another account")
	}
	f.must(f.DropLogRetention(ctx, f.caller, "/aws/events/shop"))
	f.must(f.DeleteLogGroup(ctx, f.caller, "/aws/events/shop"))
	if _, err := f.LogGroupNumber(f.caller.Scope, groups[0].ARN); err == nil {
		t.Error("found after it was deleted")
	}
}

func TestLogEvents(t *testing.T) {
	t.Parallel()
	f := newWorks(t)
	ctx := t.Context()
	f.must(f.CreateLogGroup(ctx, f.caller, "g"))
	f.must(f.CreateLogStream(ctx, f.caller, "g", "s"))
	mustFault(t, f.CreateLogStream(ctx, f.caller, "g", "s"), codeExists)
	streams, _, err := f.LogStreams(ctx, f.caller, "g", "", "", 0)
	if err != nil || len(streams) != 2 || streams[0].Name != DepositStream || streams[1].Name != "s" {
		t.Error(streams, err)
	}
	now := f.now()
	entries := []store.LogEntry{
		{Time: now.Add(-20 * 24 * time.Hour), Message: []byte("old")},
		{Time: now.Add(-3 * time.Second), Message: []byte(`{"a":1}`)},
		{Time: now.Add(-2 * time.Second), Message: []byte(`{"a":2,"word":"two words"}`)},
		{Time: now.Add(-time.Second), Message: []byte(`{"a":3}`)},
		{Time: now.Add(3 * time.Hour), Message: []byte("new")},
	}
	rejects, err := f.PutLogEvents(ctx, f.caller, "g", "s", entries)
	if err != nil || rejects != (LogRejects{TooOldEnd: 1, TooNewStart: 4, ExpiredEnd: -1}) {
		t.Error(rejects, err)
	}
	_, err = f.PutLogEvents(ctx, f.caller, "g", "none", entries[1:2])
	mustFault(t, err, codeNotFound)
	_, err = f.PutLogEvents(ctx, f.caller, "g", "s", []store.LogEntry{entries[2], entries[1]})
	mustFault(t, err, codeLogParameter)

	// What a rule deposits has no stream.
	group, _, err := f.logGroup(ctx, f.caller, "g")
	f.must(err)
	f.must(f.db.AppendLog(ctx, group.Number, []store.LogEntry{{Time: now, Message: []byte("deposited")}}))
	for _, test := range []struct {
		q    LogSearch
		want string
	}{
		{LogSearch{}, `{"a":1} {"a":2,"word":"two words"} {"a":3} deposited`},
		{LogSearch{Pattern: `"two words"`}, `{"a":2,"word":"two words"}`},
		{LogSearch{Pattern: `?":1" ?":3"`}, `{"a":1} {"a":3}`},
		{LogSearch{Pattern: `a -word`}, `{"a":1} {"a":3}`},
		{LogSearch{Streams: []string{DepositStream}}, `deposited`},
		{LogSearch{Streams: []string{"s"}, From: now.Add(-2 * time.Second), To: now.Add(-time.Second)}, `{"a":2,"word":"two words"}`},
		{LogSearch{StreamPrefix: "ev"}, `deposited`},
	} {
		test.q.Group = "g"
		found, next, err := f.FilterLogEvents(ctx, f.caller, test.q)
		if err != nil || next != "" || messages(found) != test.want {
			t.Errorf("%+v: %s, %q, %v", test.q, messages(found), next, err)
		}
	}
	var all []string
	for token, pages := "", 0; ; pages++ {
		found, next, err := f.FilterLogEvents(ctx, f.caller, LogSearch{Group: "g", Limit: 3, Token: token})
		f.must(err)
		all = append(all, messages(found))
		if token = next; next == "" {
			break
		}
	}
	if got := strings.Join(all, " | "); got != `{"a":1} {"a":2,"word":"two words"} {"a":3} | deposited` {
		t.Error(got)
	}
	for _, bad := range []string{`{ $.a = 1 }`, `[a,b]`, `"open`, `%x%`} {
		_, _, err := f.FilterLogEvents(ctx, f.caller, LogSearch{Group: "g", Pattern: bad})
		mustFault(t, err, codeLogParameter)
	}
	_, _, err = f.FilterLogEvents(ctx, f.caller, LogSearch{Group: "none"})
	mustFault(t, err, codeNotFound)
	f.advance(2 * 24 * time.Hour)
	f.must(f.SetLogRetention(ctx, f.caller, "g", 1))
	f.must(f.TrimShelves(ctx))
	if found, _, err := f.FilterLogEvents(ctx, f.caller, LogSearch{Group: "g"}); err != nil || len(found) != 0 {
		t.Error(found, err)
	}
}

func TestPagesOfAStream(t *testing.T) {
	t.Parallel()
	f := newWorks(t)
	ctx := t.Context()
	f.must(f.CreateLogGroup(ctx, f.caller, "g"))
	f.must(f.CreateLogStream(ctx, f.caller, "g", "s"))
	var entries []store.LogEntry
	for i := range 7 {
		entries = append(entries, store.LogEntry{Time: f.now(), Message: fmt.Append(nil, i)})
	}
	_, err := f.PutLogEvents(ctx, f.caller, "g", "s", entries)
	f.must(err)
	page := func(token string, fromHead bool, want string) (forward, backward string) {
		t.Helper()
		got, forward, backward, err := f.LogEvents(ctx, f.caller, LogSearch{Group: "g", Streams: []string{"s"}, Limit: 3, Token: token}, fromHead)
		if err != nil || messages(got) != want {
			t.Errorf("%q: got %q, %v, want %q", token, messages(got), err, want)
		}
		return forward, backward
	}
	forward, backward := page("", false, "4 5 6")
	if again, _ := page(forward, false, ""); again != forward {
		t.Errorf("at the end %q leads to %q", forward, again)
	}
	_, backward = page(backward, false, "1 2 3")
	forward, backward = page(backward, false, "0")
	page(forward, false, "1 2 3")
	if _, again := page(backward, false, ""); again != backward {
		t.Errorf("at the start %q leads to %q", backward, again)
	}
	forward, _ = page("", true, "0 1 2")
	page(forward, true, "3 4 5")
}

func FuzzLogFilter(f *testing.F) {
	for _, seed := range []string{"", "a b", `"a b" -c ?d`, `"\"`, `?"x`, "-", "{x}"} {
		f.Add(seed, "a b c")
	}
	f.Fuzz(func(t *testing.T, text, message string) {
		filter, err := parseLogFilter(text)
		if err != nil {
			mustFault(t, err, codeLogParameter)
			return
		}
		if filter.matches(message) && !strings.Contains(message, filter.narrow()) {
			t.Errorf("%q matches %q, in which the store would not find %q", text, message, filter.narrow())
		}
	})
}
