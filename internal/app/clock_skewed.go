//go:build skewed

package app

import (
	"os"
	"time"
)

// machineClock goes wrong by what WAYBILL_TEST_CLOCK_SKEW says, such as 1h. Only
// the tests of nodes whose clocks differ are built so.
func machineClock() time.Time { return time.Now().Add(skew) }

var skew = func() time.Duration {
	d, _ := time.ParseDuration(os.Getenv("WAYBILL_TEST_CLOCK_SKEW"))
	return d
}()
