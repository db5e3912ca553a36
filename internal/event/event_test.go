package event

import (
	"bytes"
	"math"
	"slices"
	"testing"
)

var someRoutes = [][]Route{
	nil,
	{{1, Dispatch, 0}},
	{{127, Parked, 0}, {128, DiscardedDisabled, 0}, {16384, Dispatch, 0}},
	{{math.MaxInt64, DiscardedDisabled, 0}, {1, Parked, 0}},
}

func TestRoutesRoundTrip(t *testing.T) {
	t.Parallel()
	for _, routes := range someRoutes {
		data := AppendRoutes([]byte("kept"), routes)
		data, ok := bytes.CutPrefix(data, []byte("kept"))
		if !ok {
			t.Fatal("AppendRoutes does not append")
		}
		got, err := ParseRoutes(data)
		if err != nil || !slices.Equal(got, routes) {
			t.Errorf("ParseRoutes(%x) = %v, %v, want %v", data, got, err, routes)
		}
		if len(data) > 0 {
			if got, err := ParseRoutes(data[:len(data)-1]); err == nil {
				t.Errorf("ParseRoutes of truncated %v = %v", routes, got)
			}
		}
	}
}

func FuzzParseRoutes(f *testing.F) {
	for _, routes := range someRoutes {
		f.Add(AppendRoutes(nil, routes))
	}
	f.Add([]byte{0x80})
	f.Add([]byte{0x81, 0x00, 0x01}) // longer than it need be
	f.Add(bytes.Repeat([]byte{0xff}, 12))
	f.Fuzz(func(t *testing.T, data []byte) {
		routes, err := ParseRoutes(data)
		if err != nil {
			return
		}
		again, err := ParseRoutes(AppendRoutes(nil, routes))
		if err != nil || !slices.Equal(again, routes) {
			t.Fatalf("%v comes back as %v, %v", routes, again, err)
		}
	})
}

func TestOpen(t *testing.T) {
	t.Parallel()
	e := &Event{Routes: []Route{{1, Dispatch, 0}, {2, DiscardedDisabled, 0}, {3, Parked, 0}, {4, DiscardedDisabled, 0}}}
	if got := e.Open(); got != 2 {
		t.Errorf("Open = %d, want 2", got)
	}
}
