package schedule

import (
	"math/bits"
	"strings"
	"time"
)

// The years a cron may name.
const (
	minYear = 1970
	maxYear = 2199
)

// cron is six columns as sets of bits. Either the day of the month decides the
// day or the day of the week does, never both.
type cron struct {
	minutes uint64
	hours   uint32
	months  uint16 // bits 1 to 12
	years   [maxYear - minYear + 1]bool

	days         uint32 // bits 1 to 31
	nearWeekdays uint32 // of 15W: the weekday nearest to the 15th
	fromEnd      uint32 // of L-3: bit 3; L is bit 0
	lastWeekday  bool   // LW

	weekdays     uint8    // bit 0 is Sunday
	lastWeekdays uint8    // of 6L: the last Friday
	nth          [7]uint8 // of 3#2: the second Tuesday; bits 1 to 5
}

func parseCron(fields []string) (Expression, error) {
	if len(fields) != 6 {
		return Expression{}, &Error{"a cron has six fields: minute, hour, day of month, month, day of week and year"}
	}
	if (fields[2] == "?") == (fields[4] == "?") {
		return Expression{}, &Error{"exactly one of day of month and day of week must be ?"}
	}
	c := &cron{}
	err := minuteField.list(fields[0], func(n int) { c.minutes |= 1 << n }, nil)
	if err == nil {
		err = hourField.list(fields[1], func(n int) { c.hours |= 1 << n }, nil)
	}
	if err == nil && fields[2] != "?" {
		err = dayField.list(fields[2], func(n int) { c.days |= 1 << n }, c.specialDay)
	}
	if err == nil {
		err = monthField.list(fields[3], func(n int) { c.months |= 1 << n }, nil)
	}
	if err == nil && fields[4] != "?" {
		err = weekdayField.list(fields[4], func(n int) { c.weekdays |= 1 << (n - 1) }, c.specialWeekday)
	}
	if err == nil {
		err = yearField.list(fields[5], func(n int) { c.years[n-minYear] = true }, nil)
	}
	if err != nil {
		return Expression{}, err
	}
	return Expression{cron: c}, nil
}

// specialDay takes L, L-n, nW and LW.
func (c *cron) specialDay(item string) bool {
	switch item {
	case "L":
		c.fromEnd |= 1
		return true
	case "LW":
		c.lastWeekday = true
		return true
	}
	if text, ok := strings.CutPrefix(item, "L-"); ok {
		n, ok := dayField.value(text)
		if ok = ok && n < 31; ok {
			c.fromEnd |= 1 << n
		}
		return ok
	}
	if text, ok := strings.CutSuffix(item, "W"); ok {
		n, ok := dayField.value(text)
		if ok {
			c.nearWeekdays |= 1 << n
		}
		return ok
	}
	return false
}

// specialWeekday takes L, which is Saturday, nL and n#m.
func (c *cron) specialWeekday(item string) bool {
	if item == "L" {
		c.weekdays |= 1 << time.Saturday
		return true
	}
	if text, ok := strings.CutSuffix(item, "L"); ok {
		n, ok := weekdayField.value(text)
		if ok {
			c.lastWeekdays |= 1 << (n - 1)
		}
		return ok
	}
	if text, nth, ok := strings.Cut(item, "#"); ok {
		n, ok := weekdayField.value(text)
		if ok = ok && len(nth) == 1 && '1' <= nth[0] && nth[0] <= '5'; ok {
			c.nth[n-1] |= 1 << (nth[0] - '0')
		}
		return ok
	}
	return false
}

// next returns the first minute later than after that is in every set. It
// walks from the year down, so that it looks at no more than one minute of a
// day that is not due.
func (c *cron) next(after time.Time) (time.Time, bool) {
	t := after.Truncate(time.Minute).Add(time.Minute)
	if t.Year() < minYear {
		t = time.Date(minYear, time.January, 1, 0, 0, 0, 0, time.UTC)
	}
	first, minute := t, t.Hour()*60+t.Minute()
	for year := t.Year(); year <= maxYear; year++ {
		if !c.years[year-minYear] {
			continue
		}
		for month := time.January; month <= time.December; month++ {
			if c.months>>month&1 == 0 || year == first.Year() && month < first.Month() {
				continue
			}
			days := c.daysOf(year, month)
			today := year == first.Year() && month == first.Month()
			if today {
				days &^= 1<<first.Day() - 1 // those before
			}
			for ; days != 0; days &= days - 1 {
				day := bits.TrailingZeros32(days)
				from := 0
				if today && day == first.Day() {
					from = minute
				}
				if at, ok := c.minuteFrom(from); ok {
					return time.Date(year, month, day, at/60, at%60, 0, 0, time.UTC), true
				}
			}
		}
	}
	return time.Time{}, false
}

// minuteFrom returns the first minute of a day, at or after from, that is due.
func (c *cron) minuteFrom(from int) (int, bool) {
	for hour := from / 60; hour < 24; hour++ {
		if c.hours>>hour&1 == 0 {
			continue
		}
		minutes := c.minutes
		if hour == from/60 {
			minutes = minutes >> (from % 60) << (from % 60)
		}
		if minutes != 0 {
			return hour*60 + bits.TrailingZeros64(minutes), true
		}
	}
	return 0, false
}

// daysOf returns the days of a month that are due, as bits 1 to 31.
func (c *cron) daysOf(year int, month time.Month) uint32 {
	last := time.Date(year, month+1, 0, 0, 0, 0, 0, time.UTC)
	length := last.Day()
	// weekday is that of a day of this month; Sunday is 0.
	weekday := func(day int) int { return (int(last.Weekday()) + day + 35 - length) % 7 }

	due := c.days
	for offset := range length {
		if c.fromEnd>>offset&1 == 1 {
			due |= 1 << (length - offset)
		}
	}
	if c.lastWeekday {
		due |= 1 << nearestWeekday(length, length, weekday)
	}
	for day := 1; day <= length; day++ {
		if c.nearWeekdays>>day&1 == 1 {
			due |= 1 << nearestWeekday(day, length, weekday)
		}
		w := weekday(day)
		if c.weekdays>>w&1 == 1 ||
			c.lastWeekdays>>w&1 == 1 && day+7 > length ||
			c.nth[w]>>((day+6)/7)&1 == 1 {
			due |= 1 << day
		}
	}
	return due & (1<<(length+1) - 2) // no 31st of February
}

// nearestWeekday returns the day from Monday to Friday that is nearest to a
// day, without leaving the month.
func nearestWeekday(day, length int, weekday func(int) int) int {
	switch time.Weekday(weekday(day)) {
	case time.Saturday:
		if day == 1 {
			return day + 2
		}
		return day - 1
	case time.Sunday:
		if day == length {
			return day - 2
		}
		return day + 1
	}
	return day
}
