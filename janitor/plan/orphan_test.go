package plan_test

import (
	"strings"
	"testing"
	"time"

	"lapse/lease"

	"lapse/janitor/plan"
	. "lapse/janitor/plan/plantest"
)

// leftBy puts the launch of i-1 into the view, closed unless a change says otherwise.
func leftBy(changes ...func(*lease.Launch)) func(*World) {
	return Launches(Launch("launch-of-i-1", lease.LaunchClosed, changes...))
}

func TestOrphan(t *testing.T) {
	t.Parallel()
	look, orphan := Ruling{Action: plan.ActFirstSeen}, Ruling{Action: plan.ActOrphan, Cause: lease.CauseFailedCreation}
	byHealth := Ruling{Action: plan.ActHold, Brake: plan.BrakeHealth}
	ripe := FirstSeen(time.Minute, "i-1")
	in := func(state lease.LaunchState) func(*lease.Launch) {
		return func(l *lease.Launch) { l.State = state }
	}
	check(t, []spec{
		{"closed launch: first sighting noted", Holds("i-1", Bare), with(leftBy()), look},
		{"closed launch, another instance was seen", Holds("i-1", Bare), with(leftBy(FirstSeen(time.Hour, "i-2"))), look},
		{"second sighting too soon", Holds("i-1", Bare), with(leftBy(FirstSeen(time.Minute-1, "i-1"))), keep},
		{"second sighting an orphan grace later: orphan", Holds("i-1", Bare), with(leftBy(ripe)), orphan},
		{"stopped: orphan", Holds("i-1", Bare, Is(lease.InstanceStopped)), with(leftBy(ripe)), orphan},
		{"pending: orphan", Holds("i-1", Bare, Is(lease.InstancePending)), with(leftBy(ripe)), orphan},
		{"a sighting with a date to come", Holds("i-1", Bare), with(leftBy(FirstSeen(-time.Second, "i-1"))), keep},
		{"a sighting with a date that no right clock gave: noted again", Holds("i-1", Bare), with(leftBy(FirstSeen(-11*time.Second, "i-1"))), look},
		{"its heartbeat cannot be read, and it has no lease: orphan all the same", Holds("i-1", Bare), with(leftBy(ripe), Bad(plan.BadHeartbeat, "i-1")), orphan},
		{"its lease cannot be read: reported", Holds("i-1", Bare), with(leftBy(ripe), Bad(plan.BadLease, "i-1")), report},
		{"shutting down already", Holds("i-1", Bare, Is(lease.InstanceShuttingDown)), with(leftBy(ripe)), keep},
		{"terminated already", Holds("i-1", Bare, Is(lease.InstanceTerminated)), with(leftBy(ripe)), keep},
		{"leased: no orphan", Holds("i-1"), with(leftBy(ripe)), keep},
		{"exempt: reported", Holds("i-1", Bare, Exempt), with(leftBy(ripe)), report},
		{"bears another registry's tag: foreign", Holds("i-1", Bare, Foreign), with(leftBy(ripe)), report},
		{"bore another registry's tag, and is gone", Holds("i-1", Bare, Foreign, Is(lease.InstanceTerminated)), with(leftBy(ripe)), keep},
		{"bears no registry's tag", Holds("i-1", Bare, func(s *Subject) { delete(s.Instance.Tags, lease.TagRegistry) }), with(leftBy(ripe)), report},
		{"bears the tag without a value", Holds("i-1", Bare, func(s *Subject) { s.Instance.Tags[lease.TagRegistry] = "" }), with(leftBy(ripe)), report},
		{"listing failed: held back", Holds("i-1", Bare), with(leftBy(ripe), Unlisted), byHealth},
		{"listing failed: not even noted", Holds("i-1", Bare), with(leftBy(), Unlisted), byHealth},
		{"clock wrong: held back", Holds("i-1", Bare), with(leftBy(ripe), Skewed(11*time.Second)), byClock},
		{"no Date from EC2: not even noted", Holds("i-1", Bare), with(leftBy(), Undated), byClock},
		{"etcd ill: a record condemns, a lost heartbeat does not", Holds("i-1", Bare), with(leftBy(ripe), Ill), orphan},
		{"launch open: being launched", Holds("i-1", Bare), with(leftBy(ripe, in(lease.LaunchOpen))), keep},
		{"launch done: untracked", Holds("i-1", Bare), with(leftBy(ripe, in(lease.LaunchDone))), report},
		{"launch in a state of a newer version", Holds("i-1", Bare), with(leftBy(ripe, in("suspended"))), report},
		{"no record: untracked", Holds("i-1", Bare), nil, report},
		{"launch of another token: untracked", Holds("i-1", Bare), with(Launches(Launch("other", lease.LaunchClosed, ripe))), report},
		{"no launch tag: untracked", Holds("i-1", Bare, func(s *Subject) { delete(s.Instance.Tags, lease.TagLaunch) }), with(leftBy(ripe)), report},
		{"copied tag, its own client token: untracked", Holds("i-1", Bare, func(s *Subject) { s.Instance.ClientToken = "console" }), with(leftBy(ripe)), report},
		{"copied tag, no client token: untracked", Holds("i-1", Bare, func(s *Subject) { s.Instance.ClientToken = "" }), with(leftBy(ripe)), report},
		{"names an attempt that the launch has not made: untracked", Holds("i-1", Bare, func(s *Subject) {
			s.Instance.ClientToken, s.Instance.Tags[lease.TagLaunch] = "launch-of-i-1.2", "launch-of-i-1.2"
		}), with(leftBy(ripe)), report},
		{"launch of another location: untracked", Holds("i-1", Bare), with(leftBy(ripe, func(l *lease.Launch) { l.Region = There.Region })), report},
	})
}

// TestOrphanByItsKeyPair is about launches whose instances are found by their key pair: neither client token nor launch tag says
// anything there, and what is more than was asked for is an orphan too.
func TestOrphanByItsKeyPair(t *testing.T) {
	t.Parallel()
	look, orphan := Ruling{Action: plan.ActFirstSeen}, Ruling{Action: plan.ActOrphan, Cause: lease.CauseFailedCreation}
	ripe := FirstSeen(time.Minute, "i-1")
	keyed := func(state lease.LaunchState) func(*lease.Launch) {
		return func(l *lease.Launch) {
			l.State, l.Anima, l.Registry, l.Consistency = state, lease.AnimaKeyPair, Ours, lease.Duration(5*time.Minute)
			l.Attempts[0].KeyAt, l.Attempts[0].KeyID = Ago(time.Hour), "key-1"
		}
	}
	shows := func(s *Subject) {
		s.Instance.KeyName, s.Instance.ClientToken, s.Instance.LaunchTime = lease.KeyName(Ours, "launch-of-i-1.1"), "", Ago(time.Hour)
	}
	launched := func(d time.Duration) func(*Subject) { return func(s *Subject) { s.Instance.LaunchTime = Ago(d) } }
	check(t, []spec{
		{"closed launch: first sighting noted", Holds("i-1", Bare, shows), with(leftBy(keyed(lease.LaunchClosed))), look},
		{"closed launch: orphan", Holds("i-1", Bare, shows), with(leftBy(keyed(lease.LaunchClosed), ripe)), orphan},
		{"open launch", Holds("i-1", Bare, shows), with(leftBy(keyed(lease.LaunchOpen))), keep},
		{"done, and it has its lease", Holds("i-1", shows, func(s *Subject) { s.Lease.KeyName = s.Instance.KeyName }), with(leftBy(keyed(lease.LaunchDone))), keep},
		{"done, and it is more than was asked for: noted", Holds("i-1", Bare, shows), with(leftBy(keyed(lease.LaunchDone))), look},
		{"done, and it is more than was asked for: orphan", Holds("i-1", Bare, shows), with(leftBy(keyed(lease.LaunchDone), ripe)), orphan},
		{"done, and its lease was bound, but its record is lost: reported", Holds("i-1", Bare, shows), with(leftBy(keyed(lease.LaunchDone), ripe, Answered("i-1"))), report},
		{"done, and another one was bound: orphan", Holds("i-1", Bare, shows), with(leftBy(keyed(lease.LaunchDone), ripe, Answered("i-2"))), orphan},
		{"a copy that shows its own client token: untracked", Holds("i-1", Bare, shows, func(s *Subject) { s.Instance.ClientToken = "console" }), with(leftBy(keyed(lease.LaunchDone), ripe)), report},
		{"a copy that bears another launch tag: untracked", Holds("i-1", Bare, shows, func(s *Subject) { s.Instance.Tags[lease.TagLaunch] = "other.1" }), with(leftBy(keyed(lease.LaunchDone), ripe)), report},
		{"without a launch tag: orphan", Holds("i-1", Bare, shows, func(s *Subject) { delete(s.Instance.Tags, lease.TagLaunch) }), with(leftBy(keyed(lease.LaunchClosed), ripe)), orphan},
		{"without a registry tag: reported", Holds("i-1", Bare, shows, func(s *Subject) { delete(s.Instance.Tags, lease.TagRegistry) }), with(leftBy(keyed(lease.LaunchClosed), ripe)), report},
		{"another registry's: foreign", Holds("i-1", Bare, shows, Foreign), with(leftBy(keyed(lease.LaunchClosed), ripe)), report},
		{"exempt: reported", Holds("i-1", Bare, shows, Exempt), with(leftBy(keyed(lease.LaunchDone), ripe)), report},
		{"launched before its key pair: untracked", Holds("i-1", Bare, shows, launched(2*time.Hour)), with(leftBy(keyed(lease.LaunchClosed))), report},
		{"launched long after it was sent: untracked", Holds("i-1", Bare, shows, launched(50*time.Minute)), with(leftBy(keyed(lease.LaunchDone))), report},
		{"started again since its first sighting: orphan", Holds("i-1", Bare, shows, launched(50*time.Minute)), with(leftBy(keyed(lease.LaunchDone), ripe)), orphan},
		{"its lease was active by its tag: reported", Holds("i-1", Bare, shows, func(s *Subject) {
			s.Instance.Tags[lease.TagLeased] = "launch-of-i-1.1"
		}), with(leftBy(keyed(lease.LaunchDone), ripe)), report},
		{"the key pair of a launch with a client token says nothing", Holds("i-1", Bare, shows), with(leftBy(ripe)), report},
		{"another key pair: untracked", Holds("i-1", Bare, shows, func(s *Subject) { s.Instance.KeyName = "ada" }), with(leftBy(keyed(lease.LaunchClosed), ripe)), report},
		{"listing failed: held back", Holds("i-1", Bare, shows), with(leftBy(keyed(lease.LaunchDone), ripe), Unlisted), Ruling{Action: plan.ActHold, Brake: plan.BrakeHealth}},
	})
}

func TestUntrackedIsReported(t *testing.T) {
	t.Parallel()
	for want, v := range map[string]World{
		"no record mentions it": WorldOf(Holds("i-1", Bare)),
		"the tag was copied":    WorldOf(Holds("i-1", Bare, func(s *Subject) { s.Instance.ClientToken = "" })),
		"its launch is done":    WorldOf(Holds("i-1", Bare)),
	} {
		switch want {
		case "the tag was copied":
			leftBy()(&v)
		case "its launch is done":
			leftBy(func(l *lease.Launch) { l.State = lease.LaunchDone })(&v)
		}
		if _, got := RulingOn(t, v, "i-1"); !strings.HasPrefix(got.Reason, "untracked") || !strings.Contains(got.Reason, want) {
			t.Errorf("reason %q, want %q", got.Reason, want)
		}
	}
}

func TestSettlement(t *testing.T) {
	t.Parallel()
	lastSend := func(d time.Duration) func(*lease.Launch) {
		return func(l *lease.Launch) { l.Attempts[0].LastSend = Ago(d) }
	}
	refused := func(l *lease.Launch) { l.Attempts[0].Outcome = lease.OutcomeRefused }
	second := func(l *lease.Launch) {
		l.Attempts = append(l.Attempts, lease.Attempt{ClientToken: "launch-of-i-1.2", Sends: 0})
	}
	for _, c := range []struct {
		name    string
		subject Subject
		changes []func(*lease.Launch)
		world   []func(*World)
		want    plan.Action
	}{
		{"within the window, all bound: left to the launcher", Holds("i-1"), []func(*lease.Launch){Answered("i-1"), lastSend(15*time.Minute - 1)}, nil, ""},
		{"within the window, nothing known", Holds("i-2"), []func(*lease.Launch){lastSend(15*time.Minute - 1)}, nil, ""},
		{"window over, all bound: done", Holds("i-1"), []func(*lease.Launch){Answered("i-1"), lastSend(15 * time.Minute)}, nil, plan.ActComplete},
		{"window over, bound and ended since: done", Holds("i-1", Ended(time.Minute), Missing), []func(*lease.Launch){Answered("i-1")}, nil, plan.ActComplete},
		{"window over, its lease cannot be read: it has one", Holds("i-1", Bare), []func(*lease.Launch){Answered("i-1")}, with(Bad(plan.BadLease, "i-1")), plan.ActComplete},
		{"window over, its heartbeat cannot be read, which is no lease: closed", Holds("i-1", Bare), []func(*lease.Launch){Answered("i-1")}, with(Bad(plan.BadHeartbeat, "i-1")), plan.ActClose},
		{"window over, refused: done, with nothing made", Holds("i-2"), []func(*lease.Launch){refused}, nil, plan.ActComplete},
		{"window over, outcome unknown: closed", Holds("i-2"), nil, nil, plan.ActClose},
		{"window over, outcome unknown although something is bound: closed", Holds("i-1"), nil, nil, plan.ActClose},
		{"window over, answered and not bound: closed", Holds("i-1", Bare), []func(*lease.Launch){Answered("i-1")}, nil, plan.ActClose},
		{"window over, answered, not bound and not seen: closed", Holds("i-2"), []func(*lease.Launch){Answered("i-1")}, nil, plan.ActClose},
		{"window over, one of two bound: closed", Holds("i-1"), []func(*lease.Launch){Answered("i-1", "i-2")}, nil, plan.ActClose},
		{"window over, one more is seen than was answered with: closed", Holds("i-1", Bare), []func(*lease.Launch){Answered()}, nil, plan.ActClose},
		{"window over, one more is seen terminated: done", Holds("i-1", Bare, Is(lease.InstanceTerminated)), []func(*lease.Launch){Answered()}, nil, plan.ActComplete},
		{"window over, a second attempt stored and not known to be sent: closed", Holds("i-1"), []func(*lease.Launch){Answered("i-1"), second}, nil, plan.ActClose},
		{"window counts from the record if nothing was sent", Holds("i-2"), []func(*lease.Launch){func(l *lease.Launch) {
			l.CreatedAt, l.Attempts[0] = Ago(15*time.Minute-1), lease.Attempt{}
		}}, nil, ""},
		{"window over, listing failed: left", Holds("i-1"), []func(*lease.Launch){Answered("i-1")}, with(Unlisted), ""},
		{"window over by a wrong clock: left", Holds("i-1"), nil, with(Skewed(11 * time.Second)), ""},
		{"window over, no Date from EC2: left", Holds("i-1"), nil, with(Undated), ""},
		{"window over, location not swept: left", Holds("i-2"), []func(*lease.Launch){func(l *lease.Launch) { l.Region = There.Region }}, nil, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			v := WorldOf(c.subject)
			v.Snapshot.Launches = []lease.Launch{Launch("launch-of-i-1", lease.LaunchOpen, c.changes...)}
			for _, change := range c.world {
				change(&v)
			}
			if got := ActionOnLaunch(v, "launch-of-i-1"); got != c.want {
				t.Errorf("decided %q, want %q", got, c.want)
			}
		})
	}
}

// dateAhead is a token like a generated one, of the year 9999: no launch is refused by it.
const dateAhead = "e677d21f-0000-7abc-8def-0123456789ab"

func TestALaunchIsPurgedAfterItsRetention(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	const generated = "019526e0-7e2a-7abc-8def-0123456789ab" // UUIDv7: refused by its own date
	settled := func(d time.Duration, changes ...func(*lease.Launch)) []func(*lease.Launch) {
		return append(changes, func(l *lease.Launch) { l.SettledAt = Ago(d) })
	}
	of := func(token string, changes ...func(*Subject)) Subject {
		s := Holds("i-1", changes...)
		s.Instance.Tags[lease.TagLaunch] = token + ".1"
		return s
	}
	gone := Holds("i-9", Bare)
	for _, c := range []struct {
		name    string
		token   string
		changes []func(*lease.Launch)
		subject Subject
		world   []func(*World)
		want    plan.Action
	}{
		{"chosen token, 90 days less a moment", "chosen", settled(90*day - 1), gone, nil, ""},
		{"chosen token, 90 days", "chosen", settled(90 * day), gone, nil, plan.ActPurge},
		{"generated token, a month less a moment", generated, settled(30*day - 1), gone, nil, ""},
		{"generated token, a month", generated, settled(30 * day), gone, nil, plan.ActPurge},
		{"token dated ahead, a month", dateAhead, settled(30 * day), gone, nil, ""},
		{"token dated ahead, 90 days", dateAhead, settled(90 * day), gone, nil, plan.ActPurge},
		{"settled, nobody knows when", "chosen", []func(*lease.Launch){func(l *lease.Launch) { l.SettledAt = time.Time{} }}, gone, nil, ""},
		{"a lease of it is left", "launch-of-i-1", settled(90 * day), Holds("i-1", Ended(day), Missing), nil, ""},
		{"only an unmanaged instance's record is left, which waits for this", "launch-of-i-1", settled(90 * day), Holds("i-1", WithLease(func(l *lease.Lease) { l.State = lease.StateUnmanaged }), Missing), nil, plan.ActPurge},
		{"a lease of it cannot be read", "launch-of-i-1", settled(90*day, Answered("i-1")), Holds("i-1", Bare, Missing), with(Bad(plan.BadLease, "i-1")), ""},
		{"an instance bears its tag", "chosen", settled(90 * day), of("chosen", Bare, Is(lease.InstanceTerminated)), nil, ""},
		{"an instance bears a copy of its tag", "chosen", settled(90 * day), of("chosen", Bare, Foreign), nil, ""},
		{"the listing failed", "chosen", settled(90 * day), gone, with(Unlisted), ""},
		{"the clock is wrong", "chosen", settled(90 * day), gone, with(Skewed(time.Minute)), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			v := WorldOf(c.subject)
			v.Snapshot.Launches = []lease.Launch{Launch(c.token, lease.LaunchDone, c.changes...)}
			for _, change := range c.world {
				change(&v)
			}
			if got := ActionOnLaunch(v, c.token); got != c.want {
				t.Errorf("decided %q, want %q", got, c.want)
			}
		})
	}
}

func TestNextDecisionForALaunch(t *testing.T) {
	t.Parallel()
	v := WorldOf()
	v.Snapshot.Launches = []lease.Launch{Launch("a", lease.LaunchOpen, func(l *lease.Launch) { l.Attempts[0].LastSend = Ago(time.Minute) })}
	if got := Decide(v).Next; !got.Equal(In(14 * time.Minute)) {
		t.Errorf("next at %s, want the end of its window", got)
	}
	v = WorldOf(Holds("i-1", Bare))
	leftBy(FirstSeen(20*time.Second, "i-1"))(&v)
	if got := Decide(v).Next; !got.Equal(In(40 * time.Second)) {
		t.Errorf("next at %s, want the second sighting", got)
	}
}
