package retry

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

var epoch = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func TestPresets(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		policy Policy
		want   []int64
		total  time.Duration
	}{
		{"live", Live(), []int64{30, 120, 480, 1800, 3600, 7200, 14400, 28800, 43200, 43200, 43200, 43200, 29970}, 72 * time.Hour},
		{"sandbox", Sandbox(), []int64{300, 1800, 7200}, 2*time.Hour + 35*time.Minute},
		{"dev", Dev(), []int64{1, 2, 4}, 7 * time.Second},
		{"none", None(), []int64{}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := tt.policy.Seconds(); !slices.Equal(got, tt.want) {
				t.Errorf("Seconds = %v, want %v", got, tt.want)
			}
			if got := tt.policy.Total(); got != tt.total {
				t.Errorf("Total = %s, want %s", got, tt.total)
			}
			if err := tt.policy.Validate(); err != nil {
				t.Error(err)
			}
			again, err := FromSeconds(tt.policy.Seconds())
			if err != nil || !slices.Equal(again.Delays, tt.policy.Delays) {
				t.Errorf("FromSeconds(Seconds) = %v, %v", again, err)
			}
		})
	}
}

// A caller that edits its policy must not change everybody's.
func TestPresetsAreFresh(t *testing.T) {
	t.Parallel()
	Live().Delays[0] = 0
	if Live().Delays[0] != 30*time.Second {
		t.Error("Live shares its delays")
	}
}

func TestNext(t *testing.T) {
	t.Parallel()
	p := Policy{Delays: []time.Duration{10 * time.Second, time.Hour}}
	tests := []struct {
		name       string
		n          int
		retryAfter time.Duration
		rnd        float64
		want       time.Duration // negative: no tries left
	}{
		{"shortest", 1, 0, 0, 8 * time.Second},
		{"nominal", 1, 0, 0.5, 10 * time.Second},
		{"second", 2, 0, 0.5, time.Hour},
		{"no third", 3, 0, 0.5, -1},
		{"no third, whatever was asked", 3, time.Minute, 0.5, -1},
		{"attempts count from 1", 0, 0, 0.5, -1},
		{"asked for less", 2, time.Minute, 0.5, time.Hour},
		{"asked for more", 1, time.Minute, 0.5, time.Minute},
		{"asked for a day", 1, 24 * time.Hour, 0.5, 24 * time.Hour},
		{"asked for too much", 1, 25 * time.Hour, 0.5, 24 * time.Hour},
		{"asked for ever", 1, math.MaxInt64, 0.5, 24 * time.Hour},
		{"asked for the past", 1, -time.Hour, 0.5, 10 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			at, ok := p.Next(tt.n, epoch, tt.retryAfter, tt.rnd)
			if ok != (tt.want >= 0) {
				t.Fatalf("ok = %t", ok)
			}
			if ok && at.Sub(epoch) != tt.want {
				t.Errorf("wait = %s, want %s", at.Sub(epoch), tt.want)
			}
			if !ok && !at.IsZero() {
				t.Errorf("at = %s", at)
			}
		})
	}
}

func TestNextAllowsADelayLongerThanTheRetryAfterCap(t *testing.T) {
	t.Parallel()
	p := Policy{Delays: []time.Duration{MaxDelay}}
	if at, ok := p.Next(1, epoch, 25*time.Hour, 0.5); !ok || at.Sub(epoch) != MaxDelay {
		t.Errorf("wait = %s, %t", at.Sub(epoch), ok)
	}
}

func TestNextProperties(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 0))
	for range 5000 {
		delays := make([]time.Duration, rng.IntN(MaxRetries+1))
		for i := range delays {
			delays[i] = MinDelay + time.Duration(rng.Int64N(int64(MaxDelay-MinDelay+1)))
		}
		p := Policy{Delays: delays}
		n := rng.IntN(MaxRetries + 3)
		rnd := rng.Float64()
		retryAfter := time.Duration(rng.Int64N(int64(48 * time.Hour)))

		at, ok := p.Next(n, epoch, retryAfter, rnd)
		if ok != (n >= 1 && n <= len(delays)) {
			t.Fatalf("seed %d: attempt %d of %d: ok = %t", seed, n, len(delays), ok)
		}
		if !ok {
			continue
		}
		wait, nominal, floor := at.Sub(epoch), float64(delays[n-1]), min(retryAfter, MaxRetryAfter)
		if float64(wait) < 0.8*nominal-1 || wait < floor {
			t.Fatalf("seed %d: waits %s, too short for %s and Retry-After %s", seed, wait, delays[n-1], retryAfter)
		}
		if float64(wait) >= 1.2*nominal+1 && wait != floor {
			t.Fatalf("seed %d: waits %s, too long for %s and Retry-After %s", seed, wait, delays[n-1], retryAfter)
		}
		if later, _ := p.Next(n, epoch, retryAfter, min(rnd+0.1, math.Nextafter(1, 0))); later.Before(at) {
			t.Fatalf("seed %d: a larger rnd waits less", seed)
		}
		if patient, _ := p.Next(n, epoch, retryAfter+time.Hour, rnd); patient.Before(at) {
			t.Fatalf("seed %d: a larger Retry-After waits less", seed)
		}
		if moved, _ := p.Next(n, epoch.Add(time.Hour), retryAfter, rnd); moved.Sub(at) != time.Hour {
			t.Fatalf("seed %d: the wait depends on the time of day", seed)
		}
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	repeat := func(d time.Duration, n int) []time.Duration { return slices.Repeat([]time.Duration{d}, n) }
	tests := []struct {
		name   string
		delays []time.Duration
		want   string // "" is valid
	}{
		{"none", nil, ""},
		{"shortest", repeat(MinDelay, 1), ""},
		{"longest", repeat(MaxDelay, 1), ""},
		{"most", repeat(time.Minute, MaxRetries), ""},
		{"longest together", repeat(MaxTotal/50, 50), ""},
		{"too many", repeat(time.Minute, MaxRetries+1), "51 delays; at most 50"},
		{"zero", []time.Duration{time.Minute, 0}, "delay 2 is too short"},
		{"negative", []time.Duration{-time.Minute}, "delay 1 is too short"},
		{"under a second", []time.Duration{time.Second - 1}, "delay 1 is too short"},
		{"over a week", []time.Duration{time.Hour, MaxDelay + 1}, "delay 2 is too long"},
		{"too long together", append(repeat(MaxTotal/5, 5), time.Second), "add up to 720h0m1s"},
		{"overflow", repeat(math.MaxInt64, 3), "delay 1 is too long"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			err := Policy{Delays: tt.delays}.Validate()
			if tt.want == "" && err != nil {
				t.Fatal(err)
			}
			if tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("Validate = %v, want %q", err, tt.want)
			}
		})
	}
}

func TestFromSecondsRefusesWhatWouldOverflow(t *testing.T) {
	t.Parallel()
	// 18446744075 s in nanoseconds wraps around to about 1.3 s.
	for _, s := range []int64{math.MinInt64, -1, 0, 604801, 18446744075, math.MaxInt64} {
		if p, err := FromSeconds([]int64{60, s}); err == nil || p.Delays != nil {
			t.Errorf("%d: %v, %v", s, p, err)
		}
	}
	if p, err := FromSeconds([]int64{1, 604800}); err != nil || p.Delays[1] != MaxDelay {
		t.Errorf("%v, %v", p, err)
	}
}

func TestParseRetryAfter(t *testing.T) {
	t.Parallel()
	tests := []struct {
		header string
		want   time.Duration
	}{
		{"120", 2 * time.Minute},
		{" 120\t", 2 * time.Minute},
		{"0", 0},
		{"0012", 12 * time.Second},
		{"172800", 48 * time.Hour},
		{"9223372037", math.MaxInt64},
		{"99999999999999999999999999", math.MaxInt64},
		{"Fri, 02 Jan 2026 03:05:05 GMT", time.Minute},
		{"Friday, 02-Jan-26 03:05:05 GMT", time.Minute},
		{"Fri Jan  2 03:05:05 2026", time.Minute},
		{"Fri, 02 Jan 2026 03:04:05 GMT", 0},
		{"Fri, 02 Jan 2026 03:03:05 GMT", 0},
		{"Fri, 31 Dec 9999 23:59:59 GMT", math.MaxInt64},
		{"Fri, 02 Jan 2026 03:05:05 EST", 0},
		{"Fri, 02 Jan 2026 03:05:05 +0200", 0},
		{"Fri, 30 Feb 2026 03:05:05 GMT", 0},
		{"2026-01-02T03:05:05Z", 0},
		{"", 0},
		{" ", 0},
		{"-5", 0},
		{"+5", 0},
		{"1.5", 0},
		{"1_000", 0},
		{"5s", 0},
		{"5, 6", 0},
		{"٣", 0},
		{"soon", 0},
	}
	for _, tt := range tests {
		if got := ParseRetryAfter(tt.header, epoch); got != tt.want {
			t.Errorf("%q: %s, want %s", tt.header, got, tt.want)
		}
	}
	local := epoch.In(time.FixedZone("east", 7*3600))
	if got := ParseRetryAfter("Fri, 02 Jan 2026 03:05:05 GMT", local); got != time.Minute {
		t.Errorf("with a local now: %s", got)
	}
}

func FuzzParseRetryAfter(f *testing.F) {
	for _, seed := range []string{"", "120", "-1", "99999999999999999999", "Fri, 02 Jan 2026 03:05:05 GMT", "Friday, 02-Jan-26 03:05:05 GMT", "Fri Jan  2 03:05:05 2026"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, header string) {
		got := ParseRetryAfter(header, epoch)
		if got < 0 {
			t.Fatalf("%q: %s", header, got)
		}
		if at, ok := Dev().Next(1, epoch, got, 0); !ok || at.Before(epoch) || at.Sub(epoch) > MaxRetryAfter {
			t.Fatalf("%q: next at %s, %t", header, at, ok)
		}
	})
}
