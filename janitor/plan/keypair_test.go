package plan_test

import (
	"testing"
	"time"

	"lapse/janitor/plan"
	. "lapse/janitor/plan/plantest"
	"lapse/lease"
)

// byKeyPair lets launch web be one whose attempt has a key pair of its own, with the id key-1.
func byKeyPair(state lease.LaunchState) func(*World) {
	return webIs(func(l *lease.Launch) {
		l.State, l.Anima, l.Registry, l.Consistency = state, lease.AnimaKeyPair, Ours, lease.Duration(5*time.Minute)
		l.Attempts[0].KeyAt, l.Attempts[0].KeyID = l.Attempts[0].LastSend, "key-1"
	})
}

// keyPair is a key pair with the name and the tags of that attempt's, and with another id.
func keyPair(changes ...func(*lease.Leftover)) lease.Leftover {
	x := remains(lease.LeftoverKeyPair, changes...)
	if x.Name == "" {
		x.Name = lease.KeyName(Ours, "web.1")
	}
	return x
}

func TestKeyPairsLeftBehind(t *testing.T) {
	t.Parallel()
	closed, done := byKeyPair(lease.LaunchClosed), byKeyPair(lease.LaunchDone)
	untagged := func(x *lease.Leftover) { x.Tags = map[string]string{} }
	named := func(name string) func(*lease.Leftover) { return func(x *lease.Leftover) { x.Name = name } }
	onRecord := webIs(func(l *lease.Launch) { l.Attempts[0].KeyID = "x-1" })
	checkLeftovers(t, []leftoverCase{
		{"ours by its tags, of a closed launch", keyPair(), with(closed), remove},
		{"ours by its tags, of a launch that is done", keyPair(), with(done), remove},
		{"ours by its id on record", keyPair(untagged), with(done, onRecord), remove},
		{"an instance of its launch runs", keyPair(), with(done, ofWeb("i-1")), remove},
		{"not seen yet", keyPair(), with(done, webIs(func(l *lease.Launch) { l.FirstSeen = nil })), lookAt},
		{"second sighting too soon", keyPair(), with(done, webIs(FirstSeen(time.Minute-1, "x-1"))), keep},
		{"by its name alone", keyPair(untagged), with(done), report},
		{"the registry's tag alone", keyPair(Untagged(lease.TagLaunch)), with(done), report},
		{"the launch's tag alone", keyPair(Untagged(lease.TagRegistry)), with(done), report},
		{"the id on record, and another registry's tag", keyPair(Tagged(lease.TagRegistry, "another")), with(done, onRecord), report},
		{"our tags and another attempt's name", keyPair(named(lease.KeyName(Ours, "web.2"))), with(done), report},
		{"our tags and a name of its own", keyPair(named("ada")), with(done), report},
		{"the name that another registry gives", keyPair(named(lease.KeyName("another", "web.1"))), with(done), report},
		{"exempt", keyPair(Tagged(lease.TagExempt, "")), with(done), report},
		{"exempt, and its id is on record", keyPair(untagged, Tagged(lease.TagExempt, "")), with(done, onRecord), report},
		{"elsewhere", keyPair(), with(done, webIs(func(l *lease.Launch) { l.Region = There.Region })), report},
		{"of a launch that is open", keyPair(), with(byKeyPair(lease.LaunchOpen)), report},
		{"of a launch with client tokens", keyPair(), with(webIs(func(*lease.Launch) {})), report},
		{"never about to be made", keyPair(), with(done, webIs(func(l *lease.Launch) { l.Attempts[0].KeyAt = time.Time{} })), report},
		{"its window is not over", keyPair(), with(done, webIs(func(l *lease.Launch) { l.Window = lease.Duration(2 * time.Hour) })), keep},
		{"its endpoint may still show something", keyPair(), with(done, webIs(func(l *lease.Launch) { l.Consistency = lease.Duration(2 * time.Hour) })), keep},
		{"clock wrong", keyPair(), with(done, Skewed(11*time.Second)), byClock},
		{"instances not listed", keyPair(), with(done, Unlisted), Ruling{Action: plan.ActHold, Brake: plan.BrakeHealth}},
	})
}

// TestALaunchThatIsDoneLeavesWhatItsInstancesKept: but for key pairs, and for what was of an instance beyond the number asked for,
// it is as if its endpoint honoured client tokens.
func TestALaunchThatIsDoneLeavesWhatItsInstancesKept(t *testing.T) {
	t.Parallel()
	done, answered := byKeyPair(lease.LaunchDone), webIs(Answered("i-1"))
	ended := func(s *Subject) { Ended(30 * time.Minute)(s); s.Instance = nil }
	excess := func(s *Subject) { orphanEnded(time.Hour)(s); s.Lease.Outlive = []string{"x-1"} }
	checkLeftovers(t, []leftoverCase{
		{"a volume, its lease has ended", remains(volume), with(done, answered, ofWeb("i-1", ended)), keep},
		{"a volume, its lease has ended, and kept volumes go", remains(volume), with(done, answered, ofWeb("i-1", ended), withFlag), keep},
		{"an interface", remains(netIface), with(done, answered, ofWeb("i-1", ended)), keep},
		{"an interface of one beyond the number", remains(netIface), with(done, answered, ofWeb("i-1"), ofWeb("i-2", excess)), remove},
		{"a volume of one beyond the number, which nobody can tell from one that was kept", remains(volume), with(done, answered, ofWeb("i-1"), ofWeb("i-2", excess)), report},
		{"an open spot request", remains(spot), with(done, answered, ofWeb("i-1")), keep},
		{"a spot request fulfilled by one that has a lease", remains(spot, fulfilledBy("i-1")), with(done, answered, ofWeb("i-1")), keep},
		{"a spot request fulfilled by one beyond the number", remains(spot, fulfilledBy("i-2")), with(done, answered, ofWeb("i-1"), ofWeb("i-2", excess)), remove},
	})
}

// TestAKeyPairThatIsNotProvedKeepsItsLaunchFromBeingCleared: or nobody would name it again.
func TestAKeyPairThatIsNotProvedKeepsItsLaunchFromBeingCleared(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		x      lease.Leftover
		clears bool
	}{
		"not proved":         {keyPair(func(x *lease.Leftover) { x.Tags, x.Print = map[string]string{}, "aa:bb" }), false},
		"exempt":             {keyPair(func(x *lease.Leftover) { x.Tags = map[string]string{lease.TagExempt: ""} }), true},
		"another registry's": {keyPair(Tagged(lease.TagRegistry, "another")), true},
	} {
		v := remainsBy(c.x)
		byKeyPair(lease.LaunchClosed)(&v)
		if clears := len(Decide(v).With(plan.ActClear)) > 0; clears != c.clears {
			t.Errorf("%s: cleared %t, want %t", name, clears, c.clears)
		}
	}
}

// TestInstancesWithoutTagsOfAKeyPair is about endpoints that drop the tags of the creating call.
func TestInstancesWithoutTagsOfAKeyPair(t *testing.T) {
	t.Parallel()
	shows := func(changes ...func(*lease.Instance)) func(*World) {
		return ofWeb("i-1", Bare, func(s *Subject) {
			i := s.Instance
			i.KeyName, i.ClientToken, i.Tags, i.LaunchTime = lease.KeyName(Ours, "web.1"), "", map[string]string{}, Ago(time.Hour)
			for _, change := range changes {
				change(i)
			}
		})
	}
	may := func(v *World) { v.Policy.CompleteAdoptions = true }
	closed, done := byKeyPair(lease.LaunchClosed), byKeyPair(lease.LaunchDone)
	for _, c := range []struct {
		name    string
		world   []func(*World)
		overdue bool
		tags    bool
		clears  bool
	}{
		{"closed, and the janitor may not tag", with(closed, shows()), true, false, false},
		{"closed, and the janitor may", with(closed, shows(), may), true, true, false},
		{"closed, with its id on record", with(closed, shows(), may, webIs(Answered("i-1"))), true, true, false},
		{"done, and it is more than was asked for", with(done, shows(), may), true, true, false},
		{"done, and it was answered", with(done, shows(), may, webIs(Answered("i-1"))), false, false, false},
		{"open", with(byKeyPair(lease.LaunchOpen), shows(), may), false, false, false},
		{"settled a moment ago", with(closed, shows(), may, webIs(func(l *lease.Launch) { l.SettledAt = Ago(time.Minute) })), false, true, false},
		{"exempt", with(closed, shows(func(i *lease.Instance) { i.Tags[lease.TagExempt] = "" }), may), false, false, false},
		{"somebody took the registry's tag off", with(closed, shows(func(i *lease.Instance) { i.Tags[lease.TagLaunch] = "web.1" }), may), false, false, false},
		{"somebody took all tags off, by which it had been seen", with(closed, shows(), webIs(FirstSeen(time.Hour, "i-1")), may), true, false, false},
		{"started again since EC2 answered with it", with(closed, shows(func(i *lease.Instance) { i.LaunchTime = Ago(20 * time.Minute) }), webIs(Answered("i-1")), may), true, true, false},
		{"started again, with what was attached from the start", with(closed, shows(func(i *lease.Instance) { i.LaunchTime, i.Existed = Ago(time.Minute), Ago(time.Hour) }), may), true, true, false},
		{"launched later by somebody else", with(closed, shows(func(i *lease.Instance) { i.LaunchTime, i.Existed = Ago(time.Minute), Ago(time.Minute) }), may), false, false, true},
		{"it was leased by its tag", with(closed, shows(func(i *lease.Instance) { i.Tags[lease.TagLeased] = "web.1" }), may), false, false, false},
		{"terminated", with(closed, shows(func(i *lease.Instance) { i.State = lease.InstanceTerminated }), may), false, false, true},
		{"another registry's", with(closed, shows(func(i *lease.Instance) { i.Tags[lease.TagRegistry] = "another" }), may), false, false, true},
		{"launched before its key pair was made", with(closed, shows(func(i *lease.Instance) { i.LaunchTime = Ago(2 * time.Hour) }), may), false, false, true},
		{"another key pair", with(closed, shows(func(i *lease.Instance) { i.KeyName = "ada" }), may), false, false, true},
		{"records of its leases may be gone", with(closed, shows(), may, webIs(func(l *lease.Launch) { l.CreatedAt = Ago(31 * 24 * time.Hour) })), true, false, false},
		{"a lease cannot be read", with(closed, shows(), may, Bad(plan.BadLease, "i-2")), true, false, false},
		{"the registry was set back", with(closed, shows(), may, resumed(lease.BrakeRollback, Ago(time.Minute))), true, false, false},
		{"the registry observes", with(closed, shows(), may, func(v *World) { v.Snapshot.Registry.Mode = lease.ModeObserve }), true, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			v := remainsBy()
			for _, change := range c.world {
				change(&v)
			}
			planned := Decide(v)
			tags := len(planned.Tags) == 1 && planned.Tags[0].Key == lease.TagRegistry && planned.Tags[0].InstanceID == "i-1" && planned.Tags[0].Value == Ours
			if tags != c.tags || len(planned.Tags) > 1 {
				t.Errorf("tags %+v, want %t", planned.Tags, c.tags)
			}
			if len(planned.Ends())+len(planned.With(plan.ActRemove)) > 0 {
				t.Errorf("terminated or removed: %+v", planned.Verdicts)
			}
			if clears := len(planned.With(plan.ActClear)) > 0; clears != c.clears {
				t.Errorf("cleared: %t, want %t", clears, c.clears)
			}
			for _, verdict := range planned.Verdicts {
				if verdict.InstanceID == "i-1" && (verdict.Overdue.Reason == lease.KeptUntagged) != c.overdue {
					t.Errorf("%s: %+v, want overdue %t", verdict.Reason, verdict.Overdue, c.overdue)
				}
			}
		})
	}
}
