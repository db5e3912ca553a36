package bus

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/store"
)

// A page of long entries ends where CloudWatch's does, whichever way it is
// read, and the pages together are all entries.
func TestPagesOfALogAreBounded(t *testing.T) {
	t.Parallel()
	f := newWorks(t)
	const n = 9
	group := f.longLog(n)
	read := func(fromHead bool) (ids []int64) {
		token := ""
		for {
			page, forward, backward, err := f.LogEvents(t.Context(), f.caller, LogSearch{Group: group, Streams: []string{DepositStream}, Token: token}, fromHead)
			f.must(err)
			size := 0
			for i := range page {
				size += len(page[i].Message)
			}
			if size > maxLogBytes {
				t.Errorf("a page has %d bytes", size)
			}
			if len(page) == 0 {
				return ids
			}
			more := make([]int64, 0, len(page))
			for i := range page {
				more = append(more, page[i].ID)
			}
			if token = forward; fromHead {
				ids = append(ids, more...)
			} else {
				token, ids = backward, append(more, ids...)
			}
		}
	}
	for _, fromHead := range []bool{true, false} {
		ids := read(fromHead)
		for i := 1; i < len(ids); i++ {
			if ids[i] <= ids[i-1] {
				t.Errorf("fromHead %t: ids %v", fromHead, ids)
			}
		}
		if len(ids) != n {
			t.Errorf("fromHead %t: %d entries, want %d", fromHead, len(ids), n)
		}
	}
}

// longLog makes a log group with n entries of which three fill a page.
func (f *worksFixture) longLog(n int) (name string) {
	f.t.Helper()
	f.must(f.CreateLogGroup(f.t.Context(), f.caller, "long"))
	r, _, err := f.logGroup(f.t.Context(), f.caller, "long")
	f.must(err)
	message := bytes.Repeat([]byte("x"), maxLogBytes/3)
	for range n {
		f.must(f.db.AppendLog(f.t.Context(), r.Number, []store.LogEntry{{Time: f.now(), Message: message}}))
	}
	return "long"
}

// While nothing can be published that is said once, however many schedules
// there are.
func TestSchedulesThatCannotFireAreLoggedOnce(t *testing.T) {
	t.Parallel()
	f := newWorks(t)
	var logged strings.Builder
	f.log = slog.New(slog.NewTextHandler(&logged, nil))
	for _, name := range []string{"a", "b", "c"} {
		f.rule(name, "", "rate(1 minute)")
	}
	f.rule("later", "", "rate(1 hour)")
	seen := firing{rules: map[int64]*fired{}}
	f.fireDue(t.Context(), &seen)
	f.end() // from now on the engine takes nothing
	f.advance(61 * time.Second)
	for range 3 {
		f.fireDue(t.Context(), &seen)
	}
	if n := strings.Count(logged.String(), "could not be fired"); n != 1 {
		t.Errorf("it was logged %d times:\n%s", n, &logged)
	}
	if err := f.publishOne(t.Context(), f.caller.Scope, &event.Draft{}); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("the engine takes events: %v", err)
	}
}
