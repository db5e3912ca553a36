package event

import (
	"encoding/json"
	"math/rand/v2"
	"testing"
	"time"
)

func TestEnvelopeKeyOrderAndID(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 21, 10, 0, 0, 123e6, time.UTC)
	d := &Draft{Type: "order \"x\"", Created: at, Envelope: &Envelope{
		Bus: 7, Source: "my.app", Account: "123456789012", Region: "us-east-1", Resources: []string{"arn:a", "b"}, Detail: []byte(`{"a":1}`),
	}}
	e := d.Build(3, at, "")
	s := Seq(0).Next(at, 3)
	e.Assign(s)
	want := `{"version":"0","id":"` + e.ID() + `","detail-type":"order \"x\"","source":"my.app","account":"123456789012","time":"2026-11-21T10:00:00Z","region":"us-east-1","resources":["arn:a","b"],"detail":{"a":1}}`
	if string(e.Payload) != want || !json.Valid(e.Payload) {
		t.Errorf("payload\n%s\nwant\n%s", e.Payload, want)
	}
	if got, ok := ParseBusID(e.ID()); !ok || got != s {
		t.Errorf("ParseBusID(%q) = %d, %v; want %d", e.ID(), got, ok, s)
	}
	replayed := (&Draft{Type: d.Type, Envelope: &Envelope{Bus: 7, Raw: e.Payload, Replay: "again"}}).Build(3, at, "")
	replayed.Assign(s + 1)
	if replayed.ID() != e.ID() || string(replayed.Payload) != want[:len(want)-1]+`,"replay-name":"again"}` {
		t.Errorf("replayed: %s", replayed.Payload)
	}
	if got := EnvelopeTime(e.Payload); !got.Equal(at.Truncate(time.Second)) {
		t.Errorf("EnvelopeTime = %v", got)
	}
}

func TestBusIDRoundTrip(t *testing.T) {
	t.Parallel()
	for range 1000 {
		s := Seq(rand.Int64())
		var b [uuidLen]byte
		putUUID(b[:], s)
		if got, ok := ParseBusID(string(b[:])); !ok || got != s {
			t.Fatalf("%d -> %s -> %d, %v", s, b, got, ok)
		}
		if b[14] != '8' || b[19] < '8' || b[19] > 'b' {
			t.Fatalf("%s is not a UUID of version 8", b)
		}
	}
	for _, id := range []string{"", "evt_x", "6f9619ff-8b86-4d01-b42d-00cf4fc964ff"} {
		if _, ok := ParseBusID(id); ok {
			t.Errorf("ParseBusID(%q) is ok", id)
		}
	}
}
