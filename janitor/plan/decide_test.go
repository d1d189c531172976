package plan_test

import (
	"slices"
	"testing"
	"time"

	"lapse/lease"

	"lapse/janitor/plan"
	. "lapse/janitor/plan/plantest"
)

// spec is one case of a decision about the instance i-1.
type spec struct {
	name    string
	subject Subject
	world   []func(*World)
	want    Ruling
}

func (s spec) view() World {
	v := WorldOf(s.subject)
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
			if got, v := RulingOn(t, s.view(), "i-1"); got != s.want {
				t.Errorf("ruled %+v (%s), want %+v", got, v.Reason, s.want)
			}
		})
	}
}

func with(changes ...func(*World)) []func(*World) { return changes }

var (
	end     = Ruling{Action: plan.ActTerminate, Cause: lease.CauseExpired}
	keep    = Ruling{Action: plan.ActNone}
	report  = Ruling{Action: plan.ActReport}
	noted   = Ruling{Action: plan.ActKeep}
	byClock = Ruling{Action: plan.ActHold, Brake: plan.BrakeClock}
	notice  = Ruling{Action: plan.ActMark, Cause: lease.CauseExpired, Deadline: In(5 * time.Minute)}
	waiting = Ruling{Action: plan.ActNone, Cause: lease.CauseExpired}
)

func TestExpiry(t *testing.T) {
	t.Parallel()
	modeSince := func(d time.Duration, mode lease.Mode) func(*World) {
		return func(v *World) { v.Snapshot.Registry.Mode, v.Snapshot.Registry.ModeSince = mode, Ago(d) }
	}
	checkpointedAgo := func(d time.Duration) func(*World) {
		return func(v *World) {
			v.Snapshot.Checkpoint.Time, v.Snapshot.Checkpoint.NextSweep = Ago(d), Ago(d).Add(time.Minute)
		}
	}
	noTerm := WithLease(func(l *lease.Lease) { l.ExpiresAt = time.Time{} })
	check(t, []spec{
		{"to come: the lease is valid", Holds("i-1"), nil, keep},
		{"to come in a moment: the lease is valid", Holds("i-1", Over(-time.Millisecond)), nil, keep},
		{"none: the lease is valid", Holds("i-1", noTerm), nil, keep},
		{"over this instant, while enforcing", Holds("i-1", Over(0)), nil, end},
		{"over while enforcing", Holds("i-1", Over(time.Minute)), nil, end},
		{"over for a stopped instance too", Holds("i-1", Over(time.Minute), Is(lease.InstanceStopped)), nil, end},
		{"over for one that never booted too", Holds("i-1", Over(time.Minute), Is(lease.InstancePending)), nil, end},
		{"over while it renews", Holds("i-1", Over(time.Minute), Heartbeats), nil, end},
		{"over within the term grace: the lease is valid", Holds("i-1", Over(time.Minute)), with(func(v *World) { v.Policy.TermGrace = 61 * time.Second }), keep},
		{"over just when enforcing began", Holds("i-1", Over(time.Hour)), with(EnforcingFor(time.Hour)), end},
		{"over, by the term grace, just when enforcing began", Holds("i-1", Over(61*time.Minute)), with(EnforcingFor(time.Hour), func(v *World) { v.Policy.TermGrace = time.Minute }), end},
		{"over before enforcing began: notice first", Holds("i-1", Over(time.Hour)), with(EnforcingFor(time.Hour - time.Second)), notice},
		{"over before the first sweep ever", Holds("i-1", Over(time.Minute)), with(func(v *World) { v.Snapshot.Checkpoint = lease.Checkpoint{} }), notice},
		{"over, the last checkpoint just fresh", Holds("i-1", Over(time.Minute)), with(checkpointedAgo(4 * time.Minute)), end},
		{"over, the last checkpoint stale: nobody could extend in between", Holds("i-1", Over(time.Minute)), with(checkpointedAgo(4*time.Minute + 1)), notice},
		{"over, a checkpoint from the future that is not fresh", Holds("i-1", Over(time.Minute)), with(checkpointedAgo(-time.Hour)), notice},
		{"over, enforcing since a date to come", Holds("i-1", Over(time.Minute)), with(EnforcingFor(-time.Second)), notice},
		{"over, observing", Holds("i-1", Over(time.Minute)), with(modeSince(Long, lease.ModeObserve)), notice},
		{"over, paused", Holds("i-1", Over(time.Minute)), with(modeSince(Long, lease.ModePaused)), notice},
		{"over before it was armed", Holds("i-1", Over(time.Minute)), with(modeSince(30*time.Second, lease.ModeArmed)), notice},
		{"over after it was armed", Holds("i-1", Over(30*time.Second)), with(modeSince(time.Minute, lease.ModeArmed), EnforcingFor(time.Minute)), end},
		{"over while its location was held", Holds("i-1", Over(time.Minute)), with(func(v *World) { v.Snapshot.Checkpoint.Enforcing = nil }), notice},
		{"over while another location was acted on", Holds("i-1", Over(time.Minute)), with(func(v *World) {
			v.Snapshot.Checkpoint.Enforcing = map[string]time.Time{There.String(): Ago(Long)}
		}), notice},
		{"notice given, deadline to come", Holds("i-1", Over(time.Hour), Marked(lease.CauseExpired, In(time.Second))), with(EnforcingFor(time.Minute)), waiting},
		{"notice given, deadline now", Holds("i-1", Over(time.Hour), Marked(lease.CauseExpired, Noon)), nil, end},
		{"notice given before an outage: it starts again", Holds("i-1", Over(time.Hour), Marked(lease.CauseExpired, Noon)), with(EnforcingFor(time.Minute)), waiting},
		{"notice given, deadline to come, although enforcing when it passed", Holds("i-1", Over(time.Minute), Marked(lease.CauseExpired, In(time.Second))), nil, waiting},
		{"notice of a lost heartbeat is no notice of an expiry", Holds("i-1", Over(time.Hour), Marked(lease.CauseHeartbeatLost, Ago(time.Minute))), with(EnforcingFor(time.Minute)), notice},
		{"clock 10 s ahead: still agreed", Holds("i-1", Over(time.Minute)), with(Skewed(10 * time.Second)), end},
		{"clock 10 s behind: still agreed", Holds("i-1", Over(time.Minute)), with(Skewed(-10 * time.Second)), end},
		{"clock more than 10 s ahead: held back", Holds("i-1", Over(time.Minute)), with(Skewed(10*time.Second + 1)), byClock},
		{"clock more than 10 s behind: held back", Holds("i-1", Over(time.Minute)), with(Skewed(-10*time.Second - 1)), byClock},
		{"no Date from EC2: held back", Holds("i-1", Over(time.Minute)), with(Undated), byClock},
		{"clock wrong: no notice either", Holds("i-1", Over(time.Hour)), with(EnforcingFor(time.Minute), Undated), byClock},
		{"clock wrong: a passed notice is held", Holds("i-1", Over(time.Hour), Marked(lease.CauseExpired, Ago(1))), with(Undated), byClock},
		{"listing failed: goes on for the instance looked up by id", Holds("i-1", Over(time.Minute)), with(Unlisted), end},
		{"listing failed, notice passed: goes on by id", Holds("i-1", Over(time.Hour), Marked(lease.CauseExpired, Ago(1))), with(Unlisted), end},
		{"etcd ill: a date is a date", Holds("i-1", Over(time.Minute)), with(Ill), end},
		{"new leader: a date is a date", Holds("i-1", Over(time.Minute)), with(Unstamped), end},
		{"exempt: noted", Holds("i-1", Over(time.Minute), Exempt), nil, noted},
		{"not ours by value: noted", Holds("i-1", Over(time.Minute), Foreign), nil, noted},
		{"client token is not that of the lease", Holds("i-1", Over(time.Minute), func(s *Subject) { s.Instance.ClientToken = "other" }), nil, noted},
		{"launch tag is not that of the lease", Holds("i-1", Over(time.Minute), func(s *Subject) { s.Instance.Tags[lease.TagLaunch] = "other" }), nil, noted},
		{"adopted: no client token to compare", Holds("i-1", Over(time.Minute), WithLease(func(l *lease.Lease) { l.ClientToken, l.Launch = "", "" })), nil, end},
	})
}

func absentSince(d time.Duration) func(*Subject) {
	return WithLease(func(l *lease.Lease) { l.AbsentSince = Ago(d) })
}

func TestAnExtensionCancelsAMark(t *testing.T) {
	t.Parallel()
	s := Holds("i-1", Over(time.Hour), Marked(lease.CauseExpired, Ago(time.Minute)))
	extended, err := s.Lease.Extend(Noon, lease.Extension{Until: In(time.Hour)}, Jan)
	if err != nil {
		t.Fatal(err)
	}
	s.Lease = &extended
	if got, _ := RulingOn(t, WorldOf(s), "i-1"); got != keep {
		t.Errorf("ruled %+v", got)
	}
}

func TestAnInstanceThatIsNotSeen(t *testing.T) {
	t.Parallel()
	byHealth := Ruling{Action: plan.ActHold, Brake: plan.BrakeHealth}
	check(t, []spec{
		{"absent, lease is valid: reported, waits for its term", Holds("i-1", Absent), nil, report},
		{"absent and lost: reported, waits for its term", Holds("i-1", Lost(Long), Marked(lease.CauseHeartbeatLost, Ago(time.Hour)), Absent), nil, report},
		{"absent, its date over: noted, and nothing is revoked", Holds("i-1", Over(time.Minute), Absent), nil, Ruling{Action: plan.ActNoteAbsent}},
		{"absent since a while, its date over", Holds("i-1", Over(time.Hour), Absent, absentSince(59*time.Minute)), nil, keep},
		{"absent for an hour, its date over: ended", Holds("i-1", Over(time.Hour), Absent, absentSince(time.Hour)), nil, Ruling{Action: plan.ActEnd, Cause: lease.CauseExpired}},
		{"absent, and found again", Holds("i-1", Over(time.Hour), absentSince(time.Hour)), nil, Ruling{Action: plan.ActNoteSeen}},
		{"absent, and found again without our tag", Holds("i-1", Over(time.Hour), absentSince(time.Hour), Foreign), nil, Ruling{Action: plan.ActNoteSeen}},
		{"absent, and found again, exempt", Holds("i-1", Over(time.Hour), absentSince(time.Hour), Exempt), nil, Ruling{Action: plan.ActNoteSeen}},
		{"absent, clock wrong: held back", Holds("i-1", Over(time.Hour), Absent), with(Undated), byClock},
		{"not looked up, lease is valid", Holds("i-1", Missing), with(Unlisted), report},
		{"not looked up, expired: held until it is", Holds("i-1", Over(time.Minute), Missing), with(Unlisted), byHealth},
		{"bound after the listing, expired: the next listing tells", Holds("i-1", Over(time.Minute), Missing), nil, report},
		{"seen terminated", Holds("i-1", Is(lease.InstanceTerminated)), nil, Ruling{Action: plan.ActEnd, Cause: lease.CauseGone}},
		{"seen terminated, expired", Holds("i-1", Over(time.Hour), Is(lease.InstanceTerminated)), nil, Ruling{Action: plan.ActEnd, Cause: lease.CauseGone}},
		{"seen shutting down, not by us", Holds("i-1", Is(lease.InstanceShuttingDown)), nil, keep},
		{"seen shutting down, expired", Holds("i-1", Over(time.Hour), Is(lease.InstanceShuttingDown)), nil, keep},
		{"in a location that is not swept", Holds("i-1", Over(time.Hour), WithLease(func(l *lease.Lease) { l.Region = There.Region }), Missing), nil, keep},
		{"seen in another location than its lease says", Holds("i-1", Over(time.Minute)), with(func(v *World) {
			v.Locations[0].Location = There
			v.Locations = append(v.Locations, plan.LocationView{Location: Here, Dated: true})
		}), report},
	})
}

func TestRevoked(t *testing.T) {
	t.Parallel()
	byRelease := Revoked(lease.CauseRelease, time.Minute)
	tried := func(n int, d time.Duration) func(*Subject) {
		return WithLease(func(l *lease.Lease) { l.Tries, l.TriedAt = n, Ago(d) })
	}
	stuck := func(why string) func(*Subject) { return WithLease(func(l *lease.Lease) { l.Stuck = why }) }
	kept := func(by lease.KeptReason) func(*Subject) {
		return WithLease(func(l *lease.Lease) { l.KeptReason = by })
	}
	missed := func(d time.Duration) func(*Subject) {
		return WithLease(func(l *lease.Lease) { l.AbsentSince = Ago(d) })
	}
	release := func(a plan.Action) Ruling { return Ruling{Action: a, Cause: lease.CauseRelease} }
	check(t, []spec{
		{"released", Holds("i-1", byRelease), nil, release(plan.ActTerminate)},
		{"revoked by an operator", Holds("i-1", Revoked(lease.CauseRevoke, time.Minute)), nil, Ruling{Action: plan.ActTerminate, Cause: lease.CauseRevoke}},
		{"released while stopped", Holds("i-1", byRelease, Is(lease.InstanceStopped)), nil, release(plan.ActTerminate)},
		{"released while pending", Holds("i-1", byRelease, Is(lease.InstancePending)), nil, release(plan.ActTerminate)},
		{"revoked for a lost heartbeat: authorised already, whatever renews or holds it back", Holds("i-1", Revoked(lease.CauseHeartbeatLost, time.Minute)), with(Ill), Ruling{Action: plan.ActTerminate, Cause: lease.CauseHeartbeatLost}},
		{"listing failed: goes on by id", Holds("i-1", byRelease), with(Unlisted), release(plan.ActTerminate)},
		{"clock wrong: held back", Holds("i-1", byRelease), with(Skewed(time.Minute)), byClock},
		{"tried once, a minute not over", Holds("i-1", byRelease, tried(1, 59*time.Second)), nil, keep},
		{"tried once, a minute over", Holds("i-1", byRelease, tried(1, time.Minute)), nil, release(plan.ActTerminate)},
		{"tried at a date to come, by a clock that may be right", Holds("i-1", byRelease, tried(1, -10*time.Second)), nil, keep},
		{"tried at a date to come, by a clock that was wrong: waits for no such date", Holds("i-1", byRelease, tried(1, -11*time.Second)), nil, release(plan.ActTerminate)},
		{"tried a thousand times, four minutes not over", Holds("i-1", byRelease, tried(1000, 4*time.Minute-1)), nil, keep},
		{"tried a thousand times, never refused: every four minutes", Holds("i-1", byRelease, tried(1000, 4*time.Minute)), nil, release(plan.ActTerminate)},
		{"refused four times, eight minutes not over", Holds("i-1", byRelease, tried(4, 8*time.Minute-1), stuck("EC2 refuses: X")), nil, report},
		{"refused four times, eight minutes over", Holds("i-1", byRelease, tried(4, 8*time.Minute), stuck("EC2 refuses: X")), nil, release(plan.ActTerminate)},
		{"refused a thousand times, an hour not over", Holds("i-1", byRelease, tried(1000, time.Hour-1), stuck("EC2 refuses: X")), nil, report},
		{"refused a thousand times: every hour for ever", Holds("i-1", byRelease, tried(1000, time.Hour), stuck("EC2 refuses: X")), nil, release(plan.ActTerminate)},
		{"refused by EC2: stuck, and listed with the reason", Holds("i-1", byRelease, tried(1, time.Second), stuck("EC2 refuses: X")), nil, report},
		{"refused by EC2: tried again", Holds("i-1", byRelease, tried(1, time.Hour), stuck("EC2 refuses: X")), nil, release(plan.ActTerminate)},
		{"exempt: noted as stuck", Holds("i-1", byRelease, Exempt), nil, Ruling{Action: plan.ActStuck}},
		{"exempt, and noted as that: reported", Holds("i-1", byRelease, Exempt, stuck("exempt by its tag lapse:exempt"), kept(lease.KeptByExempt)), nil, report},
		{"noted as exempt before, and exempt no longer: not as slow as what EC2 refuses", Holds("i-1", byRelease, tried(1000, 4*time.Minute), stuck("exempt by its tag lapse:exempt"), kept(lease.KeptByExempt)), nil, release(plan.ActTerminate)},
		{"its tag was taken off: noted as stuck", Holds("i-1", byRelease, Foreign), nil, Ruling{Action: plan.ActStuck}},
		{"not the bound instance: noted as stuck", Holds("i-1", byRelease, func(s *Subject) { s.Instance.ClientToken = "" }), nil, Ruling{Action: plan.ActStuck}},
		{"shutting down", Holds("i-1", byRelease, Is(lease.InstanceShuttingDown)), nil, keep},
		{"terminated: confirmed", Holds("i-1", byRelease, Is(lease.InstanceTerminated)), nil, release(plan.ActEnd)},
		{"absent: recorded", Holds("i-1", byRelease, Absent), nil, Ruling{Action: plan.ActNoteAbsent}},
		{"absent for less than an hour", Holds("i-1", byRelease, missed(time.Hour-1), Absent), nil, keep},
		{"absent for an hour: confirmed", Holds("i-1", byRelease, missed(time.Hour), Absent), nil, release(plan.ActEnd)},
		{"absent since a date to come, by a clock that was wrong: recorded again", Holds("i-1", byRelease, missed(-11*time.Second), Absent), nil, Ruling{Action: plan.ActNoteAbsent}},
		{"absent for an hour by a clock that is wrong: held back", Holds("i-1", byRelease, missed(time.Hour), Absent), with(Undated), byClock},
		{"not looked up: absence is not concluded", Holds("i-1", byRelease, missed(Long), Missing), with(Unlisted), report},
		{"not looked up, full listing: absence is not concluded", Holds("i-1", byRelease, missed(Long), Missing), nil, report},
	})
}

func TestEndedAndUnmanaged(t *testing.T) {
	t.Parallel()
	const month = 30 * 24 * time.Hour
	purge, reopen := Ruling{Action: plan.ActPurge}, Ruling{Action: plan.ActReopen}
	forgotten := func(d time.Duration) func(*Subject) {
		return WithLease(func(l *lease.Lease) { l.State, l.EndedAt = lease.StateUnmanaged, Ago(d) })
	}
	bore := WithLease(func(l *lease.Lease) { l.Bore, l.Launch, l.ClientToken = l.ClientToken, "", "" })
	undatedEnd := WithLease(func(l *lease.Lease) { l.EndedAt = time.Time{} })
	itsLaunch := Launches(Launch("launch-of-i-1", lease.LaunchClosed))
	check(t, []spec{
		{"ended, seen terminated", Holds("i-1", Ended(time.Minute), Is(lease.InstanceTerminated)), nil, keep},
		{"ended, seen running: reopened", Holds("i-1", Ended(time.Minute)), nil, reopen},
		{"ended, seen stopped: reopened", Holds("i-1", Ended(time.Minute), Is(lease.InstanceStopped)), nil, reopen},
		{"ended, seen running and exempt: reopened, which terminates nothing", Holds("i-1", Ended(time.Minute), Exempt), nil, reopen},
		{"ended, seen running with another's tag: reported", Holds("i-1", Ended(time.Minute), Foreign), nil, report},
		{"ended, seen running with another's client token: reported", Holds("i-1", Ended(2*month), func(s *Subject) { s.Instance.ClientToken = "x" }), nil, report},
		{"ended for less than a month: kept", Holds("i-1", Ended(month-1), Missing), nil, keep},
		{"ended for a month: purged", Holds("i-1", Ended(month), Missing), nil, purge},
		{"ended for a month, still listed: kept", Holds("i-1", Ended(month), Is(lease.InstanceTerminated)), nil, keep},
		{"ended for a month, listing failed: kept", Holds("i-1", Ended(month), Missing), with(Unlisted), keep},
		{"ended for a month by a wrong clock: kept", Holds("i-1", Ended(month), Missing), with(Skewed(time.Minute)), keep},
		{"ended, nobody knows when: kept", Holds("i-1", Ended(month), undatedEnd, Missing), nil, keep},
		{"unmanaged, running without our tags: kept", Holds("i-1", forgotten(time.Hour), Missing), nil, keep},
		{"unmanaged, tags still there, expired: kept", Holds("i-1", forgotten(month), Over(time.Hour)), nil, keep},
		{"unmanaged for a month: purged", Holds("i-1", forgotten(month), Missing), nil, purge},
		{"unmanaged for a month, its closed launch still known: kept, or it would be an orphan", Holds("i-1", forgotten(month), Missing), with(itsLaunch), keep},
		{"the same, adopted after its launch was closed", Holds("i-1", forgotten(month), Missing, bore), with(itsLaunch), keep},
	})
}

func TestReopenLeadsBackToWhereItCameFrom(t *testing.T) {
	t.Parallel()
	for state, s := range map[lease.State]Subject{
		lease.StateActive:  Holds("i-1", Ended(time.Hour)),
		lease.StateRevoked: Holds("i-1", Revoked(lease.CauseHeartbeatLost, time.Hour), Ended(time.Hour)),
	} {
		_, v := RulingOn(t, WorldOf(s), "i-1")
		if again, err := v.Lease.Reopen(Noon, Jan); v.Action != plan.ActReopen || err != nil || again.State != state {
			t.Errorf("%s: reopened as %s, %v", v.Action, again.State, err)
		}
	}
}

func TestAdopting(t *testing.T) {
	t.Parallel()
	adopting := WithLease(func(l *lease.Lease) { l.State, l.ClientToken, l.Launch = lease.StateAdopting, "", "" })
	check(t, []spec{
		{"bears our tag by value: active", Holds("i-1", adopting), nil, Ruling{Action: plan.ActActivate}},
		{"bears our tag, expired: active first", Holds("i-1", adopting, Over(time.Hour)), nil, Ruling{Action: plan.ActActivate}},
		{"lacks our tag, for a minute", Holds("i-1", adopting, adoptedFor(time.Minute), without(lease.TagRegistry)), nil, keep},
		{"lacks our tag, for five minutes", Holds("i-1", adopting, adoptedFor(5*time.Minute), without(lease.TagRegistry)), nil, report},
		{"lacks our tag, and was adopted again a minute ago", Holds("i-1", adopting, adoptedFor(time.Hour), adoptedFor(time.Minute), without(lease.TagRegistry)), nil, keep},
		{"lacks our tag, expired", Holds("i-1", adopting, adoptedFor(time.Hour), Over(time.Hour), without(lease.TagRegistry)), nil, report},
		{"bears another's tag", Holds("i-1", adopting, adoptedFor(time.Hour), Foreign), nil, report},
		{"bears the tag without a value", Holds("i-1", adopting, adoptedFor(time.Hour), func(s *Subject) { s.Instance.Tags[lease.TagRegistry] = "" }), nil, report},
		{"not seen, expired", Holds("i-1", adopting, adoptedFor(time.Hour), Over(time.Hour), Absent), nil, report},
	})
}

// adoptedFor has it adopted so long ago, once more if it was before.
func adoptedFor(d time.Duration) func(*Subject) {
	return WithLease(func(l *lease.Lease) { l.History = append(l.History, lease.Transition{Time: Ago(d), Action: "adopt"}) })
}

func without(tag string) func(*Subject) {
	return func(s *Subject) { delete(s.Instance.Tags, tag) }
}

func TestTheTagOfAnAdoptionIsSetOnlyIfAllowed(t *testing.T) {
	t.Parallel()
	adopting := WithLease(func(l *lease.Lease) { l.State, l.ClientToken, l.Launch = lease.StateAdopting, "", "" })
	half := []func(*Subject){adopting, adoptedFor(10 * time.Minute), without(lease.TagRegistry)}
	allowed := func(v *World) { v.Policy.CompleteAdoptions = true }
	for name, c := range map[string]struct {
		changes []func(*Subject)
		world   []func(*World)
		written bool
	}{
		"allowed":                              {half, with(allowed), true},
		"paused":                               {half, with(allowed, func(v *World) { v.Snapshot.Registry.Mode = lease.ModePaused }), true},
		"not allowed":                          {half, nil, false},
		"observing":                            {half, with(allowed, func(v *World) { v.Snapshot.Registry.Mode = lease.ModeObserve }), false},
		"perhaps set back":                     {half, with(allowed, func(v *World) { v.Standing = []lease.Brake{{Name: lease.BrakeRollback}} }), false},
		"a moment ago: whoever adopts sets it": {slices.Concat(half, []func(*Subject){adoptedFor(time.Minute)}), with(allowed), false},
		"long ago: perhaps an old record":      {slices.Concat(half, []func(*Subject){adoptedFor(2 * time.Hour)}), with(allowed), false},
		"another registry's":                   {slices.Concat(half, []func(*Subject){Foreign}), with(allowed), false},
		"the tag without a value":              {slices.Concat(half, []func(*Subject){func(s *Subject) { s.Instance.Tags[lease.TagRegistry] = "" }}), with(allowed), false},
		"exempt":                               {slices.Concat(half, []func(*Subject){Exempt}), with(allowed), false},
		"terminated":                           {slices.Concat(half, []func(*Subject){Is(lease.InstanceTerminated)}), with(allowed), false},
		"not seen":                             {slices.Concat(half, []func(*Subject){Absent}), with(allowed), false},
		"its date has passed":                  {slices.Concat(half, []func(*Subject){Over(time.Second)}), with(allowed), false},
		"unmanaged":                            {slices.Concat(half, []func(*Subject){WithLease(func(l *lease.Lease) { l.State = lease.StateUnmanaged })}), with(allowed), false},
		"active":                               {slices.Concat(half, []func(*Subject){WithLease(func(l *lease.Lease) { l.State = lease.StateActive })}), with(allowed), false},
		"revoked":                              {slices.Concat(half, []func(*Subject){Revoked(lease.CauseRelease, time.Minute)}), with(allowed), false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := WorldOf(Holds("i-1", slices.Clone(c.changes)...))
			for _, change := range c.world {
				change(&v)
			}
			written := false
			for _, w := range Decide(v).Tags {
				written = written || w.Key == lease.TagRegistry && w.Value == v.Snapshot.Registry.UUID && w.InstanceID == "i-1"
			}
			if written != c.written {
				t.Errorf("written %t, want %t", written, c.written)
			}
		})
	}
}

func TestNextIsWhenTimeAloneChangesThePlan(t *testing.T) {
	t.Parallel()
	v := WorldOf(Holds("i-1", Over(-time.Hour)), Holds("i-2", Over(-30*time.Minute)), Holds("i-3", Over(time.Minute)))
	if got := Decide(v).Next; !got.Equal(In(30 * time.Minute)) {
		t.Errorf("next at %s", got)
	}
	v.Policy.TermGrace = 2 * time.Minute
	if got := Decide(v).Next; !got.Equal(In(time.Minute)) {
		t.Errorf("with a term grace, next at %s", got)
	}
	if got := Decide(WorldOf()).Next; !got.IsZero() {
		t.Errorf("with nothing to wait for, next at %s", got)
	}
}

func TestEnforcingSince(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*World)
		want   time.Time // zero: not acting
	}{
		"goes on": {func(*World) {}, Ago(Long)},
		"now, after a stale checkpoint": {func(v *World) {
			v.Snapshot.Checkpoint.Time, v.Snapshot.Checkpoint.NextSweep = Ago(time.Hour), Ago(59*time.Minute)
		}, Noon},
		"goes on over a weekend": {func(v *World) {
			v.Snapshot.Checkpoint.Time, v.Snapshot.Checkpoint.NextSweep = Ago(60*time.Hour), Noon
		}, Ago(Long)},
		"now, after a checkpoint that is dated ahead of EC2's clock": {func(v *World) {
			v.Snapshot.Checkpoint.Time = In(5 * time.Second)
			Skewed(6 * time.Second)(v)
		}, Noon},
		"as the checkpoint says, if dated ahead of our clock, and not of EC2's": {func(v *World) {
			v.Snapshot.Checkpoint.Time, v.Snapshot.Checkpoint.NextSweep = In(15*time.Second), In(time.Minute)
			Skewed(-6 * time.Second)(v)
		}, Ago(Long)},
		"now, if the checkpoint does not know":  {func(v *World) { v.Snapshot.Checkpoint.Enforcing = nil }, Noon},
		"now, if the checkpoint is ahead of us": {EnforcingFor(-time.Second), Noon},
		"now, if armed since":                   {func(v *World) { v.Snapshot.Registry.ModeSince = Ago(1) }, Noon},
		"as the checkpoint says, if armed by a clock that was ahead, and the checkpoint was written since": {ArmedAhead(7, 8), Ago(Long)},
		"now, if armed by a clock that was ahead, and there is no checkpoint since":                        {ArmedAhead(8, 7), Noon},
		"not while observing": {func(v *World) { v.Snapshot.Registry.Mode = lease.ModeObserve }, time.Time{}},
		"not while paused":    {func(v *World) { v.Snapshot.Registry.Mode = lease.ModePaused }, time.Time{}},
		"as the checkpoint says, while the listing fails": {Unlisted, Ago(Long)},
		"not while the clock is wrong":                    {Skewed(11 * time.Second), time.Time{}},
		"not while the clock is unchecked":                {Undated, time.Time{}},
		"while etcd is ill: dates are kept":               {Ill, Ago(Long)},
	} {
		v := WorldOf()
		c.change(&v)
		if got := Decide(v).Enforcing[Here.String()]; !got.Equal(c.want) {
			t.Errorf("%s: since %s", name, got)
		}
	}
}
