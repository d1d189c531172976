package lease

import "time"

// ClockSlack is how far a clock may seem to be off before people are told: as late as a sweep may be.
const ClockSlack = lateMax

// Watched is when a leader surely watched the registry last: by EC2's clock, as far as leaders were told it. It has passed,
// whatever the clock of this machine says.
func (s Checkpoint) Watched() time.Time {
	if s.Witnessed.IsZero() || s.Time.Before(s.Witnessed) {
		return s.Time
	}
	return s.Witnessed
}

// Reckoning is the time as a machine knows it that asks nobody but the registry.
type Reckoning struct {
	Now    time.Time     // the later of its own clock and the last sweep: durations count from here
	Behind time.Duration // by how much its own clock is surely behind; zero up to [ClockSlack]
	// Late is how long after its due date the next sweep has not come, by the machine's clock; zero up to [ClockSlack].
	// Nobody sweeps, or the clock is ahead.
	Late time.Duration
}

// Reckon reckons the time of a machine whose own clock says now. Without a sweep it knows nothing else.
func (s Checkpoint) Reckon(now time.Time) Reckoning {
	r := Reckoning{Now: now}
	if s.Time.IsZero() {
		return r
	}
	if passed := s.Watched(); passed.After(now) {
		r.Now, r.Behind = passed, over(passed.Sub(now))
	}
	if !s.NextSweep.IsZero() {
		r.Late = over(now.Sub(s.Due()))
	}
	return r
}

// over is d if it is over ClockSlack, and zero otherwise.
func over(d time.Duration) time.Duration {
	if d <= ClockSlack {
		return 0
	}
	return d
}

// Elapsed is how much time has passed since both clocks were read, by whichever says more. While a machine is suspended, the
// monotonic clock stands still, and does not tell for how long nobody could renew, extend or stop it. mono has a monotonic
// reading, wall and now are by the wall clock.
func Elapsed(mono, wall, now time.Time) time.Duration {
	return max(time.Since(mono), now.Round(0).Sub(wall).Abs())
}
