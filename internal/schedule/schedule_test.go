package schedule

import (
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

func at(t *testing.T, text string) time.Time {
	t.Helper()
	parsed, err := time.Parse("2006-01-02 15:04:05", text)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"", "rate", "rate()", "cron()", "rate(5 minutes", "5 minutes", " rate(5 minutes)", "rate(5 minutes) ", "Rate(5 minutes)", "at(2026-01-01T00:00:00)",
		"rate(5)", "rate(minutes)", "rate(5 minute)", "rate(1 minutes)", "rate(1 hours)", "rate(2 day)", "rate(0 minutes)", "rate(-1 minutes)",
		"rate(+2 minutes)", "rate(1.5 hours)", "rate(5 seconds)", "rate(2 weeks)", "rate(5 minutess)", "rate(5 Minutes)", "rate(5 minutes )x", "rate(36501 days)", "rate(99999999999 minutes)",
		"cron(* * * * *)", "cron(0 12 * * ? * *)", "cron(0 12 * * * *)", "cron(0 12 ? * ? *)", "cron(0 12 1 * MON *)",
		"cron(60 12 * * ? *)", "cron(0 24 * * ? *)", "cron(0 12 0 * ? *)", "cron(0 12 32 * ? *)", "cron(0 12 * 0 ? *)", "cron(0 12 * 13 ? *)",
		"cron(0 12 ? * 0 *)", "cron(0 12 ? * 8 *)", "cron(0 12 * * ? 1969)", "cron(0 12 * * ? 2200)", "cron(0 12 * * ? 2030-2029)",
		"cron(0/0 12 * * ? *)", "cron(*/60 12 * * ? *)", "cron(1,,2 12 * * ? *)", "cron(, 12 * * ? *)", "cron(1- 12 * * ? *)", "cron(-1 12 * * ? *)", "cron(1/ 12 * * ? *)", "cron(? 12 * * ? *)",
		"cron(0 12 LX * ? *)", "cron(0 12 L-31 * ? *)", "cron(0 12 L-0 * ? *)", "cron(0 12 0W * ? *)", "cron(0 12 W * ? *)",
		"cron(0 12 ? * 3#0 *)", "cron(0 12 ? * 3#6 *)", "cron(0 12 ? * 3# *)", "cron(0 12 ? * #2 *)", "cron(0 12 ? * 8L *)", "cron(0 12 ? * XYZ *)", "cron(0 12 ? * FRIl *)", "cron(0 12 * XYZ ? *)", "cron(MON 12 * * ? *)",
	} {
		_, err := Parse(text)
		var e *Error
		if !errors.As(err, &e) || err.Error() != "Parameter ScheduleExpression is not valid." || e.Reason == "" {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestCronNext(t *testing.T) {
	t.Parallel()
	// 2026-01-01 is a Thursday.
	for _, test := range []struct {
		cron, after string
		want        string // the next few, each after the one before
	}{
		{"15 10 * * ? *", "2026-01-01 10:14:59", "2026-01-01 10:15, 2026-01-02 10:15"},
		{"15 10 * * ? *", "2026-01-01 10:15:00", "2026-01-02 10:15"},
		{"0 18 ? * MON-FRI *", "2026-01-02 18:00:00", "2026-01-05 18:00, 2026-01-06 18:00"},
		{"0 8 1 * ? *", "2026-01-31 00:00:00", "2026-02-01 08:00, 2026-03-01 08:00"},
		{"0/15 * * * ? *", "2026-12-31 23:44:59", "2026-12-31 23:45, 2027-01-01 00:00"},
		{"0/10 * ? * MON-FRI *", "2026-01-02 23:50:01", "2026-01-05 00:00, 2026-01-05 00:10"},
		{"0/5 8-17 ? * MON-FRI *", "2026-01-01 17:55:00", "2026-01-02 08:00, 2026-01-02 08:05"},
		{"0/30 20-2 ? * MON-FRI *", "2026-01-01 02:30:00", "2026-01-01 20:00"},
		{"5,35 14 * * ? *", "2026-01-01 14:05:00", "2026-01-01 14:35, 2026-01-02 14:05"},
		{"*/20 0 * * ? *", "2026-01-01 00:10:00", "2026-01-01 00:20, 2026-01-01 00:40, 2026-01-02 00:00"},
		{"10-30/10 0 * * ? *", "2026-01-01 00:00:00", "2026-01-01 00:10, 2026-01-01 00:20, 2026-01-01 00:30, 2026-01-02 00:10"},
		{"0 0 L * ? *", "2026-01-31 00:00:00", "2026-02-28 00:00, 2026-03-31 00:00, 2026-04-30 00:00"},
		{"0 0 L FEB ? 2028", "2026-01-01 00:00:00", "2028-02-29 00:00"},
		{"0 0 L-2 * ? *", "2026-02-01 00:00:00", "2026-02-26 00:00, 2026-03-29 00:00"},
		{"0 0 LW * ? *", "2026-01-01 00:00:00", "2026-01-30 00:00, 2026-02-27 00:00"},
		{"0 0 15W * ? *", "2026-02-01 00:00:00", "2026-02-16 00:00, 2026-03-16 00:00, 2026-04-15 00:00"}, // Sundays, a Wednesday
		{"0 0 1W 8 ? *", "2026-01-01 00:00:00", "2026-08-03 00:00"},                                      // a Saturday stays in its month
		{"0 0 31W 5 ? *", "2026-01-01 00:00:00", "2026-05-29 00:00"},                                     // so does a Sunday
		{"0 0 31W 2 ? 2026", "2026-01-01 00:00:00", ""},
		{"0 0 ? * 6L *", "2026-01-01 00:00:00", "2026-01-30 00:00, 2026-02-27 00:00"},
		{"0 0 ? * FRIL *", "2026-01-01 00:00:00", "2026-01-30 00:00"},
		{"0 0 ? * L *", "2026-01-01 00:00:00", "2026-01-03 00:00, 2026-01-10 00:00"},
		{"0 0 ? * 3#2 *", "2026-01-01 00:00:00", "2026-01-13 00:00, 2026-02-10 00:00"},
		{"0 0 ? * THU#5 *", "2026-01-01 00:00:00", "2026-01-29 00:00, 2026-04-30 00:00"},
		{"0 0 ? * FRI-MON *", "2026-01-01 00:00:00", "2026-01-02 00:00, 2026-01-03 00:00, 2026-01-04 00:00, 2026-01-05 00:00, 2026-01-09 00:00"},
		{"0 0 ? * 1 *", "2026-01-01 00:00:00", "2026-01-04 00:00"},
		{"0 0 1 nov-feb ? *", "2026-02-02 00:00:00", "2026-11-01 00:00, 2026-12-01 00:00, 2027-01-01 00:00, 2027-02-01 00:00, 2027-11-01 00:00"},
		{"0 0 29 2 ? *", "2026-01-01 00:00:00", "2028-02-29 00:00, 2032-02-29 00:00"},
		{"0 0 29 2 ? *", "2096-03-01 00:00:00", "2104-02-29 00:00"}, // 2100 has none
		{"0 0 30 2 ? *", "2026-01-01 00:00:00", ""},
		{"0 0 1 1 ? 2025", "2026-01-01 00:00:00", ""},
		{"0 0 1 1 ? 2027-2031/2", "2026-01-01 00:00:00", "2027-01-01 00:00, 2029-01-01 00:00, 2031-01-01 00:00"},
		{"59 23 31 12 ? *", "2199-12-31 23:58:59", "2199-12-31 23:59"},
		{"59 23 31 12 ? *", "2199-12-31 23:59:00", ""},
		{"0 0 1 1 ? *", "1950-01-01 00:00:00", "1970-01-01 00:00, 1971-01-01 00:00"},
	} {
		e, err := Parse("cron(" + test.cron + ")")
		if err != nil {
			t.Errorf("%s: %v", test.cron, err)
			continue
		}
		after := at(t, test.after)
		if test.want == "" {
			if got, ok := e.Next(after); ok {
				t.Errorf("%s after %s: %v, want never", test.cron, test.after, got)
			}
			continue
		}
		for want := range strings.SplitSeq(test.want, ", ") {
			got, ok := e.Next(after)
			if !ok || got.Format("2006-01-02 15:04") != want {
				t.Errorf("%s after %v: %v, want %s", test.cron, after, got, want)
			}
			after = got
		}
	}
}

// The local zone of a time given must not matter.
func TestNextIsUTC(t *testing.T) {
	t.Parallel()
	e, err := Parse("cron(0 12 * * ? *)")
	if err != nil {
		t.Fatal(err)
	}
	east := time.FixedZone("", 9*3600)
	got, ok := e.Next(time.Date(2026, 1, 2, 3, 0, 0, 0, east)) // 18:00 UTC of the day before
	if want := time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC); !ok || !got.Equal(want) || got.Location() != time.UTC {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestRate(t *testing.T) {
	t.Parallel()
	created := at(t, "2026-01-01 00:00:07")
	for _, test := range []struct{ rate, after, want string }{
		{"1 minute", "2026-01-01 00:00:07", "2026-01-01 00:01:07"},
		{"1 minute", "2026-01-01 00:01:06", "2026-01-01 00:01:07"},
		{"1 minute", "2026-01-01 00:01:07", "2026-01-01 00:02:07"},
		{"5 minutes", "2026-01-01 00:17:00", "2026-01-01 00:20:07"},
		{"1 hour", "2026-01-01 00:17:00", "2026-01-01 01:00:07"},
		{"36 hours", "2026-01-03 00:00:00", "2026-01-04 00:00:07"},
		{"1 day", "2026-03-01 00:00:00", "2026-03-01 00:00:07"},
		{"7 days", "2025-01-01 00:00:00", "2026-01-08 00:00:07"}, // before it was created
	} {
		e, err := Parse("rate(" + test.rate + ")")
		if err != nil {
			t.Fatal(err)
		}
		got, ok := e.NextRate(created, at(t, test.after))
		if !ok || !got.Equal(at(t, test.want)) {
			t.Errorf("%s after %s: %v, want %s", test.rate, test.after, got, test.want)
		}
	}
	e, err := Parse("rate(2 hours)")
	if err != nil {
		t.Fatal(err)
	}
	if got, ok := e.Next(created); !ok || !got.Equal(created.Add(2*time.Hour)) {
		t.Errorf("Next = %v", got)
	}
	if got, ok := e.NextRate(time.Time{}, at(t, "2026-01-01 00:00:00")); !ok || !got.After(time.Time{}) {
		t.Errorf("of the year 1: %v", got) // longer ago than a Duration is long
	}
}

func TestZeroExpressionIsNeverDue(t *testing.T) {
	t.Parallel()
	if got, ok := (Expression{}).Next(time.Unix(0, 0)); ok {
		t.Errorf("due at %v", got)
	}
}

// due is the cron written once more, as a question about a single minute.
func (c *cron) due(t time.Time) bool {
	day, length := t.Day(), time.Date(t.Year(), t.Month()+1, 0, 0, 0, 0, 0, time.UTC).Day()
	nearest := func(target int) bool {
		if target > length {
			return false
		}
		best, distance := 0, 100
		for d := 1; d <= length; d++ {
			w := time.Date(t.Year(), t.Month(), d, 0, 0, 0, 0, time.UTC).Weekday()
			if w != time.Saturday && w != time.Sunday && max(d-target, target-d) < distance {
				best, distance = d, max(d-target, target-d)
			}
		}
		return best == day
	}
	right := c.days>>day&1 == 1 || c.fromEnd>>(length-day)&1 == 1 || c.lastWeekday && nearest(length)
	for target := range 32 {
		right = right || c.nearWeekdays>>target&1 == 1 && nearest(target)
	}
	w := t.Weekday()
	right = right || c.weekdays>>w&1 == 1 || c.nth[w]>>((day-1)/7+1)&1 == 1 ||
		c.lastWeekdays>>w&1 == 1 && t.AddDate(0, 0, 7).Month() != t.Month()
	return right && c.minutes>>t.Minute()&1 == 1 && c.hours>>t.Hour()&1 == 1 && c.months>>t.Month()&1 == 1 && c.years[t.Year()-minYear]
}

// Next must find what walking minute by minute finds.
func TestCronAgainstWalking(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	pick := func(items ...string) string { return items[random.IntN(len(items))] }
	for range 40 {
		day, weekday := "?", "?"
		if random.IntN(2) == 0 {
			day = pick("*", "1", "L", "15W", "1W", "31W", "L-3", "LW", "10-12", "28/2", "5,L,20W", "30-2")
		} else {
			weekday = pick("*", "SUN", "2-6", "L", "6L", "1L,MON", "3#2", "7#5", "SAT-SUN", "*/2", "2#1,2#3")
		}
		text := strings.Join([]string{
			pick("*", "0", "59", "0/7", "5,50", "58-3"), pick("*", "0", "23", "*/5", "8-10", "22-1"),
			day, pick("*", "*", "2", "JAN-MAR", "*/2"), weekday, pick("*", "2027", "2026-2028"),
		}, " ")
		e, err := Parse("cron(" + text + ")")
		if err != nil {
			t.Fatal(err)
		}
		after := time.Date(2026, time.Month(1+random.IntN(12)), 1+random.IntN(31), random.IntN(24), random.IntN(60), random.IntN(60), 0, time.UTC)
		got, ok := e.Next(after)
		want := after.Truncate(time.Minute).Add(time.Minute)
		limit := want.AddDate(0, 0, 40)
		for want.Before(limit) && !e.cron.due(want) {
			want = want.Add(time.Minute)
		}
		if want.Before(limit) && (!ok || !got.Equal(want)) || !want.Before(limit) && ok && got.Before(limit) {
			t.Errorf("%s after %v: %v %t, want %v", text, after, got, ok, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, text := range []string{"rate(5 minutes)", "rate(1 day)", "cron(0 12 * * ? *)", "cron(0/5 8-17 ? * MON-FRI 2026-2030)", "cron(0 0 L,15W,LW JAN ? *)", "cron(0 0 ? * 3#2,6L *)", "cron(1-)"} {
		f.Add(text, int64(1767225600))
	}
	f.Fuzz(func(t *testing.T, text string, unix int64) {
		e, err := Parse(text)
		if err != nil {
			var typed *Error
			if !errors.As(err, &typed) {
				t.Fatalf("untyped error %v", err)
			}
			return
		}
		after := time.Unix(unix%7258118400, 0).UTC() // to the year 2200, either way
		next, ok := e.Next(after)
		if !ok {
			return
		}
		if !next.After(after) {
			t.Fatalf("%s after %v: %v", text, after, next)
		}
		if e.cron != nil && (!e.cron.due(next) || next.Second() != 0) {
			t.Fatalf("%s is not due at %v", text, next)
		}
		if again, ok := e.Next(next.Add(-time.Second)); e.cron != nil && (!ok || !again.Equal(next)) {
			t.Fatalf("%s: %v is due, but not a second before", text, next)
		}
	})
}
