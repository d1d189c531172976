package lease_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"lapse/lease"
)

const capacity = "InsufficientInstanceCapacity"

func sent() lease.Launch { return must(opened().Sending(noon)) }

func next(t *testing.T, l lease.Launch) lease.Launch {
	t.Helper()
	l, ok := l.Next()
	if !ok {
		t.Fatalf("no attempt follows %+v", l.Last())
	}
	return l
}

func TestTheFirstAttemptRequestsAllAndLaterOnesTheRest(t *testing.T) {
	t.Parallel()
	l := opened()
	if want := (lease.Attempt{ClientToken: token + ".1", Min: 3, Max: 3}); !same(l.Last(), want) {
		t.Errorf("attempt 1 is %+v", l.Last())
	}
	l = next(t, sent().Refused(capacity))
	if want := (lease.Attempt{ClientToken: token + ".2", Min: 1, Max: 3}); !same(l.Last(), want) {
		t.Errorf("after a refusal, attempt 2 is %+v", l.Last())
	}
	l = next(t, sent().Launched([]string{"i-1", "i-2"}))
	if want := (lease.Attempt{ClientToken: token + ".2", Min: 1, Max: 1}); !same(l.Last(), want) {
		t.Errorf("after two of three, attempt 2 is %+v", l.Last())
	}
	if l.Missing() != 1 || !same(l.Instances(), []string{"i-1", "i-2"}) {
		t.Errorf("missing %d besides %v", l.Missing(), l.Instances())
	}
	first, ok := l.Attempt(token + ".1")
	if _, other := l.Attempt(token + ".3"); !ok || other || !same(first, l.Attempts[0]) {
		t.Errorf("attempt 1 is found as %+v, attempt 3: %t", first, other)
	}
}

func TestSubnetsAndTypesAreTriedInOrderUntilExhausted(t *testing.T) {
	t.Parallel()
	l := opened()
	l.Subnets, l.InstanceTypes, l.Attempts = []string{"s1", "s2"}, []string{"t1", "t2"}, nil
	var tried []string
	for more := true; more; {
		if l, more = l.Next(); more {
			a := l.Last()
			tried = append(tried, a.Subnet+"/"+a.InstanceType)
			if a.ClientToken != lease.ClientToken(token, len(tried)) {
				t.Errorf("attempt %d has client token %s", len(tried), a.ClientToken)
			}
			l = must(l.Sending(noon)).Refused(capacity)
		}
	}
	// The refusal of all three at once says nothing about one.
	if got, want := strings.Join(tried, " "), "s1/t1 s1/t1 s1/t2 s2/t1 s2/t2"; got != want {
		t.Errorf("tried %s, want %s", got, want)
	}
}

func TestARefusedLaunchOfOneGoesToTheNextSubnetAtOnce(t *testing.T) {
	t.Parallel()
	l := opened()
	l.Count, l.Subnets, l.Attempts = 1, []string{"s1", "s2"}, nil
	l = must(next(t, l).Sending(noon)).Refused(capacity)
	if l = next(t, l); l.Last().Subnet != "s2" || l.Last().Min != 1 {
		t.Errorf("attempt 2 is %+v", l.Last())
	}
}

func TestNoAttemptFollows(t *testing.T) {
	t.Parallel()
	many := sent().Refused(capacity)
	for len(many.Attempts) < 999 {
		many.Attempts = append(many.Attempts, many.Attempts[0])
	}
	for name, l := range map[string]lease.Launch{
		"an attempt that was never sent": opened(),
		"an attempt without an answer":   sent(),
		"an attempt in doubt":            sent().Doubt(),
		"a refusal after a doubt":        must(sent().Sending(noon)).Refused(capacity),
		"an answer with all":             sent().Launched([]string{"i-1", "i-2", "i-3"}),
		"the settling of a launch":       must(sent().Refused(capacity).Done(noon)),
		"the closing of a launch":        must(sent().Refused(capacity).Close(noon, "released")),
		"the last client token of 64":    many,
	} {
		if got, ok := l.Next(); ok || !same(got, l) {
			t.Errorf("%s is followed by %+v", name, got.Last())
		}
	}
}

func TestOnlyACertainRefusalIsDefinite(t *testing.T) {
	t.Parallel()
	again := func(l lease.Launch) lease.Launch { return must(l.Sending(at(time.Minute))) }
	for name, c := range map[string]struct {
		l    lease.Launch
		want lease.Outcome
	}{
		"refused at once":                               {sent().Refused(capacity), lease.OutcomeRefused},
		"refused after a time-out":                      {again(sent().Doubt()).Refused(capacity), ""},
		"refused after a crash":                         {again(sent()).Refused(capacity), ""},
		"refused twice after a time-out":                {again(again(sent().Doubt()).Refused(capacity)).Refused(capacity), ""},
		"refused after a throttled send":                {again(sent().Unsent()).Refused(capacity), lease.OutcomeRefused},
		"refused after a time-out and a throttled send": {again(again(sent().Doubt()).Unsent()).Refused(capacity), ""},
		"answered after a time-out":                     {again(sent().Doubt()).Launched([]string{"i-1"}), lease.OutcomeLaunched},
		"answered after a refusal in doubt": {
			again(again(sent().Doubt()).Refused(capacity)).Launched([]string{"i-1"}), lease.OutcomeLaunched,
		},
		"refused, they say, after it was answered":     {launched().Refused(capacity), lease.OutcomeLaunched},
		"refused after a time-out that was taken back": {again(sent().Doubt().Unsent()).Refused(capacity), ""},
		"throttled more often than sent, then crash":   {again(again(sent().Unsent().Unsent())).Refused(capacity), ""},
	} {
		got := c.l.Last()
		if got.Outcome != c.want {
			t.Errorf("%s: the outcome is %q, want %q", name, got.Outcome, c.want)
		}
		if answered := got.Outcome == lease.OutcomeLaunched; answered != (len(got.Instances) > 0) || answered == (got.Code == capacity) {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestEachSendIsCountedAndDated(t *testing.T) {
	t.Parallel()
	l := sent()
	if a := l.Last(); a.Sends != 1 || !a.LastSend.Equal(noon) || a.Doubtful {
		t.Errorf("sent once: %+v", a)
	}
	l = must(l.Sending(at(time.Minute)))
	if a := l.Last(); a.Sends != 2 || !a.LastSend.Equal(at(time.Minute)) || !a.Doubtful {
		t.Errorf("sent twice: %+v", a)
	}
	if l = l.Unsent(); l.Last().Sends != 1 || !l.Last().Doubtful {
		t.Errorf("turned away once: %+v", l.Last())
	}
	if l = sent().Unsent(); l.Last().Sends != 0 || l.Last().Doubtful {
		t.Errorf("turned away: %+v", l.Last())
	}
	if l = sent().Doubt(); !l.Last().Doubtful || l.Last().Outcome != "" {
		t.Errorf("timed out: %+v", l.Last())
	}
}

func TestNothingIsSentAfterTheWindow(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		l    lease.Launch
		over time.Duration
	}{
		"counted from the launch while nothing was sent": {opened(), 15 * time.Minute},
		"counted from the last send":                     {must(sent().Sending(at(10 * time.Minute))), 25 * time.Minute},
		"counted from the last send of any attempt": {
			next(t, must(sent().Unsent().Sending(at(5*time.Minute))).Refused(capacity)), 20 * time.Minute,
		},
		"counted from the last send of the last attempt": {
			must(next(t, must(opened().Sending(at(time.Minute))).Refused(capacity)).Sending(at(10 * time.Minute))).Doubt(), 25 * time.Minute,
		},
		"counted from the latest date, whatever its attempt": {
			func() lease.Launch {
				l := must(opened().Sending(at(10 * time.Minute))).Refused(capacity)
				return must(next(t, l).Sending(at(5 * time.Minute))).Doubt() // by a launcher whose clock is behind
			}(), 25 * time.Minute,
		},
	} {
		if _, err := c.l.Sending(at(c.over - 1)); err != nil || c.l.WindowOver(at(c.over-1)) {
			t.Errorf("%s: refused just before its end: %v", name, err)
		}
		got, err := c.l.Sending(at(c.over))
		var over *lease.WindowError
		if !errors.As(err, &over) || over.Token != token || !over.Since.Equal(at(c.over)) || !c.l.WindowOver(at(c.over)) {
			t.Errorf("%s: at its end: %v", name, err)
		}
		if !same(got, c.l) {
			t.Errorf("%s: and yet changed to %s", name, text(t, got))
		}
	}
}

func TestAnAnsweredAttemptIsNotSentAgain(t *testing.T) {
	t.Parallel()
	for name, l := range map[string]lease.Launch{"refused": sent().Refused(capacity), "launched": launched()} {
		got, err := l.Sending(at(time.Minute))
		var state *lease.LaunchStateError
		if !errors.As(err, &state) || !same(got, l) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestASettledLaunchRefusesFurtherSteps(t *testing.T) {
	t.Parallel()
	done := must(launched().Done(at(time.Minute)))
	closed := must(sent().Close(at(time.Minute), "window over"))
	send := func(l lease.Launch) (lease.Launch, error) { return l.Sending(at(2 * time.Minute)) }
	complete := func(l lease.Launch) (lease.Launch, error) { return l.Done(at(2 * time.Minute)) }
	look := func(l lease.Launch) (lease.Launch, error) { return l.NoteFirstSeen(at(2*time.Minute), "i-1") }
	for name, c := range map[string]struct {
		l    lease.Launch
		do   func(lease.Launch) (lease.Launch, error)
		want lease.LaunchStateError
	}{
		"send when done":     {done, send, lease.LaunchStateError{Verb: "send", State: lease.LaunchDone, Since: at(time.Minute)}},
		"sighting when done": {done, look, lease.LaunchStateError{Verb: "judge orphans of", State: lease.LaunchDone, Since: at(time.Minute)}},
		"sighting when open": {sent(), look, lease.LaunchStateError{Verb: "judge orphans of", State: lease.LaunchOpen, Since: noon}},
		"send when closed":   {closed, send, lease.LaunchStateError{Verb: "send", State: lease.LaunchClosed, Since: at(time.Minute), Reason: "window over"}},
		"finish when closed": {closed, complete, lease.LaunchStateError{Verb: "complete", State: lease.LaunchClosed, Since: at(time.Minute), Reason: "window over"}},
	} {
		c.want.Token = token
		got, err := c.do(c.l)
		var refusal *lease.LaunchStateError
		if !errors.As(err, &refusal) || *refusal != c.want || !same(got, c.l) {
			t.Errorf("%s: refused with %#v, want %#v", name, err, c.want)
		}
	}
}

func TestDoneAndCloseSettleOnce(t *testing.T) {
	t.Parallel()
	done := must(launched().Done(at(time.Minute)))
	if done.State != lease.LaunchDone || !done.SettledAt.Equal(at(time.Minute)) {
		t.Errorf("done as %s", text(t, done))
	}
	if again := must(done.Done(at(time.Hour))); !same(again, done) {
		t.Errorf("done twice as %s", text(t, again))
	}
	for name, l := range map[string]lease.Launch{"open": sent(), "done": done} {
		closed := must(l.Close(at(2*time.Minute), "released"))
		if closed.State != lease.LaunchClosed || !closed.SettledAt.Equal(at(2*time.Minute)) || closed.Reason != "released" {
			t.Errorf("%s closed as %s", name, text(t, closed))
		}
		if again := must(closed.Close(at(time.Hour), "window over")); !same(again, closed) {
			t.Errorf("%s closed twice as %s", name, text(t, again))
		}
	}
}

func TestTheFirstSightingOfEachInstanceIsKept(t *testing.T) {
	t.Parallel()
	closed := must(sent().Close(noon, "window over"))
	first := must(closed.NoteFirstSeen(at(time.Minute), "i-1"))
	second := must(first.NoteFirstSeen(at(2*time.Minute), "i-1", "i-2"))
	if want := map[string]time.Time{"i-1": at(time.Minute), "i-2": at(2 * time.Minute)}; !same(second.FirstSeen, want) {
		t.Errorf("sightings are %v", second.FirstSeen)
	}
	if early := must(second.NoteFirstSeen(at(90*time.Second), "i-1", "i-2")); !same(early.FirstSeen, map[string]time.Time{"i-1": at(time.Minute), "i-2": at(90 * time.Second)}) {
		t.Errorf("sightings, one of which had yet to come, are %v", early.FirstSeen)
	}
	if closed.FirstSeen != nil || len(first.FirstSeen) != 1 {
		t.Errorf("older values became %v and %v", closed.FirstSeen, first.FirstSeen)
	}
}
