package cli_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/waybill-dev/waybill/internal/cli/fixture"
	"github.com/waybill-dev/waybill/internal/event"
)

// The server is the judge of what can be published.
func TestEveryFixtureCanBePublished(t *testing.T) {
	t.Parallel()
	url, stop, err := startServer(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	var batch struct {
		Events []json.RawMessage `json:"events"`
	}
	add := func(raw []byte, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		batch.Events = append(batch.Events, raw)
	}
	for _, typ := range fixture.Types() {
		if typ.Kind == event.Snapshot {
			add(fixture.Snapshot(typ.Name, nil))
		}
		add(fixture.Thin(typ.Name, nil))
	}
	body, err := json.Marshal(batch)
	if err != nil {
		t.Fatal(err)
	}
	env := map[string]string{"WAYBILL_URL": url, "WAYBILL_API_KEY": testKey}
	code, out, errs := run(env, string(body), "events", "publish", "-", "--json")
	if code != 0 {
		t.Fatal(errs)
	}
	var reply struct {
		Data []json.RawMessage `json:"data"`
	}
	if err := json.Unmarshal([]byte(out), &reply); err != nil || len(reply.Data) != len(batch.Events) {
		t.Errorf("%d of %d were published, %v", len(reply.Data), len(batch.Events), err)
	}
}

// stub answers everything alike, and keeps what it was asked.
func stub(t *testing.T, status int, header http.Header, body string) (env map[string]string, asked *http.Request, sent *string) {
	t.Helper()
	asked, sent = new(http.Request), new(string)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		raw, _ := io.ReadAll(r.Body)
		*asked, *sent = *r, string(raw)
		for name, values := range header {
			w.Header()[name] = values
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}))
	t.Cleanup(server.Close)
	return map[string]string{"WAYBILL_URL": server.URL, "WAYBILL_API_KEY": testKey}, asked, sent
}

func TestRequests(t *testing.T) {
	t.Parallel()
	tests := []struct {
		args         string
		method, path string
		sent         string
	}{
		{"events list --limit 3 --type a.b --type c.*", "GET", "/v1/events?limit=3&types%5B%5D=a.b&types%5B%5D=c.%2A", ""},
		{"events list --thin", "GET", "/v2/core/events?limit=10", ""},
		{"events get evt_1", "GET", "/v1/events/evt_1", ""},
		{"events get ../x?y", "GET", "/v1/events/..%2Fx%3Fy", ""},
		{"events publish -", "POST", "/v2/core/events", "stdin"},
		{"events resend evt_1 --destination ed_1", "POST", "/v1/events/evt_1/retry", "webhook_endpoint=ed_1"},
		{"destinations list", "GET", "/v2/core/event_destinations?include%5B0%5D=webhook_endpoint.url&limit=20", ""},
		{"destinations get ed_1", "GET", "/v2/core/event_destinations/ed_1?include%5B0%5D=webhook_endpoint.url", ""},
		{"destinations disable ed_1", "POST", "/v2/core/event_destinations/ed_1/disable", ""},
		{"destinations enable ed_1", "POST", "/v2/core/event_destinations/ed_1/enable", ""},
		{"destinations ping ed_1", "POST", "/v2/core/event_destinations/ed_1/ping", ""},
		{"destinations delete ed_1", "DELETE", "/v2/core/event_destinations/ed_1", ""},
		{
			"destinations create --url https://example.com/x --events a,b --payload thin", "POST", "/v2/core/event_destinations",
			`{"enabled_events":["a","b"],"event_payload":"thin","include":["webhook_endpoint.signing_secret","webhook_endpoint.url"],` +
				`"name":"example.com","type":"webhook_endpoint","webhook_endpoint":{"url":"https://example.com/x"}}`,
		},
		{
			"deliveries list --destination ed_1 --event evt_1 --status failed --limit 5", "GET",
			"/v2/core/deliveries?destination=ed_1&event=evt_1&limit=5&status=failed", "",
		},
	}
	for _, tt := range tests {
		t.Run(tt.args, func(t *testing.T) {
			t.Parallel()
			env, asked, sent := stub(t, 200, nil, `{"id":"x", "n": 1e2}`)
			code, out, errs := run(env, "stdin", append(strings.Fields(tt.args), "--json")...)
			if code != 0 || out != "{\n  \"id\": \"x\",\n  \"n\": 1e2\n}\n" {
				t.Errorf("exit %d, %q, %s", code, out, errs)
			}
			if asked.Method != tt.method || asked.RequestURI != tt.path || *sent != tt.sent {
				t.Errorf("asked %s %s with %s", asked.Method, asked.RequestURI, *sent)
			}
			if asked.Header.Get("Authorization") != "Bearer "+testKey {
				t.Errorf("authorized with %q", asked.Header.Get("Authorization"))
			}
		})
	}
}

func TestAnswersThatAreErrors(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		status int
		body   string
		want   string
	}{
		{"the API's", 400, `{"error":{"code":"invalid_fields","message":"name: It is missing."}}`, "waybill: name: It is missing.\n"},
		{"no JSON", 502, `<html>bad gateway</html>`, "502 Bad Gateway without saying why"},
		{"no message", 500, `{"error":{}}`, "500 Internal Server Error without saying why"},
		{"a redirect is not followed, as it would carry the key on", 307, ``, "307 Temporary Redirect without saying why"},
		{"no JSON in a success", 200, `hello`, "read answer"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			header := http.Header{}
			if tt.status == 307 {
				header.Set("Location", "/elsewhere")
			}
			env, asked, _ := stub(t, tt.status, header, tt.body)
			for _, args := range [][]string{{"events", "list"}, {"events", "list", "--json"}, {"destinations", "get", "ed_1"}, {"trigger", "charge.failed"}} {
				code, _, errs := run(env, "", args...)
				if code != 1 || !strings.Contains(errs, tt.want) || strings.Count(errs, "\n") != 1 || strings.Contains(errs, testKey) {
					t.Errorf("%q: exit %d, %q", args, code, errs)
				}
			}
			if strings.HasPrefix(asked.RequestURI, "/elsewhere") {
				t.Error("the redirect was followed")
			}
		})
	}
}

// What a receiver answers must not steer the terminal it is shown on.
func TestTablesShowNoControlCharacters(t *testing.T) {
	t.Parallel()
	env, _, _ := stub(t, 200, nil, `{"data":[{"id":"ed_1\u001b[2J","name":"a\tb\nc","status":"enabled","enabled_events":["*"]}]}`)
	code, out, errs := run(env, "", "destinations", "list")
	if code != 0 || strings.ContainsAny(out, "\x1b\t") || strings.Count(out, "\n") != 2 || !strings.Contains(out, "a b c") {
		t.Errorf("exit %d, %q, %s", code, out, errs)
	}
}

func TestNothingListens(t *testing.T) {
	t.Parallel()
	env := map[string]string{"WAYBILL_URL": "http://" + unused(t), "WAYBILL_API_KEY": testKey}
	code, _, errs := run(env, "", "deliveries", "list")
	if code != 1 || !strings.Contains(errs, "start one with `waybill serve`") {
		t.Errorf("exit %d, %s", code, errs)
	}
}

func TestUsageErrorsExitWith2(t *testing.T) {
	t.Parallel()
	for _, args := range []string{"fly", "events", "events fly", "events get", "events list --fast", "events list --limit x", "events list", "trigger nope", "serve --listen x", "demo --events -1"} {
		if code, out, errs := run(map[string]string{}, "", strings.Fields(args)...); code != 2 || out != "" || !strings.HasPrefix(errs, "waybill: ") {
			t.Errorf("%s: exit %d, %q, %q", args, code, out, errs)
		}
	}
}
