package sqlstore

import (
	"reflect"
	"testing"

	"github.com/waybill-dev/waybill/internal/event"
)

func FuzzAttributes(f *testing.F) {
	f.Add(AppendAttributes(nil, []event.Attribute{{Name: "n", Type: "String", Value: "v"}, {}, {Name: "b", Type: "Binary", Value: "\x00\xff"}}))
	f.Add([]byte{1})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Add([]byte{1, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := parseAttributes(data)
		if err != nil {
			return
		}
		again, err := parseAttributes(AppendAttributes(nil, a))
		if err != nil || len(a) != len(again) || len(a) > 0 && !reflect.DeepEqual(a, again) {
			t.Fatalf("%+v became %+v, %v", a, again, err)
		}
	})
}

func FuzzDetail(f *testing.F) {
	whole := &event.Attempt{Message: "m", Headers: []event.Header{{Name: "A", Value: "b"}, {}}, Body: []byte("body"), Truncated: true}
	f.Add(AppendDetail(nil, whole))
	f.Add([]byte{0})
	f.Add([]byte{0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Add([]byte{1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f})
	f.Fuzz(func(t *testing.T, data []byte) {
		var a, again event.Attempt
		if parseDetail(&a, data) != nil {
			return
		}
		if err := parseDetail(&again, AppendDetail(nil, &a)); err != nil {
			t.Fatalf("%+v does not parse again: %v", a, err)
		}
		if len(a.Headers) == 0 {
			a.Headers = nil
		}
		if len(again.Headers) == 0 {
			again.Headers = nil
		}
		if !reflect.DeepEqual(a, again) {
			t.Fatalf("%+v became %+v", a, again)
		}
	})
}
