package postgres_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/waybill-dev/waybill/internal/store"
	"github.com/waybill-dev/waybill/internal/store/postgres/pgtest"
)

// A node whose takeover was carried out, and not answered, finds it out: what
// is undone in the lane is parked, and what is parked is told of.
func TestTakeoverWithoutAnswer(t *testing.T) {
	t.Parallel()
	for _, parked := range []bool{false, true} {
		t.Run(fmt.Sprint("parked ", parked), func(t *testing.T) {
			t.Parallel()
			url := pgtest.Database(t)
			dead, heir := start(t, url, "dead"), start(t, url, "heir")
			e := dead.event(1)
			b := dead.batch(e)
			if parked {
				b.Watermark = e.Seq
				b.RetryPut = []store.Retry{{RetryKey: store.RetryKey{Scope: scope, Seq: e.Seq, Subscription: 1}, N: 1, Next: dead.Now()}}
			}
			dead.commit(b)
			if _, err := connect(t, url).Exec(t.Context(), "UPDATE lanes SET epoch = epoch + 1, owner = (SELECT owner FROM lanes WHERE lane = $1) WHERE lane = $2",
				heir.lane.Lane, dead.lane.Lane); err != nil {
				t.Fatal(err)
			}
			if !heir.tend().Adopted {
				t.Error("the first Tend does not tell of the lane")
			}
			if got, want := heir.due(), []string{fmt.Sprint(e.Seq, " 1")}; !slices.Equal(got, want) {
				t.Errorf("heir has %v to do, want %v", got, want)
			}
			if heir.tend().Adopted {
				t.Error("the second Tend tells of it again")
			}
		})
	}
}
