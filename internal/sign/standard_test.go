package sign

import (
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"net/http"
	"testing"
	"time"
)

// The example of the Standard Webhooks libraries.
const (
	standardExample = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	standardID      = "msg_p5jXN8AQM9LWM0D4loKWxJek"
	standardStamp   = 1614265330
	standardBody    = `{"test": 2432232314}`
	standardSigned  = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
)

func TestStandardKnownAnswer(t *testing.T) {
	t.Parallel()
	at := time.Unix(standardStamp, 0)
	got := string(NewStandard([]string{standardExample, "whsec_not base64", ""}, nil).AppendSignature([]byte("x: "), standardID, at, []byte(standardBody)))
	if got != "x: "+standardSigned {
		t.Errorf("signature = %s", got)
	}
	h := http.Header{"Webhook-Id": {standardID}, "Webhook-Timestamp": {"1614265330"}, "Webhook-Signature": {"v1a,AAAA v2,zz " + standardSigned}}
	if err := VerifyStandard(h, []byte(standardBody), []string{standardExample}, at, 0); err != nil {
		t.Error(err)
	}
}

func TestStandardEd25519(t *testing.T) {
	t.Parallel()
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	h := http.Header{}
	secret := privatePrefix + base64.StdEncoding.EncodeToString(key)
	signStandard(h, body, []string{standardExample, secret}, now)
	for _, with := range []string{PublicKey(key), standardExample} {
		if err := VerifyStandard(h, body, []string{"whpk_AAAA", with}, now, 0); err != nil {
			t.Errorf("%s: %v", with, err)
		}
	}
	other := PublicKey(ed25519.NewKeyFromSeed([]byte("12345678901234567890123456789012")))
	for what, test := range map[string]struct {
		secrets []string
		at      time.Time
		change  func(http.Header)
		want    error
	}{
		"another key":  {[]string{other}, now, nil, ErrMismatch},
		"broken keys":  {[]string{"whpk_AAAA", "whsec_!", "whsec_"}, now, nil, ErrNoSecret},
		"another id":   {[]string{PublicKey(key)}, now, func(h http.Header) { h.Set(StandardID, "msg_2") }, ErrMismatch},
		"no id":        {[]string{PublicKey(key)}, now, func(h http.Header) { h.Del(StandardID) }, ErrMalformed},
		"no signature": {[]string{PublicKey(key)}, now, func(h http.Header) { h.Del(StandardSignature) }, ErrNoSignature},
		"bad time":     {[]string{PublicKey(key)}, now, func(h http.Header) { h.Set(StandardTimestamp, "-1") }, ErrMalformed},
		"old":          {[]string{PublicKey(key)}, now.Add(time.Hour), nil, ErrTooOld},
		"new":          {[]string{PublicKey(key)}, now.Add(-time.Hour), nil, ErrTooNew},
	} {
		changed := h.Clone()
		if test.change != nil {
			test.change(changed)
		}
		if err := VerifyStandard(changed, body, test.secrets, test.at, 0); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", what, err, test.want)
		}
	}
}

func TestNewSecretsFitStandardWebhooks(t *testing.T) {
	t.Parallel()
	for range 50 {
		if err := CheckStandard(NewSecret()); err != nil {
			t.Fatal(err)
		}
	}
	for _, secret := range []string{"", "whsec_", "whsec_abc", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"} {
		if CheckStandard(secret) == nil {
			t.Errorf("%q passes", secret)
		}
	}
}

func FuzzVerifyStandard(f *testing.F) {
	f.Add(standardID, "1614265330", standardSigned, standardExample)
	f.Add("a", "9", "v1a,AAAA", "whpk_AAAA")
	f.Fuzz(func(t *testing.T, id, stamp, signature, secret string) {
		h := http.Header{"Webhook-Id": {id}, "Webhook-Timestamp": {stamp}, "Webhook-Signature": {signature}}
		if VerifyStandard(h, []byte("another body"), []string{secret, standardExample}, time.Unix(standardStamp, 0), 0) == nil {
			t.Error("forged")
		}
	})
}
