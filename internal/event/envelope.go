package event

import (
	"encoding/json"
	"time"
)

// Envelope is what is stated of an event that is put on an event bus.
type Envelope struct {
	Bus       int64
	Source    string
	Account   string // 12 digits
	Region    string
	Resources []string
	// Detail is a JSON object. Distinct is what rawjson.Form says of it, and speeds
	// up finding the rules that the event matches; false if that is not known.
	Detail   []byte
	Distinct bool
	// Replay is the name of the replay that put it there again, or "".
	Replay string
	Hops   int
	// Raw, if set, is a whole envelope as Build made it, which keeps its id:
	// of an event that comes from another bus or, with Replay, from an
	// archive. Source, Account, Region, Resources and Detail are then not used,
	// and Distinct is false.
	Raw []byte
}

const (
	envelopeHead = `{"version":"0","id":"`
	envelopeIDAt = len(envelopeHead)
	uuidLen      = 36
	// envelopeTime is how AWS writes an envelope's time.
	envelopeTime = "2006-01-02T15:04:05Z"
	replayKey    = `,"replay-name":`
)

func (d *Draft) buildEnvelope(e *Event) {
	v := d.Envelope
	e.Kind, e.Bus, e.Hops = OnBus, v.Bus, v.Hops
	if v.Raw != nil {
		e.Payload = v.Raw
		if v.Replay != "" {
			b := append(make([]byte, 0, len(v.Raw)+len(replayKey)+len(v.Replay)+8), v.Raw[:len(v.Raw)-1]...)
			e.Payload = append(appendString(append(b, replayKey...), v.Replay), '}')
		}
		return
	}
	b := make([]byte, 0, 256+len(v.Detail)+len(v.Source)+len(d.Type))
	b = append(b, envelopeHead...)
	if d.ID != "" {
		b = append(b, d.ID...)
	} else {
		e.seqAt = len(b)
		b = append(b, "00000000-0000-0000-0000-000000000000"...)
	}
	b = appendString(append(b, `","detail-type":`...), d.Type)
	b = appendString(append(b, `,"source":`...), v.Source)
	b = append(append(b, `,"account":"`...), v.Account...)
	b = e.Created.AppendFormat(append(b, `","time":"`...), envelopeTime)
	b = append(append(b, `","region":"`...), v.Region...)
	b = append(b, `","resources":[`...)
	for i, r := range v.Resources {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(b, r)
	}
	b = append(append(b, `],"detail":`...), v.Detail...)
	e.Payload = append(b, '}')
}

// putUUID writes s as a UUID of version 8, whose layout is its maker's own:
// the 63 bits of the sequence number, then bits mixed from them, so that ids
// that follow each other do not look alike.
func putUUID(dst []byte, s Seq) {
	hi := uint64(s)>>15<<16 | 0x8000 | uint64(s)>>3&0x0fff
	mix := uint64(s) * 0x9e3779b97f4a7c15
	mix ^= mix >> 29
	lo := 1<<63 | uint64(s)&7<<59 | mix&(1<<59-1)
	lo &^= 1 << 62
	at := 0
	for i := range 32 {
		switch i {
		case 8, 12, 16, 20:
			dst[at] = '-'
			at++
		}
		word := hi
		if i >= 16 {
			word = lo
		}
		dst[at] = "0123456789abcdef"[word>>(60-4*(i%16))&15]
		at++
	}
}

// ParseBusID returns the sequence number inside the id of an event on a bus,
// and false for an id that was not given out here.
func ParseBusID(id string) (Seq, bool) {
	if len(id) != uuidLen {
		return 0, false
	}
	var words [2]uint64
	n := 0
	for i := range len(id) {
		c := id[i]
		switch {
		case i == 8 || i == 13 || i == 18 || i == 23:
			if c != '-' {
				return 0, false
			}
			continue
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		default:
			return 0, false
		}
		words[n/16] = words[n/16]<<4 | uint64(c)
		n++
	}
	s := Seq(words[0]>>16<<15 | words[0]&0x0fff<<3 | words[1]>>59&7)
	var again [uuidLen]byte
	putUUID(again[:], s)
	return s, string(again[:]) == id
}

// EnvelopeTime reads the time of an envelope that Build made; zero if it has
// none that can be read.
func EnvelopeTime(envelope []byte) time.Time {
	var v struct {
		Time time.Time `json:"time"`
	}
	if json.Unmarshal(envelope, &v) != nil {
		return time.Time{}
	}
	return v.Time
}
