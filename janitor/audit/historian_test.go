package audit_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"lapse/janitor/audit"
	"lapse/lease"

	. "lapse/janitor/plan/plantest"
)

// recorded is a historian that only remembers what it tells.
func recorded() (*audit.Historian, *[]string) {
	var told []string
	tell := func(e audit.Event) {
		told = append(told, fmt.Sprintf("%s %s%s %s", e.Kind, e.InstanceID, e.Launch, e.Actor))
	}
	return audit.NewHistorian(tell, "janitor:one", func(lease.Location) bool { return false }), &told
}

func TestTheHistoryOfALease(t *testing.T) {
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
		"unchanged":                              {one, one, 0, nil},
		"changed by another":                     {one, changed(one, ada), 0, []string{"unmark i-1 ada"}},
		"changed twice between two observations": {one, changed(one, ada, lease.By{Actor: "bob"}), 0, []string{"unmark i-1 ada", "unmark i-1 bob"}},
		"changed by us, and reported":            {one, changed(one, us), 1, nil},
		"changed by us, and the answer lost":     {one, changed(one, us), 0, []string{"unmark i-1 janitor:one"}},
		"changed by us, and then by another":     {one, changed(one, us, ada), 1, []string{"unmark i-1 ada"}},
		"changed by another, and then by us":     {one, changed(one, ada, us), 2, []string{"unmark i-1 ada"}},
		"changed by nobody on record":            {one, changed(one, lease.By{}), 0, []string{"unmark i-1 unknown"}},
		"new":                                    {lease.Lease{}, changed(one, ada), 0, []string{"unmark i-1 ada"}},
		"written, but with nothing to tell":      {one, changed(one), 0, nil},
		"more often than its record remembers":   {one, changed(one, many...), 0, append([]string{"forget i-1 unknown"}, slices.Repeat([]string{"unmark i-1 ada"}, 12)...)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			historian, told := recorded()
			historian.Did(audit.Event{InstanceID: "i-1", Revision: 5, Changes: c.wrote})
			*told = nil
			historian.Lease(c.before, c.after)
			if !slices.Equal(*told, c.want) {
				t.Errorf("got %q, want %q", *told, c.want)
			}
		})
	}
}

func TestTheHistoryOfAnEnrolment(t *testing.T) {
	t.Parallel()
	l := *Holds("i-1").Lease
	l.Launch = ""
	enrolled := lease.Enrolment{InstanceID: "i-1", Revision: 7, Last: &lease.Transition{Action: lease.ActionEnrol, Actor: "instance:i-1"}}
	used := lease.Enrolment{InstanceID: "i-1", Revision: 8}
	invited := lease.Enrolment{InstanceID: "i-1", Revision: 9, Last: &lease.Transition{Action: lease.ActionInvite, Actor: "ada"}}
	historian, told := recorded()
	for _, e := range []lease.Enrolment{enrolled, used, invited} {
		historian.Enrolment(l, e)
	}
	historian.Begin(6, false, true)
	for _, e := range []lease.Enrolment{enrolled, used, invited} { // a watch that begins again
		historian.Enrolment(l, e)
	}
	invited.Revision++
	historian.Enrolment(lease.Lease{}, invited)
	if want := []string{"enrol i-1 instance:i-1", "invite i-1 ada", "invite i-1 ada"}; !slices.Equal(*told, want) {
		t.Errorf("got %q, want %q", *told, want)
	}
}

func TestTheHistoryDistinguishesTheMaximumFromTheExpiry(t *testing.T) {
	t.Parallel()
	before := *Holds("i-1").Lease
	before.Revision = 5
	limit, term := Noon.Add(14*24*time.Hour), Noon.Add(10*24*time.Hour)
	after, err := before.Extend(Noon, lease.Extension{Until: term, MoveMax: true, MaxExpiresAt: limit}, lease.By{Actor: "ada"})
	if err != nil {
		t.Fatal(err)
	}
	after.Revision = 6
	var told []audit.Event
	historian := audit.NewHistorian(func(e audit.Event) { told = append(told, e) }, "janitor:one", func(lease.Location) bool { return false })
	historian.Lease(before, after)
	if len(told) != 2 {
		t.Fatalf("got %+v", told)
	}
	if e := told[0].Evidence; told[0].Kind != lease.ActionMaxTerm || !e.MaxExpiresAt.Equal(limit) || !e.MaxBefore.Equal(before.MaxExpiresAt) || !e.Before.IsZero() {
		t.Errorf("the maximum: %s %+v", told[0].Kind, e)
	}
	if e := told[1].Evidence; told[1].Kind != lease.ActionExtend || !e.ExpiresAt.Equal(term) || !e.Before.Equal(before.ExpiresAt) {
		t.Errorf("the expiry: %s %+v", told[1].Kind, e)
	}
}

func TestTheHistoryOfALaunch(t *testing.T) {
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
		"opened":     {lease.Launch{}, open, 0, []string{"launch-open web launcher:unknown"}},
		"sent again": {open, next(func(l *lease.Launch) { l.Attempts[0].Sends++ }), 0, nil},
		"answered":   {open, next(Answered("i-1")), 0, []string{"launch-answer web launcher:unknown"}},
		"refused":    {open, next(func(l *lease.Launch) { l.Attempts[0].Outcome = lease.OutcomeRefused }), 0, []string{"launch-refuse web launcher:unknown"}},
		"done by its launcher": {open, next(func(l *lease.Launch) {
			l.State, l.Holder, l.SettledAt = lease.LaunchDone, "ada", l.LastSend().Add(time.Minute)
		}), 0, []string{"launch-complete web launcher:ada"}},
		"done, by whomever": {open, next(func(l *lease.Launch) {
			l.State, l.Holder, l.SettledAt = lease.LaunchDone, "ada", l.LastSend().Add(time.Hour)
		}), 0, []string{"launch-complete web unknown"}},
		"done":           {open, next(func(l *lease.Launch) { l.State = lease.LaunchDone }), 0, []string{"launch-complete web launcher:unknown"}},
		"closed by us":   {open, next(func(l *lease.Launch) { l.State = lease.LaunchClosed }), 6, nil},
		"given up":       {open, next(func(l *lease.Launch) { l.State = lease.LaunchClosed }), 0, []string{"launch-close web unknown"}},
		"seen once more": {open, open, 0, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			historian, told := recorded()
			historian.Did(audit.Event{Launch: "web", Revision: c.wrote})
			*told = nil
			historian.Launch(Noon, c.before, c.after)
			if !slices.Equal(*told, c.want) {
				t.Errorf("got %q, want %q", *told, c.want)
			}
		})
	}
}

func TestOurChangesOfALaunchAreLoggedOnce(t *testing.T) {
	t.Parallel()
	open := Launch("web", lease.LaunchOpen)
	closed := Launch("web", lease.LaunchClosed)
	open.Revision, closed.Revision = 5, 6
	historian, told := recorded()
	historian.Did(audit.Event{Kind: lease.ActionLaunchClose, Actor: "janitor:one", Launch: "web", Revision: 6})
	historian.Launch(Noon, open, closed)
	if want := []string{"launch-close web janitor:one"}; !slices.Equal(*told, want) {
		t.Errorf("got %q, want %q", *told, want)
	}
}

func TestChangesAfterARollbackAreLogged(t *testing.T) {
	t.Parallel()
	before := *Holds("i-1").Lease
	before.Revision = 5
	after, err := before.Unmark(Noon, lease.By{Actor: "ada"})
	if err != nil {
		t.Fatal(err)
	}
	after.Revision = 6
	historian, told := recorded()
	historian.Begin(20, false, true)
	historian.Begin(5, true, true)
	historian.Lease(before, after)
	if want := []string{"unmark i-1launch-of-i-1 ada"}; !slices.Equal(*told, want) {
		t.Errorf("got %q, want %q", *told, want)
	}
}

func TestTheHistoryOfTheRegistry(t *testing.T) {
	t.Parallel()
	armed := lease.NewRegistry(Noon, Ours, lease.ModeArmed)
	brake := lease.Brake{Name: lease.BrakeRollback, Since: Noon}
	lifted := armed.Lift(Noon, brake.Name, []lease.Brake{brake}, lease.By{Actor: "cli:ada@laptop"})
	for name, c := range map[string]struct {
		before, after lease.Registry
		want          []string
	}{
		"unchanged":              {armed, armed, nil},
		"paused":                 {armed, armed.To(Noon, lease.ModePaused, lease.By{}), []string{"pause  unknown"}},
		"paused by somebody":     {armed, armed.To(Noon, lease.ModePaused, lease.By{Actor: "cli:ada@laptop", Reason: "incident"}), []string{"pause  cli:ada@laptop"}},
		"resumed by somebody":    {armed.To(Noon, lease.ModePaused, lease.By{Actor: "ada"}), armed.To(Noon, lease.ModePaused, lease.By{Actor: "ada"}).Resume(In(time.Minute), lease.By{Actor: "bob"}), []string{"arm  bob"}},
		"observing":              {armed, armed.To(Noon, lease.ModeObserve, lease.By{Actor: "ada"}), []string{"observe  ada"}},
		"resumed":                {armed.To(Noon, lease.ModePaused, lease.By{}), armed, []string{"arm  unknown"}},
		"a brake released":       {armed, lifted, []string{"brake-release  cli:ada@laptop"}},
		"released, and paused":   {lifted, lifted.To(Noon, lease.ModePaused, lease.By{}), []string{"pause  unknown"}},
		"another brake released": {lifted, lifted.Lift(Noon, lease.BrakeUnwatched, []lease.Brake{{Name: lease.BrakeUnwatched}}, lease.By{Actor: "bob"}), []string{"brake-release  bob"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			historian, told := recorded()
			historian.Registry(c.before, c.after)
			if !slices.Equal(*told, c.want) {
				t.Errorf("got %q, want %q", *told, c.want)
			}
		})
	}
}
