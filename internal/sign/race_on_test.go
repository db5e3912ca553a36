//go:build race

package sign

// raceEnabled is whether the race detector, which allocates, is on.
const raceEnabled = true
