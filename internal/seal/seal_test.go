package seal

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

const (
	hexA = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
	hexB = "ff0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
)

func mustKey(t testing.TB, hex64 string) Key {
	t.Helper()
	key, err := ParseKey(hex64)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestSealOpens(t *testing.T) {
	t.Parallel()
	key := mustKey(t, hexA)
	for _, plaintext := range []string{"", "x", "whsec_secret", strings.Repeat("long", 10_000)} {
		sealed := key.Seal([]byte(plaintext), []byte("row 1"))
		if len(sealed) != len(plaintext)+29 {
			t.Errorf("%d bytes sealed to %d", len(plaintext), len(sealed))
		}
		if len(plaintext) > 4 && bytes.Contains(sealed, []byte(plaintext)) {
			t.Error("plaintext shows")
		}
		// A key parsed again stands for the next start of the program.
		got, err := mustKey(t, hexA).Open(sealed, []byte("row 1"))
		if err != nil || string(got) != plaintext {
			t.Errorf("Open = %q, %v", got, err)
		}
	}
}

// Values in databases must open for ever: this one was sealed by the first
// version.
func TestOpensAValueOfTheFirstVersion(t *testing.T) {
	t.Parallel()
	const sealed = "015c43214e05ff7c561f005cda23257374d25f2fb92e57ef7359c19b9cf1c6478cc428bc0fa422364d"
	var value []byte
	if _, err := fmt.Sscanf(sealed, "%x", &value); err != nil {
		t.Fatal(err)
	}
	got, err := mustKey(t, hexA).Open(value, []byte("destination ed_1"))
	if err != nil || string(got) != "whsec_golden" {
		t.Errorf("Open = %q, %v", got, err)
	}
}

func TestSealIsNeverTheSame(t *testing.T) {
	t.Parallel()
	key := mustKey(t, hexA)
	seen := map[string]bool{}
	for range 1000 {
		sealed := string(key.Seal([]byte("x"), nil))
		if seen[sealed[:13]] {
			t.Fatal("a nonce was used twice")
		}
		seen[sealed[:13]] = true
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	key := mustKey(t, hexA)
	sealed := key.Seal([]byte("whsec_secret"), []byte("row 1"))

	if _, err := mustKey(t, hexB).Open(sealed, []byte("row 1")); !errors.Is(err, ErrWrongKey) {
		t.Errorf("another key: %v", err)
	}
	for _, context := range []string{"", "row 2", "row 11", "row"} {
		if _, err := key.Open(sealed, []byte(context)); !errors.Is(err, ErrWrongKey) {
			t.Errorf("context %q: %v", context, err)
		}
	}
	for i := range sealed {
		altered := bytes.Clone(sealed)
		altered[i] ^= 1
		want := ErrWrongKey
		if i == 0 {
			want = ErrMalformed
		}
		if got, err := key.Open(altered, []byte("row 1")); !errors.Is(err, want) || got != nil {
			t.Errorf("byte %d altered: %q, %v", i, got, err)
		}
	}
	for n := range sealed {
		if got, err := key.Open(sealed[:n], []byte("row 1")); err == nil || got != nil {
			t.Errorf("cut to %d bytes: %q", n, got)
		}
	}
	if _, err := key.Open(nil, nil); !errors.Is(err, ErrMalformed) {
		t.Errorf("nothing: %v", err)
	}
}

func TestFingerprint(t *testing.T) {
	t.Parallel()
	a, b := mustKey(t, hexA).Fingerprint(), mustKey(t, hexB).Fingerprint()
	if a != mustKey(t, strings.ToUpper(hexA)).Fingerprint() {
		t.Error("one key has two fingerprints")
	}
	if a == b {
		t.Error("two keys have one fingerprint")
	}
	// Stored in databases, so it must never change.
	if a != "af85dd2646df6568" {
		t.Errorf("fingerprint is now %s", a)
	}
	if strings.Contains(hexA, a) {
		t.Error("fingerprint shows the key")
	}
}

func TestParseKeyRefuses(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"", "secret", hexA[:63], hexA[:62], hexA + "00", hexA + "0", " " + hexA, hexA + "\n", "0x" + hexA[2:], strings.Replace(hexA, "0", "g", 1)} {
		key, err := ParseKey(bad)
		if err == nil || !key.IsZero() {
			t.Errorf("%q: accepted", bad)
			continue
		}
		if !strings.Contains(err.Error(), "64 hexadecimal digits") || len(bad) > 5 && strings.Contains(err.Error(), bad) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if mustKey(t, hexA).IsZero() {
		t.Error("a parsed key is zero")
	}
}

func TestKeyIsNeverPrinted(t *testing.T) {
	t.Parallel()
	key := mustKey(t, hexA)
	type config struct {
		Key    Key
		hidden Key
	}
	in := config{Key: key, hidden: key}

	var out strings.Builder
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%c", "%U", "%o", "%t"} {
		if got := fmt.Sprintf(verb, key); got != redacted {
			t.Errorf("%s prints %s", verb, got)
		}
		fmt.Fprintf(&out, verb+verb+verb+"\n", &key, in, &in)
	}
	fmt.Fprintln(&out, key.String(), key.GoString(), key)
	slog.New(slog.NewTextHandler(&out, nil)).Info("k", "key", key, "config", in)
	slog.New(slog.NewJSONHandler(&out, nil)).Info("k", "key", key, "config", in)
	if err := json.NewEncoder(&out).Encode(in); err != nil {
		t.Fatal(err)
	}
	text := strings.ToLower(out.String())
	for _, leak := range []string{"0001020304", "00 01 02", "0 1 2 3", "0x0, 0x1", key.Fingerprint()} {
		if strings.Contains(text, leak) {
			t.Errorf("output holds %q:\n%s", leak, text)
		}
	}
}

func FuzzOpen(f *testing.F) {
	key := mustKey(f, hexA)
	f.Add(mustKey(f, hexB).Seal([]byte("x"), []byte("c")), []byte("c"))
	f.Add([]byte{}, []byte{})
	f.Add([]byte{version}, []byte("c"))
	f.Fuzz(func(t *testing.T, data, context []byte) {
		// Nobody without the key makes a value that opens.
		if got, err := key.Open(data, context); !errors.Is(err, ErrWrongKey) && !errors.Is(err, ErrMalformed) || got != nil {
			t.Fatalf("Open = %q, %v", got, err)
		}
		sealed := key.Seal(data, context)
		if got, err := key.Open(sealed, context); err != nil || !bytes.Equal(got, data) {
			t.Fatalf("Open(Seal) = %q, %v", got, err)
		}
	})
}

func FuzzParseKey(f *testing.F) {
	f.Add(hexA)
	f.Add("")
	f.Add(hexA[:63] + "g")
	f.Fuzz(func(t *testing.T, s string) {
		key, err := ParseKey(s)
		if (err == nil) == key.IsZero() {
			t.Fatalf("%q: %v", s, err)
		}
		if err == nil && len(s) != 64 {
			t.Fatalf("%q accepted", s)
		}
	})
}

// What is derived for one purpose says nothing about another, and is the same
// wherever the key is.
func TestDerivedKeys(t *testing.T) {
	t.Parallel()
	one, same, other := mustKey(t, hexA), mustKey(t, hexA), mustKey(t, hexB)
	if one.Listeners() != same.Listeners() || one.Listeners() == other.Listeners() || one.Listeners() == one.PageTokens() {
		t.Error("the key of listeners is not the master key's own, or another's too")
	}
}
