package enforce

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"lapse/lease"

	"lapse/janitor/audit"
	"lapse/janitor/plan"
	. "lapse/janitor/plan/plantest"
)

// strews closes launch web of the rig, puts leftovers of it beside its instances, and notes a first look at them.
func (r *rig) strews(ids ...string) []plan.Verdict {
	r.t.Helper()
	web, err := r.store.Launch(r.t.Context(), "web")
	if err != nil {
		r.t.Fatal(err)
	}
	r.cloud.Remains = map[string]lease.Leftover{}
	if web, err = web.Close(r.now(), "test"); err == nil {
		web, err = r.store.PutLaunch(r.t.Context(), web)
	}
	if err != nil {
		r.t.Fatal(err)
	}
	var vs []plan.Verdict
	for _, id := range ids {
		x := lease.Leftover{
			Kind: lease.LeftoverVolume, ID: id, Location: r.cloud.Where, State: "available", CreatedAt: r.now(),
			Tags: map[string]string{lease.TagRegistry: r.reg.UUID, lease.TagLaunch: "web.1"},
		}
		r.cloud.Remains[id] = x
		vs = append(vs, plan.Verdict{Action: plan.ActRemove, Token: "web", Location: x.Location, Reason: "left", Launch: &web, Leftover: &x})
	}
	return vs
}

func (r *rig) leftover(id string, change func(*lease.Leftover)) {
	r.cloud.Mu.Lock()
	defer r.cloud.Mu.Unlock()
	x := r.cloud.Remains[id]
	change(&x)
	r.cloud.Remains[id] = x
}

func TestAnOutdatedRemovalIsNotMade(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(r *rig) // while EC2 describes vol-1
		want   []string     // removed of vol-1 and vol-2
		report Report
	}{
		"nothing changes":   {func(*rig) {}, []string{"vol-1", "vol-2"}, Report{Removed: 2}},
		"it is attached":    {func(r *rig) { r.leftover("vol-1", AttachedTo("i-1")) }, []string{"vol-2"}, Report{Removed: 1, Spared: 1}},
		"it is in use":      {func(r *rig) { r.leftover("vol-1", AttachedTo("")) }, []string{"vol-2"}, Report{Removed: 1, Spared: 1}},
		"it is exempt":      {func(r *rig) { r.leftover("vol-1", Tagged(lease.TagExempt, "")) }, []string{"vol-2"}, Report{Removed: 1, Spared: 1}},
		"it is another's":   {func(r *rig) { r.leftover("vol-1", Tagged(lease.TagRegistry, "another")) }, []string{"vol-2"}, Report{Removed: 1, Spared: 1}},
		"its tag is gone":   {func(r *rig) { r.leftover("vol-1", Untagged(lease.TagLaunch)) }, []string{"vol-2"}, Report{Removed: 1, Spared: 1}},
		"it is of a sudden": {func(r *rig) { r.leftover("vol-1", MadeAt(r.now().Add(time.Hour))) }, []string{"vol-2"}, Report{Removed: 1, Spared: 1}},
		"it serves another": {func(r *rig) { r.leftover("vol-1", func(x *lease.Leftover) { x.InstanceID = "i-9" }) }, []string{"vol-2"}, Report{Removed: 1, Spared: 1}},
		"it is gone": {func(r *rig) {
			r.cloud.Mu.Lock()
			defer r.cloud.Mu.Unlock()
			delete(r.cloud.Remains, "vol-1")
		}, []string{"vol-2"}, Report{Removed: 1, Spared: 1}},
		"something still uses it": {func(r *rig) { r.cloud.Busy = map[string]bool{"vol-1": true} }, []string{"vol-2"}, Report{Removed: 1, Spared: 1}},
		"the clock is wrong":      {func(r *rig) { r.cloud.Skew = time.Minute }, nil, Report{Spared: 2}},
		"EC2 tells no time":       {func(r *rig) { r.cloud.Undated = true }, nil, Report{Spared: 2}},
		"EC2 gives no answer":     {func(r *rig) { r.cloud.Err = errors.New("no answer") }, nil, Report{Failed: 2}},
		"the launch changes": {func(r *rig) {
			if _, _, err := r.store.UpdateLaunch(r.t.Context(), "web", func(l lease.Launch) (lease.Launch, error) { return l.NoteFirstSeen(r.now(), "vol-9") }); err != nil {
				r.t.Error(err)
			}
		}, nil, Report{Spared: 2}},
		"somebody pauses": {func(r *rig) {
			if _, _, err := r.store.UpdateRegistry(r.t.Context(), func(g lease.Registry) (lease.Registry, error) {
				return g.To(r.now(), lease.ModePaused, lease.By{}), nil
			}); err != nil {
				r.t.Error(err)
			}
		}, nil, Report{Failed: 2}},
		"another leads": {func(r *rig) {
			if err := r.leadership.Resign(r.t.Context()); err != nil {
				r.t.Error(err)
			}
		}, nil, Report{Failed: 2}},
		"the machine is suspended": {func(r *rig) {
			r.now = func() time.Time { return time.Now().Add(time.Minute) }
		}, nil, Report{}},
		"EC2 answers too late": {func(*rig) { time.Sleep(descriptionMax + time.Second) }, nil, Report{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, "i-1")
				vs := r.strews("vol-1", "vol-2")
				r.cloud.OnLeftovers = func() { c.change(r) }
				report := r.armed().cleanUp(t.Context(), r.reg, vs)
				slices.Sort(r.cloud.Removed)
				if !slices.Equal(r.cloud.Removed, c.want) || report != c.report {
					t.Errorf("removed %v, want %v; report %+v, want %+v", r.cloud.Removed, c.want, report, c.report)
				}
				web, err := r.store.Launch(t.Context(), "web")
				for _, id := range r.cloud.Removed {
					if err != nil || web.Removals[id].IsZero() {
						t.Errorf("%s was removed, and the registry has no note of it (%v)", id, err)
					}
				}
			})
		})
	}
}

func TestARemovalThatCannotBeAuditedIsNotMade(t *testing.T) {
	t.Parallel()
	r := newRig(t, "i-1")
	a := r.armed()
	var told []lease.Action
	a.Emit = func(e audit.Event) { told = append(told, e.Kind) }
	a.Record = func(e audit.Event) error {
		a.Emit(e)
		if e.Leftover == "vol-1" {
			return errors.New("disk full")
		}
		return nil
	}
	report := a.cleanUp(t.Context(), r.reg, r.strews("vol-1", "vol-2"))
	if !slices.Equal(r.cloud.Removed, []string{"vol-2"}) || report != (Report{Removed: 1, Failed: 1}) {
		t.Errorf("removed %v, report %+v", r.cloud.Removed, report)
	}
	if want := []lease.Action{lease.ActionAuthorise, lease.ActionFail, lease.ActionAuthorise, lease.ActionRemove}; !slices.Equal(told, want) {
		t.Errorf("got %v, want %v", told, want)
	}
}

func TestLeftoversNeverTriedAreRemovedFirst(t *testing.T) {
	t.Parallel()
	r := newRig(t, "i-1")
	var ids []string
	for n := range removeMax + 3 {
		ids = append(ids, "vol-"+string(rune('a'+n)))
	}
	vs := r.strews(ids...)
	for _, v := range vs {
		v.Launch.Removals = map[string]time.Time{}
		for _, id := range ids[:removeMax] {
			v.Launch.Removals[id] = r.now()
		}
	}
	r.armed().cleanUp(t.Context(), r.reg, vs)
	for _, id := range ids[removeMax:] {
		if !slices.Contains(r.cloud.Removed, id) {
			t.Errorf("%s was not removed, and had never been tried", id)
		}
	}
	if len(r.cloud.Removed) != removeMax {
		t.Errorf("%d removed at once, want %d", len(r.cloud.Removed), removeMax)
	}
}
