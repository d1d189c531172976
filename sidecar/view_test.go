package sidecar

import (
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"lapse/lease"
)

func TestNotesTheClaimOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := active(time.Now(), time.Minute)
		l.ClaimedAt = time.Time{}
		r := &registry{lease: l}
		begin(t, r, nil)
		pass(time.Hour)
		if n := strings.Count(verbs(r.since()), "update"); n != 1 {
			t.Errorf("wrote the lease %d times, want once", n)
		}
		got := r.current()
		if h := got.History[len(got.History)-1]; got.ClaimedAt.IsZero() || h.Actor != "instance:"+instance || h.Action != "claim" {
			t.Errorf("claimed at %s by %+v", got.ClaimedAt, h)
		}
		if got := r.lastHeartbeat().Changes; got != 3 {
			t.Errorf("renews with change counter %d, want that of its own write", got)
		}
	})
}

func TestAnUnnotedClaimDoesNotDisturbTheHeartbeat(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := active(time.Now(), time.Minute)
		l.ClaimedAt = time.Time{}
		r := &registry{lease: l, fail: map[string]error{"update": errAway}}
		run := begin(t, r, nil)
		pass(10 * time.Minute)
		if n := strings.Count(verbs(r.since()), "renew"); n < 36 || n > 46 {
			t.Errorf("%d renewals in 10m, want about 40", n)
		}
		if run.Status().Failure != "" || run.log.count("cannot record") != 1 {
			t.Error("want one warning and no failure of the heartbeat")
		}
		r.set(func(r *registry) { r.fail = nil })
		pass(17 * time.Second)
		if r.current().ClaimedAt.IsZero() {
			t.Error("not tried again")
		}
	})
}

func TestAnAdoptingLeaseIsHeldAndNotedOnceActive(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := active(time.Now(), time.Minute)
		l.State, l.ClaimedAt = lease.StateAdopting, time.Time{}
		r := &registry{lease: l}
		run := begin(t, r, nil)
		pass(5 * time.Minute)
		if run.Status().Phase != PhaseHolding || strings.Contains(verbs(r.since()), "update") {
			t.Error("an adopting lease is held, and not written")
		}
		r.set(func(r *registry) { r.lease, _ = r.lease.Activate(time.Now(), lease.By{}) })
		pass(17 * time.Second)
		if r.current().ClaimedAt.IsZero() {
			t.Error("not noted once active")
		}
	})
}

func TestWarnsOncePerMark(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &registry{lease: active(time.Now(), time.Minute)}
		run := begin(t, r, nil)
		mark := func(c lease.Cause) {
			r.set(func(r *registry) {
				r.lease, _ = r.lease.WithMark(time.Now(), c, time.Now().Add(time.Hour), lease.By{})
			})
			pass(5 * time.Minute)
		}
		mark(lease.CauseHeartbeatLost)
		if run.log.count("lease is marked") != 1 || !strings.HasPrefix(run.status(), "marked (heartbeat-lost)") {
			t.Errorf("warned %d times, status %q", run.log.count("lease is marked"), run.status())
		}
		r.set(func(r *registry) { r.lease, _ = r.lease.WithoutMark(time.Now(), lease.By{}) })
		pass(5 * time.Minute)
		if run.log.count("mark was removed") != 1 || !strings.HasPrefix(run.status(), "lease valid until") {
			t.Errorf("status %q", run.status())
		}
		mark(lease.CauseHeartbeatLost)
		mark(lease.CauseExpired)
		if n := run.log.count("lease is marked"); n != 3 {
			t.Errorf("warned %d times of three marks", n)
		}
	})
}

func TestChangeCounterNeverGoesBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := active(time.Now(), time.Minute)
		l.Changes = 9
		r := &registry{lease: l}
		run := begin(t, r, nil)
		r.set(func(r *registry) { r.lease.Changes = 4 }) // restored from an old snapshot
		pass(5 * time.Minute)
		if got := r.lastHeartbeat().Changes; got != 9 {
			t.Errorf("renews with change counter %d, want the highest seen", got)
		}
		r.set(func(r *registry) { r.lease = lease.Lease{} }) // emptied
		pass(5 * time.Minute)
		if got := r.lastHeartbeat().Changes; got != 9 || run.Status().Phase != PhaseWaiting || run.log.count("lease is gone") != 1 {
			t.Errorf("lease gone: counter %d, phase %s", got, run.Status().Phase)
		}
	})
}

func TestAnInvalidChangeCounterIsNotSent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := active(time.Now(), time.Minute)
		l.Changes = lease.MaxHeartbeatChanges + 7
		r := &registry{lease: l}
		begin(t, r, nil)
		pass(5 * time.Minute)
		if got := r.lastHeartbeat().Changes; got != lease.MaxHeartbeatChanges {
			t.Errorf("renews with change counter %d, which nobody reads", got)
		}
	})
}

func TestAnUnreadableLeaseIsRenewed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &registry{lease: active(time.Now(), time.Minute)}
		run := begin(t, r, nil)
		r.set(func(r *registry) {
			r.fail = map[string]error{"renew": &lease.SchemaError{Kind: "lease", ID: instance, Schema: 2}}
		})
		r.since()
		pass(10 * time.Minute)
		if n := len(r.since()); n < 36 || n > 46 {
			t.Errorf("%d renewals in 10m, want about 40", n)
		}
		if run.log.count("lease cannot be read") != 1 || run.Status().Failure != "" {
			t.Error("want one warning and no failure of the heartbeat")
		}
	})
}

func TestTheWatchdogIsFedWhileTheLoopRuns(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		timeout time.Duration
		hang    bool
	}{
		"long waits":    {timeout: time.Hour},
		"short waits":   {timeout: 5 * time.Second},
		"hanging calls": {timeout: time.Hour, hang: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := &registry{lease: active(time.Now(), c.timeout)}
				run := begin(t, r, func(cfg *Config) { cfg.Watchdog = 12 * time.Second })
				r.set(func(r *registry) { r.hang = c.hang })
				last := time.Now()
				pass(2 * time.Hour)
				for _, n := range run.told("WATCHDOG=1") {
					if gap := n.at.Sub(last); gap > 6*time.Second {
						t.Fatalf("%s between pets, want at most half of 12s", gap)
					}
					last = n.at
				}
				if time.Since(last) > 6*time.Second {
					t.Error("petting stopped")
				}
			})
		})
	}
}

func TestWithoutAWatchdogNothingIsSent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		run := begin(t, &registry{lease: active(time.Now(), time.Minute)}, nil)
		pass(time.Hour)
		if n := len(run.told("WATCHDOG")); n != 0 {
			t.Errorf("petted %d times", n)
		}
		if n := len(run.told("STATUS")); n > 3 {
			t.Errorf("%d status lines for one state", n)
		}
	})
}

func TestNewRefusesInvalidSettings(t *testing.T) {
	t.Parallel()
	good := Config{InstanceID: instance, BootID: "b", Now: time.Now, Logger: slog.New(slog.DiscardHandler)}
	for name, edit := range map[string]func(*Config){
		"no instance id":     func(c *Config) { c.InstanceID = "" },
		"a token as id":      func(c *Config) { c.InstanceID = "nightly-42" },
		"no boot id":         func(c *Config) { c.BootID = "" },
		"negative extension": func(c *Config) { c.MaxExtend = -1 },
	} {
		cfg := good
		edit(&cfg)
		if _, err := New(cfg); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
	if _, err := New(good); err != nil {
		t.Error(err)
	}
}

func TestBootID(t *testing.T) {
	t.Parallel()
	id, err := BootID()
	if err != nil || len(id) != 36 {
		t.Errorf("%q, %v", id, err)
	}
}
