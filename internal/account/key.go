package account

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/fault"
)

const (
	secretPrefix     = "sk_"
	restrictedPrefix = "rk_"
	testMode         = "test_"
	liveMode         = "live_"
	prefixLen        = len("sk_test_")

	// newRandom is the length of a generated key's random part: 24 letters and
	// digits are 142 bits.
	newRandom = 24
	// minRandom is the shortest random part of a key that the operator gives:
	// 95 bits, if it is random.
	minRandom = 16
	// maxKey bounds a whole key, so that nobody makes us hash a novel.
	maxKey = 255
	// hintTail is how much of a key's end is shown to tell keys apart. It
	// leaves at least 71 bits unknown.
	hintTail = 4
)

func mode(live bool) string {
	if live {
		return liveMode
	}
	return testMode
}

func newKey(prefix string, live bool) string { return event.NewID(prefix+mode(live), newRandom) }

// hashKey is how a key is stored and looked up.
func hashKey(key string) [32]byte { return sha256.Sum256([]byte(key)) }

// hint is the part of a key that may be shown.
func hint(key string) string {
	return key[:prefixLen] + "…" + key[len(key)-hintTail:]
}

// keyID names a key. Of its hash it tells too little to find the key by.
func keyID(hash [32]byte) string { return "key_" + hex.EncodeToString(hash[:8]) }

// checkKey refuses a key that the operator gave and that cannot be used. The
// error does not repeat it.
func checkKey(param, key string, live bool) error {
	if wellFormed(key) && strings.HasPrefix(key, secretPrefix+mode(live)) {
		return nil
	}
	return fault.Invalidf(param, "The key must be %s followed by %d to %d random letters and digits. Give such a key, or none to have one generated.",
		secretPrefix+mode(live), minRandom, maxKey-prefixLen)
}

// wellFormed tells whether key has the form of a key of either kind and mode.
func wellFormed(key string) bool {
	if len(key) < prefixLen+minRandom || len(key) > maxKey {
		return false
	}
	kind, of, random := key[:len(secretPrefix)], key[len(secretPrefix):prefixLen], key[prefixLen:]
	if kind != secretPrefix && kind != restrictedPrefix || of != testMode && of != liveMode {
		return false
	}
	for i := range len(random) {
		c := random[i]
		if (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') {
			return false
		}
	}
	return true
}
