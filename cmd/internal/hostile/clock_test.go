//go:build hostile

package hostile

import (
	"testing"
	"time"
)

const (
	year = 365 * 24 * time.Hour
	// cronBound is how long a sweep by cron fields may take: the minute until the next run is computed again, the
	// minute until it is due, and the time that a busy machine takes.
	cronBound = 140 * time.Second
)

// TestHostileRow05JanitorsClockSteps sets the wall clock of a running janitor, and sets it right again: sweeps go on by
// their schedule, the healthy live, and what expired ends once the clock is right.
func TestHostileRow05JanitorsClockSteps(t *testing.T) {
	t.Parallel()
	for name, by := range map[string]time.Duration{"an hour ahead and back": time.Hour, "a year back for a moment": -year} {
		t.Run("@every, "+name, func(t *testing.T) {
			t.Parallel()
			everySecond(t, by)
		})
	}
	t.Run("cron fields, started an hour ahead", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		c := w.command("janitor", janitorArgs("--schedule", "* * * * *")...)
		j := w.prepared(c, time.Hour)
		w.until("the sweep at the start", func() bool { return w.reg.sequence() > 0 })
		j.wall.set(0)
		w.sweeps("set right after it started an hour ahead", 1, cronBound)
	})
	t.Run("cron fields, a year back for a moment", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		j := w.janitor("--schedule", "* * * * *")
		w.until("the sweep at the start", func() bool { return w.reg.sequence() > 0 })
		j.wall.set(-year)
		if w.sweeps("a year back", 1, cronBound) {
			j.wall.set(0)
			w.sweeps("right again", 1, cronBound)
		}
	})
}

// everySecond steps the clock of a janitor that sweeps every second.
func everySecond(t *testing.T, by time.Duration) {
	t.Helper()
	w := newWorld(t)
	j := w.sweeping()
	healthy := w.launch("--term", "2h", "--heartbeat-timeout", heartbeatTimeout.String())[0]
	w.sidecar(healthy, nil)
	w.until("a heartbeat", func() bool { return w.claimed(healthy, heartbeatTimeout) })
	expired := w.launch("--term", "6s")[0]
	j.wall.set(by)
	w.sweeps("while the clock is "+by.String()+" off", 3, 20*time.Second)
	w.lives("while the clock is off", healthy, heartbeatTimeout)
	j.wall.set(0)
	w.sweeps("once the clock is right", 3, 20*time.Second)
	w.ended("expired while the clock was off", expired, markGrace+20*time.Second)
	w.lives("the clock is right", healthy, heartbeatTimeout+markGrace+6*time.Second)
	j.ends(stopBound)
}

// TestHostileClocksStep steps further, often, and those of sidecars and standbys too.
func TestHostileClocksStep(t *testing.T) {
	t.Parallel()
	t.Run("ten years ahead and back", func(t *testing.T) {
		t.Parallel()
		everySecond(t, 10*year)
	})
	t.Run("a standby's", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		leader := w.sweeping()
		standby := w.janitor()
		healthy := w.launch("--term", "2h")[0]
		standby.wall.set(year)
		passes(time.Now().Add(3 * time.Second))
		standby.wall.set(-year)
		passes(time.Now().Add(3 * time.Second))
		standby.wall.set(0)
		leader.kill()
		w.sweeps("the standby leads", 3, 45*time.Second)
		w.lives("the standby leads", healthy, markGrace+6*time.Second)
	})
	t.Run("a sidecar's", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.sweeping()
		id := w.launch("--term", "2h", "--heartbeat-timeout", heartbeatTimeout.String())[0]
		s := w.sidecar(id, nil)
		w.until("a heartbeat", func() bool { return w.claimed(id, heartbeatTimeout) })
		for _, by := range []time.Duration{time.Hour, -year, 10 * year, 0} {
			s.wall.set(by)
			w.lives("its sidecar's clock is "+by.String()+" off", id, heartbeatTimeout+markGrace)
			if !w.reg.heartbeats(id) {
				t.Errorf("with its clock %s off, the sidecar no longer renews", by)
			}
		}
		s.ends(stopBound)
	})
	t.Run("back and forth, every second", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		j := w.sweeping()
		healthy, expired := w.launch("--term", "2h")[0], w.launch("--term", "6s")[0]
		for range 5 {
			for _, by := range []time.Duration{time.Hour, -time.Hour, year, -year} {
				j.wall.set(by)
				passes(time.Now().Add(700 * time.Millisecond))
			}
		}
		j.wall.set(0)
		w.sweeps("the clock is right", 3, 20*time.Second)
		w.ended("expired while the clock jumped", expired, markGrace+20*time.Second)
		w.lives("the clock jumped", healthy, markGrace+4*time.Second)
	})
}
