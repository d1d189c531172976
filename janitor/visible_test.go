package janitor

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"lapse/lease"

	"lapse/janitor/audit"
	"lapse/janitor/plan"
	. "lapse/janitor/plan/plantest"
)

// onlooker is told what a janitor says of brakes, in its log and to its observer.
type onlooker struct {
	blind
	mu     sync.Mutex
	logged []string // "held NAME SCOPE" and the like
	events []string
	census []lease.Brake
	behind int
	ill    error // what etcd says of itself
}

func (w *onlooker) Enabled(context.Context, slog.Level) bool { return true }
func (w *onlooker) WithAttrs([]slog.Attr) slog.Handler       { return w }
func (w *onlooker) WithGroup(string) slog.Handler            { return w }

func (w *onlooker) Handle(_ context.Context, r slog.Record) error {
	said := map[string]string{
		"brake engaged": "held", "brake released": "lifted",
		"lease held back: its sidecar has seen a later change than the registry has": "held", "lease no longer held back": "lifted",
	}[r.Message]
	if said == "" {
		return nil
	}
	facts := map[string]string{}
	r.Attrs(func(a slog.Attr) bool { facts[a.Key] = a.Value.String(); return true })
	w.mu.Lock()
	defer w.mu.Unlock()
	w.logged = append(w.logged, said+" "+cmp.Or(facts["brake"], lease.BrakeRollback)+" "+cmp.Or(facts["scope"], facts["instance_id"]))
	return nil
}

func (w *onlooker) Happened(e audit.Event) {
	said := map[lease.Action]string{lease.ActionBrakeEngage: "held", lease.ActionBrakeDisengage: "lifted"}[e.Kind]
	w.mu.Lock()
	defer w.mu.Unlock()
	if said != "" {
		w.events = append(w.events, said+" "+e.Brake+" "+cmp.Or(e.Scope, e.InstanceID))
	}
}

func (w *onlooker) Counted(c plan.Census) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.census, w.behind = c.Brakes, c.Behind
}

func (w *onlooker) healthy(context.Context) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.ill
}

func (w *onlooker) falls(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ill = err
}

// watchedRig is a janitor over eight renewing leases, watched by an observer.
type watchedRig struct {
	*rig
	*onlooker
	backup map[string][]byte
}

func (r *watchedRig) heartbeats(id string, changes int64) {
	r.t.Helper()
	if _, err := r.store.Claim(r.t.Context(), lease.Heartbeat{
		InstanceID: id, BootID: "b", HeartbeatTimeout: lease.Duration(time.Hour), Since: r.now(), Changes: changes,
	}); err != nil {
		r.t.Fatal(err)
	}
}

// resume releases brakes as `janitor release-brake` does.
func (r *watchedRig) resume(name string) {
	r.t.Helper()
	checkpoint, err := r.store.Checkpoint(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	if _, _, err := r.store.UpdateRegistry(r.t.Context(), func(g lease.Registry) (lease.Registry, error) {
		return g.Lift(r.now(), name, checkpoint.Brakes, lease.By{Actor: "ada"}), nil
	}); err != nil {
		r.t.Fatal(err)
	}
}

// forgets lets the observer start again.
func (w *onlooker) forgets() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.logged, w.events = nil, nil
}

func (r *rig) ec2(change func(*recorder)) {
	r.cloud.Mu.Lock()
	defer r.cloud.Mu.Unlock()
	change(r.cloud)
}

var eight = []string{"i-1", "i-2", "i-3", "i-4", "i-5", "i-6", "i-7", "i-8"}

// Every brake is seen in the checkpoint, which is what `janitor status` shows, and by the observer, which is what the
// metrics show, for as long as it is engaged; and is reported once when it engages and once when it is released.
func TestEveryBrakeIsShownWhileEngagedAndReportedOnce(t *testing.T) {
	t.Parallel()
	const zone, location = "eu-west-1a", "123456789012/eu-west-1"
	lapse := func(ids ...string) func(*watchedRig) {
		return func(r *watchedRig) {
			for _, id := range ids {
				r.store.Lapse(id)
			}
		}
	}
	heartbeat := func(ids ...string) func(*watchedRig) {
		return func(r *watchedRig) {
			for _, id := range ids {
				r.heartbeats(id, 0)
			}
		}
	}
	know := func(changes int64, ids ...string) func(*watchedRig) {
		return func(r *watchedRig) {
			for _, id := range ids {
				r.heartbeats(id, changes)
			}
		}
	}
	lift := func(name string) func(*watchedRig) { return func(r *watchedRig) { r.resume(name) } }
	ec2 := func(change func(*recorder)) func(*watchedRig) { return func(r *watchedRig) { r.ec2(change) } }
	waits := func(d time.Duration) func(*watchedRig) { return func(*watchedRig) { after(d) } }
	for name, c := range map[string]struct {
		brake       lease.Brake
		trip, lifts func(*watchedRig)
	}{
		"heartbeats lost in a zone":             {lease.Brake{Name: plan.BrakeHeartbeats, Scope: zone}, lapse("i-1", "i-2", "i-3"), heartbeat("i-1", "i-2", "i-3")},
		"heartbeats lost everywhere":            {lease.Brake{Name: plan.BrakeHeartbeats}, lapse("i-1", "i-2", "i-3"), heartbeat("i-1")},
		"heartbeats lost, as leases expire":     {lease.Brake{Name: plan.BrakeHeartbeats}, lapse("i-1", "i-2", "i-3"), func(r *watchedRig) { r.extend("i-1", time.Second) }},
		"heartbeats lost, released by a person": {lease.Brake{Name: plan.BrakeHeartbeats}, lapse("i-1", "i-2", "i-3"), lift(lease.BrakeHeartbeats)},
		"rate":                                  {lease.Brake{Name: plan.BrakeRate}, lapse("i-1", "i-2"), waits(11 * time.Minute)},
		"clock ahead":                           {lease.Brake{Name: plan.BrakeClock, Scope: location}, ec2(func(c *recorder) { c.Skew = 11 * time.Second }), ec2(func(c *recorder) { c.Skew = 10 * time.Second })},
		"clock behind":                          {lease.Brake{Name: plan.BrakeClock, Scope: location}, ec2(func(c *recorder) { c.Skew = -11 * time.Second }), ec2(func(c *recorder) { c.Skew = 0 })},
		"clock not told":                        {lease.Brake{Name: plan.BrakeClock, Scope: location}, ec2(func(c *recorder) { c.Undated = true }), ec2(func(c *recorder) { c.Undated = false })},
		"health of etcd": {
			lease.Brake{Name: plan.BrakeHealth},
			func(r *watchedRig) { r.falls(errors.New("alarm NOSPACE")) }, func(r *watchedRig) { r.falls(nil) },
		},
		"health of a listing": {lease.Brake{Name: plan.BrakeHealth, Scope: location}, ec2(func(c *recorder) { c.Err = errors.New("page 2 failed") }), ec2(func(c *recorder) { c.Err = nil })},
		"rollback: a lower checkpoint": {lease.Brake{Name: lease.BrakeRollback}, func(r *watchedRig) {
			r.store.Put("checkpoint", "", r.backup["checkpoint"])
		}, lift(lease.BrakeRollback)},
		"rollback: sidecars know more": {lease.Brake{Name: lease.BrakeRollback}, know(99, "i-1", "i-2", "i-3"), func(r *watchedRig) {
			know(1, "i-1", "i-2", "i-3")(r)
			r.resume(lease.BrakeRollback)
		}},
		"rollback: a launch without a record": {lease.Brake{Name: lease.BrakeRollback}, ec2(func(c *recorder) {
			c.Instances["i-stray"] = lease.Instance{
				ID: "i-stray", Location: c.Where, Zone: zone, State: lease.InstanceRunning, LaunchTime: time.Now().Add(time.Hour), ClientToken: "stray.1",
				Tags: map[string]string{lease.TagRegistry: "uuid-1", lease.TagLaunch: "stray.1"},
			}
		}), func(r *watchedRig) {
			r.ec2(func(c *recorder) { delete(c.Instances, "i-stray") })
			r.resume(lease.BrakeRollback)
		}},
		"rollback: one lease": {lease.Brake{Name: lease.BrakeRollback, Scope: alone}, know(99, "i-1"), func(r *watchedRig) {
			r.update("i-1", func(l lease.Lease) (lease.Lease, error) { return l.CatchUp(r.now(), 99, r.by), nil })
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := &watchedRig{rig: newRig(t, eight...), onlooker: &onlooker{}}
				j := r.janitorOf(slog.New(r.onlooker))
				j.Observe, j.Healthy, j.Policy.RateMin = r.onlooker, r.healthy, 1
				ctx, stop := context.WithCancel(t.Context())
				done := make(chan error, 1)
				heartbeat(eight...)(r)
				go func() { done <- j.Run(ctx) }()
				after(90 * time.Second)
				r.backup = map[string][]byte{"checkpoint": r.store.Get("checkpoint", "")}
				after(90 * time.Second)
				r.forgets()
				r.shows("before", c.brake)

				c.trip(r)
				for range 18 { // sweeps, and what happens between them
					after(15 * time.Second)
					r.extend("i-8", 24*time.Hour+time.Duration(r.now().Second())*time.Second)
				}
				since := r.shows("when it has tripped", c.brake, "held")
				after(time.Minute)
				r.shows("minutes later", c.brake, "held")
				said := []string{"held"}
				if c.brake.Name != plan.BrakeRate { // it holds who has a turn to wait for, and another leader lets them wait anyway
					r.store.Depose()
					after(2 * time.Minute)
					said = append(said, "held")
					if again := r.shows("under another leader", c.brake, said...); !again.Equal(since) {
						t.Errorf("held since %s, and under another leader since %s", since, again)
					}
				}

				c.lifts(r)
				after(2 * time.Minute)
				r.shows("when its cause has ended", c.brake, append(said, "lifted")...)
				stop()
				if err := <-done; err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// alone is a lease that is held back by itself.
const alone = "i-1"

// shows fails unless that is what was said of the brake, and unless it is seen wherever it is to be seen while it is held.
// It returns since when it is.
func (r *watchedRig) shows(when string, b lease.Brake, said ...string) (since time.Time) {
	r.t.Helper()
	checkpoint, err := r.store.Checkpoint(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	for _, shown := range checkpoint.Brakes {
		if shown.Name == b.Name && shown.Scope == b.Scope {
			since = shown.Since
			if shown.Reason == "" {
				r.t.Errorf("%s: no reason", when)
			}
		}
	}
	counted := func() bool { return HeldBy(plan.Plan{Brakes: r.census}, b.Name, b.Scope) }
	if b.Scope == alone {
		counted = func() bool { return r.behind == 1 }
		if checkpoint.Behind[alone] == 99 {
			since = time.Unix(1, 0)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !slices.Equal(r.logged, r.events) {
		r.t.Errorf("%s: logged %q, and reported %q", when, r.logged, r.events)
	}
	var got []string
	for _, line := range r.logged {
		if word, found := strings.CutSuffix(line, " "+b.Name+" "+b.Scope); found {
			got = append(got, word)
		}
	}
	if !slices.Equal(got, said) {
		r.t.Errorf("%s: said %q of it, want %q", when, got, said)
	}
	want := len(said) > 0 && said[len(said)-1] == "held"
	if counted() != want || since.IsZero() == want {
		r.t.Errorf("%s: shown by the observer %t, in the checkpoint since %s; want %t; checkpoint %v, behind %v",
			when, counted(), since, want, checkpoint.Brakes, checkpoint.Behind)
	}
	return since
}

func TestABrakeReleasedBetweenTwoLeadersIsReported(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &watchedRig{rig: newRig(t, "i-1"), onlooker: &onlooker{}}
		r.ec2(func(c *recorder) { c.Skew = time.Minute })
		inTurn(t, r.rig, "", func() { after(90 * time.Second) })
		r.ec2(func(c *recorder) { c.Skew = 0 })
		j := r.janitorOf(slog.New(r.onlooker))
		j.Observe = r.onlooker
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- j.Run(ctx) }()
		after(90 * time.Second)
		r.shows("under another leader", lease.Brake{Name: plan.BrakeClock, Scope: r.cloud.Where.String()}, "lifted")
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestASingleSweepDoesNotReportAHeartbeatsBrakeAsReleased(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &watchedRig{rig: newRig(t, eight...), onlooker: &onlooker{}}
		inTurn(t, r.rig, "", func() { after(90 * time.Second) })
		j := r.janitorOf(slog.New(r.onlooker))
		j.Observe = r.onlooker
		if _, _, err := j.Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
		if len(r.logged) > 0 {
			t.Errorf("said %q, and did not see the heartbeats brake", r.logged)
		}
	})
}
