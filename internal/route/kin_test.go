package route

import (
	"fmt"
	"slices"
	"testing"

	"github.com/waybill-dev/waybill/internal/event"
)

func from(id int64, account int64, live bool, origins event.Origins) event.Subscription {
	s := sub(id, event.NewScope(account, live), event.Snapshot, "*")
	s.From = origins
	return s
}

// above lists what is selected by whom above, as "subscription account path".
func above(s *Snapshot, account int64, live bool) (got []string) {
	for _, a := range s.Above(event.NewScope(account, live)) {
		for _, sub := range s.MatchAbove(&a, event.Snapshot, "x") {
			got = append(got, fmt.Sprint(sub.ID, " ", a.Account, " ", a.Path))
		}
	}
	return got
}

func TestAbove(t *testing.T) {
	t.Parallel()
	const org, platform, shop, other = 1, 2, 3, 4
	lineages := []event.Lineage{
		{Account: shop, ID: "acct_shop", Platform: platform, Organization: org},
		{Account: other, ID: "acct_other"},
		{Account: platform, ID: "acct_platform", Organization: org},
		{Account: org, ID: "org_1"},
	}
	s := New().Apply([]event.Subscription{
		from(1, platform, true, event.FromAccounts),
		from(2, platform, true, event.FromSelf),
		from(3, platform, true, 0),
		from(4, platform, true, event.FromSelf|event.FromAccounts),
		from(5, org, true, event.FromMembers),
		from(6, org, true, event.FromMembersAccounts),
		from(7, org, true, event.FromAccounts),
		from(8, shop, true, event.FromSelf|event.FromAccounts|event.FromMembers),
		from(9, platform, false, event.FromAccounts),
	}, 1).Relate(lineages)
	for _, tc := range []struct {
		account int64
		live    bool
		want    []string
	}{
		{shop, true, []string{
			"1 acct_shop ", "4 acct_shop ", "6 acct_shop org_1/acct_platform/acct_shop", "5 acct_shop org_1/acct_shop",
		}},
		{shop, false, []string{"9 acct_shop "}},
		{platform, true, []string{"5 acct_platform org_1/acct_platform"}},
		{org, true, nil},
		{other, true, nil},
		{99, true, nil},
	} {
		if got := above(s, tc.account, tc.live); !slices.Equal(got, tc.want) {
			t.Errorf("above %d (live %t): %q, want %q", tc.account, tc.live, got, tc.want)
		}
	}
	if got := ids(s.Match(event.NewScope(platform, true), event.Snapshot, "x")); !slices.Equal(got, []int64{2, 3, 4}) {
		t.Errorf("the platform's own go to %v", got)
	}

	// A change keeps the others, and leaves the older snapshot as it is.
	next := s.Apply([]event.Subscription{from(10, platform, false, event.FromAccounts)}, 2).Relate([]event.Lineage{{Account: shop, ID: "acct_shop"}})
	if got := above(next, shop, true); got != nil {
		t.Errorf("after it left: %q", got)
	}
	if got := above(next, platform, true); len(got) != 1 {
		t.Errorf("the platform's organization is gone: %q", got)
	}
	if got := above(s, shop, false); len(got) != 1 {
		t.Errorf("the older snapshot changed: %q", got)
	}
	if s.Relate(nil) != s {
		t.Error("no change made another snapshot")
	}
}

func BenchmarkAboveNobody(b *testing.B) {
	s := New().Relate([]event.Lineage{{Account: 1, ID: "a"}, {Account: 2, ID: "b", Platform: 1}})
	scope := event.NewScope(3, true)
	for b.Loop() {
		if s.Above(scope) != nil {
			b.Fatal("someone is above")
		}
	}
}
