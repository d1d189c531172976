package janitor

import (
	"slices"
	"testing"
	"time"

	"lapse/lease"
)

// expired is to be ended at once: its term passed a second ago, watched.
func expired(s *subject) { over(time.Second)(s) }

// ahead is a lease whose sidecar beats, and has seen so many changes more than there are.
func ahead(by int64) func(*View) {
	return func(v *View) {
		for id, hb := range v.Snapshot.Heartbeats {
			hb.Changes = by
			v.Snapshot.Heartbeats[id] = hb
		}
	}
}

func TestALeaseOfWhichItsSidecarKnowsMoreIsHeldAlone(t *testing.T) {
	t.Parallel()
	v := crowd(many(2, "a", beats, expired), many(60, "b", expired))
	ahead(1)(&v)
	plan := decide(v)
	if n := tally(plan); n[ActHold] != 2 || n[ActEnd] != 60 {
		t.Errorf("decided %v, want the two held and 60 ended", n)
	}
	if !heldBy(plan, lease.BrakeRestored, "i-a000") || !heldBy(plan, lease.BrakeRestored, "i-a001") || heldBy(plan, lease.BrakeRestored, "") {
		t.Errorf("brakes %+v", plan.Brakes)
	}
	if len(standing(plan.Brakes)) > 0 {
		t.Errorf("%v stand, though their cause tells when they end", standing(plan.Brakes))
	}
}

func TestAHeartbeatThatNoSidecarHoldsTellsNothingOfLaterChanges(t *testing.T) {
	t.Parallel()
	v := crowd(many(5, "a", beats, expired))
	ahead(9)(&v)
	for id, hb := range v.Snapshot.Heartbeats {
		hb.Held = false // a key that was left behind, or put by hand
		v.Snapshot.Heartbeats[id] = hb
	}
	if plan := decide(v); len(plan.Ends()) != 5 || heldBy(plan, lease.BrakeRestored, "") {
		t.Errorf("%d end, brakes %+v; want all five, by their dates", len(plan.Ends()), plan.Brakes)
	}
}

func TestEverythingIsHeldWhenMoreThanTwoAndFivePercentOfSidecarsKnowMore(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		ahead, all int
		held       bool
	}{
		"two of two": {2, 2, false}, "three of three": {3, 3, true}, "three of 59": {3, 59, true}, "three of 60": {3, 60, false},
		"50 of 1000": {50, 1000, false}, "51 of 1000": {51, 1000, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := crowd(many(c.ahead, "a", beats))
			ahead(9)(&v)
			for _, s := range append(many(c.all-c.ahead, "b", beats), many(10, "c", expired)...) {
				v.add(s)
			}
			plan := decide(v)
			if got := heldBy(plan, lease.BrakeRestored, ""); got != c.held || (len(plan.Ends()) == 0) != c.held {
				t.Errorf("%d end, brakes %+v; want held: %t", len(plan.Ends()), plan.Brakes, c.held)
			}
			if got := len(standing(plan.Brakes)) == 1 && len(plan.Acting) == 0; got != c.held {
				t.Errorf("standing %v, acting %v", standing(plan.Brakes), plan.Acting)
			}
		})
	}
}

func TestWhatIsInDoubtLetsNoMoreSidecarsKnowMore(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		sixtieth []func(*subject)
		world    func(*View)
		held     bool
	}{
		"one that beats":             {[]func(*subject){beats}, nil, false},
		"one that is not shown":      {[]func(*subject){beats, missing}, nil, true},
		"one that is stopped":        {[]func(*subject){beats, is(lease.InstanceStopped)}, nil, true},
		"one that is exempt":         {[]func(*subject){beats, exempt}, nil, true},
		"one that is not ours":       {[]func(*subject){beats, foreign}, nil, true},
		"one whose term is over":     {[]func(*subject){beats, over(time.Minute)}, nil, true},
		"one that is silent":         {[]func(*subject){silent(0)}, nil, true},
		"one without a lease":        {[]func(*subject){bare, foreign}, knows("i-c", 0), true},
		"one without any record":     {[]func(*subject){missing}, knows("i-d", 0), true},
		"one that knows more, alone": {[]func(*subject){beats}, knows("i-b000", 9), true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := crowd(many(3, "a", beats))
			ahead(9)(&v)
			for _, s := range append(many(56, "b", beats), holds("i-c", c.sixtieth...)) {
				v.add(s)
			}
			if c.world != nil {
				c.world(&v)
			}
			if got := heldBy(decide(v), lease.BrakeRestored, ""); got != c.held {
				t.Errorf("three of 59 know more, and %s: held %t", name, got)
			}
		})
	}
}

// bornOf is an instance without any record, of a launch with that token.
func bornOf(token string) func(*subject) {
	return func(s *subject) {
		bare(s)
		s.instance.ClientToken, s.instance.Tags[lease.TagLaunch] = token+".1", token+".1"
	}
}

func TestALaunchWithoutARecordHoldsEverythingIfItIsYoungerThanTheStamp(t *testing.T) {
	t.Parallel()
	const old = "019526e0-7e2a-7abc-8def-0123456789ab" // of 2025
	started := func(d time.Duration) func(*subject) {
		return func(s *subject) { s.instance.LaunchTime = ago(d) }
	}
	for name, c := range map[string]struct {
		changes []func(*subject)
		view    func(*View)
		held    bool
	}{
		"chosen token, launched after the stamp":       {[]func(*subject){bornOf("web"), started(30 * time.Second)}, nil, true},
		"chosen token, launched before the stamp":      {[]func(*subject){bornOf("web"), started(2 * time.Minute)}, nil, false},
		"younger by just what two clocks may differ":   {[]func(*subject){bornOf("web"), started(50 * time.Second)}, nil, false},
		"younger by more than two clocks may differ":   {[]func(*subject){bornOf("web"), started(50*time.Second - 1)}, nil, true},
		"generated token of long ago, started anew":    {[]func(*subject){bornOf(old), started(30 * time.Second)}, nil, false},
		"token dated ahead, launched before the stamp": {[]func(*subject){bornOf(dateAhead), started(2 * time.Minute)}, nil, false},
		"its tag was copied":                           {[]func(*subject){bornOf("web"), started(30 * time.Second), func(s *subject) { s.instance.ClientToken = "theirs" }}, nil, false},
		"its tag names another launch":                 {[]func(*subject){bornOf("web"), started(30 * time.Second), func(s *subject) { s.instance.Tags[lease.TagLaunch] = "other.1" }}, nil, false},
		"younger by less than two clocks may differ":   {[]func(*subject){bornOf("web"), started(30 * time.Second)}, func(v *View) { v.Snapshot.Sweep.Time = ago(35 * time.Second) }, false},
		"another registry's":                           {[]func(*subject){bornOf("web"), started(30 * time.Second), foreign}, nil, false},
		"its record is there":                          {[]func(*subject){bornOf("web"), started(30 * time.Second)}, launches(launch("web", lease.LaunchOpen)), false},
		"its record is there, but not of the attempt":  {[]func(*subject){bornOf("web"), started(30 * time.Second), func(s *subject) { s.instance.ClientToken, s.instance.Tags[lease.TagLaunch] = "web.2", "web.2" }}, launches(launch("web", lease.LaunchOpen)), true},
		"its record cannot be read":                    {[]func(*subject){bornOf("web"), started(30 * time.Second)}, bad("launch", "web"), false},
		"there was no stamp yet":                       {[]func(*subject){bornOf("web"), started(30 * time.Second)}, func(v *View) { v.Snapshot.Sweep.Time = time.Time{} }, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := viewOf(holds("i-stray", c.changes...), holds("i-due", marked(lease.CauseTerm, ago(time.Minute)), over(time.Hour)))
			if c.view != nil {
				c.view(&v)
			}
			plan := decide(v)
			if got := heldBy(plan, lease.BrakeRestored, ""); got != c.held {
				t.Errorf("brakes %+v, want held: %t", plan.Brakes, c.held)
			}
			if ends := len(plan.Ends()); c.held && ends > 0 {
				t.Errorf("%d end", ends)
			}
		})
	}
}

func TestWhatStandsHoldsEveryActUntilLifted(t *testing.T) {
	t.Parallel()
	world := func() View {
		v := viewOf(holds("i-term", expired), holds("i-revoked", revoked(lease.CauseRelease, time.Hour)), holds("i-gone", is(lease.InstanceTerminated)),
			holds("i-silent", due), holds("i-late", silent(long)))
		launches(launch("web", lease.LaunchClosed, looked(time.Hour, "i-left")), launch("old", lease.LaunchOpen))(&v)
		v.add(holds("i-left", bornOf("web")))
		v.add(holds("i-past", ended(30*24*time.Hour), missing))
		return v
	}
	before := decide(world())
	v := world()
	v.Standing = []lease.Brake{{Name: lease.BrakeStranger, Since: ago(time.Hour), Reason: "then"}}
	plan := decide(v)
	for _, verdict := range plan.Verdicts {
		if verdict.Action != ActKeep && verdict.Action != ActReport && verdict.Action != ActHold {
			t.Errorf("%s %s%s", verdict.Action, verdict.InstanceID, verdict.Token)
		}
	}
	if got := standing(plan.Brakes); !slices.Equal(got, v.Standing) {
		t.Errorf("standing %v, want it as it was", got)
	}
	if n := tally(before); len(before.Ends()) < 4 || n[ActMark] == 0 || n[ActPurge] == 0 || n[ActConfirm] == 0 || n[ActClose] == 0 {
		t.Errorf("decided %v without the brake: the test shows little", n)
	}
}

func TestSidecarsOfLeasesThatAreLostOrCannotBeReadKnowMore(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(*View){
		"lost": func(v *View) { v.Snapshot.Leases = v.Snapshot.Leases[3:] },
		"unreadable": func(v *View) {
			bad(badLease, "i-a000")(v)
			bad(badLease, "i-a001")(v)
			bad(badLease, "i-a002")(v)
			v.Snapshot.Leases = v.Snapshot.Leases[3:]
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := crowd(many(3, "a", beats, withLease(func(l *lease.Lease) { l.Changes = 1 })))
			ahead(1)(&v)
			v.add(holds("i-due", expired))
			if plan := decide(v); len(plan.Ends()) != 1 || len(plan.Brakes) > 0 {
				t.Fatalf("%d end, brakes %+v, though the records are as new as any sidecar knows", len(plan.Ends()), plan.Brakes)
			}
			spoil(&v)
			if plan := decide(v); len(plan.Ends()) > 0 || !heldBy(plan, lease.BrakeRestored, "") {
				t.Errorf("%d end, brakes %+v; want everything held", len(plan.Ends()), plan.Brakes)
			}
		})
	}
}

func TestMoreLeasesThanAreNamedAreHeldWhenTheirSidecarsKnowMore(t *testing.T) {
	t.Parallel()
	v := crowd(many(behindNamed+2, "a", beats, expired))
	ahead(9)(&v)
	v.Policy.BehindMin = behindNamed + 2
	for _, s := range many(10, "c", expired) {
		v.add(s)
	}
	plan := decide(v)
	if n := tally(plan); n[ActHold] != behindNamed+2 || n[ActEnd] != 10 || len(plan.Brakes) != behindNamed {
		t.Errorf("decided %v, %d brakes; want %d held, of which %d are named", n, len(plan.Brakes), behindNamed+2, behindNamed)
	}
}

func TestABrakeThatStandsKeepsItsDateWhateverElseIsFound(t *testing.T) {
	t.Parallel()
	v := crowd(many(9, "a", beats))
	ahead(9)(&v)
	v.Standing = []lease.Brake{{Name: lease.BrakeRestored, Since: ago(time.Hour), Reason: "then"}}
	if got := standing(decide(v).Brakes); !slices.Equal(got, v.Standing) {
		t.Errorf("standing %v, want it as it was: it is one incident, and is lifted once", got)
	}
}

func TestASilenceBrakeThatWasLiftedLetsNoMoreDieThanWereSilentThen(t *testing.T) {
	t.Parallel()
	crowded := func(silent int, said time.Duration) Plan {
		v := calm(crowd(many(silent, "s", due), many(10, "b", beats)))
		held := decide(calm(crowd(many(6, "s", due), many(10, "b", beats)))).Brakes
		v.Snapshot.Registry = v.Snapshot.Registry.Lift(ago(said), lease.BrakeSilence, held, "ada")
		return decide(v)
	}
	for name, c := range map[string]struct {
		silent int
		said   time.Duration
		ends   int
	}{
		"those who were silent": {6, time.Minute, 6},
		"one more":              {7, time.Minute, 0},
		"said long ago":         {6, 3 * time.Hour, 0},
		"said in the future":    {6, -3 * time.Hour, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if plan := crowded(c.silent, c.said); len(plan.Ends()) != c.ends || heldBy(plan, brakeSilence, "euw1-az1") != (c.ends == 0) {
				t.Errorf("%d end, want %d; brakes %+v", len(plan.Ends()), c.ends, plan.Brakes)
			}
		})
	}
}

// knows is a heartbeat whose sidecar has seen so many changes of its lease.
func knows(id string, changes int64) func(*View) {
	return func(v *View) {
		v.Snapshot.Heartbeats[id] = lease.Heartbeat{InstanceID: id, TTL: lease.Duration(ttl), Held: true, Changes: changes}
	}
}

func TestWhatAClosedLaunchLeftIsHeldIfItsSidecarHasSeenALease(t *testing.T) {
	t.Parallel()
	for changes, want := range map[int64]Action{0: ActOrphan, 1: ActHold} {
		v := viewOf(holds("i-left", bornOf("web")))
		launches(launch("web", lease.LaunchClosed, looked(time.Hour, "i-left")))(&v)
		knows("i-left", changes)(&v)
		if got, verdict := rulingOn(t, v, "i-left"); got.action != want {
			t.Errorf("a sidecar that has seen %d changes: %s (%s), want %s", changes, got.action, verdict.Reason, want)
		}
	}
}

func TestALeaseOfWhichItsSidecarKnewMoreStaysHeldWhenItLapses(t *testing.T) {
	t.Parallel()
	world := func(changes ...func(*subject)) View {
		return viewOf(holds("i-1", append([]func(*subject){beats, expired}, changes...)...), holds("i-2", expired))
	}
	v := world()
	ahead(7)(&v)
	first := decide(v)
	if n := tally(first); n[ActHold] != 1 || n[ActEnd] != 1 {
		t.Fatalf("decided %v, want one held and one ended", n)
	}
	for name, c := range map[string]struct {
		now  func(*View)
		want Action
	}{
		"its sidecar is gone":             {func(v *View) { clear(v.Snapshot.Heartbeats) }, ActHold},
		"its sidecar begins anew":         {knows("i-1", 0), ActHold},
		"it was extended, which is older": {func(v *View) { v.Snapshot.Leases[0].Changes = 6 }, ActHold},
		"a person took it as it is":       {func(v *View) { v.Snapshot.Leases[0] = v.Snapshot.Leases[0].CatchUp(noon, 7, jan) }, ActMark},
		"it was revoked, which is for good": {func(v *View) {
			v.Snapshot.Leases[0].State, v.Snapshot.Leases[0].Cause = lease.StateRevoked, lease.CauseRelease
			clear(v.Snapshot.Heartbeats)
		}, ActEnd},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := world()
			v.Snapshot.Sweep.Brakes = first.Brakes
			c.now(&v)
			if got, verdict := rulingOn(t, v, "i-1"); got.action != c.want {
				t.Errorf("%s (%s), want %s", got.action, verdict.Reason, c.want)
			}
			if heldBy(decide(v), lease.BrakeRestored, "") {
				t.Error("one that is remembered holds everything")
			}
		})
	}
}

func TestASilenceCountsAnewWhenWhatStandsIsLifted(t *testing.T) {
	t.Parallel()
	v := viewOf(holds("i-1", silent(2*time.Minute), marked(lease.CauseSilence, in(3*time.Minute))), holds("i-2", beats))
	if got, _ := rulingOn(t, v, "i-1"); got.action != ActKeep {
		t.Fatalf("%v: the test shows nothing", got)
	}
	v.Standing = []lease.Brake{{Name: lease.BrakeStranger, Since: ago(time.Hour), Reason: "then"}}
	plan := decide(v)
	m := newMemory(noon)
	m.observe(noon, time.Time{}, v.Snapshot, indexed(v.Places))
	later := noon.Add(2 * time.Minute)
	m.held(later, plan.Verdicts)
	if s := m.silences(later)["i-1"]; s.For != 0 {
		t.Errorf("silent for %s when the brake lifts, and ended that much sooner", s.For)
	}
}
