package sidecar

import (
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"lapse/lease"
)

var errAway = errors.New("etcd is away")

func TestRenewsABoundLease(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &registry{lease: active(time.Now(), 20*time.Second)}
		run := begin(t, r, nil)
		calls := r.since()
		if got := verbs(calls); got != "claim renew renew" {
			t.Fatalf("at start: %s, want a claim, a renewal that learns the timeout and one that moves to it", got)
		}
		for i, want := range []time.Duration{lease.DefaultHeartbeatTimeout, lease.DefaultHeartbeatTimeout, 20 * time.Second} {
			if calls[i].heartbeatTimeout != want {
				t.Errorf("call %d renews with timeout %s, want %s", i, calls[i].heartbeatTimeout, want)
			}
		}
		if s := run.Status(); s.Phase != PhaseHolding || s.Lease == nil || time.Duration(s.HeartbeatTimeout) != 20*time.Second {
			t.Errorf("status %+v", s)
		}
		last := time.Now()
		pass(10 * time.Minute)
		for _, c := range r.since() {
			if gap := c.at.Sub(last); c.verb != "renew" || gap < 4500*time.Millisecond || gap > 5500*time.Millisecond {
				t.Fatalf("%s after %s, want renewals every 5s ±10%%", c.verb, gap)
			}
			last = c.at
		}
		if time.Since(last) > 5500*time.Millisecond {
			t.Error("renewals stopped")
		}
		if err := run.end(); err != nil {
			t.Error(err)
		}
	})
}

func TestHeartbeatSaysWhoRenews(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &registry{lease: active(time.Now(), time.Minute)}
		begin(t, r, nil)
		want := lease.Heartbeat{
			Schema: lease.Schema, InstanceID: instance, BootID: "boot-1", Address: "10.0.0.7", Version: "v1",
			HeartbeatTimeout: lease.Duration(time.Minute), Changes: 2, Since: time.Now().UTC(),
		}
		if got := r.lastHeartbeat(); got != want {
			t.Errorf("heartbeat %+v\nwant      %+v", got, want)
		}
	})
}

func TestFindsItsLeaseSoonAfterItIsBound(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &registry{}
		run := begin(t, r, nil)
		if s := run.Status(); s.Phase != PhaseWaiting || !strings.Contains(run.status(), "no lease is bound") {
			t.Errorf("phase %s, status %q", s.Phase, run.status())
		}
		pass(3 * time.Second)
		r.set(func(r *registry) { r.lease = active(time.Now(), 5*time.Second) })
		pass(5 * time.Second)
		if s := run.Status(); s.Phase != PhaseHolding || time.Duration(s.HeartbeatTimeout) != 5*time.Second {
			t.Errorf("5s after it was bound: %+v", s)
		}
		if run.log.count("lease found") != 1 {
			t.Error("the lease that was found is not logged once")
		}
	})
}

func TestWaitsForALeaseAtTheUsualInterval(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &registry{}
		begin(t, r, nil)
		pass(time.Hour)
		r.since()
		pass(10 * time.Minute)
		if n := len(r.since()); n < 18 || n > 23 {
			t.Errorf("%d renewals in 10m while nothing is bound, want about 20", n)
		}
	})
}

func TestFollowsTheTimeout(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ from, to, heartbeat time.Duration }{
		"shorter":   {time.Hour, 10 * time.Second, 10 * time.Second},
		"longer":    {10 * time.Second, time.Hour, time.Hour},
		"none":      {time.Minute, 0, lease.DefaultHeartbeatTimeout},
		"first":     {0, 8 * time.Second, 8 * time.Second},
		"too short": {time.Minute, 1, lease.MinHeartbeatTimeout},
		"negative":  {time.Minute, -time.Hour, lease.MinHeartbeatTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := &registry{lease: active(time.Now(), c.from)}
				begin(t, r, nil)
				r.set(func(r *registry) { r.lease.HeartbeatTimeout = lease.Duration(c.to) })
				pass(20 * time.Minute)
				if got := time.Duration(r.lastHeartbeat().HeartbeatTimeout); got != c.heartbeat {
					t.Errorf("renews with timeout %s, want %s", got, c.heartbeat)
				}
				if got := verbs(r.since()); strings.Count(got, "claim") != 1 {
					t.Errorf("claimed again for a timeout")
				}
			})
		})
	}
}

func TestClaimsAgainAtOnceWhenLost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &registry{lease: active(time.Now(), time.Minute)}
		run := begin(t, r, nil)
		r.since()
		r.set(func(r *registry) { r.other = "boot-2" })
		pass(17 * time.Second)
		calls := r.since()
		if verbs(calls) != "renew claim renew" || !calls[0].at.Equal(calls[2].at) {
			t.Errorf("%+v, want a lost renewal and at once a claim and a renewal", calls)
		}
		if calls[1].heartbeatTimeout != time.Minute {
			t.Errorf("claimed again with timeout %s", calls[1].heartbeatTimeout)
		}
		if run.log.count("heartbeat lost") != 1 || run.log.count("by=boot-2") != 1 {
			t.Error("the loss is not logged once, with its taker")
		}
	})
}

func TestBacksOffWhenLostAgainAndAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &registry{lease: active(time.Now(), time.Minute)}
		begin(t, r, nil)
		r.set(func(r *registry) { r.lost = 1 << 30 })
		pass(17 * time.Second)
		r.since()
		pass(10 * time.Minute)
		if n := strings.Count(verbs(r.since()), "claim"); n < 40 || n > 85 {
			t.Errorf("%d claims in 10m, want one every 7.5s to 15s", n)
		}
	})
}

func TestAnOutageIsSurvivedAndLoggedOnce(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		timeout, limit time.Duration
		hang           bool
	}{
		"refused, short timeout": {timeout: 8 * time.Second, limit: 2 * time.Second},
		"refused, long timeout":  {timeout: time.Hour, limit: 30 * time.Second},
		"hanging, short timeout": {timeout: 8 * time.Second, limit: 4 * time.Second, hang: true},
		"hanging, long timeout":  {timeout: time.Hour, limit: 40 * time.Second, hang: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := &registry{lease: active(time.Now(), c.timeout)}
				run := begin(t, r, nil)
				r.set(func(r *registry) {
					r.hang = c.hang
					if !c.hang {
						r.fail = map[string]error{"*": errAway}
					}
				})
				pass(c.timeout/4 + c.timeout/40)
				calls := r.since()
				last := calls[len(calls)-1].at
				pass(3 * time.Hour)
				for _, call := range r.since() {
					if gap := call.at.Sub(last); gap > c.limit || gap < time.Second/2 {
						t.Fatalf("%s between tries, want 0.5s to %s", gap, c.limit)
					}
					last = call.at
				}
				if s := run.Status(); s.Failure == "" || s.FailingFor == 0 || !strings.Contains(run.status(), "not acknowledged") {
					t.Errorf("outage not shown: %+v, %q", s, run.status())
				}
				r.set(func(r *registry) { r.hang, r.fail = false, nil })
				pass(c.limit)
				if s := run.Status(); s.Failure != "" || s.FailingFor != 0 || s.Phase != PhaseHolding {
					t.Errorf("after the outage: %+v", s)
				}
				if got := verbs(r.since()); !strings.Contains(got, "renew claim renew") {
					t.Errorf("%q: the heartbeat lapsed in between and was not claimed again", got)
				}
				if gone, back := run.log.count("not acknowledged; retrying"), run.log.count("acknowledged again"); gone != 1 || back != 1 {
					t.Errorf("outage logged %d times, its end %d times; want once each", gone, back)
				}
				if err := run.end(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func TestStartsWhileTheRegistryIsUnreachable(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &registry{lease: active(time.Now(), time.Minute), fail: map[string]error{"*": errAway}}
		run := begin(t, r, nil)
		if len(run.told("READY=1")) != 1 || run.Status().Phase != PhaseClaiming {
			t.Error("not ready while claiming")
		}
		pass(24 * time.Hour)
		r.set(func(r *registry) { r.fail = nil })
		pass(30 * time.Second)
		if run.Status().Phase != PhaseHolding {
			t.Error("did not claim once the registry was there")
		}
	})
}

func TestEndsWithItsLease(t *testing.T) {
	t.Parallel()
	by := lease.By{Actor: "cli:ada"}
	revoke := func(l lease.Lease) (lease.Lease, error) { return l.Revoke(time.Now(), lease.CauseRevoke, by) }
	end := func(l lease.Lease) (lease.Lease, error) { return l.End(time.Now(), lease.CauseGone, by) }
	unmanage := func(l lease.Lease) (lease.Lease, error) { return l.Unmanage(time.Now(), by) }
	for name, c := range map[string]struct {
		change func(lease.Lease) (lease.Lease, error)
		bare   bool
		want   lease.State // empty: a clean exit
	}{
		"revoked":                    {change: revoke, want: lease.StateRevoked},
		"revoked, shown by record":   {change: revoke, bare: true, want: lease.StateRevoked},
		"ended":                      {change: end, want: lease.StateEnded},
		"unmanaged":                  {change: unmanage},
		"unmanaged, shown by record": {change: unmanage, bare: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := &registry{lease: active(time.Now(), time.Minute), bare: c.bare}
				run := begin(t, r, nil)
				r.set(func(r *registry) { r.lease, _ = c.change(r.lease) })
				pass(17 * time.Second)
				err := <-run.done
				var over *lease.StateError
				switch {
				case c.want == "" && err != nil:
					t.Errorf("ended with %v, want a clean exit", err)
				case c.want != "" && (!errors.As(err, &over) || over.State != c.want || over.Since.IsZero()):
					t.Errorf("ended with %v, want a lease that is %s", err, c.want)
				}
				if c.want != "" && run.log.count("lease is no longer valid; stopping") != 1 {
					t.Error("the end is not logged once")
				}
				if s := run.Status(); s.Phase != PhaseOver || !strings.Contains(run.status(), string(r.current().State)) {
					t.Errorf("phase %s, status %q", s.Phase, run.status())
				}
				if len(run.told("STOPPING=1")) != 1 {
					t.Error("systemd was not told")
				}
				r.since()
				pass(time.Hour)
				if calls := r.since(); len(calls) != 0 {
					t.Errorf("renews on after the end: %s", verbs(calls))
				}
			})
		})
	}
}

func TestNeverRenewsALeaseThatWasRevokedBefore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, _ := active(time.Now(), time.Minute).Revoke(time.Now(), lease.CauseExpired, lease.By{})
		r := &registry{lease: l}
		run := begin(t, r, nil)
		var over *lease.StateError
		if err := <-run.done; !errors.As(err, &over) || verbs(r.since()) != "claim" {
			t.Errorf("ended with %v", err)
		}
	})
}

func TestStoppingReleasesNoLease(t *testing.T) {
	t.Parallel()
	for name, hang := range map[string]bool{"at rest": false, "in a call": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := &registry{lease: active(time.Now(), time.Minute)}
				run := begin(t, r, nil)
				r.set(func(r *registry) { r.hang = hang })
				pass(17 * time.Second)
				r.since()
				if err := run.end(); err != nil {
					t.Errorf("stopped with %v", err)
				}
				if calls := r.since(); len(calls) != 0 || r.current().State != lease.StateActive {
					t.Errorf("%s on the way out", verbs(calls))
				}
				if len(run.told("STOPPING=1")) != 1 {
					t.Error("systemd was not told")
				}
			})
		})
	}
}

func TestBackoffAndIntervalStayInBounds(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		timeout := time.Duration(rapid.Int64Range(int64(lease.MinHeartbeatTimeout), int64(lease.MaxHeartbeatTimeout)).Draw(t, "heartbeat_timeout"))
		n := rapid.IntRange(1, 1<<40).Draw(t, "n")
		k := &keeper{heartbeatTimeout: timeout, cfg: Config{Random: rand.N[time.Duration]}}
		if d := k.backoff(n); d <= 0 || d > min(timeout/4, 30*time.Second) {
			t.Fatalf("backs off %s", d)
		}
		if d := k.interval(); d < timeout/4*9/10 || d > timeout/4*11/10 {
			t.Fatalf("renews after %s", d)
		}
		k.unbound = n
		if d := k.interval(); d <= 0 || d > timeout/4*11/10 {
			t.Fatalf("renews after %s while unbound", d)
		}
	})
}
