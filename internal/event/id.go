package event

import (
	"crypto/rand"
	"strings"
	"time"
)

// Seq orders everything Waybill has accepted. It is given out by the
// committer, so commit order is sequence order and a reader by cursor never
// skips. Layout of the 63 bits, high to low: 42 bits of Unix milliseconds,
// 8 bits of lane, 13 bits of counter. It sorts by time, so one column gives
// order, paging, pruning and partitions.
type Seq int64

const (
	laneBits    = 8
	counterBits = 13
	timeShift   = laneBits + counterBits
	laneMask    = (1<<laneBits - 1) << counterBits
	counterMask = 1<<counterBits - 1
)

// SeqAt returns the lowest sequence number that can be given out at t.
func SeqAt(t time.Time) Seq { return Seq(t.UnixMilli() << timeShift) }

// Next returns the sequence number that follows s on the given lane at now.
// A clock that jumps back does not disturb it: the sequence then counts on
// from where it was.
func (s Seq) Next(now time.Time, lane int) Seq {
	lowest := SeqAt(now) | Seq(lane)<<counterBits
	if lowest > s {
		return lowest
	}
	if s&counterMask == counterMask {
		ms := s>>timeShift + 1
		return ms<<timeShift | s&laneMask
	}
	return s + 1
}

// Time returns the millisecond in which s was given out.
func (s Seq) Time() time.Time { return time.UnixMilli(int64(s >> timeShift)).UTC() }

// idLen is the fixed width of the encoded sequence number inside an id, so
// that the committer can patch it into bytes that were prepared before the
// number was known.
const idLen = 11

const base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

func putSeq(dst []byte, s Seq) {
	_ = dst[idLen-1]
	for i := idLen - 1; i >= 0; i-- {
		dst[i] = base62[s%62]
		s /= 62
	}
}

func parseBase62(text string) (int64, bool) {
	var n int64
	for i := range len(text) {
		d := strings.IndexByte(base62, text[i])
		if d < 0 || n > (1<<63-1-int64(d))/62 {
			return 0, false
		}
		n = n*62 + int64(d)
	}
	return n, true
}

func appendBase62(dst []byte, n int64) []byte {
	var buf [idLen]byte
	i := len(buf)
	for {
		i--
		buf[i] = base62[n%62]
		n /= 62
		if n == 0 {
			return append(dst, buf[i:]...)
		}
	}
}

const (
	eventPrefix    = "evt_"
	deliveryPrefix = "dlv_"
	testInfix      = "test_"
)

func idPrefix(kind string, live bool) string {
	if live {
		return kind
	}
	return kind + testInfix
}

// ID returns the id Waybill gives the event with this sequence number:
// evt_… in live mode, evt_test_… in test mode.
func (s Seq) ID(live bool) string {
	p := idPrefix(eventPrefix, live)
	id := append(make([]byte, 0, len(p)+idLen), p...)
	id = id[:len(p)+idLen]
	putSeq(id[len(p):], s)
	return string(id)
}

// ParseID returns the sequence number inside an event id that Waybill gave
// out, and false for any other text (a client may have chosen its own id).
func ParseID(id string, live bool) (Seq, bool) {
	rest, ok := strings.CutPrefix(id, idPrefix(eventPrefix, live))
	if !ok || len(rest) != idLen {
		return 0, false
	}
	n, ok := parseBase62(rest)
	return Seq(n), ok
}

// DeliveryID names one event × one subscription: dlv_… or dlv_test_….
func DeliveryID(s Seq, subscription int64, live bool) string {
	id := append(make([]byte, 0, 32), idPrefix(deliveryPrefix, live)...)
	id = append(id, "00000000000"...)
	putSeq(id[len(id)-idLen:], s)
	return string(appendBase62(id, subscription))
}

// ParseDeliveryID is the reverse of DeliveryID.
func ParseDeliveryID(id string, live bool) (s Seq, subscription int64, ok bool) {
	rest, found := strings.CutPrefix(id, idPrefix(deliveryPrefix, live))
	if !found || len(rest) <= idLen {
		return 0, 0, false
	}
	n, ok1 := parseBase62(rest[:idLen])
	sub, ok2 := parseBase62(rest[idLen:])
	if !ok1 || !ok2 || sub == 0 || rest[idLen] == '0' {
		return 0, 0, false
	}
	return Seq(n), sub, true
}

// NewID returns prefix followed by n random base-62 characters, for objects
// that are not on the hot path: destinations, accounts, keys. The bias of the
// modulus is below 2 % a character and irrelevant at these lengths.
func NewID(prefix string, n int) string {
	raw := make([]byte, n)
	_, _ = rand.Read(raw) // never fails since Go 1.24: it aborts the program instead
	for i, b := range raw {
		raw[i] = base62[int(b)%62]
	}
	return prefix + string(raw)
}

// NewDestinationID returns an id for an event destination: ed_… in live mode,
// ed_test_… in test mode.
func NewDestinationID(live bool) string { return NewID(idPrefix("ed_", live), 24) }
