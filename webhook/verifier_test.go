package webhook_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/webhook"
)

func TestStripe(t *testing.T) {
	t.Parallel()
	const body = `{"id":"evt_1"}`
	// printf '%s' '1760000000.{"id":"evt_1"}' | openssl dgst -sha256 -hmac whsec_test
	known := http.Header{"Stripe-Signature": {"t=1760000000,v1=66e880d7175fffb43ce10c4e14db1cfb230c8804b5aafb116affbc9a836c7690"}}
	raw := func(value string) http.Header { return http.Header{"Stripe-Signature": {value}} }
	signed := func(secrets ...string) http.Header { return stripeHeader(now, body, secrets...) }
	for _, test := range []struct {
		name    string
		secrets []string
		header  http.Header
		body    string
		want    error
	}{
		{"known answer", []string{"whsec_test"}, known, body, nil},
		{"genuine", []string{secret}, signed(secret), body, nil},
		{"space around the secret", []string{" " + secret + "\n"}, signed(secret), body, nil},
		{"the sender rotates", []string{"old"}, signed("new", "old"), body, nil},
		{"the receiver rotates", []string{"old", "new"}, signed("new"), body, nil},
		{"v0 beside", []string{secret}, raw(signed(secret).Get("Stripe-Signature") + ",v0=00"), body, nil},
		{"another secret", []string{"x"}, signed(secret), body, webhook.ErrBadSignature},
		{"without its prefix", []string{strings.TrimPrefix(secret, "whsec_")}, signed(secret), body, webhook.ErrBadSignature},
		{"encoded again", []string{secret}, signed(secret), `{"id": "evt_1"}`, webhook.ErrBadSignature},
		{"no header", []string{secret}, http.Header{}, body, webhook.ErrNoSignature},
		{"no v1", []string{secret}, raw("t=1760000000,v0=00"), body, webhook.ErrNoSignature},
		{"no t", []string{secret}, raw("v1=00"), body, webhook.ErrBadSignature},
		{"no header of this scheme", []string{secret}, raw("Bearer x"), body, webhook.ErrBadSignature},
		{"Standard Webhooks", []string{secret}, standardHeader("msg_1", "1760000000", "v1,AA=="), body, webhook.ErrNoSignature},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			v := must(webhook.NewStripe(test.secrets...))
			if err := v.Verify(test.header, []byte(test.body)); !errors.Is(err, test.want) {
				t.Errorf("Verify = %v, want %v", err, test.want)
			}
		})
	}
}

func TestStandard(t *testing.T) {
	t.Parallel()
	const (
		id, stamp = "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330"
		body      = `{"test": 2432232314}`
		// The specification's own vectors.
		key   = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
		mac   = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
		pub   = "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4="
		edSig = "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg=="
	)
	// Ours, computed here.
	ourKey := bytes.Repeat([]byte{7}, 24)
	ourSecret := "whsec_" + base64.StdEncoding.EncodeToString(ourKey)
	private := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{9}, ed25519.SeedSize))
	public := "whpk_" + base64.StdEncoding.EncodeToString(private.Public().(ed25519.PublicKey))
	ourMAC, ourEd := macV1(ourKey, id, stamp, body), edV1a(private, id, stamp, body)

	both := mac + " " + edSig
	for _, test := range []struct {
		name   string
		keys   []string
		header http.Header
		body   string
		want   error
	}{
		{"v1 of the specification", []string{"whsec_" + key}, standardHeader(id, stamp, mac), body, nil},
		{"v1 without the prefix", []string{key}, standardHeader(id, stamp, mac), body, nil},
		{"v1a of the specification", []string{pub}, standardHeader(id, stamp, edSig), body, nil},
		{"v1 of ours", []string{ourSecret}, standardHeader(id, stamp, ourMAC), body, nil},
		{"v1a of ours", []string{public + "\n"}, standardHeader(id, stamp, ourEd), body, nil},
		{"several keys", []string{ourSecret, public, key}, standardHeader(id, stamp, mac), body, nil},
		{"several public keys", []string{public, pub}, standardHeader(id, stamp, edSig), body, nil},
		{"several signatures", []string{ourSecret}, standardHeader(id, stamp, both+" "+ourMAC), body, nil},
		{"unknown beside", []string{pub}, standardHeader(id, stamp, "v9,!! v1 v1a,AA== "+both), body, nil},
		{"another secret", []string{ourSecret}, standardHeader(id, stamp, both), body, webhook.ErrBadSignature},
		{"another public key", []string{public}, standardHeader(id, stamp, both), body, webhook.ErrBadSignature},
		{"another body", []string{key, pub}, standardHeader(id, stamp, both), body + " ", webhook.ErrBadSignature},
		{"another id", []string{key, pub}, standardHeader(id+"x", stamp, both), body, webhook.ErrBadSignature},
		{"another time", []string{key, pub}, standardHeader(id, "1614265331", both), body, webhook.ErrBadSignature},
		{"a public key is no secret", []string{pub}, standardHeader(id, stamp,
			macV1([]byte(private.Public().(ed25519.PublicKey)), id, stamp, body)), body, webhook.ErrBadSignature},
		{"v1a passed off as v1", []string{pub}, standardHeader(id, stamp, "v1"+strings.TrimPrefix(edSig, "v1a")), body, webhook.ErrBadSignature},
		{"time is no number", []string{key}, standardHeader(id, "soon", mac), body, webhook.ErrBadSignature},
		{"time is negative", []string{key}, standardHeader(id, "-1614265330", mac), body, webhook.ErrBadSignature},
		{"time overflows", []string{key}, standardHeader(id, "99999999999999999", macV1(ourKey, id, "99999999999999999", body)), body, webhook.ErrBadSignature},
		{"too many signatures", []string{key}, standardHeader(id, stamp, strings.Repeat("v1,AA== ", 16)+mac), body, webhook.ErrBadSignature},
		{"as many as may be", []string{key}, standardHeader(id, stamp, strings.Repeat("v1,AA== ", 15)+mac), body, nil},
		{"no id", []string{key}, standardHeader("", stamp, mac), body, webhook.ErrNoSignature},
		{"no time", []string{key}, standardHeader(id, "", mac), body, webhook.ErrNoSignature},
		{"no signature", []string{key}, standardHeader(id, stamp, ""), body, webhook.ErrNoSignature},
		{"Stripe's", []string{ourSecret}, stripeHeader(now, body, ourSecret), body, webhook.ErrNoSignature},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			v := must(webhook.NewStandard(test.keys...))
			v.Now = func() time.Time { return time.Unix(1614265330, 0) }
			if err := v.Verify(test.header, []byte(test.body)); !errors.Is(err, test.want) {
				t.Errorf("Verify = %v, want %v", err, test.want)
			}
		})
	}
}

func TestTolerance(t *testing.T) {
	t.Parallel()
	key := []byte("a key of some length")
	stripe := must(webhook.NewStripe(secret))
	standard := must(webhook.NewStandard(base64.StdEncoding.EncodeToString(key)))
	headers := map[*webhook.Verifier]http.Header{
		stripe:   stripeHeader(now, snapshot, secret),
		standard: standardHeader("evt_1", "1760000000", macV1(key, "evt_1", "1760000000", snapshot)),
	}
	for _, test := range []struct {
		name           string
		age, tolerance time.Duration
		want           error
	}{
		{"at once", 0, time.Nanosecond, nil},
		{"just in time", 5 * time.Minute, 0, nil},
		{"just too late", 5*time.Minute + 1, 0, webhook.ErrTooOld},
		{"ahead", -5 * time.Minute, 0, nil},
		{"too far ahead", -5*time.Minute - 1, 0, webhook.ErrFromTheFuture},
		{"wider", time.Hour, time.Hour, nil},
		{"narrower", 2 * time.Second, time.Second, webhook.ErrTooOld},
		{"negative is the default", 5 * time.Minute, -1, nil},
		{"never without", 6 * time.Minute, -1, webhook.ErrTooOld},
	} {
		for v, header := range headers {
			v := *v // Verifiers are set up before they are used
			v.Tolerance = test.tolerance
			v.Now = func() time.Time { return now.Add(test.age) }
			if err := v.Verify(header, []byte(snapshot)); !errors.Is(err, test.want) {
				t.Errorf("%s: Verify = %v, want %v", test.name, err, test.want)
			}
			if err := v.Verify(header, []byte("{}")); !errors.Is(err, webhook.ErrBadSignature) {
				t.Errorf("%s, forged: Verify = %v", test.name, err)
			}
		}
	}
	// With no clock given, it is the machine's.
	stripe.Now = nil
	if err := stripe.Verify(stripeHeader(time.Now(), snapshot, secret), []byte(snapshot)); err != nil {
		t.Error(err)
	}
	if err := stripe.Verify(headers[stripe], []byte(snapshot)); !errors.Is(err, webhook.ErrTooOld) {
		t.Errorf("long ago: Verify = %v", err)
	}
}

func TestKeysThatCannotVerify(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		make func(...string) (*webhook.Verifier, error)
		keys []string
		says string
	}{
		{"stripe, none", webhook.NewStripe, nil, "no secret"},
		{"stripe, empty", webhook.NewStripe, []string{"whsec_x", " "}, "secret 2 of 2 is empty"},
		{"standard, none", webhook.NewStandard, nil, "no secret"},
		{"standard, empty", webhook.NewStandard, []string{""}, "secret 1 of 1 is empty"},
		{"standard, nothing but a prefix", webhook.NewStandard, []string{"whsec_"}, "empty after its prefix"},
		{"standard, Stripe's secret", webhook.NewStandard, []string{"whsec_" + strings.Repeat("k", 43)}, "use NewStripe"},
		{"standard, short public key", webhook.NewStandard, []string{"whpk_AAAA"}, "32 bytes, this one 3"},
		{"standard, public key of nothing", webhook.NewStandard, []string{"whpk_"}, "32 bytes, this one 0"},
		{"standard, private key", webhook.NewStandard, []string{"AAAA", "whsk_AAAA"}, "key 2 of 2: it is a private key"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			v, err := test.make(test.keys...)
			if v != nil || err == nil || !strings.Contains(err.Error(), test.says) {
				t.Errorf("got %v, %v; want an error with %q", v, err, test.says)
			}
		})
	}
}

func TestVerifierEvent(t *testing.T) {
	t.Parallel()
	key := []byte("a key of some length")
	stripe := must(webhook.NewStripe(secret))
	standard := must(webhook.NewStandard(base64.StdEncoding.EncodeToString(key)))
	for _, test := range []struct {
		name             string
		body             string
		stripe, standard string // the id, or "" for ErrNotAnEvent
	}{
		{"an event", snapshot, "evt_1", "evt_1"},
		{"a message", `{"id":"mine","type":"a.b","data":{}}`, "", "msg_1"},
		{"no event", `[]`, "", ""},
	} {
		check := func(e *webhook.Event, err error, id string) {
			if id == "" && !errors.Is(err, webhook.ErrNotAnEvent) {
				t.Errorf("%s: %+v, %v", test.name, e, err)
			}
			if id != "" && (err != nil || e.ID != id) {
				t.Errorf("%s: %+v, %v; want id %s", test.name, e, err, id)
			}
		}
		e, err := stripe.Event(stripeHeader(now, test.body, secret), []byte(test.body))
		check(e, err, test.stripe)
		e, err = standard.Event(standardHeader("msg_1", "1760000000", macV1(key, "msg_1", "1760000000", test.body)), []byte(test.body))
		check(e, err, test.standard)
	}
	if e, err := stripe.Event(stripeHeader(now, snapshot, "x"), []byte(snapshot)); e != nil || !errors.Is(err, webhook.ErrBadSignature) {
		t.Errorf("forged: %+v, %v", e, err)
	}
}

// Whatever the headers say, nothing passes that does not hold the one right
// signature.
func FuzzVerify(f *testing.F) {
	key := []byte("a key of some length")
	private := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{9}, ed25519.SeedSize))
	public := base64.StdEncoding.EncodeToString(private.Public().(ed25519.PublicKey))
	stripe := must(webhook.NewStripe(secret))
	standard := must(webhook.NewStandard("whsec_"+base64.StdEncoding.EncodeToString(key), "whpk_"+public))

	const id, stamp, body = "msg_1", "1760000000", `{"id":"evt_1"}`
	good := stripeHeader(now, body, secret).Get("Stripe-Signature")
	f.Add(good, id, stamp, macV1(key, id, stamp, body), body)
	f.Add(good+",v1=00", id, stamp, edV1a(private, id, stamp, body)+" v1,AA==", body)
	f.Add("t=,v1=", "", "-1", "v1, v1a,,", "")
	f.Add("t=1,t=2,v1=0", ".", "99999999999999999999", " ", "{}")
	reasons := []error{webhook.ErrNoSignature, webhook.ErrBadSignature, webhook.ErrTooOld, webhook.ErrFromTheFuture}
	f.Fuzz(func(t *testing.T, header, id, stamp, signatures, body string) {
		check := func(err error, right bool) {
			known := err == nil
			for _, reason := range reasons {
				known = known || errors.Is(err, reason)
			}
			if !known || err == nil && !right {
				t.Fatalf("Verify(%q, %q, %q, %q, %q) = %v", header, id, stamp, signatures, body, err)
			}
		}
		right := strings.TrimPrefix(stripeHeader(now, body, secret).Get("Stripe-Signature"), "t=1760000000,")
		_, written, _ := strings.Cut(header, "t=")
		if strings.HasPrefix(written, "1760000000,") { // else t was another, or written otherwise
			check(stripe.Verify(http.Header{"Stripe-Signature": {header}}, []byte(body)), strings.Contains(strings.ToLower(header), right))
		}
		// Base64 has several spellings of a signature (its last bits, line
		// feeds), so only what is alike in all of them is looked for.
		mac, ed := macV1(key, id, stamp, body), edV1a(private, id, stamp, body)
		flat := strings.NewReplacer("\n", "", "\r", "").Replace(signatures)
		check(standard.Verify(standardHeader(id, stamp, signatures), []byte(body)),
			strings.Contains(flat, mac[:len(mac)-3]) || strings.Contains(flat, ed[:len(ed)-4]))
	})
}
