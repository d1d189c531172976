package cli

import (
	"time"

	"github.com/urfave/cli/v2"

	"lapse/lease"
)

// ClockBehind says that the clock of this machine is behind.
func ClockBehind(by time.Duration) string {
	return "this machine's clock is at least " + short(by) + " behind: the last sweep is dated later"
}

// SayClock warns people of doubts about the clock that dates were computed with.
func SayClock(c *cli.Context, r lease.Reckoning) {
	if r.Behind > 0 {
		Say(c, "warning: %s; durations were counted from the last sweep", ClockBehind(r.Behind))
	}
	if r.Late > 0 {
		Say(c, "warning: the next sweep was due %s ago: no janitor sweeps, or this machine's clock is ahead", short(r.Late))
	}
}
