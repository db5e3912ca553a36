package app_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/internal/app"
	"github.com/waybill-dev/waybill/internal/config"
)

func TestHealth(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := s.as("") // neither needs a key
	if a := c.get("/healthz").ok(); a.text("status") != "ok" || a.text("version") != "test" {
		t.Errorf("/healthz: %s", a.body)
	}
	if a := c.get("/readyz").ok(); a.text("status") != "ready" {
		t.Errorf("/readyz: %s", a.body)
	}
	// A customer's dead endpoint is no fault of the server's.
	s.destination(newReceiver(t, always(reply{status: 500})), "/hook", hourly)
	s.awaitAttempts(s.publish(customer("customer.created", "cus_1")), 1)
	c.get("/readyz").ok()
	c.get("/nothing").refused(http.StatusNotFound, "/nothing")
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.destination(newReceiver(t, inTurn(reply{status: 500})), "/hook", hourly)
	for i, status := range []string{"pending", "delivered"} {
		id := s.publish(customer("customer.created", fmt.Sprint("cus_", i)))
		if s.awaitAttempts(id, 1); status == "delivered" {
			s.awaitDelivery(id, status)
		}
	}
	text := string(s.as("").get("/metrics").ok().body)
	for _, line := range []string{
		"waybill_events_accepted_total 2",
		`waybill_attempts_total{class="",outcome="delivered"} 1`,
		`waybill_attempts_total{class="http_status",outcome="retry"} 1`,
		"waybill_deliveries_discarded_total 0",
		"waybill_backlog_age_seconds ",
		"waybill_queue_depth 0",
		"waybill_in_flight 0",
		"waybill_retries_waiting 1",
		"waybill_commit_seconds_count ",
		"waybill_commit_batch_events_count ",
		"go_goroutines ",
		"process_resident_memory_bytes ",
	} {
		if !strings.Contains(text, "\n"+line) {
			t.Errorf("there is no line %q", line)
		}
	}
	if t.Failed() {
		t.Log(text)
	}
}

// roomForLittle makes a server whose store is soon full.
func roomForLittle(t *testing.T) *server {
	t.Helper()
	return newServer(t, func(c *config.Config) { c.MaxStoreSize = 1 << 20 })
}

// bulk is an event of this size.
func bulk(size int) object {
	return object{"type": "a.b", "data": object{"object": object{"text": strings.Repeat("x", size)}}}
}

// fill publishes until the store has no room, and returns what it accepted.
func (s *server) fill() []string {
	s.t.Helper()
	var accepted []string
	for range 50 {
		a := s.post("/v2/core/events", bulk(100_000))
		if a.status != http.StatusOK {
			a.refused(http.StatusServiceUnavailable, "again")
			if a.header.Get("Retry-After") == "" || a.header.Get("Content-Type") != "application/json" {
				s.t.Errorf("headers %v", a.header)
			}
			return accepted
		}
		accepted = append(accepted, a.text("id"))
	}
	s.t.Fatal("the store never filled up")
	return nil
}

func TestFullStore(t *testing.T) {
	t.Parallel()
	s, r := roomForLittle(t), newReceiver(t, nil)
	s.destination(r, "/hook", nil)
	accepted := s.fill()
	if len(accepted) == 0 {
		t.Fatal("nothing was accepted before")
	}
	// A batch that does not fit leaves nothing behind, nor do its ids and its
	// key.
	events := make([]object, 20)
	for i := range events {
		events[i] = bulk(20_000)
		events[i]["id"] = fmt.Sprint("order-", i)
	}
	publish := func() answer { return s.with("Idempotency-Key", "k").post("/v2/core/events", batch(events...)) }
	publish().refused(http.StatusServiceUnavailable)
	list := func() (ids []string) {
		for more := true; more; {
			path := "/v1/events?limit=100"
			if len(ids) > 0 {
				path += "&starting_after=" + ids[len(ids)-1]
			}
			page := s.get(path).ok()
			ids = append(ids, page.ids()...)
			more, _ = page.at("has_more").(bool)
		}
		return ids
	}
	if got := list(); !same(got, accepted) {
		t.Errorf("listed %v, want %v", got, accepted)
	}
	if got := s.get("/v1/events/"+accepted[0]).ok().text("data", "object", "text"); len(got) != 100_000 {
		t.Errorf("the first event has %d bytes", len(got))
	}
	create := object{
		"name": "d", "type": "webhook_endpoint", "event_payload": "snapshot", "enabled_events": []string{"none"},
		"webhook_endpoint": object{"url": r.url + "/other"}, "description": strings.Repeat("d", 5000),
	}
	made := []string{}
	for range 1000 {
		a := s.post("/v2/core/event_destinations", create)
		if a.status != http.StatusOK {
			a.refused(http.StatusServiceUnavailable, "again")
			break
		}
		made = append(made, a.text("id"))
	}
	if n := len(s.get("/v2/core/event_destinations?limit=100").ok().ids()); n != len(made)+1 {
		t.Errorf("there are %d destinations, want %d", n, len(made)+1)
	}

	// With room again, all is as if nothing had been, and whatever was
	// accepted is delivered.
	s.restart(func(c *config.Config) { c.MaxStoreSize = 0 })
	s.get("/readyz").ok()
	if ids := publish().ok().ids(); len(ids) != 20 || ids[19] != "order-19" {
		t.Errorf("published %v", ids)
	}
	until(t, "all is delivered", func() bool {
		return len(s.deliveries("status=delivered&limit=100")) == len(accepted)+len(events)
	})
	if got := list(); len(got) != len(accepted)+len(events) {
		t.Errorf("listed %v", got)
	}
}

func TestFullStoreIsNotReady(t *testing.T) {
	t.Parallel()
	s := roomForLittle(t)
	s.fill()
	until(t, "it says that it is not ready", func() bool {
		s.post("/v2/core/events", bulk(100_000)).refused(http.StatusServiceUnavailable)
		a := s.get("/readyz")
		return a.status == http.StatusServiceUnavailable && a.text("status") == "unavailable" && a.header.Get("Retry-After") != ""
	})
	s.get("/healthz").ok()
}

func TestOneServerPerFolder(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	_, err := app.New(t.Context(), s.cfg, app.Options{})
	if err == nil || !strings.Contains(err.Error(), s.cfg.Data) || !strings.Contains(err.Error(), "another waybill") || !strings.Contains(err.Error(), "--data") {
		t.Errorf("a second server: %v", err)
	}
	s.publish(customer("customer.created", "cus_1")) // the first one works on
	s.restart()
}

func TestAddressInUse(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	cfg := s.cfg
	cfg.Data, cfg.Listen = t.TempDir(), strings.TrimPrefix(s.url, "http://")
	other, err := app.New(t.Context(), cfg, app.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Start(t.Context()); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("start: %v", err)
	}
	if err := other.Stop(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestEncryptionKeyMustFit(t *testing.T) {
	t.Parallel()
	s, r := newServer(t), newReceiver(t, nil)
	s.destination(r, "/hook", nil)
	s.stop()
	keyFile := filepath.Join(s.cfg.Data, "encryption.key")
	info, err := os.Stat(keyFile)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("the key file has mode %v", info.Mode())
	}
	wrong := s.cfg
	wrong.EncryptionKey = config.Secret(strings.Repeat("ab", 32))
	if _, err := app.New(t.Context(), wrong, app.Options{}); err == nil || !strings.Contains(err.Error(), "WAYBILL_ENCRYPTION_KEY") || strings.Contains(err.Error(), "abab") {
		t.Errorf("with another key: %v", err)
	}
	// A lost key file is not made anew over a database that needs it.
	if err := os.Rename(keyFile, keyFile+".lost"); err != nil {
		t.Fatal(err)
	}
	if _, err := app.New(t.Context(), s.cfg, app.Options{}); err == nil || !strings.Contains(err.Error(), "encryption.key") {
		t.Errorf("without the key file: %v", err)
	}
	if err := os.Rename(keyFile+".lost", keyFile); err != nil {
		t.Fatal(err)
	}
	s.start()
	s.awaitDelivery(s.publish(customer("customer.created", "cus_1")), "delivered")
}

func TestSecretsAreNotOnDisk(t *testing.T) {
	t.Parallel()
	s, r := newServer(t), newReceiver(t, nil)
	s.destination(r, "/hook", nil)
	s.publish(customer("customer.created", "cus_findme"))
	s.stop()
	found := false
	folder, err := os.ReadDir(s.cfg.Data)
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range folder {
		raw, err := os.ReadFile(filepath.Join(s.cfg.Data, file.Name()))
		if err != nil {
			t.Fatal(err)
		}
		found = found || strings.Contains(string(raw), "cus_findme")
		for _, secret := range []string{testKey, liveKey, r.secret("/hook")} {
			if strings.Contains(string(raw), secret) {
				t.Errorf("%s holds %s…", file.Name(), secret[:8])
			}
		}
	}
	if !found {
		t.Error("the search does not even find what is stored in the open")
	}
}

func TestAccountsBesideARunningServer(t *testing.T) {
	t.Parallel()
	s, r := newServer(t), newReceiver(t, nil)
	created, err := app.CreateAccount(t.Context(), s.cfg, "second")
	if err != nil {
		t.Fatal(err)
	}
	other := s.as(created.TestKey)
	// The new account works at once, beside the first one.
	mine := s.destination(r, "/mine", nil)
	theirs := other.destination(r, "/theirs", nil)
	a, b := s.publish(customer("customer.created", "cus_1")), other.publish(customer("customer.created", "cus_1"))
	if d := s.awaitDelivery(a, "delivered"); d.EventDestination != mine {
		t.Errorf("delivery %+v", d)
	}
	if d := other.awaitDelivery(b, "delivered"); d.EventDestination != theirs {
		t.Errorf("delivery %+v", d)
	}
	if got := r.received("/mine"); !slices.Equal(got, []string{a}) {
		t.Errorf("the first account received %v", got)
	}
	if got := r.received("/theirs"); !slices.Equal(got, []string{b}) {
		t.Errorf("the second account received %v", got)
	}
	for path, want := range map[string]string{"/v1/events": b, "/v2/core/event_destinations": theirs} {
		if ids := other.get(path).ok().ids(); !slices.Equal(ids, []string{want}) {
			t.Errorf("%s lists %v, want %s", path, ids, want)
		}
	}
	nowhere := s.cfg
	nowhere.Data = t.TempDir()
	if _, err := app.CreateAccount(t.Context(), nowhere, "third"); err == nil || !strings.Contains(err.Error(), "waybill serve") {
		t.Errorf("in an empty folder: %v", err)
	}
}

// awaitClosed waits until the server takes no connections any more.
func awaitClosed(t *testing.T, url string) {
	t.Helper()
	until(t, "the server is closed", func() bool {
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(url, "http://"))
		if err == nil {
			_ = conn.Close() // it was only knocked
		}
		return err != nil
	})
}

func TestStopDrains(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	release := make(chan struct{})
	r := newReceiver(t, inTurn(reply{}, reply{hold: release}, reply{hold: release}))
	s.destination(r, "/hook", nil)
	first := s.publish(customer("customer.created", "cus_1"))
	s.awaitDelivery(first, "delivered")
	inFlight := s.post("/v2/core/events", batch(customer("customer.created", "cus_2"), customer("customer.created", "cus_3"))).ok().ids()
	for range 3 {
		r.next()
	}
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		s.stop()
	}()
	awaitClosed(t, s.url)
	select {
	case <-stopped:
		t.Error("it stopped with sends under way")
	default:
	}
	close(release)
	<-stopped

	s.start()
	for _, id := range append(inFlight, first) {
		if d := s.awaitDelivery(id, "delivered"); d.AttemptCount != 1 {
			t.Errorf("after the restart: %+v", d)
		}
	}
	// Had the restart sent anything again, it would have been before this one.
	last := s.publish(customer("customer.created", "cus_4"))
	s.awaitDelivery(last, "delivered")
	if got := r.received("/hook"); !same(got, append(inFlight, first, last)) {
		t.Errorf("received %v, want each once", got)
	}
}

func TestWhatAStopCutsOffIsSentAgain(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	r := newReceiver(t, inTurn(reply{hold: make(chan struct{})}))
	s.destination(r, "/hook", nil)
	id := s.publish(customer("customer.created", "cus_1"))
	r.next()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.app.Stop(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("stop: %v", err)
	}
	s.app = nil
	s.start()
	if p := r.next(); p.id() != id {
		t.Errorf("received %s, want %s", p.id(), id)
	}
	// The try that was cut off says nothing about the endpoint.
	if d := s.awaitDelivery(id, "delivered"); d.AttemptCount != 1 {
		t.Errorf("delivery %+v", d)
	}
}

func TestRetriesOutliveARestart(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	r := newReceiver(t, inTurn(reply{status: 500}))
	s.destination(r, "/hook", object{"retry_schedule": []int{2}})
	id := s.publish(customer("customer.created", "cus_1"))
	due := *s.awaitAttempts(id, 1).NextAttemptAt
	s.restart()
	d := s.awaitDelivery(id, "delivered")
	tries := s.attempts(d.ID)
	if len(tries) != 2 || due.Sub(tries[1].StartedAt) > 2*time.Millisecond {
		t.Errorf("due %s, attempts %+v", due, tries)
	}
}

func TestBootstrap(t *testing.T) {
	t.Parallel()
	s := newServer(t, func(c *config.Config) { c.BootstrapTestKey, c.BootstrapLiveKey = "", "" })
	created := s.app.Created()
	if created == nil || !strings.HasPrefix(created.TestKey, "sk_test_") || !strings.HasPrefix(created.LiveKey, "sk_live_") {
		t.Fatalf("the first start created %+v", created)
	}
	s.as(created.TestKey).get("/v1/events").ok()
	s.as(created.LiveKey).get("/v1/events").ok()
	s.as(testKey).get("/v1/events").refused(http.StatusUnauthorized)

	s.restart()
	if again := s.app.Created(); again != nil {
		t.Errorf("the second start created %+v", again)
	}
	s.as(created.TestKey).get("/v1/events").ok()

	// Keys that are given must be those that work.
	s.restart(func(c *config.Config) { c.BootstrapTestKey = config.Secret(created.TestKey) })
	s.stop()
	s.cfg.BootstrapLiveKey = liveKey
	if _, err := app.New(t.Context(), s.cfg, app.Options{}); err == nil || !strings.Contains(err.Error(), "belongs to no account") || strings.Contains(err.Error(), liveKey) {
		t.Errorf("with another live key: %v", err)
	}
	s.cfg.BootstrapTestKey, s.cfg.BootstrapLiveKey = liveKey, ""
	if _, err := app.New(t.Context(), s.cfg, app.Options{}); err == nil || !strings.Contains(err.Error(), "sk_test_") {
		t.Errorf("with a key of the wrong mode: %v", err)
	}
}

func TestStopBeforeStart(t *testing.T) {
	t.Parallel()
	cfg := config.Default()
	cfg.Data, cfg.Listen = t.TempDir(), "127.0.0.1:0"
	for range 2 { // the folder is free again after each
		a, err := app.New(t.Context(), cfg, app.Options{})
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := a.Stop(t.Context()); err != nil {
				t.Error(err)
			}
		}
	}
}

func TestHeadersAreBounded(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	a := s.with("X-Long", strings.Repeat("x", 200<<10)).get("/v1/events")
	if a.status != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("status %d", a.status)
	}
}
