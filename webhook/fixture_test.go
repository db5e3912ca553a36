package webhook_test

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/webhook"
)

const (
	secret   = "whsec_0123456789abcdefghijABCDEFGHIJ"
	snapshot = `{"id":"evt_1","object":"event","api_version":"2026-03-25.dahlia","created":1760000000,` +
		`"data":{"object":{"id":"in_1","object":"invoice","total":1.50}},"livemode":false,` +
		`"request":{"id":null,"idempotency_key":null},"type":"invoice.paid","pending_webhooks":1}`
)

var now = time.Unix(1760000000, 0)

var quiet = slog.New(slog.DiscardHandler)

func clock() time.Time { return now }

// stripeHeader signs as Stripe's documentation says, with no code of ours.
func stripeHeader(at time.Time, body string, secrets ...string) http.Header {
	value := fmt.Sprintf("t=%d", at.Unix())
	for _, secret := range secrets {
		mac := hmac.New(sha256.New, []byte(secret))
		fmt.Fprintf(mac, "%d.%s", at.Unix(), body)
		value += ",v1=" + hex.EncodeToString(mac.Sum(nil))
	}
	return http.Header{"Stripe-Signature": {value}}
}

// macV1 and edV1a sign as the specification of Standard Webhooks says.
func macV1(key []byte, id, stamp, body string) string {
	mac := hmac.New(sha256.New, key)
	fmt.Fprintf(mac, "%s.%s.%s", id, stamp, body)
	return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

func edV1a(key ed25519.PrivateKey, id, stamp, body string) string {
	return "v1a," + base64.StdEncoding.EncodeToString(ed25519.Sign(key, fmt.Appendf(nil, "%s.%s.%s", id, stamp, body)))
}

func standardHeader(id, stamp, signatures string) http.Header {
	return http.Header{"Webhook-Id": {id}, "Webhook-Timestamp": {stamp}, "Webhook-Signature": {signatures}}
}

// must is for constructors whose arguments are known to be right.
func must(v *webhook.Verifier, err error) *webhook.Verifier {
	if err != nil {
		panic(err)
	}
	v.Now = clock
	return v
}

// delivery is a request as Waybill sends it, now.
func delivery(body string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/hook", strings.NewReader(body))
	r.Header = stripeHeader(time.Now(), body, secret)
	return r
}
