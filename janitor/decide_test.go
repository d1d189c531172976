package janitor

import (
	"testing"
	"time"

	"lapse/lease"
)

// spec is one case of a decision about the instance i-1.
type spec struct {
	name    string
	subject subject
	world   []func(*View)
	want    ruling
}

func (s spec) view() View {
	v := viewOf(s.subject)
	for _, change := range s.world {
		change(&v)
	}
	return v
}

func check(t *testing.T, specs []spec) {
	t.Helper()
	for _, s := range specs {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			if got, v := rulingOn(t, s.view(), "i-1"); got != s.want {
				t.Errorf("ruled %+v (%s), want %+v", got, v.Reason, s.want)
			}
		})
	}
}

func with(changes ...func(*View)) []func(*View) { return changes }

var (
	end     = ruling{action: ActEnd, cause: lease.CauseTerm}
	keep    = ruling{action: ActKeep}
	report  = ruling{action: ActReport}
	byClock = ruling{action: ActHold, brake: brakeClock}
	notice  = ruling{action: ActMark, cause: lease.CauseTerm, deadline: in(5 * time.Minute)}
	waiting = ruling{action: ActKeep, cause: lease.CauseTerm}
)

func TestTerm(t *testing.T) {
	t.Parallel()
	modeSince := func(d time.Duration, mode lease.Mode) func(*View) {
		return func(v *View) { v.Snapshot.Registry.Mode, v.Snapshot.Registry.ModeSince = mode, ago(d) }
	}
	stampedAgo := func(d time.Duration) func(*View) { return func(v *View) { v.Snapshot.Sweep.Time = ago(d) } }
	noTerm := withLease(func(l *lease.Lease) { l.ExpiresAt = time.Time{} })
	check(t, []spec{
		{"to come: the lease holds", holds("i-1"), nil, keep},
		{"to come in a moment: the lease holds", holds("i-1", over(-time.Millisecond)), nil, keep},
		{"none: the lease holds", holds("i-1", noTerm), nil, keep},
		{"over this instant, while acting", holds("i-1", over(0)), nil, end},
		{"over while acting", holds("i-1", over(time.Minute)), nil, end},
		{"over for a stopped instance too", holds("i-1", over(time.Minute), is(lease.InstanceStopped)), nil, end},
		{"over for one that never booted too", holds("i-1", over(time.Minute), is(lease.InstancePending)), nil, end},
		{"over while it beats", holds("i-1", over(time.Minute), beats), nil, end},
		{"over within the term grace: the lease holds", holds("i-1", over(time.Minute)), with(func(v *View) { v.Policy.TermGrace = 61 * time.Second }), keep},
		{"over just when acting began", holds("i-1", over(time.Hour)), with(actingFor(time.Hour)), end},
		{"over, by the term grace, just when acting began", holds("i-1", over(61*time.Minute)), with(actingFor(time.Hour), func(v *View) { v.Policy.TermGrace = time.Minute }), end},
		{"over before acting began: notice first", holds("i-1", over(time.Hour)), with(actingFor(time.Hour - time.Second)), notice},
		{"over before the first sweep ever", holds("i-1", over(time.Minute)), with(func(v *View) { v.Snapshot.Sweep = lease.Sweep{} }), notice},
		{"over, the last stamp just fresh", holds("i-1", over(time.Minute)), with(stampedAgo(3 * time.Minute)), end},
		{"over, the last stamp stale: nobody could extend meanwhile", holds("i-1", over(time.Minute)), with(stampedAgo(3*time.Minute + 1)), notice},
		{"over, a stamp from the future that is not fresh", holds("i-1", over(time.Minute)), with(stampedAgo(-time.Hour)), notice},
		{"over, acting since a date to come", holds("i-1", over(time.Minute)), with(actingFor(-time.Second)), notice},
		{"over, observing", holds("i-1", over(time.Minute)), with(modeSince(long, lease.ModeObserve)), notice},
		{"over, paused", holds("i-1", over(time.Minute)), with(modeSince(long, lease.ModePaused)), notice},
		{"over before it was armed", holds("i-1", over(time.Minute)), with(modeSince(30*time.Second, lease.ModeArmed)), notice},
		{"over after it was armed", holds("i-1", over(30*time.Second)), with(modeSince(time.Minute, lease.ModeArmed), actingFor(time.Minute)), end},
		{"over while its place was held", holds("i-1", over(time.Minute)), with(func(v *View) { v.Snapshot.Sweep.Acting = nil }), notice},
		{"over while another place was acted on", holds("i-1", over(time.Minute)), with(func(v *View) {
			v.Snapshot.Sweep.Acting = map[string]time.Time{there.String(): ago(long)}
		}), notice},
		{"notice given, deadline to come", holds("i-1", over(time.Hour), marked(lease.CauseTerm, in(time.Second))), with(actingFor(time.Minute)), waiting},
		{"notice given, deadline now", holds("i-1", over(time.Hour), marked(lease.CauseTerm, noon)), nil, end},
		{"notice given before an outage: it starts again", holds("i-1", over(time.Hour), marked(lease.CauseTerm, noon)), with(actingFor(time.Minute)), waiting},
		{"notice given, deadline to come, though acting when it passed", holds("i-1", over(time.Minute), marked(lease.CauseTerm, in(time.Second))), nil, waiting},
		{"notice of silence is no notice of the term", holds("i-1", over(time.Hour), marked(lease.CauseSilence, ago(time.Minute))), with(actingFor(time.Minute)), notice},
		{"clock 10 s ahead: still agreed", holds("i-1", over(time.Minute)), with(skewed(10 * time.Second)), end},
		{"clock 10 s behind: still agreed", holds("i-1", over(time.Minute)), with(skewed(-10 * time.Second)), end},
		{"clock more than 10 s ahead: held", holds("i-1", over(time.Minute)), with(skewed(10*time.Second + 1)), byClock},
		{"clock more than 10 s behind: held", holds("i-1", over(time.Minute)), with(skewed(-10*time.Second - 1)), byClock},
		{"no Date from EC2: held", holds("i-1", over(time.Minute)), with(undated), byClock},
		{"clock wrong: no notice either", holds("i-1", over(time.Hour)), with(actingFor(time.Minute), undated), byClock},
		{"clock wrong: a passed notice is held", holds("i-1", over(time.Hour), marked(lease.CauseTerm, ago(1))), with(undated), byClock},
		{"listing failed: goes on for the instance looked up by id", holds("i-1", over(time.Minute)), with(unlisted), end},
		{"listing failed, notice passed: goes on by id", holds("i-1", over(time.Hour), marked(lease.CauseTerm, ago(1))), with(unlisted), end},
		{"etcd ill: a date is a date", holds("i-1", over(time.Minute)), with(ill), end},
		{"new leader: a date is a date", holds("i-1", over(time.Minute)), with(unstamped), end},
		{"exempt", holds("i-1", over(time.Minute), exempt), nil, report},
		{"not ours by value", holds("i-1", over(time.Minute), foreign), nil, report},
		{"client token is not that of the lease", holds("i-1", over(time.Minute), func(s *subject) { s.instance.ClientToken = "other" }), nil, report},
		{"launch tag is not that of the lease", holds("i-1", over(time.Minute), func(s *subject) { s.instance.Tags[lease.TagLaunch] = "other" }), nil, report},
		{"adopted: no client token to compare", holds("i-1", over(time.Minute), withLease(func(l *lease.Lease) { l.ClientToken, l.Launch = "", "" })), nil, end},
	})
}

func TestAnExtensionCures(t *testing.T) {
	t.Parallel()
	s := holds("i-1", over(time.Hour), marked(lease.CauseTerm, ago(time.Minute)))
	extended, err := s.lease.Extend(noon, lease.Extension{Until: in(time.Hour)}, jan)
	if err != nil {
		t.Fatal(err)
	}
	s.lease = &extended
	if got, _ := rulingOn(t, viewOf(s), "i-1"); got != keep {
		t.Errorf("ruled %+v", got)
	}
}

func TestAnInstanceThatIsNotSeen(t *testing.T) {
	t.Parallel()
	byHealth := ruling{action: ActHold, brake: brakeHealth}
	check(t, []spec{
		{"absent, lease holds: reported, waits for its term", holds("i-1", absent), nil, report},
		{"absent and silent: reported, waits for its term", holds("i-1", silent(long), marked(lease.CauseSilence, ago(time.Hour)), absent), nil, report},
		{"absent, term over while acting: the lease ends", holds("i-1", over(time.Minute), absent), nil, end},
		{"absent, term over before acting began: notice", holds("i-1", over(time.Hour), absent), with(actingFor(time.Minute)), notice},
		{"absent, clock wrong: held", holds("i-1", over(time.Hour), absent), with(undated), byClock},
		{"not looked up, lease holds", holds("i-1", missing), with(unlisted), report},
		{"not looked up, term over: held until it is", holds("i-1", over(time.Minute), missing), with(unlisted), byHealth},
		{"bound after the listing, term over: the next listing tells", holds("i-1", over(time.Minute), missing), nil, report},
		{"seen terminated", holds("i-1", is(lease.InstanceTerminated)), nil, ruling{action: ActConfirm, cause: lease.CauseGone}},
		{"seen terminated, term over", holds("i-1", over(time.Hour), is(lease.InstanceTerminated)), nil, ruling{action: ActConfirm, cause: lease.CauseGone}},
		{"seen shutting down, not by us", holds("i-1", is(lease.InstanceShuttingDown)), nil, keep},
		{"seen shutting down, term over", holds("i-1", over(time.Hour), is(lease.InstanceShuttingDown)), nil, keep},
		{"in a place that is not swept", holds("i-1", over(time.Hour), withLease(func(l *lease.Lease) { l.Region = there.Region }), missing), nil, keep},
		{"seen in another place than its lease says", holds("i-1", over(time.Minute)), with(func(v *View) {
			v.Places[0].Place = there
			v.Places = append(v.Places, PlaceView{Place: here, Dated: true})
		}), report},
	})
}

func TestRevoked(t *testing.T) {
	t.Parallel()
	byRelease := revoked(lease.CauseRelease, time.Minute)
	tried := func(n int, d time.Duration) func(*subject) {
		return withLease(func(l *lease.Lease) { l.Tries, l.TriedAt = n, ago(d) })
	}
	stuck := func(why string) func(*subject) { return withLease(func(l *lease.Lease) { l.Stuck = why }) }
	missed := func(d time.Duration) func(*subject) {
		return withLease(func(l *lease.Lease) { l.AbsentSince = ago(d) })
	}
	release := func(a Action) ruling { return ruling{action: a, cause: lease.CauseRelease} }
	check(t, []spec{
		{"released", holds("i-1", byRelease), nil, release(ActEnd)},
		{"revoked by an operator", holds("i-1", revoked(lease.CauseOperator, time.Minute)), nil, ruling{action: ActEnd, cause: lease.CauseOperator}},
		{"released while stopped", holds("i-1", byRelease, is(lease.InstanceStopped)), nil, release(ActEnd)},
		{"released while pending", holds("i-1", byRelease, is(lease.InstancePending)), nil, release(ActEnd)},
		{"revoked for silence: authorised already, whatever beats or holds", holds("i-1", revoked(lease.CauseSilence, time.Minute)), with(ill), ruling{action: ActEnd, cause: lease.CauseSilence}},
		{"listing failed: goes on by id", holds("i-1", byRelease), with(unlisted), release(ActEnd)},
		{"clock wrong: held", holds("i-1", byRelease), with(skewed(time.Minute)), byClock},
		{"tried once, a minute not over", holds("i-1", byRelease, tried(1, 59*time.Second)), nil, keep},
		{"tried once, a minute over", holds("i-1", byRelease, tried(1, time.Minute)), nil, release(ActEnd)},
		{"tried at a date to come, by a clock that may be right", holds("i-1", byRelease, tried(1, -10*time.Second)), nil, keep},
		{"tried at a date to come, by a clock that was wrong: waits for no such date", holds("i-1", byRelease, tried(1, -11*time.Second)), nil, release(ActEnd)},
		{"tried a thousand times, four minutes not over", holds("i-1", byRelease, tried(1000, 4*time.Minute-1)), nil, keep},
		{"tried a thousand times, never refused: every four minutes", holds("i-1", byRelease, tried(1000, 4*time.Minute)), nil, release(ActEnd)},
		{"refused four times, eight minutes not over", holds("i-1", byRelease, tried(4, 8*time.Minute-1), stuck("EC2 refuses: X")), nil, report},
		{"refused four times, eight minutes over", holds("i-1", byRelease, tried(4, 8*time.Minute), stuck("EC2 refuses: X")), nil, release(ActEnd)},
		{"refused a thousand times, an hour not over", holds("i-1", byRelease, tried(1000, time.Hour-1), stuck("EC2 refuses: X")), nil, report},
		{"refused a thousand times: every hour for ever", holds("i-1", byRelease, tried(1000, time.Hour), stuck("EC2 refuses: X")), nil, release(ActEnd)},
		{"refused by EC2: stuck, and listed with the reason", holds("i-1", byRelease, tried(1, time.Second), stuck("EC2 refuses: X")), nil, report},
		{"refused by EC2: tried again", holds("i-1", byRelease, tried(1, time.Hour), stuck("EC2 refuses: X")), nil, release(ActEnd)},
		{"exempt: noted as stuck", holds("i-1", byRelease, exempt), nil, ruling{action: ActStuck}},
		{"exempt, and noted as that: reported", holds("i-1", byRelease, exempt, stuck("exempt by its tag lapse:exempt")), nil, report},
		{"its tag was taken off: noted as stuck", holds("i-1", byRelease, foreign), nil, ruling{action: ActStuck}},
		{"not the bound instance: noted as stuck", holds("i-1", byRelease, func(s *subject) { s.instance.ClientToken = "" }), nil, ruling{action: ActStuck}},
		{"shutting down", holds("i-1", byRelease, is(lease.InstanceShuttingDown)), nil, keep},
		{"terminated: confirmed", holds("i-1", byRelease, is(lease.InstanceTerminated)), nil, release(ActConfirm)},
		{"absent: stamped", holds("i-1", byRelease, absent), nil, ruling{action: ActAbsent}},
		{"absent for less than an hour", holds("i-1", byRelease, missed(time.Hour-1), absent), nil, keep},
		{"absent for an hour: confirmed", holds("i-1", byRelease, missed(time.Hour), absent), nil, release(ActConfirm)},
		{"absent since a date to come, by a clock that was wrong: stamped anew", holds("i-1", byRelease, missed(-11*time.Second), absent), nil, ruling{action: ActAbsent}},
		{"absent for an hour by a clock that is wrong: held", holds("i-1", byRelease, missed(time.Hour), absent), with(undated), byClock},
		{"not looked up: absence is not concluded", holds("i-1", byRelease, missed(long), missing), with(unlisted), report},
		{"not looked up, full listing: absence is not concluded", holds("i-1", byRelease, missed(long), missing), nil, report},
	})
}

func TestEndedAndUnmanaged(t *testing.T) {
	t.Parallel()
	const week = 7 * 24 * time.Hour
	purge, reopen := ruling{action: ActPurge}, ruling{action: ActReopen}
	forgotten := func(d time.Duration) func(*subject) {
		return withLease(func(l *lease.Lease) { l.State, l.EndedAt = lease.StateUnmanaged, ago(d) })
	}
	bore := withLease(func(l *lease.Lease) { l.Bore, l.Launch, l.ClientToken = l.ClientToken, "", "" })
	undatedEnd := withLease(func(l *lease.Lease) { l.EndedAt = time.Time{} })
	itsLaunch := launches(launch("launch-of-i-1", lease.LaunchClosed))
	check(t, []spec{
		{"ended, seen terminated", holds("i-1", ended(time.Minute), is(lease.InstanceTerminated)), nil, keep},
		{"ended, seen running: reopened", holds("i-1", ended(time.Minute)), nil, reopen},
		{"ended, seen stopped: reopened", holds("i-1", ended(time.Minute), is(lease.InstanceStopped)), nil, reopen},
		{"ended, seen running and exempt: reopened, which ends nothing", holds("i-1", ended(time.Minute), exempt), nil, reopen},
		{"ended, seen running with another's tag: reported", holds("i-1", ended(time.Minute), foreign), nil, report},
		{"ended, seen running with another's client token: reported", holds("i-1", ended(2*week), func(s *subject) { s.instance.ClientToken = "x" }), nil, report},
		{"ended for less than a week: kept", holds("i-1", ended(week-1), missing), nil, keep},
		{"ended for a week: purged", holds("i-1", ended(week), missing), nil, purge},
		{"ended for a week, still listed: kept", holds("i-1", ended(week), is(lease.InstanceTerminated)), nil, keep},
		{"ended for a week, listing failed: kept", holds("i-1", ended(week), missing), with(unlisted), keep},
		{"ended for a week by a wrong clock: kept", holds("i-1", ended(week), missing), with(skewed(time.Minute)), keep},
		{"ended, nobody knows when: kept", holds("i-1", ended(week), undatedEnd, missing), nil, keep},
		{"unmanaged, running without our tags: kept", holds("i-1", forgotten(time.Hour), missing), nil, keep},
		{"unmanaged, tags still there, term over: kept", holds("i-1", forgotten(week), over(time.Hour)), nil, keep},
		{"unmanaged for a week: purged", holds("i-1", forgotten(week), missing), nil, purge},
		{"unmanaged for a week, its closed launch still known: kept, or it would be an orphan", holds("i-1", forgotten(week), missing), with(itsLaunch), keep},
		{"the same, adopted after its launch was closed", holds("i-1", forgotten(week), missing, bore), with(itsLaunch), keep},
	})
}

func TestReopenLeadsBackToWhereItCameFrom(t *testing.T) {
	t.Parallel()
	for state, s := range map[lease.State]subject{
		lease.StateActive:  holds("i-1", ended(time.Hour)),
		lease.StateRevoked: holds("i-1", revoked(lease.CauseSilence, time.Hour), ended(time.Hour)),
	} {
		_, v := rulingOn(t, viewOf(s), "i-1")
		if again, err := v.Lease.Reopen(noon, jan); v.Action != ActReopen || err != nil || again.State != state {
			t.Errorf("%s: reopened as %s, %v", v.Action, again.State, err)
		}
	}
}

func TestAdopting(t *testing.T) {
	t.Parallel()
	adopting := withLease(func(l *lease.Lease) { l.State, l.ClientToken, l.Launch = lease.StateAdopting, "", "" })
	check(t, []spec{
		{"bears our tag by value: active", holds("i-1", adopting), nil, ruling{action: ActActivate}},
		{"bears our tag, term over: active first", holds("i-1", adopting, over(time.Hour)), nil, ruling{action: ActActivate}},
		{"bears another's tag", holds("i-1", adopting, foreign), nil, keep},
		{"bears the tag without a value", holds("i-1", adopting, func(s *subject) { s.instance.Tags[lease.TagRegistry] = "" }), nil, keep},
		{"not seen, term over", holds("i-1", adopting, over(time.Hour), absent), nil, keep},
	})
}

func TestNextIsWhenTimeAloneChangesThePlan(t *testing.T) {
	t.Parallel()
	v := viewOf(holds("i-1", over(-time.Hour)), holds("i-2", over(-30*time.Minute)), holds("i-3", over(time.Minute)))
	if got := decide(v).Next; !got.Equal(in(30 * time.Minute)) {
		t.Errorf("next at %s", got)
	}
	v.Policy.TermGrace = 2 * time.Minute
	if got := decide(v).Next; !got.Equal(in(time.Minute)) {
		t.Errorf("with a term grace, next at %s", got)
	}
	if got := decide(viewOf()).Next; !got.IsZero() {
		t.Errorf("with nothing to wait for, next at %s", got)
	}
}

func TestActingSince(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*View)
		want   time.Time // zero: not acting
	}{
		"goes on":                          {func(*View) {}, ago(long)},
		"now, after a stale stamp":         {func(v *View) { v.Snapshot.Sweep.Time = ago(time.Hour) }, noon},
		"now, if the stamp does not know":  {func(v *View) { v.Snapshot.Sweep.Acting = nil }, noon},
		"now, if the stamp is ahead of us": {actingFor(-time.Second), noon},
		"now, if armed since":              {func(v *View) { v.Snapshot.Registry.ModeSince = ago(1) }, noon},
		"as the stamp says, if armed by a clock that was ahead, and the stamp was written since": {armedAhead(7, 8), ago(long)},
		"now, if armed by a clock that was ahead, and there is no stamp since":                   {armedAhead(8, 7), noon},
		"not while observing":                        {func(v *View) { v.Snapshot.Registry.Mode = lease.ModeObserve }, time.Time{}},
		"not while paused":                           {func(v *View) { v.Snapshot.Registry.Mode = lease.ModePaused }, time.Time{}},
		"as the stamp says, while the listing fails": {unlisted, ago(long)},
		"not while the clock is wrong":               {skewed(11 * time.Second), time.Time{}},
		"not while the clock is unchecked":           {undated, time.Time{}},
		"while etcd is ill: dates are kept":          {ill, ago(long)},
	} {
		v := viewOf()
		c.change(&v)
		if got := decide(v).Acting[here.String()]; !got.Equal(c.want) {
			t.Errorf("%s: since %s", name, got)
		}
	}
}
