package janitor

import (
	"strings"
	"testing"
	"time"

	"lapse/lease"
)

var (
	silenceMark = ruling{action: ActMark, cause: lease.CauseSilence, deadline: in(5 * time.Minute)}
	silenceWait = ruling{action: ActKeep, cause: lease.CauseSilence}
	silenceEnd  = ruling{action: ActEnd, cause: lease.CauseSilence}
	unmark      = ruling{action: ActUnmark}
)

func TestSilence(t *testing.T) {
	t.Parallel()
	passed := marked(lease.CauseSilence, ago(time.Second))
	coming := marked(lease.CauseSilence, in(time.Second))
	neverBeat := withLease(func(l *lease.Lease) { l.ClaimedAt = time.Time{} })
	never := func(a Action, deadline time.Time) ruling { return ruling{a, lease.CauseNeverBeat, "", deadline} }
	check(t, []spec{
		{"it beats: the lease holds", holds("i-1", beats), nil, keep},
		{"no TTL: nobody asked it to beat", holds("i-1", silent(long), withLease(func(l *lease.Lease) { l.TTL = 0 })), nil, keep},
		{"a TTL that is none", holds("i-1", silent(long), withLease(func(l *lease.Lease) { l.TTL = -1 })), nil, keep},
		{"key gone, which took a TTL: marked at once", holds("i-1", silent(0)), nil, silenceMark},
		{"key gone, no witness yet: marked with the earliest deadline", holds("i-1", silent(0), alone), nil, silenceMark},
		{"marked for the term before it was extended: marked for silence", holds("i-1", silent(0), marked(lease.CauseTerm, ago(1))), nil, silenceMark},
		{"marked, deadline to come", holds("i-1", silent(long), coming), nil, silenceWait},
		{"marked, deadline passed, mark grace over by the leader's clock", holds("i-1", silent(5*time.Minute), passed), nil, silenceEnd},
		{"marked, deadline passed, mark grace not over by the leader's clock", holds("i-1", silent(5*time.Minute-1), passed), nil, silenceWait},
		{"marked, deadline now", holds("i-1", silent(5*time.Minute), marked(lease.CauseSilence, noon)), nil, silenceEnd},
		{"never seen by this leader: a TTL first", holds("i-1", silent(ttl-1), unseen), nil, keep},
		{"never seen by this leader: marked after a TTL", holds("i-1", silent(ttl), unseen), nil, silenceMark},
		{"never seen by this leader, marked by another: a TTL more", holds("i-1", silent(ttl+5*time.Minute-1), unseen, passed), nil, silenceWait},
		{"never seen by this leader, marked by another: a TTL and the grace are over", holds("i-1", silent(ttl+5*time.Minute), unseen, passed), nil, silenceEnd},
		{"no witness: not before the lone grace", holds("i-1", silent(time.Hour-1), alone, passed), nil, silenceWait},
		{"no witness: after the lone grace", holds("i-1", silent(time.Hour), alone, passed), nil, silenceEnd},
		{"no witness, never seen: a TTL more than the lone grace", holds("i-1", silent(time.Hour+ttl-1), alone, unseen, passed), nil, silenceWait},
		{"no sidecar ever: marked as that", holds("i-1", silent(ttl), unseen, neverBeat), nil, never(ActMark, in(5*time.Minute))},
		{"no sidecar ever: ended as that", holds("i-1", silent(long), unseen, neverBeat, marked(lease.CauseNeverBeat, ago(1))), nil, never(ActEnd, time.Time{})},
		{"no claim recorded, but this leader saw it beat: silence", holds("i-1", silent(0), neverBeat), nil, silenceMark},
		{"renewed: mark taken back", holds("i-1", beats, passed), nil, unmark},
		{"renewed at the last moment, listing failed: mark taken back", holds("i-1", beats, passed), with(unlisted), unmark},
		{"renewed: a mark of the term is not cured by it", holds("i-1", beats, marked(lease.CauseTerm, in(time.Minute))), nil, keep},
		{"stopped: never judged", holds("i-1", silent(long), is(lease.InstanceStopped)), nil, keep},
		{"stopping: never judged", holds("i-1", silent(long), is(lease.InstanceStopping)), nil, keep},
		{"pending: never judged", holds("i-1", silent(long), is(lease.InstancePending)), nil, keep},
		{"stopped: mark taken back", holds("i-1", silent(long), is(lease.InstanceStopped), passed), nil, unmark},
		{"exempt: reported", holds("i-1", silent(long), exempt, passed), nil, report},
		{"not ours by value: reported", holds("i-1", silent(long), foreign, passed), nil, report},
		{"silent and its term over: the date decides", holds("i-1", silent(0), over(time.Minute)), nil, end},
		{"a single pass judges no silence", holds("i-1", silent(long), passed), with(func(v *View) { v.Policy.NoSilence = true }), report},
		{"not in the memory of this leader: nothing is concluded", holds("i-1", silent(long), passed, func(s *subject) { s.silence = nil }), nil, keep},
	})
}

func TestBootGrace(t *testing.T) {
	t.Parallel()
	granted := func(d time.Duration) func(*subject) {
		return withLease(func(l *lease.Lease) { l.GrantedAt = ago(d) })
	}
	started := func(d time.Duration) func(*subject) { return withSilence(func(s *Silence) { s.Started = d }) }
	launchTime := func(d time.Duration) func(*subject) {
		return func(s *subject) { s.instance.LaunchTime = ago(d) }
	}
	const boot = 30 * time.Minute
	check(t, []spec{
		{"granted less than a boot grace ago", holds("i-1", silent(long), unseen, granted(boot-1)), nil, keep},
		{"granted a boot grace ago", holds("i-1", silent(long), unseen, granted(boot)), nil, silenceMark},
		{"started by EC2's word less than a boot grace ago", holds("i-1", silent(long), unseen, launchTime(boot-1)), nil, keep},
		{"started by EC2's word a boot grace ago", holds("i-1", silent(long), unseen, launchTime(boot)), nil, silenceMark},
		{"a LaunchTime of long ago does not condemn what was granted a moment ago", holds("i-1", silent(long), unseen, granted(time.Minute), launchTime(long)), nil, keep},
		{"no LaunchTime", holds("i-1", silent(long), unseen, func(s *subject) { s.instance.LaunchTime = time.Time{} }), nil, silenceMark},
		{"seen to start less than a boot grace ago", holds("i-1", silent(long), unseen, started(boot-1)), nil, keep},
		{"seen to start a boot grace ago", holds("i-1", silent(long), unseen, started(boot)), nil, silenceMark},
		{"beat since it started: booted", holds("i-1", silent(0), granted(time.Minute), started(time.Minute), launchTime(time.Minute)), nil, silenceMark},
	})
}

func TestSilenceIsHeld(t *testing.T) {
	t.Parallel()
	passed := marked(lease.CauseSilence, ago(time.Second))
	byHealth := ruling{action: ActHold, brake: brakeHealth}
	offices := func(n int, d time.Duration) func(*View) {
		return func(v *View) {
			for range n {
				v.Snapshot.Sweep.Offices = append(v.Snapshot.Sweep.Offices, ago(d))
			}
		}
	}
	check(t, []spec{
		{"etcd ill: no end", holds("i-1", silent(long), passed), with(ill), byHealth},
		{"etcd ill: no mark", holds("i-1", silent(long)), with(ill), byHealth},
		{"etcd ill: what beats is kept", holds("i-1", beats), with(ill), keep},
		{"new leader, no stamp of its own: no end", holds("i-1", silent(long), passed), with(unstamped), byHealth},
		{"new leader, no stamp of its own: no mark", holds("i-1", silent(long)), with(unstamped), byHealth},
		{"listing of its place failed: no end", holds("i-1", silent(long), passed), with(unlisted), byHealth},
		{"listing of its place failed: no mark", holds("i-1", silent(long)), with(unlisted), byHealth},
		{"three leaders within an hour are borne", holds("i-1", silent(long), passed), with(offices(3, time.Hour-1)), silenceEnd},
		{"four leaders within an hour: held", holds("i-1", silent(long), passed), with(offices(4, time.Hour-1)), byHealth},
		{"four leaders, an hour ago", holds("i-1", silent(long), passed), with(offices(4, time.Hour)), silenceEnd},
		{"four leaders with dates to come: held", holds("i-1", silent(long), passed), with(offices(4, -time.Minute)), byHealth},
		{"clock wrong: no notice, for its dates would be wrong", holds("i-1", silent(long)), with(skewed(time.Minute)), ruling{action: ActHold, brake: brakeClock}},
		{"clock wrong, a TTL to go: held, so that it counts anew", holds("i-1", silent(ttl-1), unseen), with(skewed(time.Minute)), ruling{action: ActHold, brake: brakeClock}},
		{"EC2's clock not told: no notice", holds("i-1", silent(long)), with(undated), ruling{action: ActHold, brake: brakeClock}},
		{"marked before the clock went wrong: silence is not by the wall clock", holds("i-1", silent(long), marked(lease.CauseSilence, ago(0))), with(skewed(time.Minute)), ruling{action: ActEnd, cause: lease.CauseSilence}},
		{"marked under a clock that was behind: the notice counts from when it was seen", holds("i-1", silent(long), marked(lease.CauseSilence, ago(long)), withSilence(func(s *Silence) { s.Noticed = 5*time.Minute - 1 })), nil, ruling{action: ActKeep, cause: lease.CauseSilence}},
	})
}

func TestWhatCannotBeReadIsSpared(t *testing.T) {
	t.Parallel()
	passed := marked(lease.CauseSilence, ago(time.Second))
	newer := func(kind string) func(*View) {
		return func(v *View) {
			v.Snapshot.Bad = append(v.Snapshot.Bad, lease.BadRecord{Kind: kind, ID: "i-1", Err: &lease.SchemaError{Kind: kind, ID: "i-1", Schema: 9}})
		}
	}
	left := func(changes ...func(*lease.Launch)) func(*View) {
		return launches(launch("launch-of-i-1", lease.LaunchClosed, append(changes, looked(long, "i-1"))...))
	}
	check(t, []spec{
		{"its lease", holds("i-1", bare), with(bad(badLease, "i-1")), report},
		{"its lease, of a newer schema", holds("i-1", bare), with(newer(badLease)), report},
		{"its lease, while its launch was closed: no orphan", holds("i-1", bare), with(bad(badLease, "i-1"), left()), report},
		{"its launch, which was closed: unexplained", holds("i-1", bare), with(bad("launch", "launch-of-i-1")), report},
	})
	for name, change := range map[string]func(*View){"cannot be read": bad(badHeartbeat, "i-1"), "is of a newer schema": newer(badHeartbeat)} {
		t.Run("its heartbeat "+name, func(t *testing.T) {
			t.Parallel()
			v := viewOf(holds("i-1", silent(long), passed))
			change(&v)
			plan := decide(v)
			if n := tally(plan); n[ActReport] != 2 || len(plan.Verdicts) != 2 {
				t.Errorf("decided %v, want the lease and the record reported", n)
			}
		})
	}
	t.Run("its heartbeat, while its launch was closed: no orphan", func(t *testing.T) {
		t.Parallel()
		v := viewOf(holds("i-1", bare))
		left()(&v)
		bad(badHeartbeat, "i-1")(&v)
		if got, _ := rulingOn(t, v, "i-1"); got != report {
			t.Errorf("ruled %+v", got)
		}
	})
	t.Run("its heartbeat: the date decides", func(t *testing.T) {
		t.Parallel()
		v := viewOf(holds("i-1", beats, over(time.Minute)))
		bad(badHeartbeat, "i-1")(&v)
		if n := tally(decide(v)); n[ActEnd] != 1 {
			t.Errorf("decided %v", n)
		}
	})
}

func TestNextOfASilence(t *testing.T) {
	t.Parallel()
	dateless := withLease(func(l *lease.Lease) { l.ExpiresAt = time.Time{} })
	for name, c := range map[string]struct {
		subject subject
		want    time.Duration
	}{
		"mark's deadline":              {holds("i-1", dateless, silent(long), marked(lease.CauseSilence, in(time.Minute))), time.Minute},
		"grace by the leader's clock":  {holds("i-1", dateless, silent(2*time.Minute), marked(lease.CauseSilence, ago(1))), 3 * time.Minute},
		"a TTL under this leader":      {holds("i-1", dateless, silent(20*time.Second), unseen), 40 * time.Second},
		"lone grace":                   {holds("i-1", dateless, silent(20*time.Minute), alone, marked(lease.CauseSilence, ago(1))), 40 * time.Minute},
		"boot grace since the grant":   {holds("i-1", dateless, silent(0), unseen, withLease(func(l *lease.Lease) { l.GrantedAt = ago(10 * time.Minute) })), 20 * time.Minute},
		"boot grace since it was seen": {holds("i-1", dateless, silent(0), unseen, withSilence(func(s *Silence) { s.Started = time.Minute })), 29 * time.Minute},
	} {
		if got := decide(viewOf(c.subject)).Next; !got.Equal(in(c.want)) {
			t.Errorf("%s: next at %s", name, got)
		}
	}
}

func TestAMarkWithoutAWitnessSaysSo(t *testing.T) {
	t.Parallel()
	_, lone := rulingOn(t, viewOf(holds("i-1", silent(0), alone)), "i-1")
	_, seen := rulingOn(t, viewOf(holds("i-1", silent(0))), "i-1")
	if !strings.Contains(lone.Reason, "nothing else of its zone") || strings.Contains(seen.Reason, "zone") {
		t.Errorf("reasons %q and %q", lone.Reason, seen.Reason)
	}
}
