package plan_test

import (
	"strings"
	"testing"
	"time"

	"lapse/lease"

	"lapse/janitor/plan"
	. "lapse/janitor/plan/plantest"
)

var (
	lossMark = Ruling{Action: plan.ActMark, Cause: lease.CauseHeartbeatLost, Deadline: In(5 * time.Minute)}
	lossWait = Ruling{Action: plan.ActNone, Cause: lease.CauseHeartbeatLost}
	lossEnd  = Ruling{Action: plan.ActTerminate, Cause: lease.CauseHeartbeatLost}
	unmark   = Ruling{Action: plan.ActUnmark}
)

func TestLostHeartbeat(t *testing.T) {
	t.Parallel()
	passed := Marked(lease.CauseHeartbeatLost, Ago(time.Second))
	coming := Marked(lease.CauseHeartbeatLost, In(time.Second))
	neverHeartbeat := WithLease(func(l *lease.Lease) { l.ClaimedAt = time.Time{} })
	never := func(a plan.Action, deadline time.Time) Ruling {
		return Ruling{Action: a, Cause: lease.CauseNoHeartbeat, Deadline: deadline}
	}
	check(t, []spec{
		{"it renews: the lease is valid", Holds("i-1", Heartbeats), nil, keep},
		{"no timeout: nobody asked it to renew", Holds("i-1", Lost(Long), WithLease(func(l *lease.Lease) { l.HeartbeatTimeout = 0 })), nil, keep},
		{"a timeout that is none", Holds("i-1", Lost(Long), WithLease(func(l *lease.Lease) { l.HeartbeatTimeout = -1 })), nil, keep},
		{"key gone, which took a timeout: marked at once", Holds("i-1", Lost(0)), nil, lossMark},
		{"key gone, no witness yet: marked with the earliest deadline", Holds("i-1", Lost(0), Alone), nil, lossMark},
		{"marked for the expiry before it was extended: marked for a lost heartbeat", Holds("i-1", Lost(0), Marked(lease.CauseExpired, Ago(1))), nil, lossMark},
		{"marked, deadline to come", Holds("i-1", Lost(Long), coming), nil, lossWait},
		{"marked, deadline passed, mark grace over by the leader's clock", Holds("i-1", Lost(5*time.Minute), passed), nil, lossEnd},
		{"marked, deadline passed, mark grace not over by the leader's clock", Holds("i-1", Lost(5*time.Minute-1), passed), nil, lossWait},
		{"marked, deadline now", Holds("i-1", Lost(5*time.Minute), Marked(lease.CauseHeartbeatLost, Noon)), nil, lossEnd},
		{"never seen by this leader: a timeout first", Holds("i-1", Lost(HeartbeatTimeout-1), Unseen), nil, keep},
		{"never seen by this leader: marked after a timeout", Holds("i-1", Lost(HeartbeatTimeout), Unseen), nil, lossMark},
		{"never seen by this leader, marked by another: a timeout more", Holds("i-1", Lost(HeartbeatTimeout+5*time.Minute-1), Unseen, passed), nil, lossWait},
		{"never seen by this leader, marked by another: a timeout and the grace are over", Holds("i-1", Lost(HeartbeatTimeout+5*time.Minute), Unseen, passed), nil, lossEnd},
		{"no witness: not before the lone grace", Holds("i-1", Lost(time.Hour-1), Alone, passed), nil, lossWait},
		{"no witness: after the lone grace", Holds("i-1", Lost(time.Hour), Alone, passed), nil, lossEnd},
		{"no witness, never seen: a timeout more than the lone grace", Holds("i-1", Lost(time.Hour+HeartbeatTimeout-1), Alone, Unseen, passed), nil, lossWait},
		{"no sidecar ever: marked as that", Holds("i-1", Lost(HeartbeatTimeout), Unseen, neverHeartbeat), nil, never(plan.ActMark, In(5*time.Minute))},
		{"no sidecar ever: terminated for that", Holds("i-1", Lost(Long), Unseen, neverHeartbeat, Marked(lease.CauseNoHeartbeat, Ago(1))), nil, never(plan.ActTerminate, time.Time{})},
		{"no claim recorded, but this leader saw it renew: lost", Holds("i-1", Lost(0), neverHeartbeat), nil, lossMark},
		{"renewed: mark taken back", Holds("i-1", Heartbeats, passed), nil, unmark},
		{"renewed at the last moment, listing failed: mark taken back", Holds("i-1", Heartbeats, passed), with(Unlisted), unmark},
		{"renewed: a mark for the expiry is not cancelled by it", Holds("i-1", Heartbeats, Marked(lease.CauseExpired, In(time.Minute))), nil, keep},
		{"stopped: never judged", Holds("i-1", Lost(Long), Is(lease.InstanceStopped)), nil, keep},
		{"stopping: never judged", Holds("i-1", Lost(Long), Is(lease.InstanceStopping)), nil, keep},
		{"pending: never judged", Holds("i-1", Lost(Long), Is(lease.InstancePending)), nil, keep},
		{"stopped: mark taken back", Holds("i-1", Lost(Long), Is(lease.InstanceStopped), passed), nil, unmark},
		{"exempt: reported", Holds("i-1", Lost(Long), Exempt, passed), nil, report},
		{"not ours by value: reported", Holds("i-1", Lost(Long), Foreign, passed), nil, report},
		{"lost and expired: the date decides", Holds("i-1", Lost(0), Over(time.Minute)), nil, end},
		{"a single pass judges no heartbeat", Holds("i-1", Lost(Long), passed), with(func(v *World) { v.Policy.SkipHeartbeats = true }), report},
		{"not in the memory of this leader: nothing is concluded", Holds("i-1", Lost(Long), passed, func(s *Subject) { s.Renewal = nil }), nil, keep},
	})
}

// TestTheHeartbeatOfADoubtfulInstanceIsNotJudged has instances that more than one claims to be, or that were proved to run although
// they cannot renew. Their dates stay in force.
func TestTheHeartbeatOfADoubtfulInstanceIsNotJudged(t *testing.T) {
	t.Parallel()
	passed := Marked(lease.CauseHeartbeatLost, Ago(time.Second))
	for name, doubt := range map[string]func(*Subject){
		"contested":   WithLease(func(l *lease.Lease) { l.ContestedAt = Ago(time.Hour) }),
		"vouched for": WithLease(func(l *lease.Lease) { l.VouchedAt = Ago(time.Hour) }),
	} {
		check(t, []spec{
			{name + ", and lost: not marked", Holds("i-1", Lost(Long), doubt), nil, report},
			{name + ", and never seen", Holds("i-1", Lost(Long), Unseen, doubt), nil, report},
			{name + ", and marked: mark taken back", Holds("i-1", Lost(Long), passed, doubt), nil, unmark},
			{name + ", and renews", Holds("i-1", Heartbeats, doubt), nil, keep},
			{name + ", and stopped", Holds("i-1", Lost(Long), Is(lease.InstanceStopped), doubt), nil, keep},
			{name + ", and expired: the date decides", Holds("i-1", Lost(Long), Over(time.Minute), doubt), nil, end},
		})
	}
}

func TestBootGrace(t *testing.T) {
	t.Parallel()
	granted := func(d time.Duration) func(*Subject) {
		return WithLease(func(l *lease.Lease) { l.GrantedAt = Ago(d) })
	}
	started := func(d time.Duration) func(*Subject) { return WithRenewal(func(s *plan.Renewal) { s.Started = d }) }
	launchTime := func(d time.Duration) func(*Subject) {
		return func(s *Subject) { s.Instance.LaunchTime = Ago(d) }
	}
	const boot = 30 * time.Minute
	check(t, []spec{
		{"granted less than a boot grace ago", Holds("i-1", Lost(Long), Unseen, granted(boot-1)), nil, keep},
		{"granted a boot grace ago", Holds("i-1", Lost(Long), Unseen, granted(boot)), nil, lossMark},
		{"started less, according to EC2, than a boot grace ago", Holds("i-1", Lost(Long), Unseen, launchTime(boot-1)), nil, keep},
		{"started a boot grace ago, according to EC2", Holds("i-1", Lost(Long), Unseen, launchTime(boot)), nil, lossMark},
		{"a LaunchTime of long ago does not condemn what was granted a moment ago", Holds("i-1", Lost(Long), Unseen, granted(time.Minute), launchTime(Long)), nil, keep},
		{"no LaunchTime", Holds("i-1", Lost(Long), Unseen, func(s *Subject) { s.Instance.LaunchTime = time.Time{} }), nil, lossMark},
		{"seen to start less than a boot grace ago", Holds("i-1", Lost(Long), Unseen, started(boot-1)), nil, keep},
		{"seen to start a boot grace ago", Holds("i-1", Lost(Long), Unseen, started(boot)), nil, lossMark},
		{"granted in three hours, and watched for less than a boot grace", Holds("i-1", Lost(boot-1), Unseen, granted(-3*time.Hour)), nil, keep},
		{"granted in three hours, and watched for a boot grace", Holds("i-1", Lost(boot), Unseen, granted(-3*time.Hour)), nil, lossMark},
		{"granted in three hours, and started less than a boot grace ago", Holds("i-1", Lost(boot), Unseen, granted(-3*time.Hour), launchTime(boot-1)), nil, keep},
		{"granted in three minutes, which clocks may be off by", Holds("i-1", Lost(Long), Unseen, granted(-lease.MaxSkew)), nil, keep},
		{"renewed since it started: booted", Holds("i-1", Lost(0), granted(time.Minute), started(time.Minute), launchTime(time.Minute)), nil, lossMark},
	})
}

func TestALostHeartbeatIsHeldBack(t *testing.T) {
	t.Parallel()
	passed := Marked(lease.CauseHeartbeatLost, Ago(time.Second))
	byHealth := Ruling{Action: plan.ActHold, Brake: plan.BrakeHealth}
	leaderships := func(n int, d time.Duration) func(*World) {
		return func(v *World) {
			for range n {
				v.Snapshot.Checkpoint.Leaderships = append(v.Snapshot.Checkpoint.Leaderships, Ago(d))
			}
		}
	}
	check(t, []spec{
		{"etcd ill: no termination", Holds("i-1", Lost(Long), passed), with(Ill), byHealth},
		{"etcd ill: no mark", Holds("i-1", Lost(Long)), with(Ill), byHealth},
		{"etcd ill: what renews is kept", Holds("i-1", Heartbeats), with(Ill), keep},
		{"new leader, no checkpoint of its own: no termination", Holds("i-1", Lost(Long), passed), with(Unstamped), byHealth},
		{"new leader, no checkpoint of its own: no mark", Holds("i-1", Lost(Long)), with(Unstamped), byHealth},
		{"listing of its location failed: no termination", Holds("i-1", Lost(Long), passed), with(Unlisted), byHealth},
		{"listing of its location failed: no mark", Holds("i-1", Lost(Long)), with(Unlisted), byHealth},
		{"three leaders within an hour are borne", Holds("i-1", Lost(Long), passed), with(leaderships(3, time.Hour-1)), lossEnd},
		{"four leaders within an hour: held back", Holds("i-1", Lost(Long), passed), with(leaderships(4, time.Hour-1)), byHealth},
		{"four leaders, an hour ago", Holds("i-1", Lost(Long), passed), with(leaderships(4, time.Hour)), lossEnd},
		{"four leaders with dates to come: held back", Holds("i-1", Lost(Long), passed), with(leaderships(4, -time.Minute)), byHealth},
		{"clock wrong: no notice, for its dates would be wrong", Holds("i-1", Lost(Long)), with(Skewed(time.Minute)), Ruling{Action: plan.ActHold, Brake: plan.BrakeClock}},
		{"clock wrong, a timeout to go: held back, so that it restarts", Holds("i-1", Lost(HeartbeatTimeout-1), Unseen), with(Skewed(time.Minute)), Ruling{Action: plan.ActHold, Brake: plan.BrakeClock}},
		{"EC2's clock not reported: no notice", Holds("i-1", Lost(Long)), with(Undated), Ruling{Action: plan.ActHold, Brake: plan.BrakeClock}},
		{"marked before the clock went wrong: a lost heartbeat is not timed by the wall clock", Holds("i-1", Lost(Long), Marked(lease.CauseHeartbeatLost, Ago(0))), with(Skewed(time.Minute)), Ruling{Action: plan.ActTerminate, Cause: lease.CauseHeartbeatLost}},
		{"marked under a clock that was behind: the notice counts from when it was seen", Holds("i-1", Lost(Long), Marked(lease.CauseHeartbeatLost, Ago(Long)), WithRenewal(func(s *plan.Renewal) { s.Marked = 5*time.Minute - 1 })), nil, Ruling{Action: plan.ActNone, Cause: lease.CauseHeartbeatLost}},
	})
}

func TestInstancesWithUnreadableRecordsAreKept(t *testing.T) {
	t.Parallel()
	passed := Marked(lease.CauseHeartbeatLost, Ago(time.Second))
	newer := func(kind string) func(*World) {
		return func(v *World) {
			v.Snapshot.Bad = append(v.Snapshot.Bad, lease.BadRecord{Kind: kind, ID: "i-1", Err: &lease.SchemaError{Kind: kind, ID: "i-1", Schema: 9}})
		}
	}
	left := func(changes ...func(*lease.Launch)) func(*World) {
		return Launches(Launch("launch-of-i-1", lease.LaunchClosed, append(changes, FirstSeen(Long, "i-1"))...))
	}
	check(t, []spec{
		{"its lease", Holds("i-1", Bare), with(Bad(plan.BadLease, "i-1")), report},
		{"its lease, of a newer schema", Holds("i-1", Bare), with(newer(plan.BadLease)), report},
		{"its lease, while its launch was closed: no orphan", Holds("i-1", Bare), with(Bad(plan.BadLease, "i-1"), left()), report},
		{"its launch, which was closed: untracked", Holds("i-1", Bare), with(Bad("launch", "launch-of-i-1")), report},
	})
	for name, change := range map[string]func(*World){"cannot be read": Bad(plan.BadHeartbeat, "i-1"), "is of a newer schema": newer(plan.BadHeartbeat)} {
		t.Run("its heartbeat "+name, func(t *testing.T) {
			t.Parallel()
			v := WorldOf(Holds("i-1", Lost(Long), passed))
			change(&v)
			planned := Decide(v)
			if n := Tally(planned); n[plan.ActReport] != 2 || len(planned.Verdicts) != 2 {
				t.Errorf("decided %v, want the lease and the record reported", n)
			}
		})
	}
	t.Run("its heartbeat, while its launch was closed: an orphan all the same", func(t *testing.T) {
		t.Parallel()
		v := WorldOf(Holds("i-1", Bare))
		left()(&v)
		Bad(plan.BadHeartbeat, "i-1")(&v)
		if got, _ := RulingOn(t, v, "i-1"); got.Action != plan.ActOrphan {
			t.Errorf("ruled %+v", got)
		}
	})
	t.Run("its heartbeat: the date decides", func(t *testing.T) {
		t.Parallel()
		v := WorldOf(Holds("i-1", Heartbeats, Over(time.Minute)))
		Bad(plan.BadHeartbeat, "i-1")(&v)
		if n := Tally(Decide(v)); n[plan.ActTerminate] != 1 {
			t.Errorf("decided %v", n)
		}
	})
}

func TestNextDecisionForALostHeartbeat(t *testing.T) {
	t.Parallel()
	dateless := WithLease(func(l *lease.Lease) { l.ExpiresAt = time.Time{} })
	for name, c := range map[string]struct {
		subject Subject
		want    time.Duration
	}{
		"mark's deadline":              {Holds("i-1", dateless, Lost(Long), Marked(lease.CauseHeartbeatLost, In(time.Minute))), time.Minute},
		"grace by the leader's clock":  {Holds("i-1", dateless, Lost(2*time.Minute), Marked(lease.CauseHeartbeatLost, Ago(1))), 3 * time.Minute},
		"a timeout under this leader":  {Holds("i-1", dateless, Lost(20*time.Second), Unseen), 40 * time.Second},
		"lone grace":                   {Holds("i-1", dateless, Lost(20*time.Minute), Alone, Marked(lease.CauseHeartbeatLost, Ago(1))), 40 * time.Minute},
		"boot grace since the grant":   {Holds("i-1", dateless, Lost(0), Unseen, WithLease(func(l *lease.Lease) { l.GrantedAt = Ago(10 * time.Minute) })), 20 * time.Minute},
		"boot grace since it was seen": {Holds("i-1", dateless, Lost(0), Unseen, WithRenewal(func(s *plan.Renewal) { s.Started = time.Minute })), 29 * time.Minute},
	} {
		if got := Decide(WorldOf(c.subject)).Next; !got.Equal(In(c.want)) {
			t.Errorf("%s: next at %s", name, got)
		}
	}
}

func TestAMarkWithoutAWitnessSaysSo(t *testing.T) {
	t.Parallel()
	_, lone := RulingOn(t, WorldOf(Holds("i-1", Lost(0), Alone)), "i-1")
	_, seen := RulingOn(t, WorldOf(Holds("i-1", Lost(0))), "i-1")
	if !strings.Contains(lone.Reason, "no other instance in its zone") || strings.Contains(seen.Reason, "zone") {
		t.Errorf("reasons %q and %q", lone.Reason, seen.Reason)
	}
}
