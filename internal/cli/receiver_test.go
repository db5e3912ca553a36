package cli

import (
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/internal/sign"
)

func TestReceiver(t *testing.T) {
	t.Parallel()
	heard := make(chan receipt, 1)
	r, err := startReceiver(t.Context(), "a.failed", 2, func(got receipt) { heard <- got })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.close)
	r.trust(snapshotPath, "whsec_1")
	post := func(path, secret, body string) (int, receipt) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.url(path), strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set(sign.StripeHeader, string(sign.NewStripe(secret).AppendHeader(nil, time.Now(), []byte(body))))
		answer, err := new(http.Client).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		return answer.StatusCode, <-heard
	}

	const good, failing = `{"id":"evt_1","type":"a.created"}`, `{"id":"evt_2","type":"a.failed"}`
	if status, got := post(snapshotPath, "whsec_1", good); status != 200 || got != (receipt{path: snapshotPath, event: "evt_1", typ: "a.created", tries: 1}) {
		t.Errorf("genuine: %d, %+v", status, got)
	}
	if status, got := post(snapshotPath, "whsec_1", good); status != 200 || got.tries != 2 {
		t.Errorf("a duplicate: %d, %+v", status, got)
	}
	var statuses []int
	for range 3 {
		status, _ := post(snapshotPath, "whsec_1", failing)
		statuses = append(statuses, status)
	}
	if !reflect.DeepEqual(statuses, []int{500, 500, 200}) {
		t.Errorf("the failing type is answered %v", statuses)
	}
	for _, bad := range []struct{ path, secret, body string }{
		{snapshotPath, "whsec_2", good},
		{thinPath, "whsec_1", good}, // a path that no destination was made for
		{snapshotPath, "whsec_1", `{"type":"a.created"}`},
		{snapshotPath, "whsec_1", `nonsense`},
	} {
		if status, got := post(bad.path, bad.secret, bad.body); status != 400 || got.err == nil || got.event != "" {
			t.Errorf("%+v: %d, %+v", bad, status, got)
		}
	}
}

func TestAgo(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 25, 12, 0, 0, 0, time.UTC)
	c := &cli{now: func() time.Time { return now }}
	for want, at := range map[string]time.Duration{
		"now": 999 * time.Millisecond, "1s ago": time.Second, "59s ago": 59 * time.Second, "1m ago": time.Minute, "47h ago": 47 * time.Hour,
		"2d ago": 48 * time.Hour, "2026-02-01": 52 * 24 * time.Hour, "in 3s": -3 * time.Second, "in 2h": -2 * time.Hour, "2026-05-24": -60 * 24 * time.Hour,
	} {
		if got := c.ago(when{now.Add(-at)}); got != want {
			t.Errorf("%s: %q, want %q", at, got, want)
		}
	}
	if got := c.ago(when{}); got != "-" {
		t.Errorf("no time: %q", got)
	}
}

func TestWhen(t *testing.T) {
	t.Parallel()
	want := time.Date(2026, 3, 25, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Time{"1774440000": want, `"2026-03-25T12:00:00.000Z"`: want, "null": {}} {
		var w when
		if err := w.UnmarshalJSON([]byte(text)); err != nil || !w.Equal(want) {
			t.Errorf("%s: %s, %v", text, w, err)
		}
	}
	if err := new(when).UnmarshalJSON([]byte(`"soon"`)); err == nil {
		t.Error("soon is a time")
	}
}

// A demo that does not see its deliveries must not say that all is well.
func TestDemoCountsEachDeliveryOnce(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	d := &demo{cli: &cli{stdout: &out, now: time.Now}, verified: map[string]int{}, expected: map[string]int{}, news: make(chan struct{}, 1)}
	d.expect(snapshotPath, "a.created")
	d.expect(snapshotPath, "a.created")
	d.expect(thinPath, "v1.a.created")
	for _, got := range []receipt{
		{path: snapshotPath, typ: "a.created", tries: 1},
		{path: snapshotPath, typ: "a.created", tries: 2}, // a duplicate
		{path: snapshotPath, typ: "other", tries: 1},
		{path: thinPath, typ: "v1.a.created", tries: 1, refused: true},
		{path: thinPath, err: sign.ErrMismatch},
	} {
		d.heard(got)
	}
	if d.missing() != 2 || d.refusals != 1 || d.unverified != 1 {
		t.Errorf("%d missing, %d refused, %d unverified\n%s", d.missing(), d.refusals, d.unverified, out.String())
	}
}
