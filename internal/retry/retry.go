// Package retry decides when a failed delivery is tried again.
//
// It owns the schedule and nothing else: no clock, no timer, no source of
// randomness. Callers pass those in, so that the same inputs always give the
// same time. Nothing here fails at run time; a policy is validated once, when
// it is configured.
package retry

import (
	"fmt"
	"slices"
	"time"
)

// Limits on a policy, checked by [Policy.Validate].
const (
	MaxRetries = 50
	MinDelay   = time.Second
	MaxDelay   = 7 * 24 * time.Hour
	MaxTotal   = 30 * 24 * time.Hour
)

// MaxRetryAfter is the longest wait a receiver can ask for. Beyond it, a
// mistaken header would silence a destination for good.
const MaxRetryAfter = 24 * time.Hour

// Jitter spreads each delay over [minJitter, minJitter+jitterSpan) times its
// nominal length, so that what failed together does not return together.
const (
	minJitter  = 0.8
	jitterSpan = 0.4
)

// Policy is a schedule of retries. The zero value never retries.
type Policy struct {
	// Delays holds the nominal wait before the 2nd, 3rd, … attempt, each
	// counted from the end of the attempt before. Its length is the number of
	// retries.
	Delays []time.Duration
	// Tries, if not 0, takes the place of Delays: that many retries, a second
	// apart at first and twice as long each time, up to maxBackoff.
	Tries int
	// MaxAge ends the retries that long after the event was accepted; 0 is
	// never.
	MaxAge time.Duration
}

// maxBackoff lets EventBridge's 185 retries fill its 24 hours.
const maxBackoff = 8 * time.Minute

// EventBridge returns the schedule of a rule's target: so many retries with
// exponential back-off, none later than maxAge after the event.
func EventBridge(retries int, maxAge time.Duration) Policy {
	return Policy{Tries: retries, MaxAge: maxAge}
}

// Limit says what ended the retries of a policy. The values are EventBridge's
// EXHAUSTED_RETRY_CONDITION.
type Limit string

// The limits.
const (
	LimitAttempts Limit = "MaximumRetryAttempts"
	LimitAge      Limit = "MaximumEventAgeInSeconds"
)

// Within says whether a try at the given time is within MaxAge of an event's
// acceptance.
func (p Policy) Within(accepted, at time.Time) bool {
	return p.MaxAge == 0 || !at.After(accepted.Add(p.MaxAge))
}

// delay is the nominal wait after attempt n has failed.
func (p Policy) delay(n int) (time.Duration, bool) {
	switch {
	case n < 1:
		return 0, false
	case p.Tries > 0:
		return min(time.Second<<min(n-1, 16), maxBackoff), n <= p.Tries
	case n > len(p.Delays):
		return 0, false
	}
	return p.Delays[n-1], true
}

// Live returns the schedule for live mode: steps growing to 12 hours, the last
// one cut so that the final attempt falls three days after the first.
func Live() Policy {
	return Policy{Delays: []time.Duration{
		30 * time.Second, 2 * time.Minute, 8 * time.Minute, 30 * time.Minute,
		time.Hour, 2 * time.Hour, 4 * time.Hour, 8 * time.Hour,
		12 * time.Hour, 12 * time.Hour, 12 * time.Hour, 12 * time.Hour,
		8*time.Hour + 19*time.Minute + 30*time.Second,
	}}
}

// Sandbox returns the schedule for test mode: three retries over a few hours.
func Sandbox() Policy {
	return Policy{Delays: []time.Duration{5 * time.Minute, 30 * time.Minute, 2 * time.Hour}}
}

// Dev returns the schedule for a developer who is watching: three retries
// within seconds.
func Dev() Policy {
	return Policy{Delays: []time.Duration{time.Second, 2 * time.Second, 4 * time.Second}}
}

// None returns the policy that never retries.
func None() Policy { return Policy{} }

// FromSeconds returns the policy with the given delays in seconds, or the
// error of [Policy.Validate].
func FromSeconds(seconds []int64) (Policy, error) {
	delays := make([]time.Duration, len(seconds))
	for i, s := range seconds {
		// Clamped to just outside the limits, so that no number of seconds
		// can overflow into a valid delay.
		s = min(max(s, 0), int64(MaxDelay/time.Second)+1)
		delays[i] = time.Duration(s) * time.Second
	}
	p := Policy{Delays: delays}
	if err := p.Validate(); err != nil {
		return Policy{}, err
	}
	return p, nil
}

// Seconds returns the delays in whole seconds, fractions dropped. It is never
// nil, and inverts [FromSeconds].
func (p Policy) Seconds() []int64 {
	seconds := make([]int64, len(p.Delays))
	for i, d := range p.Delays {
		seconds[i] = int64(d / time.Second)
	}
	return seconds
}

// Validate reports the first limit the policy breaks: at most [MaxRetries]
// delays, each from [MinDelay] to [MaxDelay], together at most [MaxTotal].
func (p Policy) Validate() error {
	if len(p.Delays) > MaxRetries {
		return fmt.Errorf("retry policy has %d delays; at most %d are allowed", len(p.Delays), MaxRetries)
	}
	if i := slices.IndexFunc(p.Delays, func(d time.Duration) bool { return d < MinDelay }); i >= 0 {
		return fmt.Errorf("retry delay %d is too short; each must be at least 1 second", i+1)
	}
	if i := slices.IndexFunc(p.Delays, func(d time.Duration) bool { return d > MaxDelay }); i >= 0 {
		return fmt.Errorf("retry delay %d is too long; each must be at most 7 days (%d seconds)", i+1, MaxDelay/time.Second)
	}
	if total := p.Total(); total > MaxTotal {
		return fmt.Errorf("retry delays add up to %s; together they must not exceed 30 days (%d seconds)", total, MaxTotal/time.Second)
	}
	return nil
}

// Total returns the sum of the nominal delays: about how long after the first
// attempt the last one is made.
func (p Policy) Total() time.Duration {
	var total time.Duration
	for _, d := range p.Delays {
		total += d
	}
	return total
}

// Next returns when to try again after attempt n, counted from 1, has failed
// at now; ok is false if no tries are left.
//
// The wait is the nominal delay times a factor in [0.8, 1.2) chosen by rnd, a
// number in [0, 1). It is never shorter than retryAfter, what the receiver
// asked for (see [ParseRetryAfter]; 0 is no wish), up to [MaxRetryAfter].
func (p Policy) Next(n int, now time.Time, retryAfter time.Duration, rnd float64) (at time.Time, ok bool) {
	nominal, ok := p.delay(n)
	if !ok {
		return time.Time{}, false
	}
	wait := time.Duration(float64(nominal) * (minJitter + jitterSpan*rnd))
	return now.Add(max(wait, min(retryAfter, MaxRetryAfter))), true
}
