// Package schedule owns EventBridge's schedule expressions, rate(…) and
// cron(…): what is one, and when it is next due. All times are UTC, and
// nothing here has a clock.
//
// It fails in one place only: Parse. An expression that parses but is never
// due again, such as a cron of a year gone by, says so instead of a time.
// See https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-scheduled-rule-pattern.html.
package schedule

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Error says that a text is not a schedule expression. Its message is AWS's,
// which clients compare; the reason is for people.
type Error struct{ Reason string }

func (*Error) Error() string { return "Parameter ScheduleExpression is not valid." }

// maxPeriod keeps rates where a [time.Duration] can hold them.
const maxPeriod = 100 * 365 * 24 * time.Hour

// Expression is a parsed schedule. The zero Expression is never due.
type Expression struct {
	period time.Duration // of a rate, else 0
	cron   *cron
}

// Parse reads rate(<n> <unit>) or cron(<minute> <hour> <day of month> <month>
// <day of week> <year>). The error is an [*Error].
func Parse(text string) (Expression, error) {
	kind, inside, ok := strings.Cut(text, "(")
	inside, closed := strings.CutSuffix(inside, ")")
	if ok && closed {
		switch kind {
		case "rate":
			return parseRate(strings.Fields(inside))
		case "cron":
			return parseCron(strings.Fields(inside))
		}
	}
	return Expression{}, &Error{"an expression is rate(…) or cron(…)"}
}

var units = map[string]time.Duration{
	"minute": time.Minute,
	"hour":   time.Hour,
	"day":    24 * time.Hour,
}

func parseRate(fields []string) (Expression, error) {
	if len(fields) != 2 {
		return Expression{}, &Error{"a rate is a number and a unit, such as rate(5 minutes)"}
	}
	n, err := strconv.ParseUint(fields[0], 10, 32)
	if err != nil || n == 0 || fields[0][0] == '+' {
		return Expression{}, &Error{"a rate's number is an integer of at least 1"}
	}
	name, plural := strings.CutSuffix(fields[1], "s")
	unit, known := units[name]
	if !known {
		return Expression{}, &Error{"a rate's unit is minute, minutes, hour, hours, day or days"}
	}
	if plural != (n > 1) {
		return Expression{}, &Error{"a rate's unit is singular with 1 and plural with more"}
	}
	if n > uint64(maxPeriod/unit) {
		return Expression{}, &Error{"a rate is at most 100 years"}
	}
	return Expression{period: time.Duration(n) * unit}, nil
}

// Next returns the first time later than after at which a cron is due, and
// false if there is none. A rate is due one period after after.
func (e Expression) Next(after time.Time) (time.Time, bool) { return e.NextRate(after, after) }

// NextRate is [Expression.Next] for a rate whose phase is anchored: it is due
// at created plus one period, plus two, and so on, so that neither a restart
// nor a late run moves it. A cron has no phase and disregards created.
func (e Expression) NextRate(created, after time.Time) (time.Time, bool) {
	created, after = created.UTC(), after.UTC()
	switch {
	case e.cron != nil:
		return e.cron.next(after)
	case e.period == 0:
		return time.Time{}, false
	}
	elapsed := max(0, after.Sub(created))
	// Two additions, since elapsed may be as long as a Duration can be.
	return created.Add(elapsed - elapsed%e.period).Add(e.period), true
}

// field is what a column of a cron may hold.
type field struct {
	name     string
	min, max int
	names    []string // of the values from min on
	wraps    bool     // a range may pass the end, as FRI-MON
}

var (
	minuteField  = field{name: "minute", min: 0, max: 59, wraps: true}
	hourField    = field{name: "hour", min: 0, max: 23, wraps: true}
	dayField     = field{name: "day of month", min: 1, max: 31, wraps: true}
	monthField   = field{name: "month", min: 1, max: 12, wraps: true, names: []string{"JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"}}
	weekdayField = field{name: "day of week", min: 1, max: 7, wraps: true, names: []string{"SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"}}
	yearField    = field{name: "year", min: minYear, max: maxYear}
)

func (f *field) invalid(item string) error {
	return &Error{fmt.Sprintf("%s %q is not valid: it takes %d to %d, ranges, lists and steps", f.name, item, f.min, f.max)}
}

// value reads one number or name.
func (f *field) value(text string) (int, bool) {
	for i, name := range f.names {
		if strings.EqualFold(text, name) {
			return f.min + i, true
		}
	}
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil || int(n) < f.min || int(n) > f.max {
		return 0, false
	}
	return int(n), true
}

// each calls set with every value of one item of a list: *, n or n-m, and a
// step behind it.
func (f *field) each(item string, set func(int)) error {
	span, stepText, stepped := strings.Cut(item, "/")
	step := 1
	if stepped {
		n, err := strconv.ParseUint(stepText, 10, 16)
		if err != nil || n == 0 || int(n) > f.max {
			return f.invalid(item)
		}
		step = int(n)
	}
	first, last := f.min, f.max
	if span != "*" {
		from, to, ranged := strings.Cut(span, "-")
		var ok bool
		if first, ok = f.value(from); !ok {
			return f.invalid(item)
		}
		switch {
		case ranged:
			if last, ok = f.value(to); !ok || last < first && !f.wraps {
				return f.invalid(item)
			}
		case !stepped:
			last = first
		}
	}
	size := f.max - f.min + 1
	if last < first {
		last += size
	}
	for n := first; n <= last; n += step {
		set(f.min + (n-f.min)%size)
	}
	return nil
}

// list calls set with every value of a comma-separated column. special is
// asked first about each item, if it is not nil.
func (f *field) list(text string, set func(int), special func(item string) bool) error {
	for item := range strings.SplitSeq(text, ",") {
		if special != nil && special(item) {
			continue
		}
		if err := f.each(item, set); err != nil {
			return err
		}
	}
	return nil
}
