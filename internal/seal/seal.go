// Package seal encrypts the secrets Waybill keeps in its database: signing
// secrets, credentials of cloud destinations.
//
// A [Key] seals and opens; it comes from the configuration ([ParseKey]) or from
// a file ([LoadOrCreateKeyFile]). Whoever has the database but not the key
// learns only how long the secrets are. Whoever loses the key has lost the
// secrets: nothing here can recover them. A wrong key is noticed at start by
// its [Key.Fingerprint], and at the latest by [ErrWrongKey]; wrong plaintext is
// never returned.
//
// A sealed value is
//
//	version (1 byte, 1) | nonce (12) | AES-256-GCM ciphertext | tag (16)
//
// with the version and the caller's context as associated data. Nonces are
// random, which is sound for 2^32 values per key.
package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
)

const (
	keySize  = 32
	version  = 1
	redacted = "[redacted]"
)

var (
	// ErrWrongKey means that a sealed value was sealed with another key or for
	// another context, or was altered since.
	ErrWrongKey = errors.New("sealed value does not open: wrong key, or the value was altered or moved")

	// ErrMalformed means that a value was not sealed by this package, or by a
	// later version of it.
	ErrMalformed = errors.New("not a sealed value of a known version")
)

// Key is a 256-bit master key. It is safe for concurrent use; the zero Key is
// unusable, and sealing with it panics.
//
// Nothing prints it: every way of formatting, logging or marshalling a Key
// gives "[redacted]". Its content is behind a function because fmt reads a Key
// in an unexported field without asking its methods, and sometimes follows
// pointers there; it cannot look into a function.
type Key struct {
	subkeys func() *subkeys
}

// subkeys are derived one per purpose, so that what the fingerprint gives away
// says nothing about the key that seals. The master key itself is not kept.
type subkeys struct {
	aead        cipher.AEAD
	fingerprint string
	pages       [keySize]byte
	listeners   [keySize]byte
}

// ParseKey returns the key written as 64 hexadecimal digits. Its error never
// repeats the input.
func ParseKey(hex64 string) (Key, error) {
	master, err := hex.DecodeString(hex64)
	if err != nil || len(master) != keySize {
		return Key{}, errors.New("encryption key must be 64 hexadecimal digits (32 bytes); make one with: openssl rand -hex 32")
	}
	return newKey(master)
}

func newKey(master []byte) (Key, error) {
	sealing, err := hkdf.Key(sha256.New, master, nil, "waybill seal v1", keySize)
	if err != nil {
		return Key{}, fmt.Errorf("derive sealing key: %w", err)
	}
	printing, err := hkdf.Key(sha256.New, master, nil, "waybill fingerprint v1", keySize)
	if err != nil {
		return Key{}, fmt.Errorf("derive fingerprint key: %w", err)
	}
	pages, err := hkdf.Key(sha256.New, master, nil, "waybill page tokens v1", keySize)
	if err != nil {
		return Key{}, fmt.Errorf("derive page token key: %w", err)
	}
	listeners, err := hkdf.Key(sha256.New, master, nil, "waybill listeners v1", keySize)
	if err != nil {
		return Key{}, fmt.Errorf("derive listeners' key: %w", err)
	}
	block, err := aes.NewCipher(sealing)
	if err != nil {
		return Key{}, fmt.Errorf("create cipher: %w", err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return Key{}, fmt.Errorf("create cipher: %w", err)
	}
	mac := hmac.New(sha256.New, printing)
	mac.Write([]byte("waybill key"))
	keys := &subkeys{aead, hex.EncodeToString(mac.Sum(nil)[:8]), [keySize]byte(pages), [keySize]byte(listeners)}
	return Key{func() *subkeys { return keys }}, nil
}

// Seal encrypts plaintext, 29 bytes longer. The context, such as the table and
// id of the row that will hold the value, is not stored but must be the same to
// open it: a value copied to another row stays shut.
func (k Key) Seal(plaintext, context []byte) []byte {
	// The AEAD makes its own nonce, so it must be given none.
	return k.subkeys().aead.Seal([]byte{version}, nil, plaintext, associated(context)) //nolint:gosec // G407 takes the version for a nonce
}

// Open decrypts what [Key.Seal] returned for the same context. It returns
// [ErrWrongKey] or [ErrMalformed].
func (k Key) Open(sealed, context []byte) ([]byte, error) {
	aead := k.subkeys().aead
	if len(sealed) < 1+aead.Overhead() || sealed[0] != version {
		return nil, ErrMalformed
	}
	plaintext, err := aead.Open(nil, nil, sealed[1:], associated(context))
	if err != nil {
		return nil, ErrWrongKey
	}
	return plaintext, nil
}

func associated(context []byte) []byte {
	return append([]byte{version}, context...)
}

// Fingerprint returns 16 hexadecimal digits that tell one key from another and
// reveal nothing about it. Stored in the database, they let a wrong key be
// noticed at start.
func (k Key) Fingerprint() string { return k.subkeys().fingerprint }

// PageTokens is the key that authenticates page tokens: the same on every node
// that shares the master key.
func (k Key) PageTokens() [32]byte { return k.subkeys().pages }

// Listeners is the key that the signing secrets of `stripe listen` are derived
// from, so that they are the same each time.
func (k Key) Listeners() [32]byte { return k.subkeys().listeners }

// IsZero reports whether k is the zero Key, which cannot seal.
func (k Key) IsZero() bool { return k.subkeys == nil }

// Format writes "[redacted]" for every verb.
func (Key) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// String returns "[redacted]".
func (Key) String() string { return redacted }

// GoString returns "[redacted]".
func (Key) GoString() string { return redacted }

// LogValue returns "[redacted]".
func (Key) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText returns "[redacted]".
func (Key) MarshalText() ([]byte, error) { return []byte(redacted), nil }
