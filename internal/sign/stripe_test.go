package sign

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

const unix = 1760000000

var (
	now  = time.Unix(unix, 0)
	body = []byte(`{"id":"evt_1"}`)
)

// Made with: printf '%s' '1760000000.{"id":"evt_1"}' | openssl dgst -sha256 -hmac SECRET
const (
	macTest = "66e880d7175fffb43ce10c4e14db1cfb230c8804b5aafb116affbc9a836c7690" // of whsec_test
	macOld  = "bb0b584f4e2abbd968d953de1e960b8e545f89e37a4f00805a93e598f3f64302" // of whsec_old
)

// reference is Stripe's v1 as its documentation describes it.
func reference(secret, stamp string, body []byte) string {
	mac := hmac.New(sha256.New, []byte(secret))
	fmt.Fprintf(mac, "%s.%s", stamp, body)
	return hex.EncodeToString(mac.Sum(nil))
}

func TestStripeKnownAnswers(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		secrets []string
		want    string
	}{
		{"one secret", []string{"whsec_test"}, "t=1760000000,v1=" + macTest},
		{"two secrets", []string{"whsec_test", "whsec_old"}, "t=1760000000,v1=" + macTest + ",v1=" + macOld},
		{"empty secrets do not sign", []string{"", "whsec_old", ""}, "t=1760000000,v1=" + macOld},
		{"no secrets", nil, "t=1760000000"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			signer := NewStripe(tt.secrets...)
			for range 3 { // the second use of a state must not remember the first
				if got := string(signer.AppendHeader(nil, now, body)); got != tt.want {
					t.Errorf("got  %s\nwant %s", got, tt.want)
				}
			}
			if got := string(signer.AppendHeader([]byte("x: "), now.Add(999*time.Millisecond), body)); got != "x: "+tt.want {
				t.Errorf("appended: %s", got)
			}
		})
	}
}

func TestStripeAgainstReference(t *testing.T) {
	t.Parallel()
	for _, secret := range []string{"a", "whsec_" + strings.Repeat("k", 32), strings.Repeat("longer than a block", 10)} {
		for _, n := range []int{0, 1, 63, 64, 65, 100_000} {
			body := bytes.Repeat([]byte{0xff}, n)
			want := "t=1760000000,v1=" + reference(secret, "1760000000", body)
			if got := string(NewStripe(secret).AppendHeader(nil, now, body)); got != want {
				t.Errorf("%d bytes: got %s, want %s", n, got, want)
			}
			if err := VerifyStripe(want, body, []string{secret}, now, 0); err != nil {
				t.Errorf("%d bytes: %v", n, err)
			}
		}
	}
}

// A caller may reuse the slice it passed.
func TestNewStripeKeepsItsOwnSecrets(t *testing.T) {
	t.Parallel()
	secrets := []string{"whsec_test"}
	signer := NewStripe(secrets...)
	secrets[0] = "whsec_old"
	if got := string(signer.AppendHeader(nil, now, body)); got != "t=1760000000,v1="+macTest {
		t.Errorf("got %s", got)
	}
}

func TestStripeIsConcurrencySafe(t *testing.T) {
	t.Parallel()
	signer := NewStripe("whsec_test", "whsec_old")
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			var dst []byte
			for i := range 200 {
				at := now.Add(time.Duration(g*1000+i) * time.Second)
				body := fmt.Appendf(nil, "body %d of %d", i, g)
				dst = signer.AppendHeader(dst[:0], at, body)
				stamp := fmt.Sprint(at.Unix())
				want := "t=" + stamp + ",v1=" + reference("whsec_test", stamp, body) + ",v1=" + reference("whsec_old", stamp, body)
				if string(dst) != want {
					t.Errorf("got %s, want %s", dst, want)
					return
				}
			}
		})
	}
	wg.Wait()
}

// Not parallel: [testing.AllocsPerRun] counts the whole process.
//
//nolint:paralleltest // see above
func TestAppendHeaderDoesNotAllocate(t *testing.T) {
	signer := NewStripe("whsec_test", "whsec_old")
	dst := make([]byte, 0, 256)
	allocs := testing.AllocsPerRun(1000, func() { dst = signer.AppendHeader(dst[:0], now, body) })
	if !raceEnabled && allocs != 0 {
		t.Errorf("%v allocations per header", allocs)
	}
}

func TestVerifyStripe(t *testing.T) {
	t.Parallel()
	const (
		stamp = "t=1760000000"
		good  = stamp + ",v1=" + macTest
	)
	wrong := strings.Repeat("0", 64)
	tests := []struct {
		name   string
		header string
		want   error
	}{
		{"genuine", good, nil},
		{"t last", "v1=" + macTest + "," + stamp, nil},
		{"upper case", stamp + ",v1=" + strings.ToUpper(macTest), nil},
		{"second of two", stamp + ",v1=" + wrong + ",v1=" + macTest, nil},
		{"not hex beside", stamp + ",v1=zz,v1=" + macTest, nil},
		{"unknown schemes beside", stamp + ",v0=" + wrong + ",v1=" + macTest + ",v2=x,=", nil},
		{"empty", "", ErrNoSignature},
		{"t alone", stamp, ErrNoSignature},
		{"only v0", stamp + ",v0=" + macTest, ErrNoSignature},
		{"wrong", stamp + ",v1=" + wrong, ErrMismatch},
		{"cut", stamp + ",v1=" + macTest[:62], ErrMismatch},
		{"longer", good + "00", ErrMismatch},
		{"empty v1", stamp + ",v1=", ErrMismatch},
		{"not hex", stamp + ",v1=" + strings.Repeat("z", 64), ErrMismatch},
		{"another t", "t=1760000001,v1=" + macTest, ErrMismatch},
		{"t written differently", "t=01760000000,v1=" + macTest, ErrMismatch},
		{"no t", "v1=" + macTest, ErrMalformed},
		{"empty t", "t=,v1=" + macTest, ErrMalformed},
		{"two t", stamp + "," + good, ErrMalformed},
		{"t is no number", "t=soon,v1=" + macTest, ErrMalformed},
		{"t is negative", "t=-1760000000,v1=" + macTest, ErrMalformed},
		{"t is signed", "t=+1760000000,v1=" + macTest, ErrMalformed},
		{"t is too large", "t=253402300800,v1=" + macTest, ErrMalformed},
		{"t overflows", "t=99999999999999999999,v1=" + macTest, ErrMalformed},
		{"space", "t=1760000000, v1=" + macTest, ErrNoSignature}, // " v1" is an unknown scheme
		{"part without =", good + ",v1", ErrMalformed},
		{"part with two =", good + ",v0=a=b", ErrMalformed},
		{"comma at the end", good + ",", ErrMalformed},
		{"no header at all", "Bearer x", ErrMalformed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if err := VerifyStripe(tt.header, body, []string{"whsec_test"}, now, 0); !errors.Is(err, tt.want) {
				t.Errorf("VerifyStripe = %v, want %v", err, tt.want)
			}
		})
	}
}

func TestVerifyStripeSecrets(t *testing.T) {
	t.Parallel()
	rotating := string(NewStripe("whsec_test", "whsec_old").AppendHeader(nil, now, body))
	for _, tt := range []struct {
		name    string
		secrets []string
		want    error
	}{
		{"the new", []string{"whsec_test"}, nil},
		{"the old", []string{"whsec_old"}, nil},
		{"a stranger's too", []string{"whsec_x", "", "whsec_old"}, nil},
		{"a stranger's", []string{"whsec_x"}, ErrMismatch},
		{"without prefix", []string{"test"}, ErrMismatch},
		{"none", nil, ErrNoSecret},
		{"empty", []string{""}, ErrNoSecret},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if err := VerifyStripe(rotating, body, tt.secrets, now, 0); !errors.Is(err, tt.want) {
				t.Errorf("VerifyStripe = %v, want %v", err, tt.want)
			}
		})
	}
	// Anyone can sign with the empty key, so it must never count.
	forged := "t=1760000000,v1=" + reference("", "1760000000", body)
	if err := VerifyStripe(forged, body, []string{"", "whsec_test"}, now, 0); !errors.Is(err, ErrMismatch) {
		t.Errorf("forged with the empty key: %v", err)
	}
}

func TestVerifyStripeTolerance(t *testing.T) {
	t.Parallel()
	header := "t=1760000000,v1=" + macTest
	for _, tt := range []struct {
		name      string
		age       time.Duration
		tolerance time.Duration
		want      error
	}{
		{"at once", 0, time.Second, nil},
		{"just in time", 300 * time.Second, 0, nil},
		{"just too late", 300*time.Second + 1, 0, ErrTooOld},
		{"negative is the default", 300 * time.Second, -1, nil},
		{"negative is not for ever", 301 * time.Second, -1, ErrTooOld},
		{"wider", time.Hour, time.Hour, nil},
		{"narrower", 11 * time.Second, 10 * time.Second, ErrTooOld},
		{"a clock that is ahead", -300 * time.Second, 0, nil},
		{"the future", -301 * time.Second, 0, ErrTooNew},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if err := VerifyStripe(header, body, []string{"whsec_test"}, now.Add(tt.age), tt.tolerance); !errors.Is(err, tt.want) {
				t.Errorf("VerifyStripe = %v, want %v", err, tt.want)
			}
			// A forged signature is called forged, whatever its age.
			if err := VerifyStripe(header, nil, []string{"whsec_test"}, now.Add(tt.age), tt.tolerance); !errors.Is(err, ErrMismatch) {
				t.Errorf("forged: %v", err)
			}
		})
	}
}

func FuzzVerifyStripe(f *testing.F) {
	for _, seed := range []string{
		"", "t=1760000000,v1=" + macTest, "t=1,v1=00,v0=ff", "v1=" + macTest, "t=1760000000", ",", "=", "t==", "t=99999999999999999999,v1=0", "t=1,t=2,v1=",
	} {
		f.Add(seed, body)
	}
	f.Fuzz(func(t *testing.T, header string, body []byte) {
		sig, err := parseStripe(header)
		if err != nil {
			if !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrNoSignature) {
				t.Fatalf("%q: untyped error %v", header, err)
			}
		} else if !strings.Contains(header, "t="+sig.stamp) || strings.Trim(sig.stamp, "0123456789") != "" || sig.unix < 0 || len(sig.v1) > strings.Count(header, "v1=") {
			t.Fatalf("%q parsed as %+v", header, sig)
		}

		// Whatever verifies holds the one right signature.
		at := time.Unix(sig.unix, 0)
		right := "v1=" + reference("whsec_test", sig.stamp, body)
		if VerifyStripe(header, body, []string{"whsec_test"}, at, 0) == nil && !strings.Contains(strings.ToLower(header), right) {
			t.Fatalf("%q: verified without %s", header, right)
		}

		// Whatever is signed verifies.
		signed := string(NewStripe("whsec_test").AppendHeader(nil, at, body))
		if err := VerifyStripe(signed, body, []string{"whsec_test"}, at, 0); err != nil {
			t.Fatalf("%q: %v", signed, err)
		}
	})
}

func BenchmarkAppendHeader(b *testing.B) {
	body := bytes.Repeat([]byte("x"), 1024)
	signer := NewStripe("whsec_test")
	b.ReportAllocs()
	b.SetBytes(int64(len(body)))
	b.RunParallel(func(pb *testing.PB) {
		dst := make([]byte, 0, 256)
		for pb.Next() {
			dst = signer.AppendHeader(dst[:0], now, body)
		}
	})
}

func BenchmarkVerifyStripe(b *testing.B) {
	body := bytes.Repeat([]byte("x"), 1024)
	header := string(NewStripe("whsec_test").AppendHeader(nil, now, body))
	secrets := []string{"whsec_test"}
	b.ReportAllocs()
	for b.Loop() {
		if err := VerifyStripe(header, body, secrets, now, 0); err != nil {
			b.Fatal(err)
		}
	}
}
