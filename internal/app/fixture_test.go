package app_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stripe/stripe-go/v85"
	"github.com/stripe/stripe-go/v85/webhook"

	"github.com/waybill-dev/waybill/internal/app"
	"github.com/waybill-dev/waybill/internal/config"
)

// The keys of every fixture's first account.
const (
	testKey = "sk_test_4eC39HqLyjWDarjtT1zdp7dc"
	liveKey = "sk_live_4eC39HqLyjWDarjtT1zdp7dc"
)

// patience bounds every wait. Only a broken server makes a test use it up.
const patience = 30 * time.Second

// object is a JSON object in the making.
type object map[string]any

// server is a whole Waybill on a folder of its own. Its client holds the test
// mode key.
type server struct {
	client
	app *app.App
	cfg config.Config
}

// newServer starts a server for a developer's machine, unless change says
// otherwise.
func newServer(t *testing.T, change ...func(*config.Config)) *server {
	t.Helper()
	cfg := config.Default()
	cfg.Data, cfg.Listen, cfg.Dev = t.TempDir(), "127.0.0.1:0", true
	cfg.BootstrapTestKey, cfg.BootstrapLiveKey = testKey, liveKey
	for _, c := range change {
		c(&cfg)
	}
	s := &server{cfg: cfg, client: client{t: t, key: testKey, http: &http.Client{Transport: &http.Transport{}}}}
	s.start()
	t.Cleanup(func() {
		s.stop()
		s.http.CloseIdleConnections()
	})
	return s
}

func (s *server) start() {
	s.t.Helper()
	a, err := app.New(s.t.Context(), s.cfg, app.Options{Version: "test"})
	if err != nil {
		s.t.Fatal(err)
	}
	s.app = a
	if err := a.Start(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
	s.url = a.URL()
}

func (s *server) stop() {
	s.t.Helper()
	if s.app == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.t.Context()), patience)
	defer cancel()
	if err := s.app.Stop(ctx); err != nil {
		s.t.Error(err)
	}
	s.app = nil
}

// restart stops the server and starts another on its folder.
func (s *server) restart(change ...func(*config.Config)) {
	s.t.Helper()
	s.stop()
	for _, c := range change {
		c(&s.cfg)
	}
	s.start()
}

// sdk is stripe-go as its users set it up for another base URL.
func (c client) sdk() *stripe.Client {
	return stripe.NewClient(c.key, stripe.WithBackends(stripe.NewBackendsWithConfig(&stripe.BackendConfig{
		URL:           stripe.String(c.url),
		LeveledLogger: &stripe.LeveledLogger{Level: stripe.LevelNull}, // expected errors are no news
	})))
}

// client calls a server with one key.
type client struct {
	t      *testing.T
	url    string
	key    string
	header http.Header
	http   *http.Client
}

func (c client) as(key string) client { c.key = key; return c }

func (c client) with(name, value string) client {
	c.header = c.header.Clone()
	if c.header == nil {
		c.header = http.Header{}
	}
	c.header.Set(name, value)
	return c
}

func (c client) do(method, path string, body io.Reader) answer {
	c.t.Helper()
	r, err := http.NewRequestWithContext(c.t.Context(), method, c.url+path, body)
	if err != nil {
		c.t.Fatal(err)
	}
	maps.Copy(r.Header, c.header)
	r.Header.Set("Authorization", "Bearer "+c.key)
	response, err := c.http.Do(r)
	if err != nil {
		c.t.Fatal(err)
	}
	defer response.Body.Close()
	raw, err := io.ReadAll(response.Body)
	if err != nil {
		c.t.Fatalf("%s %s: %v", method, path, err)
	}
	return answer{t: c.t, status: response.StatusCode, header: response.Header, body: raw}
}

func (c client) get(path string) answer { c.t.Helper(); return c.do(http.MethodGet, path, nil) }

func (c client) delete(path string) answer { c.t.Helper(); return c.do(http.MethodDelete, path, nil) }

// post sends v as it is if it is a string, else as JSON.
func (c client) post(path string, v any) answer {
	c.t.Helper()
	text, ok := v.(string)
	if !ok {
		raw, err := json.Marshal(v)
		if err != nil {
			c.t.Fatal(err)
		}
		text = string(raw)
	}
	return c.do(http.MethodPost, path, strings.NewReader(text))
}

// publish accepts one event and returns its id.
func (c client) publish(v any) string {
	c.t.Helper()
	return c.post("/v2/core/events", v).ok().text("id")
}

// resend asks for an event to be sent again, as the Stripe CLI does.
func (c client) resend(event, destination string) answer {
	c.t.Helper()
	return c.with("Content-Type", "application/x-www-form-urlencoded").
		post("/v1/events/"+event+"/retry", "webhook_endpoint="+destination)
}

// destination creates one whose events go to a path of a receiver, which then
// verifies with its secret. fields override what is usual.
func (c client) destination(at *receiver, path string, fields object) string {
	c.t.Helper()
	p := object{
		"name": "d", "type": "webhook_endpoint", "event_payload": "snapshot", "enabled_events": []string{"*"},
		"webhook_endpoint": object{"url": at.url + path},
		"include":          []string{"webhook_endpoint.signing_secret"},
	}
	maps.Copy(p, fields)
	made := c.post("/v2/core/event_destinations", p).ok()
	at.trust(path, made.text("webhook_endpoint", "signing_secret"))
	return made.text("id")
}

// delivery is what the API tells of one.
type delivery struct {
	ID               string
	Event            string
	EventType        string `json:"event_type"`
	EventDestination string `json:"event_destination"`
	Status           string
	Reason           string
	NextAttemptAt    *time.Time `json:"next_attempt_at"`
	AttemptCount     int        `json:"attempt_count"`
	LastAttempt      *struct {
		StatusCode int    `json:"status_code"`
		ErrorClass string `json:"error_class"`
		At         time.Time
	} `json:"last_attempt"`
	Livemode bool
}

type attempt struct {
	Run             int
	Attempt         int
	Outcome         string
	ErrorClass      string `json:"error_class"`
	Message         string
	StatusCode      int        `json:"status_code"`
	StartedAt       time.Time  `json:"started_at"`
	DurationMS      float64    `json:"duration_ms"`
	FirstByteMS     *float64   `json:"first_byte_ms"`
	NextAttemptAt   *time.Time `json:"next_attempt_at"`
	ResponseHeaders map[string]string
	ResponseBody    *string `json:"response_body"`
	Truncated       bool    `json:"response_body_truncated"`
}

func (a *attempt) UnmarshalJSON(raw []byte) error {
	type plain attempt
	headers := struct {
		*plain
		Headers map[string]string `json:"response_headers"`
	}{plain: (*plain)(a)}
	err := json.Unmarshal(raw, &headers)
	a.ResponseHeaders = headers.Headers
	return err
}

// deliveries lists them, newest first.
func (c client) deliveries(query string) []delivery {
	c.t.Helper()
	var page struct{ Data []delivery }
	c.get("/v2/core/deliveries?" + query).ok().into(&page)
	return page.Data
}

func (c client) attempts(deliveryID string) []attempt {
	c.t.Helper()
	var page struct{ Data []attempt }
	c.get("/v2/core/deliveries/" + deliveryID + "/attempts").ok().into(&page)
	return page.Data
}

// awaitDelivery waits until the only delivery of an event has a status.
func (c client) awaitDelivery(event, status string) delivery {
	c.t.Helper()
	return c.await(event, status, func(d delivery) bool { return d.Status == status })
}

// awaitAttempts waits until so many tries of the only delivery of an event
// are recorded.
func (c client) awaitAttempts(event string, n int) delivery {
	c.t.Helper()
	return c.await(event, "tried", func(d delivery) bool { return d.AttemptCount >= n })
}

func (c client) await(event, what string, reached func(delivery) bool) delivery {
	c.t.Helper()
	var d delivery
	until(c.t, "the delivery of "+event+" is "+what, func() bool {
		list := c.deliveries("event=" + event)
		if len(list) != 1 {
			c.t.Fatalf("%s has %d deliveries, want 1: %+v", event, len(list), list)
		}
		d = list[0]
		return reached(d)
	})
	return d
}

// until waits for what nothing but asking tells.
func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline, tick := time.NewTimer(patience), time.NewTicker(5*time.Millisecond)
	defer deadline.Stop()
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("gave up waiting until %s", what)
		}
	}
}

// answer is a response, read.
type answer struct {
	t      *testing.T
	status int
	header http.Header
	body   []byte
}

func (a answer) into(v any) {
	a.t.Helper()
	if err := json.Unmarshal(a.body, v); err != nil {
		a.t.Fatalf("%v: %s", err, a.body)
	}
}

// at walks the body by member names.
func (a answer) at(path ...string) any {
	a.t.Helper()
	var v any
	a.into(&v)
	for _, name := range path {
		m, ok := v.(map[string]any)
		if !ok {
			a.t.Fatalf("there is no %v in %s", path, a.body)
		}
		v = m[name]
	}
	return v
}

func (a answer) text(path ...string) string {
	a.t.Helper()
	s, ok := a.at(path...).(string)
	if !ok {
		a.t.Fatalf("%v is no string in %s", path, a.body)
	}
	return s
}

// ids lists the ids of a page.
func (a answer) ids() []string {
	a.t.Helper()
	var page struct{ Data []struct{ ID string } }
	a.into(&page)
	ids := make([]string, len(page.Data))
	for i := range page.Data {
		ids[i] = page.Data[i].ID
	}
	return ids
}

func (a answer) ok() answer {
	a.t.Helper()
	if a.status != http.StatusOK {
		a.t.Fatalf("status %d: %s", a.status, a.body)
	}
	return a
}

// refused checks that the answer is an API error with this status, whose
// message holds all of the texts.
func (a answer) refused(status int, texts ...string) {
	a.t.Helper()
	if a.status != status {
		a.t.Fatalf("status %d, want %d: %s", a.status, status, a.body)
	}
	if !strings.HasPrefix(a.header.Get("Request-Id"), "req_") {
		a.t.Errorf("Request-Id %q", a.header.Get("Request-Id"))
	}
	message := a.text("error", "message")
	for _, text := range texts {
		if !strings.Contains(message, text) {
			a.t.Errorf("the message lacks %q: %s", text, message)
		}
	}
}

// receiver is a customer's endpoint. It verifies whatever arrives with
// stripe-go before it answers, and keeps it.
type receiver struct {
	t          *testing.T
	url        string
	anyVersion bool      // take snapshots of versions that this SDK is not made for
	got        chan post // everything, in the order it came
	closed     chan struct{}

	mu      sync.Mutex
	secrets map[string]string // by path
	answer  func(post) reply
	all     []post
}

// post is one delivery that arrived.
type post struct {
	path   string
	header http.Header
	body   []byte
	at     time.Time

	event stripe.Event                    // a snapshot, or
	thin  *stripe.V2CoreEventNotification // a notification
}

func (p post) id() string {
	if p.thin != nil {
		return p.thin.ID
	}
	return p.event.ID
}

// reply is a receiver's answer; the zero one is 200 at once.
type reply struct {
	status int
	header map[string]string
	body   string
	hold   <-chan struct{} // wait for its end: before the answer, or
	after  bool            // after the first part of it
}

// inTurn gives one reply after the other, and 200 from then on.
func inTurn(replies ...reply) func(post) reply {
	n := 0
	return func(post) reply {
		n++
		if n > len(replies) {
			return reply{}
		}
		return replies[n-1]
	}
}

func always(r reply) func(post) reply { return func(post) reply { return r } }

// newReceiver starts a receiver that answers as told, or 200 for nil.
func newReceiver(t *testing.T, answer func(post) reply) *receiver {
	t.Helper()
	if answer == nil {
		answer = always(reply{})
	}
	r := &receiver{
		t: t, got: make(chan post, 8192), closed: make(chan struct{}),
		secrets: map[string]string{}, answer: answer,
	}
	s := httptest.NewServer(r)
	r.url = s.URL
	t.Cleanup(func() {
		close(r.closed)
		s.Close()
	})
	return r
}

func (r *receiver) trust(path, secret string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.secrets[path] = secret
}

// secret returns the one of the destination at path.
func (r *receiver) secret(path string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.secrets[path]
}

// next returns the next delivery.
func (r *receiver) next() post {
	r.t.Helper()
	select {
	case p := <-r.got:
		return p
	case <-time.After(patience):
		r.t.Fatal("nothing was delivered")
		return post{}
	}
}

// received returns the ids of the events that arrived at path so far.
func (r *receiver) received(path string) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var ids []string
	for _, p := range r.all {
		if p.path == path {
			ids = append(ids, p.id())
		}
	}
	return ids
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	body, err := io.ReadAll(request.Body)
	if err != nil {
		return // the sender gave up, and will say so
	}
	p := post{path: request.URL.Path, header: request.Header, body: body, at: time.Now()}
	r.mu.Lock()
	r.verify(&p)
	r.all = append(r.all, p)
	answer := r.answer(p)
	r.mu.Unlock()
	select {
	case r.got <- p:
	default:
		r.t.Error("more was delivered than any test asks for")
	}
	wait := func() {
		if answer.hold != nil {
			select {
			case <-answer.hold:
			case <-request.Context().Done():
			case <-r.closed:
			}
		}
	}
	if !answer.after {
		wait()
	}
	for name, value := range answer.header {
		w.Header().Set(name, value)
	}
	if answer.status == 0 {
		answer.status = http.StatusOK
	}
	w.WriteHeader(answer.status)
	_, _ = io.WriteString(w, answer.body)
	if answer.after {
		w.(http.Flusher).Flush()
		wait()
	}
}

// verify does what the owner of an endpoint does first.
func (r *receiver) verify(p *post) {
	secret, signature := r.secrets[p.path], p.header.Get("Stripe-Signature")
	var err error
	if bytes.Contains(p.body, []byte(`"object":"v2.core.event"`)) {
		var parsed stripe.EventNotificationContainer
		if parsed, err = stripe.NewClient("sk_test_unused").ParseEventNotification(p.body, signature, secret); err == nil {
			p.thin = parsed.GetEventNotification()
		}
	} else if r.anyVersion {
		p.event, err = webhook.ConstructEventWithOptions(p.body, signature, secret, webhook.ConstructEventOptions{IgnoreAPIVersionMismatch: true})
	} else {
		p.event, err = webhook.ConstructEvent(p.body, signature, secret)
	}
	if err != nil {
		r.t.Errorf("the delivery to %s cannot be verified: %v\n%s\n%s", p.path, err, signature, p.body)
	}
}

// customer is a snapshot event of this type about a customer.
func customer(typ, id string) object {
	return object{"type": typ, "data": object{"object": object{"id": id, "object": "customer", "email": "jenny@example.com"}}}
}

// thin is a thin event of this type about a customer.
func thin(typ, id string) object {
	return object{"type": typ, "related_object": object{"id": id, "type": "customer", "url": "/v1/customers/" + id}}
}

// batch puts events into one request.
func batch(events ...object) object { return object{"events": events} }

// same tells whether two lists hold the same ids in any order.
func same(a, b []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}
