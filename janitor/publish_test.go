package janitor

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"lapse/janitor/plan"
	"lapse/lease"
)

// mode sets the registry's mode.
func (r *rig) mode(mode lease.Mode) lease.Registry {
	r.t.Helper()
	_, reg, err := r.store.UpdateRegistry(r.t.Context(), func(g lease.Registry) (lease.Registry, error) {
		return g.To(r.now(), mode, lease.By{}), nil
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return reg
}

// published is the plan beside the checkpoint, which has to be of the registry as it is and of the last sweep.
func (r *rig) published() lease.Plan {
	r.t.Helper()
	published, err := r.store.Plan(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	reg, err := r.store.Registry(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	checkpoint, err := r.store.Checkpoint(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	if !published.Of(reg, checkpoint) || published.Leader != checkpoint.Leader || published.Sequence != checkpoint.Sequence {
		r.t.Fatalf("the plan %+v is not of registry %d and checkpoint %+v", published, reg.Revision, checkpoint)
	}
	return published
}

func TestALeaderThatIsNotArmedPublishesItsPlan(t *testing.T) {
	t.Parallel()
	for _, mode := range []lease.Mode{lease.ModeObserve, lease.ModePaused} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			running(t, []string{"i-1", "i-2", "i-3"}, slog.New(slog.DiscardHandler), func(r *rig) {
				t := r.t
				if _, err := r.store.Plan(t.Context()); err == nil {
					t.Fatal("a plan is published while the registry is armed")
				}
				for _, id := range []string{"i-1", "i-2", "i-3"} {
					r.heartbeat(id)
				}
				r.extend("i-1", 20*time.Second)
				r.mode(mode)
				after(time.Second)
				if p := r.published(); p.Counts["none"] != 3 || !p.HeartbeatsJudged || p.Locations[0] != (lease.LocationStatus{Location: r.cloud.Where}) {
					t.Fatalf("published %+v, want three kept, heartbeats judged, in %s", p, r.cloud.Where)
				}
				after(21 * time.Second)
				p := r.published()
				if p.Counts["mark"] != 1 || p.Counts["none"] != 2 || p.Verdicts[0].Action != "mark" || p.Verdicts[0].InstanceID != "i-1" {
					t.Fatalf("published %+v two seconds after the expiry of i-1 has passed between two sweeps, want it to be marked", p)
				}
			})
		})
	}
}

func TestAPublishedPlanIncludesHeartbeats(t *testing.T) {
	t.Parallel()
	running(t, []string{"i-1", "i-2", "i-3", "i-4"}, slog.New(slog.DiscardHandler), func(r *rig) {
		r.mode(lease.ModeObserve)
		for _, id := range []string{"i-1", "i-2", "i-3", "i-4"} {
			r.heartbeat(id)
		}
		for n := range 12 { // i-1 loses its heartbeat
			for _, id := range []string{"i-2", "i-3", "i-4"} {
				r.heartbeat(id)
			}
			after(30 * time.Second)
			if p := r.published(); n == 11 && (p.Counts["mark"] != 1 || p.Verdicts[0].InstanceID != "i-1" || p.Verdicts[0].Cause != lease.CauseHeartbeatLost) {
				r.t.Errorf("published %+v, want i-1 to be marked for its lost heartbeat", p)
			}
		}
	})
}

func TestAnArmedRegistryHasNoPlanAndAnIdleSweepWritesItsCheckpointAlone(t *testing.T) {
	t.Parallel()
	running(t, []string{"i-1"}, slog.New(slog.DiscardHandler), func(r *rig) {
		t := r.t
		r.update("i-1", func(l lease.Lease) (lease.Lease, error) {
			l.HeartbeatTimeout = 0 // no lost heartbeat to judge
			return l, nil
		})
		r.mode(lease.ModeObserve)
		after(time.Minute)
		r.published()
		r.mode(lease.ModeArmed)
		r.extend("i-1", 24*time.Hour)
		after(20 * time.Minute) // its launch is done by then
		if p, err := r.store.Plan(t.Context()); err == nil {
			t.Fatalf("published %+v while the registry is armed", p)
		}
		for _, mode := range []lease.Mode{lease.ModeArmed, lease.ModeObserve} {
			r.mode(mode)
			after(time.Minute)
			before, err := r.store.Snapshot(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			after(10 * time.Minute)
			now, err := r.store.Snapshot(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			each := map[lease.Mode]int64{lease.ModeArmed: 1, lease.ModeObserve: 2}[mode]
			if wrote, swept := now.Revision-before.Revision, now.Checkpoint.Sequence-before.Checkpoint.Sequence; swept != 10 || wrote != each*swept {
				t.Errorf("%s: %d writes in %d sweeps, want %d in each of 10", mode, wrote, swept, each)
			}
		}
	})
}

func TestAPlanThatCouldNotBeWrittenIsWrittenLaterAndFailsNoSweep(t *testing.T) {
	t.Parallel()
	running(t, []string{"i-1"}, slog.New(slog.DiscardHandler), func(r *rig) {
		var fails atomic.Bool
		fails.Store(true)
		r.store.Fault = func(method string) error {
			if method == "Leadership.PutPlan" && fails.Load() {
				return fmt.Errorf("etcd is away")
			}
			return nil
		}
		r.mode(lease.ModeObserve)
		after(10 * time.Second)
		if checkpoint, err := r.store.Checkpoint(r.t.Context()); err != nil || checkpoint.Sequence != 2 {
			r.t.Fatalf("checkpoint %+v, %v", checkpoint, err)
		}
		fails.Store(false)
		after(time.Minute)
		r.published()
	})
}

func TestAPublishedPlanIsBounded(t *testing.T) {
	t.Parallel()
	location := lease.Location{Account: "123456789012", Region: "eu-west-1"}
	planned := plan.Plan{}
	for n := range 10_000 {
		v := plan.Verdict{Action: plan.ActNone, InstanceID: fmt.Sprintf("i-%017x", n), Location: location, Reason: strings.Repeat("ü\"<", 4000)}
		switch n % 100 {
		case 7:
			v.Action = plan.ActTerminate
		case 8:
			v.Action = plan.ActMark
		}
		planned.Verdicts = append(planned.Verdicts, v)
		planned.Brakes = append(planned.Brakes, lease.Brake{Name: lease.BrakeRollback, Scope: v.InstanceID, Reason: v.Reason})
	}
	made := planned.Published(lease.Registry{}, plan.DefaultPolicy(), []plan.LocationView{{Location: location, Err: strings.Repeat("e", 9000)}})
	text, err := json.Marshal(made)
	if err != nil || len(text) > 200_000 {
		t.Errorf("%d bytes, %v", len(text), err)
	}
	if made.Counts["terminate"] != 100 || made.Counts["mark"] != 100 || made.Counts["none"] != 9800 || made.Omitted != 9900 || len(made.Verdicts) != 100 {
		t.Errorf("counts %v, %d verdicts, %d omitted", made.Counts, len(made.Verdicts), made.Omitted)
	}
	for _, v := range made.Verdicts {
		if v.Action != "terminate" {
			t.Fatalf("%+v is listed before an end", v)
		}
	}
}
