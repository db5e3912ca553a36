package account

import (
	"crypto/sha256"
	"strings"

	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/fault"
)

const (
	testPrefix = "sk_test_"
	livePrefix = "sk_live_"

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

func keyPrefix(live bool) string {
	if live {
		return livePrefix
	}
	return testPrefix
}

func newKey(live bool) string { return event.NewID(keyPrefix(live), newRandom) }

// hashKey is how a key is stored and looked up.
func hashKey(key string) [32]byte { return sha256.Sum256([]byte(key)) }

// hint is the part of a key that may be shown.
func hint(key string) string {
	return key[:len(testPrefix)] + "…" + key[len(key)-hintTail:]
}

// checkKey refuses a key that the operator gave and that cannot be used. The
// error does not repeat it.
func checkKey(param, key string, live bool) error {
	if wellFormed(key) && strings.HasPrefix(key, keyPrefix(live)) {
		return nil
	}
	return fault.Invalidf(param, "The key must be %s followed by %d to %d random letters and digits. Give such a key, or none to have one generated.",
		keyPrefix(live), minRandom, maxKey-len(testPrefix))
}

// wellFormed tells whether key has the form of a key of either mode.
func wellFormed(key string) bool {
	random, ok := strings.CutPrefix(key, testPrefix)
	if !ok {
		random, ok = strings.CutPrefix(key, livePrefix)
	}
	if !ok || len(random) < minRandom || len(key) > maxKey {
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
