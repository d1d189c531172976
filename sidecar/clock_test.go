package sidecar

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"lapse/lease"
)

func TestDurationsCountFromTheLastSweepIfTheClockIsBehind(t *testing.T) {
	t.Parallel()
	ask := lease.ExtendRequest{For: lease.Duration(100 * time.Minute)}
	for name, c := range map[string]struct {
		off          time.Duration     // of this machine's clock
		checkpoint   *lease.Checkpoint // nil: as of today
		policy       time.Duration
		req          lease.ExtendRequest
		granted      time.Duration // from today
		behind, late time.Duration
	}{
		"right":               {req: ask, granted: 100 * time.Minute},
		"2 min behind":        {off: -2 * time.Minute, req: ask, granted: 100 * time.Minute},
		"an hour behind":      {off: -time.Hour, req: ask, granted: 100 * time.Minute, behind: time.Hour},
		"a year behind":       {off: -365 * 24 * time.Hour, req: ask, granted: 100 * time.Minute, behind: 365 * 24 * time.Hour},
		"an hour ahead":       {off: time.Hour, req: ask, granted: 160 * time.Minute, late: 59 * time.Minute},
		"no sweep yet":        {off: -time.Hour, checkpoint: &lease.Checkpoint{}, req: ask, granted: time.Hour}, // no more is known
		"by, whatever it is":  {off: -time.Hour, req: lease.ExtendRequest{By: lease.Duration(time.Hour)}, granted: 2 * time.Hour, behind: time.Hour},
		"up to the policy":    {off: -time.Hour, policy: 90 * time.Minute, req: ask, granted: 90 * time.Minute, behind: time.Hour},
		"of another timezone": {off: -time.Hour, checkpoint: &lease.Checkpoint{Time: today.In(time.FixedZone("", 7200))}, req: ask, granted: 100 * time.Minute, behind: time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := bound()
			r.lease.ExpiresAt = today.Add(time.Hour)
			r.checkpoint = lease.Checkpoint{Time: today, Witnessed: today, NextSweep: today.Add(time.Minute)}
			if c.checkpoint != nil {
				r.checkpoint = *c.checkpoint
			}
			client, _, _ := serving(t, r, func(cfg *Config) {
				cfg.MaxExtend, cfg.Now = c.policy, func() time.Time { return today.Add(c.off) }
			})
			got, err := client.Extend(t.Context(), c.req)
			if err != nil {
				t.Fatal(err)
			}
			near := func(is, want time.Duration) bool { return is >= want && is < want+10*time.Second }
			if is := got.Granted.Sub(today); !near(is, c.granted) {
				t.Errorf("granted %s from now, want %s", is, c.granted)
			}
			if !near(time.Duration(got.ClockBehind), c.behind) || !near(time.Duration(got.SweepLate), c.late) {
				t.Errorf("said %s behind, %s late", got.ClockBehind, got.SweepLate)
			}
			s, err := client.Status(t.Context())
			if err != nil || !near(time.Duration(s.ClockBehind), c.behind) {
				t.Errorf("status: %s behind, %v", s.ClockBehind, err)
			}
		})
	}
}

func TestADateThatHasPassedByTheLastSweepIsRefused(t *testing.T) {
	t.Parallel()
	r := bound()
	r.lease.ExpiresAt = today.Add(-2 * time.Hour)
	r.checkpoint = lease.Checkpoint{Time: today}
	client, _, _ := serving(t, r, func(cfg *Config) { cfg.Now = func() time.Time { return today.Add(-3 * time.Hour) } })
	if _, err := client.Extend(t.Context(), lease.ExtendRequest{Until: today.Add(-time.Hour)}); !as[*lease.PastError](err) {
		t.Errorf("%T %v", err, err)
	}
}

func TestAnUnreadableCheckpointPreventsNoExtension(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fail error
		want func(error) bool
	}{
		"malformed":   {&lease.MalformedError{Kind: "checkpoint", ID: "default", Err: errAway}, func(err error) bool { return err == nil }},
		"too new":     {&lease.SchemaError{Kind: "checkpoint", ID: "default", Schema: 9}, func(err error) bool { return err == nil }},
		"no answer":   {errAway, as[*lease.UnavailableError]},
		"no such key": {&lease.NotFoundError{Kind: "checkpoint", ID: "default"}, func(err error) bool { return err == nil }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := bound()
			client, _, _ := serving(t, r, nil)
			r.set(func(r *registry) { r.fail = map[string]error{"checkpoint": c.fail} })
			if _, err := client.Extend(t.Context(), lease.ExtendRequest{For: lease.Duration(30 * time.Hour)}); !c.want(err) {
				t.Errorf("%T %v", err, err)
			}
		})
	}
}

func TestAClockThatIsBehindIsLoggedOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		started := time.Now()
		var off atomic.Int64
		off.Store(int64(-time.Hour))
		r := &registry{lease: active(started, lease.DefaultHeartbeatTimeout), checkpoint: lease.Checkpoint{Time: started}}
		s := begin(t, r, func(c *Config) { c.Now = func() time.Time { return time.Now().Add(time.Duration(off.Load())) } })
		pass(3 * time.Hour) // no sweep comes any more
		if got := time.Duration(s.Status().ClockBehind).Round(time.Minute); got != time.Hour {
			t.Errorf("%s behind", got)
		}
		if s.log.count("clock is behind") != 1 || s.log.count("no longer behind") != 0 {
			t.Error("not said, or not once")
		}
		off.Store(0)
		pass(2 * time.Hour)
		if got := s.Status().ClockBehind; got != 0 || s.log.count("no longer behind") != 1 {
			t.Errorf("%s behind, once it was set right", got)
		}
		if err := s.end(); err != nil && !errors.Is(err, errAway) {
			t.Error(err)
		}
	})
}

func TestTheCheckpointIsReadSoonAndThenHourly(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &registry{lease: active(time.Now(), lease.DefaultHeartbeatTimeout), checkpoint: lease.Checkpoint{Time: time.Now()}, fail: map[string]error{"checkpoint": errAway}}
		s := begin(t, r, nil)
		pass(time.Minute)
		if failed := r.sweeps(); failed < 2 {
			t.Errorf("tried %d times while it failed", failed)
		}
		if status := s.status(); !strings.HasPrefix(status, "lease valid") {
			t.Errorf("a failure of it is one of the heartbeat: %s", status)
		}
		r.set(func(r *registry) { r.fail = nil })
		pass(time.Minute)
		before := r.sweeps()
		pass(4*time.Hour + time.Minute)
		if got := r.sweeps() - before; got < 3 || got > 4 {
			t.Errorf("read %d times in 4 hours", got)
		}
		_ = s.end()
	})
}
