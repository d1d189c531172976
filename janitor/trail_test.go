package janitor

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"lapse/lease"

	. "lapse/janitor/plan/plantest"
)

// recorded is a trail that only remembers what it tells.
func recorded() (*trail, *[]string) {
	var told []string
	tell := func(e Event) { told = append(told, fmt.Sprintf("%s %s%s %s", e.Kind, e.InstanceID, e.Launch, e.Actor)) }
	return newTrail(tell, "janitor:one", func(lease.Location) bool { return false }), &told
}

func TestTheTrailOfALease(t *testing.T) {
	t.Parallel()
	ada := lease.By{Actor: "ada"}
	changed := func(l lease.Lease, by ...lease.By) lease.Lease {
		for n, who := range by {
			var err error
			if l, err = l.Unmark(Noon.Add(time.Duration(n)*time.Second), who); err != nil {
				t.Fatal(err)
			}
		}
		l.Revision++
		return l
	}
	one := *Holds("i-1").Lease
	one.Launch, one.Revision = "", 5
	many := make([]lease.By, 20)
	for n := range many {
		many[n] = ada
	}
	us := lease.By{Actor: "janitor:one"}
	for name, c := range map[string]struct {
		before, after lease.Lease
		wrote         int64 // the number of a change that we wrote and told
		want          []string
	}{
		"unchanged":                            {one, one, 0, nil},
		"changed by another":                   {one, changed(one, ada), 0, []string{"unmarked i-1 ada"}},
		"changed twice between two looks":      {one, changed(one, ada, lease.By{Actor: "bob"}), 0, []string{"unmarked i-1 ada", "unmarked i-1 bob"}},
		"changed by us, and told":              {one, changed(one, us), 1, nil},
		"changed by us, and the answer lost":   {one, changed(one, us), 0, []string{"unmarked i-1 janitor:one"}},
		"changed by us, and then by another":   {one, changed(one, us, ada), 1, []string{"unmarked i-1 ada"}},
		"changed by another, and then by us":   {one, changed(one, ada, us), 2, []string{"unmarked i-1 ada"}},
		"new":                                  {lease.Lease{}, changed(one, ada), 0, []string{"unmarked i-1 ada"}},
		"written, but with nothing to tell":    {one, changed(one), 0, nil},
		"more often than its record remembers": {one, changed(one, many...), 0, append([]string{"forgotten i-1 "}, slices.Repeat([]string{"unmarked i-1 ada"}, 12)...)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			trail, told := recorded()
			trail.own["i-1"] = wrote{changes: c.wrote}
			trail.lease(c.before, c.after)
			if !slices.Equal(*told, c.want) {
				t.Errorf("told %q, want %q", *told, c.want)
			}
		})
	}
}

func TestTheTrailTellsTheLatestDateApartFromTheTerm(t *testing.T) {
	t.Parallel()
	before := *Holds("i-1").Lease
	before.Revision = 5
	limit, term := Noon.Add(14*24*time.Hour), Noon.Add(10*24*time.Hour)
	after, err := before.Extend(Noon, lease.Extension{Until: term, MoveMax: true, MaxExpiresAt: limit}, lease.By{Actor: "ada"})
	if err != nil {
		t.Fatal(err)
	}
	after.Revision = 6
	trail, _ := recorded()
	var told []Event
	trail.tell = func(e Event) { told = append(told, e) }
	trail.lease(before, after)
	if len(told) != 2 {
		t.Fatalf("told %+v", told)
	}
	if e := told[0].Evidence; told[0].Kind != "max-term" || !e.MaxExpiresAt.Equal(limit) || !e.MaxBefore.Equal(before.MaxExpiresAt) || !e.Before.IsZero() {
		t.Errorf("the latest date: %s %+v", told[0].Kind, e)
	}
	if e := told[1].Evidence; told[1].Kind != "extended" || !e.ExpiresAt.Equal(term) || !e.Before.Equal(before.ExpiresAt) {
		t.Errorf("the term: %s %+v", told[1].Kind, e)
	}
}

func TestTheTrailOfALaunch(t *testing.T) {
	t.Parallel()
	open := Launch("web", lease.LaunchOpen)
	open.Revision = 5
	next := func(change func(*lease.Launch)) lease.Launch {
		l := open
		l.Attempts = slices.Clone(l.Attempts)
		change(&l)
		l.Revision++
		return l
	}
	for name, c := range map[string]struct {
		before, after lease.Launch
		wrote         int64
		want          []string
	}{
		"opened":         {lease.Launch{}, open, 0, []string{"launch-opened web "}},
		"sent again":     {open, next(func(l *lease.Launch) { l.Attempts[0].Sends++ }), 0, nil},
		"answered":       {open, next(Answered("i-1")), 0, []string{"launch-answered web "}},
		"refused":        {open, next(func(l *lease.Launch) { l.Attempts[0].Outcome = lease.OutcomeRefused }), 0, []string{"launch-refused web "}},
		"done":           {open, next(func(l *lease.Launch) { l.State = lease.LaunchDone }), 0, []string{"launch-done web "}},
		"closed by us":   {open, next(func(l *lease.Launch) { l.State = lease.LaunchClosed }), 6, nil},
		"given up":       {open, next(func(l *lease.Launch) { l.State = lease.LaunchClosed }), 0, []string{"launch-closed web "}},
		"seen once more": {open, open, 0, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			trail, told := recorded()
			trail.own["web"] = wrote{revision: c.wrote}
			trail.launch(Noon, c.before, c.after)
			if !slices.Equal(*told, c.want) {
				t.Errorf("told %q, want %q", *told, c.want)
			}
		})
	}
}

func TestWhatWeDidToALaunchIsToldOnce(t *testing.T) {
	t.Parallel()
	open := Launch("web", lease.LaunchOpen)
	closed := Launch("web", lease.LaunchClosed)
	open.Revision, closed.Revision = 5, 6
	trail, told := recorded()
	trail.did(Event{Kind: EventClosed, Launch: "web", Revision: 6})
	trail.launch(Noon, open, closed)
	if want := []string{"launch-closed web "}; !slices.Equal(*told, want) {
		t.Errorf("told %q, want %q", *told, want)
	}
}

func TestWhatOthersDoAfterTheRegistryWasSetBackIsTold(t *testing.T) {
	t.Parallel()
	before := *Holds("i-1").Lease
	before.Revision = 5
	after, err := before.Unmark(Noon, lease.By{Actor: "ada"})
	if err != nil {
		t.Fatal(err)
	}
	after.Revision = 6
	trail, told := recorded()
	trail.begin(20, false, true)
	trail.begin(5, true, true)
	trail.lease(before, after)
	if want := []string{"unmarked i-1launch-of-i-1 ada"}; !slices.Equal(*told, want) {
		t.Errorf("told %q, want %q", *told, want)
	}
}

func TestTheTrailOfTheRegistry(t *testing.T) {
	t.Parallel()
	armed := lease.NewRegistry(Noon, Ours, lease.ModeArmed)
	brake := lease.Brake{Name: lease.BrakeRollback, Since: Noon}
	lifted := armed.Lift(Noon, brake.Name, []lease.Brake{brake}, lease.By{Actor: "cli:ada@laptop"})
	for name, c := range map[string]struct {
		before, after lease.Registry
		want          []string
	}{
		"unchanged":            {armed, armed, nil},
		"paused":               {armed, armed.To(Noon, lease.ModePaused, lease.By{}), []string{"paused  "}},
		"paused by somebody":   {armed, armed.To(Noon, lease.ModePaused, lease.By{Actor: "cli:ada@laptop", Reason: "incident"}), []string{"paused  cli:ada@laptop"}},
		"resumed by somebody":  {armed.To(Noon, lease.ModePaused, lease.By{Actor: "ada"}), armed.To(Noon, lease.ModePaused, lease.By{Actor: "ada"}).Resume(In(time.Minute), lease.By{Actor: "bob"}), []string{"armed  bob"}},
		"observing":            {armed, armed.To(Noon, lease.ModeObserve, lease.By{Actor: "ada"}), []string{"observe  ada"}},
		"resumed":              {armed.To(Noon, lease.ModePaused, lease.By{}), armed, []string{"armed  "}},
		"a brake lifted":       {armed, lifted, []string{"brake-release  cli:ada@laptop"}},
		"lifted, and paused":   {lifted, lifted.To(Noon, lease.ModePaused, lease.By{}), []string{"paused  "}},
		"another brake lifted": {lifted, lifted.Lift(Noon, lease.BrakeUnwatched, []lease.Brake{{Name: lease.BrakeUnwatched}}, lease.By{Actor: "bob"}), []string{"brake-release  bob"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			trail, told := recorded()
			trail.registry(c.before, c.after)
			if !slices.Equal(*told, c.want) {
				t.Errorf("told %q, want %q", *told, c.want)
			}
		})
	}
}

// TestASnapshotTellsWhatNoWatchDid has a leader whose watch was broken: the next sweep tells what it missed, once. What
// was there when it became leader, or when the registry was set back, is not told.
func TestASnapshotTellsWhatNoWatchDid(t *testing.T) {
	t.Parallel()
	r := newRig(t, "i-1")
	var told []string
	j := r.janitorOf(r.actor().log)
	j.Audit = func(e Event) error {
		told = append(told, string(e.Kind))
		return nil
	}
	closeLog := j.open()
	term := j.newTerm(r.leadership)
	look := func() lease.Snapshot {
		s, err := r.store.Snapshot(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		term.see(s, 0)
		return s
	}
	first := look()
	r.extend("i-1", 2*time.Hour)
	look()
	look()
	term.see(first, 0)
	closeLog()
	if want := []string{"elected", "extended"}; !slices.Equal(told, want) {
		t.Errorf("told %q, want %q", told, want)
	}
}
