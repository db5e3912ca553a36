package sign

import (
	"errors"
	"net/http"
	"regexp"
	"testing"
	"time"
)

// Every scheme must verify what it signed, and nothing else.
func TestSchemesAgreeWithThemselves(t *testing.T) {
	t.Parallel()
	for name, scheme := range schemes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got, ok := Lookup(name); !ok || got.Name != name {
				t.Errorf("Lookup = %q, %t", got.Name, ok)
			}
			secret, other := NewSecret(), NewSecret()
			body := []byte(`{"id":"evt_1"}`)
			h := http.Header{}
			scheme.Sign(h, body, []string{secret}, now)

			if err := scheme.Verify(h, body, []string{other, secret}, now, 0); err != nil {
				t.Errorf("genuine: %v", err)
			}
			if err := scheme.Verify(h, body, []string{other}, now, 0); !errors.Is(err, ErrMismatch) {
				t.Errorf("another secret: %v", err)
			}
			if err := scheme.Verify(h, append(body, ' '), []string{secret}, now, 0); !errors.Is(err, ErrMismatch) {
				t.Errorf("another body: %v", err)
			}
			if err := scheme.Verify(h, body, []string{secret}, now.Add(time.Hour), 0); !errors.Is(err, ErrTooOld) {
				t.Errorf("an hour later: %v", err)
			}
			if err := scheme.Verify(http.Header{}, body, []string{secret}, now, 0); !errors.Is(err, ErrNoSignature) {
				t.Errorf("unsigned: %v", err)
			}
			if err := scheme.Verify(h, body, nil, now, 0); !errors.Is(err, ErrNoSecret) {
				t.Errorf("no secret: %v", err)
			}
		})
	}
}

func TestLookupKnowsOnlyTheTable(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"", "Stripe", "none"} {
		if _, ok := Lookup(name); ok {
			t.Errorf("%q found", name)
		}
	}
}

func TestNewSecret(t *testing.T) {
	t.Parallel()
	form := regexp.MustCompile(`^whsec_[0-9A-Za-z]{44}$`)
	seen := map[string]bool{}
	digits := map[rune]bool{}
	for range 500 {
		secret := NewSecret()
		if !form.MatchString(secret) || seen[secret] {
			t.Fatalf("secret %q (seen: %t)", secret, seen[secret])
		}
		seen[secret] = true
		for _, r := range secret[len(secretPrefix):] {
			digits[r] = true
		}
	}
	if len(digits) != 62 {
		t.Errorf("only %d different digits occur", len(digits))
	}
}
