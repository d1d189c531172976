package janitor

import (
	"strings"
	"testing"
	"time"

	"lapse/lease"
)

// leftBy puts the launch of i-1 into the view, closed unless a change says otherwise.
func leftBy(changes ...func(*lease.Launch)) func(*View) {
	return launches(launch("launch-of-i-1", lease.LaunchClosed, changes...))
}

func TestOrphan(t *testing.T) {
	t.Parallel()
	look, orphan := ruling{action: ActLook}, ruling{action: ActOrphan, cause: lease.CauseFailedCreation}
	byHealth := ruling{action: ActHold, brake: brakeHealth}
	ripe := looked(time.Minute, "i-1")
	in := func(state lease.LaunchState) func(*lease.Launch) {
		return func(l *lease.Launch) { l.State = state }
	}
	check(t, []spec{
		{"closed launch: first look noted", holds("i-1", bare), with(leftBy()), look},
		{"closed launch, another instance was looked at", holds("i-1", bare), with(leftBy(looked(time.Hour, "i-2"))), look},
		{"second look too soon", holds("i-1", bare), with(leftBy(looked(time.Minute-1, "i-1"))), keep},
		{"second look an orphan grace later: orphan", holds("i-1", bare), with(leftBy(ripe)), orphan},
		{"stopped: orphan", holds("i-1", bare, is(lease.InstanceStopped)), with(leftBy(ripe)), orphan},
		{"pending: orphan", holds("i-1", bare, is(lease.InstancePending)), with(leftBy(ripe)), orphan},
		{"a look with a date to come", holds("i-1", bare), with(leftBy(looked(-time.Second, "i-1"))), keep},
		{"a look with a date that no right clock gave: noted anew", holds("i-1", bare), with(leftBy(looked(-11*time.Second, "i-1"))), look},
		{"shutting down already", holds("i-1", bare, is(lease.InstanceShuttingDown)), with(leftBy(ripe)), keep},
		{"terminated already", holds("i-1", bare, is(lease.InstanceTerminated)), with(leftBy(ripe)), keep},
		{"leased: no orphan", holds("i-1"), with(leftBy(ripe)), keep},
		{"exempt: reported", holds("i-1", bare, exempt), with(leftBy(ripe)), report},
		{"bears another registry's tag: foreign", holds("i-1", bare, foreign), with(leftBy(ripe)), report},
		{"bore another registry's tag, and is gone", holds("i-1", bare, foreign, is(lease.InstanceTerminated)), with(leftBy(ripe)), keep},
		{"bears no registry's tag", holds("i-1", bare, func(s *subject) { delete(s.instance.Tags, lease.TagRegistry) }), with(leftBy(ripe)), report},
		{"bears the tag without a value", holds("i-1", bare, func(s *subject) { s.instance.Tags[lease.TagRegistry] = "" }), with(leftBy(ripe)), report},
		{"listing failed: held", holds("i-1", bare), with(leftBy(ripe), unlisted), byHealth},
		{"listing failed: not even looked at", holds("i-1", bare), with(leftBy(), unlisted), byHealth},
		{"clock wrong: held", holds("i-1", bare), with(leftBy(ripe), skewed(11*time.Second)), byClock},
		{"no Date from EC2: not even looked at", holds("i-1", bare), with(leftBy(), undated), byClock},
		{"etcd ill: a record condemns, not a silence", holds("i-1", bare), with(leftBy(ripe), ill), orphan},
		{"launch open: being launched", holds("i-1", bare), with(leftBy(ripe, in(lease.LaunchOpen))), keep},
		{"launch done: unexplained", holds("i-1", bare), with(leftBy(ripe, in(lease.LaunchDone))), report},
		{"launch in a state of a newer version", holds("i-1", bare), with(leftBy(ripe, in("suspended"))), report},
		{"no record: unexplained", holds("i-1", bare), nil, report},
		{"launch of another token: unexplained", holds("i-1", bare), with(launches(launch("other", lease.LaunchClosed, ripe))), report},
		{"no launch tag: unexplained", holds("i-1", bare, func(s *subject) { delete(s.instance.Tags, lease.TagLaunch) }), with(leftBy(ripe)), report},
		{"copied tag, its own client token: unexplained", holds("i-1", bare, func(s *subject) { s.instance.ClientToken = "console" }), with(leftBy(ripe)), report},
		{"copied tag, no client token: unexplained", holds("i-1", bare, func(s *subject) { s.instance.ClientToken = "" }), with(leftBy(ripe)), report},
		{"names an attempt that the launch has not made: unexplained", holds("i-1", bare, func(s *subject) {
			s.instance.ClientToken, s.instance.Tags[lease.TagLaunch] = "launch-of-i-1.2", "launch-of-i-1.2"
		}), with(leftBy(ripe)), report},
		{"launch of another place: unexplained", holds("i-1", bare), with(leftBy(ripe, func(l *lease.Launch) { l.Region = there.Region })), report},
	})
}

func TestUnexplainedIsSaidAloud(t *testing.T) {
	t.Parallel()
	for want, v := range map[string]View{
		"no record speaks of it": viewOf(holds("i-1", bare)),
		"the tag was copied":     viewOf(holds("i-1", bare, func(s *subject) { s.instance.ClientToken = "" })),
		"its launch is done":     viewOf(holds("i-1", bare)),
	} {
		switch want {
		case "the tag was copied":
			leftBy()(&v)
		case "its launch is done":
			leftBy(func(l *lease.Launch) { l.State = lease.LaunchDone })(&v)
		}
		if _, got := rulingOn(t, v, "i-1"); !strings.HasPrefix(got.Reason, "unexplained") || !strings.Contains(got.Reason, want) {
			t.Errorf("reason %q, want %q", got.Reason, want)
		}
	}
}

func TestSettlement(t *testing.T) {
	t.Parallel()
	lastSend := func(d time.Duration) func(*lease.Launch) {
		return func(l *lease.Launch) { l.Attempts[0].LastSend = ago(d) }
	}
	refused := func(l *lease.Launch) { l.Attempts[0].Outcome = lease.OutcomeRefused }
	second := func(l *lease.Launch) {
		l.Attempts = append(l.Attempts, lease.Attempt{ClientToken: "launch-of-i-1.2", Sends: 0})
	}
	for _, c := range []struct {
		name    string
		subject subject
		changes []func(*lease.Launch)
		world   []func(*View)
		want    Action
	}{
		{"within the window, all bound: left to the launcher", holds("i-1"), []func(*lease.Launch){answered("i-1"), lastSend(15*time.Minute - 1)}, nil, ""},
		{"within the window, nothing known", holds("i-2"), []func(*lease.Launch){lastSend(15*time.Minute - 1)}, nil, ""},
		{"window over, all bound: done", holds("i-1"), []func(*lease.Launch){answered("i-1"), lastSend(15 * time.Minute)}, nil, ActDone},
		{"window over, bound and ended since: done", holds("i-1", ended(time.Minute), missing), []func(*lease.Launch){answered("i-1")}, nil, ActDone},
		{"window over, its lease cannot be read: it has one", holds("i-1", bare), []func(*lease.Launch){answered("i-1")}, with(bad(badLease, "i-1")), ActDone},
		{"window over, refused: done, with nothing made", holds("i-2"), []func(*lease.Launch){refused}, nil, ActDone},
		{"window over, outcome unknown: closed", holds("i-2"), nil, nil, ActClose},
		{"window over, outcome unknown though something is bound: closed", holds("i-1"), nil, nil, ActClose},
		{"window over, answered and not bound: closed", holds("i-1", bare), []func(*lease.Launch){answered("i-1")}, nil, ActClose},
		{"window over, answered, not bound and not seen: closed", holds("i-2"), []func(*lease.Launch){answered("i-1")}, nil, ActClose},
		{"window over, one of two bound: closed", holds("i-1"), []func(*lease.Launch){answered("i-1", "i-2")}, nil, ActClose},
		{"window over, one more is seen than was answered with: closed", holds("i-1", bare), []func(*lease.Launch){answered()}, nil, ActClose},
		{"window over, one more is seen terminated: done", holds("i-1", bare, is(lease.InstanceTerminated)), []func(*lease.Launch){answered()}, nil, ActDone},
		{"window over, a second attempt stored and not known to be sent: closed", holds("i-1"), []func(*lease.Launch){answered("i-1"), second}, nil, ActClose},
		{"window counts from the record if nothing was sent", holds("i-2"), []func(*lease.Launch){func(l *lease.Launch) {
			l.CreatedAt, l.Attempts[0] = ago(15*time.Minute-1), lease.Attempt{}
		}}, nil, ""},
		{"window over, listing failed: left", holds("i-1"), []func(*lease.Launch){answered("i-1")}, with(unlisted), ""},
		{"window over by a wrong clock: left", holds("i-1"), nil, with(skewed(11 * time.Second)), ""},
		{"window over, no Date from EC2: left", holds("i-1"), nil, with(undated), ""},
		{"window over, place not swept: left", holds("i-2"), []func(*lease.Launch){func(l *lease.Launch) { l.Region = there.Region }}, nil, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			v := viewOf(c.subject)
			v.Snapshot.Launches = []lease.Launch{launch("launch-of-i-1", lease.LaunchOpen, c.changes...)}
			for _, change := range c.world {
				change(&v)
			}
			if got := actionOnLaunch(v, "launch-of-i-1"); got != c.want {
				t.Errorf("decided %q, want %q", got, c.want)
			}
		})
	}
}

// dateAhead is a token like a generated one, of the year 9999: no launch is refused by it.
const dateAhead = "e677d21f-0000-7abc-8def-0123456789ab"

func TestALaunchIsPurgedOnceItHasServed(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	const generated = "019526e0-7e2a-7abc-8def-0123456789ab" // UUIDv7: refused by its own date
	settled := func(d time.Duration, changes ...func(*lease.Launch)) []func(*lease.Launch) {
		return append(changes, func(l *lease.Launch) { l.SettledAt = ago(d) })
	}
	of := func(token string, changes ...func(*subject)) subject {
		s := holds("i-1", changes...)
		s.instance.Tags[lease.TagLaunch] = token + ".1"
		return s
	}
	gone := holds("i-9", bare)
	for _, c := range []struct {
		name    string
		token   string
		changes []func(*lease.Launch)
		subject subject
		world   []func(*View)
		want    Action
	}{
		{"chosen token, 90 days less a moment", "chosen", settled(90*day - 1), gone, nil, ""},
		{"chosen token, 90 days", "chosen", settled(90 * day), gone, nil, ActPurge},
		{"generated token, a week less a moment", generated, settled(7*day - 1), gone, nil, ""},
		{"generated token, a week", generated, settled(7 * day), gone, nil, ActPurge},
		{"token dated ahead, a week", dateAhead, settled(7 * day), gone, nil, ""},
		{"token dated ahead, 90 days", dateAhead, settled(90 * day), gone, nil, ActPurge},
		{"settled, nobody knows when", "chosen", []func(*lease.Launch){func(l *lease.Launch) { l.SettledAt = time.Time{} }}, gone, nil, ""},
		{"a lease of it is left", "launch-of-i-1", settled(90 * day), holds("i-1", ended(day), missing), nil, ""},
		{"only an unmanaged instance's record is left, which waits for this", "launch-of-i-1", settled(90 * day), holds("i-1", withLease(func(l *lease.Lease) { l.State = lease.StateUnmanaged }), missing), nil, ActPurge},
		{"a lease of it cannot be read", "launch-of-i-1", settled(90*day, answered("i-1")), holds("i-1", bare, missing), with(bad(badLease, "i-1")), ""},
		{"an instance bears its tag", "chosen", settled(90 * day), of("chosen", bare, is(lease.InstanceTerminated)), nil, ""},
		{"an instance bears a copy of its tag", "chosen", settled(90 * day), of("chosen", bare, foreign), nil, ""},
		{"the listing failed", "chosen", settled(90 * day), gone, with(unlisted), ""},
		{"the clock is wrong", "chosen", settled(90 * day), gone, with(skewed(time.Minute)), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			v := viewOf(c.subject)
			v.Snapshot.Launches = []lease.Launch{launch(c.token, lease.LaunchDone, c.changes...)}
			for _, change := range c.world {
				change(&v)
			}
			if got := actionOnLaunch(v, c.token); got != c.want {
				t.Errorf("decided %q, want %q", got, c.want)
			}
		})
	}
}

func TestNextOfALaunch(t *testing.T) {
	t.Parallel()
	v := viewOf()
	v.Snapshot.Launches = []lease.Launch{launch("a", lease.LaunchOpen, func(l *lease.Launch) { l.Attempts[0].LastSend = ago(time.Minute) })}
	if got := decide(v).Next; !got.Equal(in(14 * time.Minute)) {
		t.Errorf("next at %s, want the end of its window", got)
	}
	v = viewOf(holds("i-1", bare))
	leftBy(looked(20*time.Second, "i-1"))(&v)
	if got := decide(v).Next; !got.Equal(in(40 * time.Second)) {
		t.Errorf("next at %s, want the second look", got)
	}
}
