package apidestination_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/target"
	"github.com/waybill-dev/waybill/internal/target/apidestination"
)

var (
	payload = []byte(`{"detail":{"id":"a/b","n":7,"o":{"x":1}}}`)
	message = target.Message{EventID: "1", Type: "order", Body: payload, Attempt: 1, Event: &event.Event{Payload: payload}}
)

// peer answers with a status and keeps the last request.
type peer struct {
	*httptest.Server
	mu     sync.Mutex
	method string
	uri    string
	header http.Header
	body   string
	count  int
	answer func(w http.ResponseWriter, r *http.Request)
}

func newHTTPPeer(t *testing.T, answer func(w http.ResponseWriter, r *http.Request)) *peer {
	t.Helper()
	p := &peer{answer: answer}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		p.mu.Lock()
		p.method, p.uri, p.header, p.body = r.Method, r.RequestURI, r.Header, string(body)
		p.count++
		p.mu.Unlock()
		if p.answer != nil {
			p.answer(w, r)
		}
	}))
	t.Cleanup(p.Close)
	return p
}

func (p *peer) requests() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.count
}

func TestRequest(t *testing.T) {
	t.Parallel()
	p := newHTTPPeer(t, nil)
	_, to := open(t, always(apidestination.Endpoint{
		URL: p.URL + "/shops/*/orders/*?kept=a%20b&both=url", Method: http.MethodPut,
		Header: [][2]string{{"X-Both", "connection"}, {"Authorization", "Basic czpw"}},
		Query:  [][2]string{{"both", "connection"}},
		Body:   [][2]string{{"tenant", `"quoted"`}, {"detail", "mine"}},
	}), event.APIDestinationTarget{
		PathValues: []string{"one two", "$.detail.id"},
		Header:     map[string]string{"x-both": "target", "X-N": "$.detail.n", "Content-Length": "3", "Host": "evil"},
		Query:      map[string]string{"both": "target", "o": "$.detail.o", "gone": "$.detail.none"},
	}, apidestination.Options{})
	r := to.Send(t.Context(), message)
	if r.Class != event.ClassNone || r.Status != 200 {
		t.Fatalf("%+v", r)
	}
	if p.method != http.MethodPut || p.uri != "/shops/one%20two/orders/a%2Fb?kept=a%20b&both=connection&gone=&o=%7B%22x%22%3A1%7D" {
		t.Errorf("%s %s", p.method, p.uri)
	}
	for name, want := range map[string]string{
		"X-Both": "connection", "X-N": "7", "Authorization": "Basic czpw", "Content-Type": "application/json; charset=utf-8",
	} {
		if got := p.header.Values(name); len(got) != 1 || got[0] != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if p.body != `{"detail":"mine","tenant":"\"quoted\""}` {
		t.Errorf("body %s", p.body)
	}
}

// What a connection does not replace in a body stays as it was written.
func TestBodyParameters(t *testing.T) {
	t.Parallel()
	p := newHTTPPeer(t, nil)
	_, to := open(t, always(apidestination.Endpoint{URL: p.URL, Method: "POST", Body: [][2]string{{"b", "<old>"}, {"b", "new"}}}),
		event.APIDestinationTarget{}, apidestination.Options{})
	m := message
	m.Body = []byte(`{"c":"<&>","a":12345678901234567890,"b":1}`)
	if r := to.Send(t.Context(), m); r.Class != event.ClassNone {
		t.Fatalf("%+v", r)
	}
	if p.body != `{"a":12345678901234567890,"b":"new","c":"<&>"}` {
		t.Errorf("body %s", p.body)
	}
	m.Body = []byte(`null`)
	if r := to.Send(t.Context(), m); r.Class != event.ClassConfig || !r.Permanent {
		t.Errorf("%+v", r)
	}
}

func TestMethods(t *testing.T) {
	t.Parallel()
	for _, method := range []string{"POST", "GET", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE"} {
		t.Run(method, func(t *testing.T) {
			t.Parallel()
			p := newHTTPPeer(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Length", "5")
				_, _ = io.WriteString(w, "hello")
			})
			_, to := open(t, always(apidestination.Endpoint{URL: p.URL, Method: method}), event.APIDestinationTarget{}, apidestination.Options{})
			for range 2 {
				if r := to.Send(t.Context(), message); r.Class != event.ClassNone {
					t.Fatalf("%+v", r)
				}
			}
			want := string(message.Body)
			if method == "GET" || method == "HEAD" {
				want = ""
			}
			if p.method != method || p.body != want || p.requests() != 2 {
				t.Errorf("%s with %q, %d times", p.method, p.body, p.requests())
			}
		})
	}
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		status    int
		class     event.Class
		permanent bool
		wait      time.Duration
	}{
		{200, event.ClassNone, false, 0},
		{299, event.ClassNone, false, 0},
		{301, event.ClassRedirect, true, 0},
		{400, event.ClassStatus, true, 0},
		{401, event.ClassStatus, false, time.Minute},
		{403, event.ClassStatus, true, 0},
		{404, event.ClassStatus, true, 0},
		{407, event.ClassStatus, false, time.Minute},
		{409, event.ClassStatus, false, time.Minute},
		{410, event.ClassStatus, true, 0},
		{429, event.ClassStatus, false, time.Minute},
		{500, event.ClassStatus, false, time.Minute},
		{503, event.ClassStatus, false, time.Minute},
	} {
		t.Run(fmt.Sprint(test.status), func(t *testing.T) {
			t.Parallel()
			p := newHTTPPeer(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Retry-After", "60")
				w.WriteHeader(test.status)
			})
			_, to := open(t, always(apidestination.Endpoint{URL: p.URL, Method: "POST"}), event.APIDestinationTarget{}, apidestination.Options{})
			r := to.Send(t.Context(), message)
			if r.Class != test.class || r.Permanent != test.permanent || r.RetryAfter != test.wait || p.requests() != 1 {
				t.Errorf("%q, permanent %t, retry after %v, %d requests", r.Class, r.Permanent, r.RetryAfter, p.requests())
			}
		})
	}
}

func TestNothingIsSent(t *testing.T) {
	t.Parallel()
	p := newHTTPPeer(t, nil)
	good := apidestination.Endpoint{URL: p.URL, Method: "POST"}
	for name, test := range map[string]struct {
		edit      func(*apidestination.Endpoint)
		to        event.APIDestinationTarget
		body      string
		class     event.Class
		permanent bool
	}{
		"absent":         {func(e *apidestination.Endpoint) { e.URL = "" }, event.APIDestinationTarget{}, `{}`, event.ClassNoTarget, true},
		"not yet":        {func(e *apidestination.Endpoint) { e.Inactive = "it waits" }, event.APIDestinationTarget{}, `{}`, event.ClassRefused, false},
		"no more":        {func(e *apidestination.Endpoint) { e.Inactive, e.Final = "it ended", true }, event.APIDestinationTarget{}, `{}`, event.ClassRefused, true},
		"path":           {func(e *apidestination.Endpoint) { e.URL += "/*" }, event.APIDestinationTarget{}, `{}`, event.ClassConfig, true},
		"path leads up":  {func(e *apidestination.Endpoint) { e.URL += "/*/x" }, event.APIDestinationTarget{PathValues: []string{".."}}, `{}`, event.ClassConfig, true},
		"header":         {func(*apidestination.Endpoint) {}, event.APIDestinationTarget{Header: map[string]string{"X": "a\r\nY: s3cret"}}, `{}`, event.ClassConfig, true},
		"body parameter": {func(e *apidestination.Endpoint) { e.Body = [][2]string{{"a", "b"}} }, event.APIDestinationTarget{}, `"text"`, event.ClassConfig, true},
	} {
		t.Run(name, func(t *testing.T) {
			e := good
			test.edit(&e)
			_, to := open(t, always(e), test.to, apidestination.Options{})
			m := message
			m.Body = []byte(test.body)
			r := to.Send(t.Context(), m)
			if r.Class != test.class || r.Permanent != test.permanent || r.Message == "" || strings.Contains(r.Message, "s3cret") {
				t.Errorf("%+v", r)
			}
		})
	}
	if n := p.requests(); n != 0 {
		t.Errorf("%d requests", n)
	}
}

// tokenServer gives out a new token each time, and takes only the last.
type tokenServer struct {
	*peer
	given atomic.Int32
	life  string
}

func newTokenServer(t *testing.T) *tokenServer {
	s := &tokenServer{life: "3600"}
	s.peer = newHTTPPeer(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprintf(w, `{"access_token":"token-%d","token_type":"Bearer","expires_in":%s}`, s.given.Add(1), s.life)
	})
	return s
}

func (s *tokenServer) takes(r *http.Request) bool {
	return r.Header.Get("Authorization") == fmt.Sprintf("Bearer token-%d", s.given.Load())
}

func TestToken(t *testing.T) {
	t.Parallel()
	tokens := newTokenServer(t)
	p := newHTTPPeer(t, func(w http.ResponseWriter, r *http.Request) {
		if !tokens.takes(r) {
			w.WriteHeader(http.StatusUnauthorized)
		}
	})
	_, to := open(t, always(apidestination.Endpoint{
		URL: p.URL, Method: "POST", TokenURL: tokens.URL + "/token?a=b", TokenMethod: "POST", ClientID: "id", ClientSecret: "s3 cret",
		TokenBody: [][2]string{{"audience", "x"}}, TokenQuery: [][2]string{{"q", "r"}}, TokenHeader: [][2]string{{"X-Tenant", "t"}},
	}), event.APIDestinationTarget{}, apidestination.Options{})
	for range 3 {
		if r := to.Send(t.Context(), message); r.Class != event.ClassNone {
			t.Fatalf("%+v", r)
		}
	}
	if n := tokens.given.Load(); n != 1 {
		t.Errorf("%d tokens for 3 sends", n)
	}
	if tokens.uri != "/token?a=b&q=r" || tokens.body != "audience=x&client_id=id&client_secret=s3+cret&grant_type=client_credentials" || tokens.header.Get("X-Tenant") != "t" {
		t.Errorf("token request %s %s %v", tokens.uri, tokens.body, tokens.header)
	}
	// The server forgets: one further request with a new token.
	tokens.given.Add(1)
	before := p.requests()
	if r := to.Send(t.Context(), message); r.Class != event.ClassNone || r.Status != 200 {
		t.Fatalf("%+v", r)
	}
	if n := p.requests() - before; n != 2 {
		t.Errorf("%d requests", n)
	}
}

func TestTokenThatIsNeverTaken(t *testing.T) {
	t.Parallel()
	tokens := newTokenServer(t)
	p := newHTTPPeer(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) })
	_, to := open(t, always(apidestination.Endpoint{URL: p.URL, Method: "POST", TokenURL: tokens.URL, ClientID: "id", ClientSecret: "s"}),
		event.APIDestinationTarget{}, apidestination.Options{})
	for i := range 2 {
		if r := to.Send(t.Context(), message); r.Status != 401 || r.Permanent {
			t.Fatalf("%+v", r)
		}
		if n := p.requests(); n != i+1 {
			t.Errorf("%d requests after %d sends, each with a fresh token", n, i+1)
		}
	}
}

func TestTokenForms(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		e         apidestination.Endpoint
		uri, body string
	}{
		"query": {apidestination.Endpoint{TokenMethod: "GET"}, "/?client_id=id&client_secret=s&grant_type=client_credentials", ""},
		"json": {
			apidestination.Endpoint{TokenMethod: "PUT", TokenHeader: [][2]string{{"content-type", "application/json"}}},
			"/",
			`{"client_id":"id","client_secret":"s","grant_type":"client_credentials"}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tokens := newTokenServer(t)
			e := test.e
			e.TokenURL, e.ClientID, e.ClientSecret = tokens.URL, "id", "s"
			c, _ := open(t, always(e), event.APIDestinationTarget{}, apidestination.Options{})
			if refused, err := c.Authorize(t.Context(), e); refused || err != nil {
				t.Fatal(refused, err)
			}
			if tokens.uri != test.uri || tokens.body != test.body {
				t.Errorf("%s %s", tokens.uri, tokens.body)
			}
		})
	}
}

func TestTokenFailures(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		answer  http.HandlerFunc
		class   event.Class
		refused bool
	}{
		"refused":  {func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "bad s3cret", http.StatusUnauthorized) }, event.ClassStatus, true},
		"busy":     {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) }, event.ClassStatus, false},
		"nonsense": {func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "s3cret") }, event.ClassProtocol, true},
		"no token": {func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `{"access_token":"s3cret\r\nX: y"}`)
		}, event.ClassProtocol, true},
		"hangs up": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, event.ClassProtocol, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tokens := newHTTPPeer(t, test.answer)
			p := newHTTPPeer(t, nil)
			e := apidestination.Endpoint{URL: p.URL, Method: "POST", TokenURL: tokens.URL, ClientID: "id", ClientSecret: "s3cret"}
			c, to := open(t, always(e), event.APIDestinationTarget{}, apidestination.Options{})
			r := to.Send(t.Context(), message)
			if r.Class != test.class || r.Permanent || r.Status != 0 || len(r.Body) != 0 || strings.Contains(r.Message, "s3cret") || p.requests() != 0 {
				t.Errorf("%+v", r)
			}
			refused, err := c.Authorize(t.Context(), e)
			if refused != test.refused || err == nil || strings.Contains(err.Error(), "s3cret") {
				t.Errorf("refused %t: %v", refused, err)
			}
		})
	}
}

func TestConfigurationThatCannotBeRead(t *testing.T) {
	t.Parallel()
	c := apidestination.New(apidestination.Options{Resolve: func(event.Scope, string) (apidestination.Endpoint, error) {
		return apidestination.Endpoint{}, errors.New("database at 10.0.0.1 is down")
	}})
	t.Cleanup(c.Close)
	to, err := c.Open(event.Target{Kind: event.TargetAPIDestination, APIDestination: &event.APIDestinationTarget{ARN: destinationARN}})
	if err != nil {
		t.Fatal(err)
	}
	if r := to.Send(t.Context(), message); r.Class != event.ClassRefused || r.Permanent || strings.Contains(r.Message, "10.0.0.1") {
		t.Errorf("%+v", r)
	}
	if _, err := c.Open(event.Target{Kind: event.TargetWebhook}); err == nil {
		t.Error("opened what is no API destination")
	}
}

func TestGuardOfTheTokenEndpoint(t *testing.T) {
	t.Parallel()
	p := newHTTPPeer(t, nil)
	e := apidestination.Endpoint{URL: "https://203.0.114.5/", Method: "POST", TokenURL: p.URL, ClientID: "id", ClientSecret: "s"}
	_, to := openGuarded(t, always(e), event.APIDestinationTarget{}, apidestination.Options{})
	if r := to.Send(t.Context(), message); r.Class != event.ClassBlocked {
		t.Errorf("%+v", r)
	}
	if p.requests() != 0 {
		t.Error("the guard let a request through")
	}
}

// The rate holds for all that send to one destination, and a try that would
// wait too long says when to come back.
func TestRate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		// A destination that refuses at the last step, the connection, takes
		// its turn before.
		c := apidestination.New(apidestination.Options{Resolve: func(event.Scope, string) (apidestination.Endpoint, error) {
			return apidestination.Endpoint{URL: "http://127.0.0.1:1/", Method: "POST", Rate: 2}, nil
		}})
		to, err := c.Open(event.Target{Kind: event.TargetAPIDestination, APIDestination: &event.APIDestinationTarget{ARN: destinationARN}})
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		var wg sync.WaitGroup
		var late atomic.Int32
		for range 70 {
			wg.Go(func() {
				if r := to.Send(t.Context(), message); r.RetryAfter > 0 {
					late.Add(1)
					if r.Permanent || r.RetryAfter < 30*time.Second {
						t.Errorf("%+v", r)
					}
				}
			})
		}
		wg.Wait()
		if took := time.Since(start); took < 29*time.Second || took > 31*time.Second {
			t.Errorf("took %v", took)
		}
		if n := late.Load(); n < 8 || n > 10 {
			t.Errorf("%d were told to come back", n)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if r := to.Send(ctx, message); r.Class != target.Interrupted {
			t.Errorf("%+v", r)
		}
	})
}
