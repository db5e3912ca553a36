package awsapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/internal/account"
	"github.com/waybill-dev/waybill/internal/fault"
	"github.com/waybill-dev/waybill/internal/sign"
)

type thing struct {
	Name  string
	Count int   `json:",omitempty"`
	At    stamp `json:",omitzero"`
}

func TestJSONProtocol(t *testing.T) {
	t.Parallel()
	var caller account.AWSCaller
	var in thing
	var at string
	f := newProtocol(t, map[string]*service{"AWSEvents": {signing: "events", json: json11, operations: map[string]operation{
		"PutThing": op(func(ctx context.Context, c account.AWSCaller, given *thing) (*thing, error) {
			caller, in, at = c, *given, origin(ctx)
			return &thing{Name: "<" + given.Name + ">", At: given.At}, nil
		}),
		"DropThing": act(func(_ context.Context, _ account.AWSCaller, given *thing) error { in = *given; return nil }),
	}}})

	got := f.json("events", "AWSEvents.PutThing", `{"Name":"a","At":1772366400.25,"Unknown":[{}]}`)
	if got.status != http.StatusOK || got.body != `{"Name":"<a>","At":1772366400.250}` || got.header.Get("Content-Type") != "application/x-amz-json-1.1" {
		t.Errorf("%+v", got)
	}
	if in.Name != "a" || !time.Time(in.At).Equal(testNow.Add(250*time.Millisecond)) || at != "http://localhost:4242" {
		t.Errorf("decoded %+v, origin %q", in, at)
	}
	if caller.AccountID != testAWSID || caller.Region != testRegion || caller.AccessKeyID != testID || !caller.Scope.Live() || caller.Scope.Account() == 0 {
		t.Errorf("caller %+v", caller)
	}
	if got := f.json("events", "AWSEvents.DropThing", `{"Name":"b"}`); got.status != http.StatusOK || got.body != "" || in.Name != "b" {
		t.Errorf("%+v", got)
	}
	if got := f.json("events", "AWSEvents.PutThing", ""); got.status != http.StatusOK || got.body != `{"Name":"<>"}` {
		t.Errorf("no body: %+v", got)
	}
	for _, body := range []string{`{"Count":"three"}`, `{"At":"yesterday"}`, `{"At":true}`, `[]`, `{`, `{"Count":1.5}`, `{"Count":1e99}`} {
		if got := f.json("events", "AWSEvents.PutThing", body); got.status != http.StatusBadRequest || !strings.HasPrefix(got.body, `{"__type":"SerializationException","message":"`) {
			t.Errorf("%s: %+v", body, got)
		}
	}
	for target, method := range map[string]string{
		"AWSEvents.Fly": http.MethodPost, "AWSEvents": http.MethodPost, "DynamoDB_20120810.GetItem": http.MethodPost, ".": http.MethodPost,
		"AWSEvents.PutThing": http.MethodGet,
	} {
		r := f.request(method, "/", json11, "{}")
		r.Header.Set("X-Amz-Target", target)
		if got := f.send(signed(r, "events", "{}")); got.status != http.StatusNotFound || !strings.Contains(got.body, `"UnknownOperationException"`) {
			t.Errorf("%s: %+v", target, got)
		}
	}
	if got := f.send(f.request(http.MethodPost, "/", "text/plain", "hello")); got.status != http.StatusNotFound {
		t.Errorf("no protocol at all: %+v", got)
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	limited := fault.New(fault.Limited, "", "Slow down.")
	limited.RetryAfter = 1500 * time.Millisecond
	tests := []struct {
		err    error
		status int
		body   string
		header string // Retry-After
	}{
		{fault.New(fault.NotFound, "ResourceNotFoundException", "Rule x does not exist."), 400, `{"__type":"ResourceNotFoundException","message":"Rule x does not exist."}`, ""},
		{fmt.Errorf("put rule: %w", fault.New(fault.Limited, "LimitExceededException", "No more.")), 400, `{"__type":"LimitExceededException","message":"No more."}`, ""},
		{fault.New(fault.Conflict, "ConcurrentModificationException", "<Again>"), 400, `{"__type":"ConcurrentModificationException","message":"<Again>"}`, ""},
		{fault.New(fault.Forbidden, "AccessDeniedException", "No."), 400, `{"__type":"AccessDeniedException","message":"No."}`, ""},
		{fault.Invalidf("name", "It is missing."), 400, `{"__type":"ValidationException","message":"name: It is missing."}`, ""},
		{fault.NotFoundf("It is not there."), 400, `{"__type":"ResourceNotFoundException","message":"It is not there."}`, ""},
		{limited, 400, `{"__type":"ThrottlingException","message":"Slow down."}`, "2"},
		{fault.Unavailablef(errors.New("disk of hunter2"), "Try again."), 503, `{"__type":"ServiceUnavailable","message":"Try again."}`, "1"},
		{context.DeadlineExceeded, 503, `{"__type":"ServiceUnavailable","message":"The request took too long. Send it again."}`, "1"},
	}
	operations := map[string]operation{
		"Ours":  failing(errors.New("the secret is hunter2")),
		"Panic": func(context.Context, account.AWSCaller, []byte) (any, error) { panic("hunter2") },
		"NoJSON": func(context.Context, account.AWSCaller, []byte) (any, error) {
			return func() {}, nil
		},
	}
	for i, tt := range tests {
		operations[fmt.Sprint(i)] = failing(tt.err)
	}
	f := newProtocol(t, map[string]*service{"Logs_20140328": {signing: "logs", json: json11, operations: operations}})
	for i, tt := range tests {
		got := f.json("logs", fmt.Sprintf("Logs_20140328.%d", i), "{}")
		if got.status != tt.status || got.body != tt.body || got.header.Get("Retry-After") != tt.header {
			t.Errorf("%v: %d %s %q", tt.err, got.status, got.body, got.header.Get("Retry-After"))
		}
		if got.header.Get("x-amzn-query-error") != "" {
			t.Errorf("%v: a service without the query protocol speaks of it", tt.err)
		}
	}
	for _, name := range []string{"Ours", "Panic", "NoJSON"} {
		got := f.json("logs", "Logs_20140328."+name, "{}")
		id := got.header.Get("x-amzn-RequestId")
		if got.status != 500 || !strings.Contains(got.body, `"InternalFailure"`) || strings.Contains(got.body, "hunter2") || !strings.Contains(got.body, id) {
			t.Errorf("%s: %+v", name, got)
		}
		if !strings.Contains(f.log.String(), id) {
			t.Errorf("%s: the log lacks the request", name)
		}
	}
}

func TestErrorsOfSQSTellBothProtocols(t *testing.T) {
	t.Parallel()
	f := newProtocol(t, map[string]*service{sqsTarget: {
		signing: "sqs", json: json10, namespace: "com.amazonaws.sqs#",
		queryCodes: map[string]string{"QueueDoesNotExist": "AWS.SimpleQueueService.NonExistentQueue"},
		operations: map[string]operation{
			"GetQueueUrl": failing(fault.New(fault.NotFound, "QueueDoesNotExist", "The specified queue does not exist.")),
			"PurgeQueue":  failing(fault.Unavailablef(nil, "Later.")),
		},
	}})
	for _, tt := range []struct {
		name, body, header string
		status             int
	}{
		{"GetQueueUrl", `{"__type":"com.amazonaws.sqs#QueueDoesNotExist","message":"The specified queue does not exist."}`, "AWS.SimpleQueueService.NonExistentQueue;Sender", 400},
		{"PurgeQueue", `{"__type":"com.amazonaws.sqs#ServiceUnavailable","message":"Later."}`, "ServiceUnavailable;Receiver", 503},
	} {
		got := f.json("sqs", "AmazonSQS."+tt.name, "{}")
		if got.status != tt.status || got.body != tt.body || got.header.Get("x-amzn-query-error") != tt.header || got.header.Get("Content-Type") != json10 {
			t.Errorf("%+v", got)
		}
	}
}

func TestAuthentication(t *testing.T) {
	t.Parallel()
	ran := ""
	table := map[string]operation{"PutEvents": echo(&ran), "ListQueues": echo(&ran)}
	f := newProtocol(t, map[string]*service{
		"AWSEvents": {signing: "events", json: json11, operations: table},
		sqsTarget:   {signing: "sqs", json: json10, namespace: "com.amazonaws.sqs#", operations: table, queryCodes: map[string]string{}},
	})
	const body = `{"a":1}`
	edit := func(name, from, to string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, strings.Replace(r.Header.Get(name), from, to, 1)) }
	}
	signAs := func(id, secret, region, service string, at time.Time) func(*http.Request) {
		return func(r *http.Request) { sign.SignSigV4(r, []byte(body), id, secret, region, service, at) }
	}
	tests := []struct {
		name, code, message string
		change              func(*http.Request)
	}{
		{"unsigned", codeMissing, "Missing Authentication Token", func(r *http.Request) { r.Header.Del("Authorization") }},
		{"bearer", codeMissing, "", func(r *http.Request) { r.Header.Set("Authorization", "Bearer sk_test_x") }},
		{"no date", codeIncomplete, "X-Amz-Date", func(r *http.Request) { r.Header.Del("X-Amz-Date") }},
		{"half", codeIncomplete, "Signature", func(r *http.Request) { r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=a/b/c/d/e") }},
		{"unknown key", codeUnknownKey, "security token", signAs("AKIAIOSFODNN7UNKNOWN", testSecret, testRegion, "events", testNow)},
		{"no key", codeUnknownKey, "security token", signAs("x", testSecret, testRegion, "events", testNow)},
		{"wrong secret", codeSignature, "does not match", signAs(testID, testSecret+"x", testRegion, "events", testNow)},
		{"other service", codeSignature, "correct service: 'events'", signAs(testID, testSecret, testRegion, "sns", testNow)},
		{"no region", codeSignature, "valid region", signAs(testID, testSecret, "EU Central", "events", testNow)},
		{"other region", codeSignature, "does not match", edit("Authorization", testRegion, "us-east-1")},
		{"other body", codeSignature, "does not match", func(r *http.Request) { r.Body = http.NoBody }},
		{"other host", codeSignature, "does not match", func(r *http.Request) { r.Host = "example.com" }},
		{"other target", codeSignature, "does not match", func(r *http.Request) { r.Header.Set("X-Amz-Target", "AWSEvents.ListQueues") }},
		{"late", codeSignature, "Signature expired", signAs(testID, testSecret, testRegion, "events", testNow.Add(-16*time.Minute))},
		{"early", codeSignature, "Signature not yet current", signAs(testID, testSecret, testRegion, "events", testNow.Add(16*time.Minute))},
	}
	for _, tt := range tests {
		r := f.request(http.MethodPost, "/", json11, body)
		r.Header.Set("X-Amz-Target", "AWSEvents.PutEvents")
		signed(r, "events", body)
		tt.change(r)
		got := f.send(r)
		if got.status != http.StatusBadRequest || !strings.HasPrefix(got.body, `{"__type":"`+tt.code+`"`) || !strings.Contains(got.body, tt.message) {
			t.Errorf("%s: %d %s", tt.name, got.status, got.body)
		}
		if strings.Contains(got.body, testSecret) {
			t.Errorf("%s: the answer tells the secret", tt.name)
		}
	}
	if ran != "" {
		t.Fatal("a stranger was let in")
	}
	if got := f.json("events", "AWSEvents.PutEvents", body); got.status != http.StatusOK || ran != body {
		t.Errorf("the genuine one: %+v", got)
	}

	// SQS refuses in the words of its older protocol, too.
	r := f.request(http.MethodPost, "/", json10, "{}")
	r.Header.Set("X-Amz-Target", "AmazonSQS.ListQueues")
	sign.SignSigV4(r, []byte("{}"), "AKIAIOSFODNN7UNKNOWN", testSecret, testRegion, "sqs", testNow)
	if got := f.send(r); got.status != http.StatusForbidden || got.header.Get("x-amzn-query-error") != "InvalidClientTokenId;Sender" {
		t.Errorf("SQS: %+v", got)
	}
	r = f.request(http.MethodPost, "/", formType, "Action=ListQueues")
	sign.SignSigV4(r, []byte("Action=ListQueues"), testID, testSecret+"x", testRegion, "sqs", testNow)
	if got := f.send(r); got.status != http.StatusForbidden || !strings.Contains(got.body, "<Code>SignatureDoesNotMatch</Code>") {
		t.Errorf("query: %+v", got)
	}
	r = f.request(http.MethodGet, "/?Action=ListQueues&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential="+testID+"%2F20260301%2Feu-central-1%2Fsqs%2Faws4_request&X-Amz-Date=20260301T100000Z&X-Amz-Expires=60&X-Amz-SignedHeaders=host&X-Amz-Signature=00", "", "")
	if got := f.send(r); got.status != http.StatusBadRequest || !strings.Contains(got.body, "<Code>RequestExpired</Code>") {
		t.Errorf("presigned: %+v", got)
	}
}

// reading fails a test that reads a body which must not be read.
type reading struct{ t *testing.T }

func (r reading) Read([]byte) (int, error) {
	r.t.Error("the body was read")
	return 0, errors.New("no")
}

func (reading) Close() error { return nil }

func TestStrangersBodiesAreNotRead(t *testing.T) {
	t.Parallel()
	f := newProtocol(t, map[string]*service{"AWSEvents": {signing: "events", json: json11, operations: map[string]operation{"PutEvents": failing(nil)}}})
	r := f.request(http.MethodPost, "/", json11, "{}")
	r.Header.Set("X-Amz-Target", "AWSEvents.PutEvents")
	sign.SignSigV4(r, []byte("{}"), "AKIAIOSFODNN7UNKNOWN", testSecret, testRegion, "events", testNow)
	r.Body = reading{t}
	if got := f.send(r); !strings.Contains(got.body, codeUnknownKey) {
		t.Errorf("%+v", got)
	}
}

func TestBodyLimit(t *testing.T) {
	t.Parallel()
	ran := ""
	f := newProtocol(t, map[string]*service{"AWSEvents": {signing: "events", json: json11, operations: map[string]operation{"PutEvents": echo(&ran)}}})
	f.api.o.MaxBody = 100
	exact, over := strings.Repeat("x", 100), strings.Repeat("x", 101)
	if got := f.json("events", "AWSEvents.PutEvents", exact); got.status != http.StatusOK || ran != exact {
		t.Errorf("at the limit: %+v", got)
	}
	for name, length := range map[string]int64{"declared": 101, "chunked": -1} {
		r := f.request(http.MethodPost, "/", json11, over)
		r.Header.Set("X-Amz-Target", "AWSEvents.PutEvents")
		r.ContentLength = length
		got := f.send(signed(r, "events", over))
		if got.status != http.StatusRequestEntityTooLarge || !strings.Contains(got.body, `"RequestEntityTooLarge","message":"The body is over the limit of 100 bytes.`) {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestStamp(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Time{
		"1772366400":                  testNow,
		"1772366400.0":                testNow,
		"1.7723664E9":                 testNow,
		"1772366400.123456":           testNow.Add(123 * time.Millisecond),
		"-1.5":                        time.UnixMilli(-1500),
		`"2026-03-01T12:00:00Z"`:      testNow,
		`"2026-03-01T14:00:00+02:00"`: testNow,
		"null":                        {},
	} {
		var s stamp
		if err := json.Unmarshal([]byte(text), &s); err != nil || !time.Time(s).Equal(want) {
			t.Errorf("%s: %v, %v", text, time.Time(s), err)
		}
	}
	for _, text := range []string{`"tomorrow"`, "true", "1e30", "-1e30", "{}", `"1772366400"`} {
		var s stamp
		if err := json.Unmarshal([]byte(text), &s); err == nil {
			t.Errorf("%s: %v", text, time.Time(s))
		}
	}
	for want, at := range map[string]time.Time{"1772366400": testNow, "1772366400.007": testNow.Add(7*time.Millisecond + 999), "null": {}, "-1.500": time.UnixMilli(-1500)} {
		if got, err := json.Marshal(stamp(at)); err != nil || string(got) != want {
			t.Errorf("%v: %s, %v", at, got, err)
		}
	}
}

func FuzzStamp(f *testing.F) {
	for _, seed := range []string{"1772366400.25", `"2026-03-01T12:00:00Z"`, "null", "1e400", `""`, "-0"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var s, again stamp
		if json.Unmarshal([]byte(text), &s) != nil {
			return
		}
		raw, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(raw, &again); err != nil || !s.IsZero() && time.Time(s).UnixMilli() != time.Time(again).UnixMilli() {
			t.Fatalf("%s: %s: %v, %v", text, raw, time.Time(again), err)
		}
	})
}

func TestClaims(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		method, target string
		header         http.Header
		want           bool
	}{
		{"POST", "/", http.Header{"X-Amz-Target": {"AWSEvents.PutEvents"}}, true},
		{"POST", "/", http.Header{"Content-Type": {"application/x-www-form-urlencoded; charset=utf-8"}}, true},
		{"POST", "/123456789012/orders", http.Header{"Content-Type": {formType}}, true},
		{"GET", "/?Action=ListQueues", nil, true},
		{"GET", "/123456789012/orders?X-Amz-Signature=00", nil, true},
		{"GET", "/", http.Header{"Authorization": {"AWS4-HMAC-SHA256 x"}}, true},
		{"GET", "/", nil, false},
		{"POST", "/v1/events", http.Header{"Content-Type": {formType}}, false},
		{"POST", "/v2/core/events", http.Header{"X-Amz-Target": {"x.y"}}, false},
		{"POST", "/12345/orders", http.Header{"Content-Type": {formType}}, false},
		{"POST", "/123456789012/", http.Header{"Content-Type": {formType}}, false},
	} {
		r, err := http.NewRequestWithContext(t.Context(), tt.method, "http://localhost"+tt.target, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		for name, values := range tt.header {
			r.Header[name] = values
		}
		if got := Claims(r); got != tt.want {
			t.Errorf("%s %s %v: %t", tt.method, tt.target, tt.header, got)
		}
	}
}
