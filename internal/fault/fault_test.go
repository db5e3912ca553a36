package fault

import (
	"errors"
	"fmt"
	"io"
	"testing"
	"time"
)

func TestConstructors(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		got  *Error
		want Error
		text string
	}{
		{
			"invalid", Invalidf("name", "Give at most %d characters.", 9),
			Error{Kind: Invalid, Code: "invalid_fields", Param: "name", Message: "Give at most 9 characters."},
			"name: Give at most 9 characters.",
		},
		{
			"invalid as a whole", Invalidf("", "Send JSON."),
			Error{Kind: Invalid, Code: "invalid_fields", Message: "Send JSON."},
			"Send JSON.",
		},
		{
			"not found", NotFoundf("No such event: %s.", "evt_1"),
			Error{Kind: NotFound, Code: "not_found", Message: "No such event: evt_1."},
			"No such event: evt_1.",
		},
		{
			"any kind", New(TooLarge, "too_large", "Send at most %d bytes.", 5),
			Error{Kind: TooLarge, Code: "too_large", Message: "Send at most 5 bytes."},
			"Send at most 5 bytes.",
		},
		{
			"unavailable", Unavailablef(io.ErrUnexpectedEOF, "Try again."),
			Error{Kind: Unavailable, Code: "service_unavailable", Message: "Try again.", RetryAfter: time.Second, cause: io.ErrUnexpectedEOF},
			"Try again.",
		},
	} {
		if *tc.got != tc.want {
			t.Errorf("%s: %+v, want %+v", tc.name, *tc.got, tc.want)
		}
		if tc.got.Error() != tc.text {
			t.Errorf("%s: text %q, want %q", tc.name, tc.got.Error(), tc.text)
		}
	}
}

func TestCauseIsKeptAndNotShown(t *testing.T) {
	t.Parallel()
	err := fmt.Errorf("publish: %w", Unavailablef(io.ErrUnexpectedEOF, "Try again."))
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error("the cause is lost")
	}
	if got := err.Error(); got != "publish: Try again." {
		t.Errorf("text %q", got)
	}
}

func TestAs(t *testing.T) {
	t.Parallel()
	f := NotFoundf("No such event.")
	if got := As(f); got != f {
		t.Errorf("As of a fault = %v", got)
	}
	if got := As(fmt.Errorf("retrieve: %w", errors.Join(io.EOF, f))); got != f {
		t.Errorf("As of a wrapped fault = %v", got)
	}
	if got := As(io.EOF); got != nil {
		t.Errorf("As of a stranger = %v", got)
	}
	if got := As(nil); got != nil {
		t.Errorf("As(nil) = %v", got)
	}
}
