package bus

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"
)

func TestSchedulesFireOnce(t *testing.T) {
	t.Parallel()
	f := newWorks(t)
	f.rule("listener", `{"source":["aws.events"]}`, "") // gets no schedule's events
	rule := f.rule("every", "", "rate(1 minute)")
	seen := firing{rules: map[int64]*fired{}}
	f.fireDue(t.Context(), &seen)
	f.received(0)

	f.advance(61 * time.Second)
	f.fireDue(t.Context(), &seen)
	f.fireDue(t.Context(), &seen)
	got := f.received(1)[0]
	due := rule.Created.Truncate(time.Second).Add(time.Minute).Format("2006-01-02T15:04:05Z")
	var v struct {
		Type      string `json:"detail-type"`
		Source    string
		Account   string
		Time      string
		Resources []string
		Detail    json.RawMessage
	}
	if err := json.Unmarshal([]byte(got[len("every "):]), &v); err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("Scheduled Event aws.events %s %s [%s] {}", f.caller.AccountID, due, arn(f.caller, "rule/every"))
	if was := fmt.Sprintf("%s %s %s %s %s %s", v.Type, v.Source, v.Account, v.Time, v.Resources, v.Detail); was != want {
		t.Errorf("got %s\nwant %s", was, want)
	}

	// The next process looks back, and does not fire again; what fell due in
	// between, it fires.
	f.advance(2 * time.Minute)
	f.open()
	fresh := firing{rules: map[int64]*fired{}}
	f.fireDue(t.Context(), &fresh)
	f.received(2)

	// After a longer pause only the last minutes count.
	f.advance(time.Hour)
	f.fireDue(t.Context(), &fresh)
	f.received(5)
}

func TestDisabledSchedulesDoNotFire(t *testing.T) {
	t.Parallel()
	f := newWorks(t)
	rule := f.rule("every", "", "rate(1 minute)")
	seen := firing{rules: map[int64]*fired{}}
	edit := func(state string) {
		r, doc, err := get[ruleDoc](t.Context(), f.Service, rule.ResourceKey)
		f.must(err)
		doc.State = state
		f.must(put(r, doc))
		f.must(f.change(t.Context(), r))
	}
	edit(RuleDisabled)
	f.advance(3 * time.Minute)
	f.fireDue(t.Context(), &seen)
	edit(RuleEnabled)
	f.fireDue(t.Context(), &seen)
	f.received(0)
	f.advance(time.Minute)
	f.fireDue(t.Context(), &seen)
	f.received(1)
}
