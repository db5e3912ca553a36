package engine

import (
	"testing"
	"time"

	"github.com/waybill-dev/waybill/internal/event"
)

func TestOnlyWhatIsSwiftPacesPublishers(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for _, test := range []struct {
		name string
		set  func(*subscriber)
		want bool
	}{
		{"swift with a backlog", func(s *subscriber) { s.noteHealth(true, now) }, true},
		{"hangs and never answered", func(*subscriber) {}, false},
		{"answered long ago", func(s *subscriber) { s.noteHealth(true, now.Add(-time.Second)) }, false},
		{"slow", func(s *subscriber) { s.noteHealth(true, now); s.meanSend = time.Second }, false},
		{"keeps failing", func(s *subscriber) {
			s.noteHealth(true, now)
			for range failingAfter {
				s.noteHealth(false, now)
			}
		}, false},
	} {
		s := newSubscriber(New(Options{}), 1)
		for range pressed + 1 {
			s.hold(&delivery{sub: s, ev: &event.Event{}})
		}
		test.set(s)
		if got := s.pressed(); got != test.want {
			t.Errorf("%s: paces %v, want %v", test.name, got, test.want)
		}
	}
}
