package awsapi

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/internal/account"
	"github.com/waybill-dev/waybill/internal/fault"
	"github.com/waybill-dev/waybill/internal/seal"
	"github.com/waybill-dev/waybill/internal/sign"
	"github.com/waybill-dev/waybill/internal/store/sqlite"
)

const (
	testID     = "AKIAIOSFODNN7EXAMPLE"
	testSecret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
	testRegion = "eu-central-1"
	testAWSID  = "123456789012"
)

var testNow = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// protocolFixture is the surface with services of its own, for tests of the
// protocols rather than of what is said in them.
type protocolFixture struct {
	t   *testing.T
	api *api
	log bytes.Buffer
}

func newProtocol(t *testing.T, services map[string]*service) *protocolFixture {
	t.Helper()
	db, err := sqlite.Open(t.Context(), sqlite.Options{Path: filepath.Join(t.TempDir(), "waybill.db")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	key, err := seal.ParseKey(strings.Repeat("0a", 32))
	if err != nil {
		t.Fatal(err)
	}
	accounts := account.New(account.Options{Store: db, Key: key, FirstAWSID: testAWSID})
	if _, err := accounts.Bootstrap(t.Context(), "", ""); err != nil {
		t.Fatal(err)
	}
	if err := accounts.BootstrapAWSKey(t.Context(), testID+":"+testSecret); err != nil {
		t.Fatal(err)
	}
	f := &protocolFixture{t: t}
	f.api = newAPI(Options{
		Accounts: accounts, Log: slog.New(slog.NewTextHandler(&f.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Now: func() time.Time { return testNow },
	})
	f.api.services = services
	return f
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   string
}

var uuidForm = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)

// send sends a request as it is. Every answer must have what all have.
func (f *protocolFixture) send(r *http.Request) answer {
	f.t.Helper()
	w := httptest.NewRecorder()
	f.api.ServeHTTP(w, r)
	got := answer{w.Code, w.Header(), w.Body.String()}
	if id := got.header.Get("x-amzn-RequestId"); !uuidForm.MatchString(id) {
		f.t.Errorf("request id %q", id)
	}
	return got
}

// request is a request that is yet to be signed.
func (f *protocolFixture) request(method, path, contentType, body string) *http.Request {
	r := httptest.NewRequestWithContext(f.t.Context(), method, "http://localhost:4242"+path, strings.NewReader(body))
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	return r
}

func signed(r *http.Request, service, body string) *http.Request {
	sign.SignSigV4(r, []byte(body), testID, testSecret, testRegion, service, testNow)
	return r
}

// json calls an operation of the JSON protocol.
func (f *protocolFixture) json(service, target, body string) answer {
	f.t.Helper()
	r := f.request(http.MethodPost, "/", json11, body)
	r.Header.Set("X-Amz-Target", target)
	return f.send(signed(r, service, body))
}

// form sends a form as AWS CLI 1 did.
func (f *protocolFixture) form(path, body string) answer {
	f.t.Helper()
	r := f.request(http.MethodPost, path, "application/x-www-form-urlencoded; charset=utf-8", body)
	return f.send(signed(r, "sqs", body))
}

// echo is an operation that tells what it was given.
func echo(into *string) operation {
	return func(_ context.Context, _ account.AWSCaller, body []byte) (any, error) {
		*into = string(body)
		return nil, nil
	}
}

func failing(err error) operation {
	return func(context.Context, account.AWSCaller, []byte) (any, error) { return nil, err }
}

func mustCode(t *testing.T, err error, code string) {
	t.Helper()
	if f := fault.As(err); f == nil || f.Code != code {
		t.Errorf("error %v, want the code %s", err, code)
	}
}
