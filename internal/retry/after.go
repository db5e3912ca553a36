package retry

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// dateLayouts are the three forms of a date that RFC 9110, section 5.6.7,
// obliges a recipient to accept. GMT is spelled out because [time.Parse] takes
// an unknown zone name for UTC.
var dateLayouts = [...]string{
	"Mon, 02 Jan 2006 15:04:05 GMT",
	"Monday, 02-Jan-06 15:04:05 GMT",
	time.ANSIC,
}

// ParseRetryAfter returns how long after now a Retry-After header asks to
// wait: a number of seconds or an HTTP date. It returns 0 for what is empty,
// malformed or past; a number too large to hold gives the longest duration.
func ParseRetryAfter(header string, now time.Time) time.Duration {
	header = strings.Trim(header, " \t")
	if header == "" {
		return 0
	}
	if strings.Trim(header, "0123456789") == "" {
		seconds, err := strconv.ParseInt(header, 10, 64)
		if err != nil || seconds > math.MaxInt64/int64(time.Second) {
			return math.MaxInt64
		}
		return time.Duration(seconds) * time.Second
	}
	for _, layout := range dateLayouts {
		if at, err := time.Parse(layout, header); err == nil {
			return max(at.Sub(now), 0)
		}
	}
	return 0
}
