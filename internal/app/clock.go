//go:build !skewed

package app

import "time"

// machineClock is this machine's clock.
func machineClock() time.Time { return time.Now() }
