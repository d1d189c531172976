package janitor

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"lapse/lease"

	"lapse/janitor/plan"
	. "lapse/janitor/plan/plantest"
)

// stamped is what a registry holds whose last stamp has this number, and is so old.
func stamped(sequence int64, age time.Duration, changes ...func(*lease.Snapshot)) lease.Snapshot {
	s := lease.Snapshot{
		Registry: lease.NewRegistry(Ago(Long), Ours, lease.ModeArmed),
		Sweep:    lease.Sweep{Sequence: sequence, Nonce: "a", Time: Ago(age), NextSweep: Ago(age).Add(time.Minute)},
	}
	for _, change := range changes {
		change(&s)
	}
	return s
}

func nonce(n string) func(*lease.Snapshot) { return func(s *lease.Snapshot) { s.Sweep.Nonce = n } }

func unreadableStamp(s *lease.Snapshot) {
	s.Sweep, s.Bad = lease.Sweep{}, []lease.BadRecord{{Kind: plan.BadSweep}}
}

func TestWhatAReplicaRemembersTellsWhetherTheRegistryWasSetBack(t *testing.T) {
	t.Parallel()
	type look struct {
		lease.Snapshot
		leading bool
	}
	lead := func(s lease.Snapshot) look { return look{s, true} }
	follow := func(s lease.Snapshot) look { return look{s, false} }
	for name, c := range map[string]struct {
		looks []look
		want  string // the standing brake in the end
	}{
		"a new registry":                              {[]look{lead(stamped(0, Long))}, ""},
		"taken over in time":                          {[]look{lead(stamped(7, 2*time.Minute))}, ""},
		"left alone until the next sweep was late":    {[]look{lead(stamped(7, 4*time.Minute))}, ""},
		"left alone for longer than that":             {[]look{lead(stamped(7, 4*time.Minute+time.Second))}, lease.BrakeStranger},
		"left alone for long":                         {[]look{lead(stamped(7, time.Hour))}, lease.BrakeStranger},
		"a stamp of tomorrow":                         {[]look{lead(stamped(7, -24*time.Hour))}, lease.BrakeStranger},
		"a stamp that cannot be read":                 {[]look{lead(stamped(0, 0, unreadableStamp))}, lease.BrakeStranger},
		"followed, and left alone since":              {[]look{follow(stamped(7, time.Minute)), lead(stamped(7, time.Hour))}, ""},
		"first seen stale, then led at once":          {[]look{follow(stamped(7, time.Hour)), lead(stamped(7, time.Hour))}, lease.BrakeStranger},
		"first seen stale, then others went on":       {[]look{follow(stamped(7, time.Hour)), follow(stamped(8, 0)), lead(stamped(8, 0))}, ""},
		"first seen stale, and never led":             {[]look{follow(stamped(7, time.Hour))}, ""},
		"a lower stamp":                               {[]look{lead(stamped(7, 0)), lead(stamped(6, 0))}, lease.BrakeRestored},
		"a lower stamp, while following":              {[]look{follow(stamped(7, 0)), follow(stamped(6, 0)), lead(stamped(9, 0))}, lease.BrakeRestored},
		"the same number from another line":           {[]look{lead(stamped(7, 0)), lead(stamped(7, 0, nonce("b")))}, lease.BrakeRestored},
		"no stamp where there was one":                {[]look{lead(stamped(7, 0)), lead(stamped(0, 0))}, lease.BrakeRestored},
		"the same stamp again":                        {[]look{lead(stamped(7, 0)), lead(stamped(7, 0))}, ""},
		"a later stamp":                               {[]look{lead(stamped(7, 0)), lead(stamped(12, 0, nonce("b")))}, ""},
		"unreadable for a while":                      {[]look{lead(stamped(7, 0)), lead(stamped(0, 0, unreadableStamp)), lead(stamped(8, 0))}, ""},
		"unreadable for a while, then a lower stamp":  {[]look{lead(stamped(7, 0)), lead(stamped(0, 0, unreadableStamp)), lead(stamped(6, 0))}, lease.BrakeRestored},
		"first seen stale, and led by another start":  {[]look{follow(stamped(7, time.Hour)), follow(stamped(7, time.Hour)), lead(stamped(7, time.Hour))}, lease.BrakeStranger},
		"a stranger that never got to stamp":          {[]look{follow(stamped(7, time.Hour)), lead(stamped(7, time.Hour)), lead(stamped(7, time.Hour))}, lease.BrakeStranger},
		"another registry than one that was set back": {[]look{lead(stamped(7, 0)), lead(stamped(3, 0)), lead(stamped(3, 0, func(s *lease.Snapshot) { s.Registry.UUID = "another" }))}, ""},
		"another registry":                            {[]look{lead(stamped(7, 0)), lead(stamped(3, 0, func(s *lease.Snapshot) { s.Registry.UUID = "another" }))}, ""},
	} {
		for kind, restarts := range map[string]bool{"one process": false, "a new process for each look": true} {
			t.Run(name+"/"+kind, func(t *testing.T) {
				t.Parallel()
				dir := t.TempDir()
				open := func() *past {
					p, err := openPast(dir, quiet())
					if err != nil {
						t.Fatal(err)
					}
					return p
				}
				p := open()
				for n, look := range c.looks {
					if n > 0 && restarts {
						p = open()
					}
					takesIn(p, Noon, look.Snapshot, look.leading)
					onDisk(t, p)
				}
				got := ""
				if held := p.standing(); len(held) == 1 && held[0].Since.Equal(Noon) && held[0].Reason != "" {
					got = held[0].Name
				} else if len(held) > 0 {
					t.Errorf("held %+v", held)
				}
				if got != c.want {
					t.Errorf("%q stands, want %q", got, c.want)
				}
			})
		}
	}
}

func TestARegistryThatNobodyWatchedForAnHourIsNotTakenAtItsWord(t *testing.T) {
	t.Parallel()
	plain := func(*lease.Snapshot) {}
	for name, c := range map[string]struct {
		pause, gap time.Duration         // of the schedule, and without a stamp
		change     func(*lease.Snapshot) // of what is found
		wrong      time.Duration         // by which the clock is wrong at first
		want       int
	}{
		"an hour":                               {time.Minute, time.Hour, plain, 0, 0},
		"more than an hour":                     {time.Minute, time.Hour + 1, plain, 0, 1},
		"more than an hour, but others stamped": {time.Minute, time.Hour + 1, func(s *lease.Snapshot) { s.Sweep.Sequence, s.Sweep.Time, s.Sweep.NextSweep = 8, time.Now(), time.Now() }, 0, 0},
		"more than an hour, stamped by a clock that EC2 had not told since": {time.Minute, time.Hour + 1, func(s *lease.Snapshot) {
			s.Sweep.Witnessed = s.Sweep.Time
			s.Sweep.Time, s.Sweep.NextSweep = time.Now().Add(-20*time.Minute), time.Now().Add(-19*time.Minute)
		}, 0, 1},
		"an hour, stamped by a clock that EC2 had not told since": {time.Minute, time.Hour, func(s *lease.Snapshot) {
			s.Sweep.Witnessed = s.Sweep.Time
			s.Sweep.Time, s.Sweep.NextSweep = time.Now().Add(-20*time.Minute), time.Now().Add(-19*time.Minute)
		}, 0, 0},
		"more than an hour, and unreadable":        {time.Minute, time.Hour + 1, unreadableStamp, 0, 1},
		"unreadable":                               {time.Minute, time.Hour, unreadableStamp, 0, 0},
		"until a sweep was late, hours after":      {5 * time.Hour, 5*time.Hour + 3*time.Minute, plain, 0, 0},
		"for longer than that":                     {5 * time.Hour, 5*time.Hour + 3*time.Minute + 1, plain, 0, 1},
		"the same, and unreadable":                 {5 * time.Hour, 5*time.Hour + 3*time.Minute + 1, unreadableStamp, 0, 1},
		"a pause of hours, and unreadable":         {5 * time.Hour, 5 * time.Hour, unreadableStamp, 0, 0},
		"until a sweep was late, minutes after":    {time.Minute, 4*time.Minute + 1, plain, 0, 0},
		"a week, which a stamp asks for":           {365 * 24 * time.Hour, 7 * 24 * time.Hour, plain, 0, 0},
		"more than a week, whatever it asks for":   {365 * 24 * time.Hour, 8 * 24 * time.Hour, plain, 0, 1},
		"a minute, by a clock that is ahead":       {time.Minute, time.Minute, plain, 48 * time.Hour, 0},
		"a minute, by a clock that is behind":      {time.Minute, time.Minute, plain, -48 * time.Hour, 0},
		"two days, by a clock that was stuck":      {time.Minute, 48 * time.Hour, plain, -48 * time.Hour, 1},
		"two days, by a clock that was far behind": {time.Minute, 48 * time.Hour, plain, -480 * time.Hour, 1},
	} {
		for kind, restarts := range map[string]bool{"one process": false, "a new process": true} {
			t.Run(name+"/"+kind, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					dir := t.TempDir()
					open := func() *past {
						p, err := openPast(dir, quiet())
						if err != nil {
							t.Fatal(err)
						}
						return p
					}
					found, p := stamped(7, 0, func(s *lease.Snapshot) { s.Sweep.Time, s.Sweep.NextSweep = time.Now(), time.Now().Add(c.pause) }), open()
					p.enter()
					p.see(time.Now(), found, true)
					p.settle(time.Now(), true)
					time.Sleep(c.gap)
					if restarts {
						p = open()
					}
					c.change(&found)
					defer func() { onDisk(t, p) }()
					p.enter()
					p.see(time.Now().Add(c.wrong), found, false)
					p.see(time.Now().Add(c.wrong), found, true)
					time.Sleep(10 * time.Minute) // until EC2 confirms the clock
					if held := p.standing(); len(held) > 0 {
						t.Errorf("by a clock that may be wrong, %v are held", held)
					}
					p.settle(time.Now(), true)
					if held := p.standing(); len(held) != c.want || c.want > 0 && held[0].Name != lease.BrakeStranger {
						t.Errorf("%v stand, want %d, as a stranger", held, c.want)
					}
				})
			})
		}
	}
}

// takesIn has a replica read the registry, and settle what it finds if it leads.
func takesIn(p *past, now time.Time, s lease.Snapshot, leading bool) {
	p.see(now, s, leading)
	if leading {
		p.settle(now, true)
	}
}

// TestABrakeThatWasLiftedWhileNobodyLookedIsNotTheNext: its lifting is no word about what came later.
func TestABrakeThatWasLiftedWhileNobodyLookedIsNotTheNext(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	look := func(now time.Time, found lease.Snapshot) []lease.Brake {
		p, err := openPast(dir, quiet())
		if err != nil {
			t.Fatal(err)
		}
		p.see(now, found, true)
		onDisk(t, p)
		return p.standing()
	}
	look(Noon, stamped(7, 0))
	first := look(In(time.Minute), stamped(6, 0))
	if len(first) != 1 {
		t.Fatalf("%v stand after the registry was set back", first)
	}
	again := stamped(5, 0, func(s *lease.Snapshot) {
		s.Registry = s.Registry.Lift(In(time.Hour), lease.BrakeRestored, first, lease.By{Actor: "ada"})
	})
	if second := look(In(2*time.Hour), again); len(second) != 1 || !second[0].Since.After(first[0].Since) {
		t.Errorf("%v stand after it was set back again, want another one than %v", second, first)
	}
}

// TestWhoIsInOfficeAllNightWatches: a schedule need not be one of equal intervals.
func TestWhoIsInOfficeAllNightWatches(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, "i-1")
		c := r.janitorOf(quiet()).Config
		c.Schedule, c.StateDir = "*/5 8-17 * * *", t.TempDir()
		j, err := New(c)
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- j.Run(ctx) }()
		for range 3 {
			after(24 * time.Hour)
			if s, err := r.store.Sweep(t.Context()); err != nil || len(s.Standing) > 0 {
				t.Errorf("%v are held (%v)", s.Standing, err)
			}
		}
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestAMemoryFarOlderThanAStampThatNobodyKeepsUpIsAsGoodAsNone(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		seen, left time.Duration // when the stamp was seen last, and when the last one was written
		leading    bool          // looks twice, in two processes, and leads at last or always
		want       int
	}{
		"kept up to the end":              {time.Hour + 2*time.Minute, time.Hour, true, 0},
		"of days before":                  {Long, time.Hour, true, 1},
		"of days before, and looks first": {Long, time.Hour, false, 1},
		"of days before, but others lead": {Long, time.Minute, true, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			look := func(now time.Time, s lease.Snapshot, leading bool) []lease.Brake {
				p, err := openPast(dir, quiet())
				if err != nil {
					t.Fatal(err)
				}
				takesIn(p, now, s, leading)
				onDisk(t, p)
				return p.standing()
			}
			look(Ago(c.seen), stamped(7, c.seen), false)
			look(Noon, stamped(150, c.left), c.leading)
			if held := look(Noon, stamped(150, c.left), true); len(held) != c.want || c.want > 0 && held[0].Name != lease.BrakeStranger {
				t.Errorf("%v stand, want %d, as a stranger", held, c.want)
			}
		})
	}
}

func TestTheStampAfterOneThatCannotBeReadCountsOn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, "i-1")
		dir := t.TempDir()
		inTurn(t, r, dir, func() { after(5 * time.Minute) })
		before, err := r.store.Sweep(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		r.store.Put("sweep", "", []byte("{"))
		inTurn(t, r, dir, func() { after(time.Minute) })
		if now, err := r.store.Sweep(t.Context()); err != nil || now.Sequence <= before.Sequence || len(now.Standing) > 0 {
			t.Errorf("number %d (%v) follows number %d, which other replicas remember; standing %v", now.Sequence, err, before.Sequence, now.Standing)
		}
	})
}

func TestAMemoryThatCannotBeReadIsNone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "registry-"+Ours+".json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := openPast(dir, quiet())
	if err != nil {
		t.Fatal(err)
	}
	takesIn(p, Noon, stamped(7, time.Hour), true)
	onDisk(t, p)
	if held := p.standing(); len(held) != 1 || held[0].Name != lease.BrakeStranger {
		t.Errorf("held %v, want a stranger", held)
	}
}

func TestAStateDirectoryThatCannotBeMadeIsSaidAtTheStart(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := openPast(filepath.Join(file, "state"), quiet()); err == nil {
		t.Error("no error")
	}
}

func TestALiftedBrakeStaysLiftedAndTheNextOneHoldsAgain(t *testing.T) {
	t.Parallel()
	p, err := openPast("", quiet())
	if err != nil {
		t.Fatal(err)
	}
	p.see(Noon, stamped(7, 0), true)
	p.see(Noon, stamped(3, 0), true)
	held := p.standing()
	lifted := stamped(4, 0, func(s *lease.Snapshot) {
		s.Sweep.Standing, s.Registry = held, s.Registry.Lift(In(time.Minute), lease.BrakeRestored, held, lease.By{Actor: "ada"})
	})
	p.see(In(time.Minute), lifted, true)
	if got := p.standing(); len(got) > 0 {
		t.Fatalf("%v stand after they were lifted", got)
	}
	again := lifted
	again.Sweep.Sequence = 2
	p.see(In(time.Hour), again, true)
	if got := p.standing(); len(got) != 1 || !got[0].Since.Equal(In(time.Hour)) {
		t.Errorf("%v stand after another return, want one of that time", got)
	}
}

func TestAFollowerTakesTheLeadersBrakeForItsOwn(t *testing.T) {
	t.Parallel()
	p, err := openPast("", quiet())
	if err != nil {
		t.Fatal(err)
	}
	p.see(Noon, stamped(7, 0), false)
	p.see(Noon, stamped(3, 0), false)
	theirs := []lease.Brake{{Name: lease.BrakeRestored, Since: Ago(time.Second), Reason: "sidecars"}}
	p.see(Noon, stamped(4, 0, func(s *lease.Snapshot) { s.Sweep.Standing = theirs }), false)
	if got := p.standing(); !slices.Equal(got, theirs) {
		t.Errorf("%v stand, want the leader's: it is one incident, and is lifted once", got)
	}
}

// inTurn runs one janitor after another over the same registry.
func inTurn(t *testing.T, r *rig, dir string, work func(), changes ...func(*Janitor)) {
	t.Helper()
	j := r.janitorOf(quiet())
	remembers, err := openPast(dir, quiet())
	if err != nil {
		t.Fatal(err)
	}
	j.past = remembers
	for _, change := range changes {
		change(j)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- j.Run(ctx) }()
	synctest.Wait()
	work()
	stop()
	if err := <-done; err != nil {
		t.Errorf("run: %v", err)
	}
}

func (r *rig) lift(name string) {
	r.t.Helper()
	stamp, err := r.store.Sweep(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	if _, _, err := r.store.UpdateRegistry(r.t.Context(), func(g lease.Registry) (lease.Registry, error) {
		return g.Lift(r.now(), name, stamp.Standing, lease.By{Actor: "ada"}), nil
	}); err != nil {
		r.t.Fatal(err)
	}
}

func TestAJanitorStartedAfterTheRegistryWasSetBackHoldsEverythingUntilItIsLifted(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, "i-1")
		r.extend("i-1", 30*time.Minute)
		r.cloud.denied = true // to write tags: only the brake knows better than the backup
		var backup, stamp []byte
		inTurn(t, r, dir, func() {
			after(2 * time.Minute)
			backup, stamp = r.store.Get("lease", "i-1"), r.store.Get("sweep", "")
			r.extendRecord("i-1", 48*time.Hour)
			after(2 * time.Minute)
		})
		r.store.Put("lease", "i-1", backup)
		r.store.Put("sweep", "", stamp)
		inTurn(t, r, dir, func() { after(2 * time.Hour) })
		inTurn(t, r, "", func() { // one that remembers nothing finds it in the stamp
			after(2 * time.Hour)
			if got := r.cloud.ended(); len(got) > 0 {
				t.Fatalf("terminated %v, days before the end of a term that the backup does not know", got)
			}
			r.lift(lease.BrakeRestored)
			after(time.Second)
			if l := r.lease("i-1"); len(r.cloud.ended()) > 0 || l.Mark == nil {
				t.Errorf("terminated %v, mark %v; want notice first", r.cloud.ended(), l.Mark)
			}
			after(2 * time.Minute)
			if got := r.cloud.ended(); !slices.Equal(got, []string{"i-1"}) {
				t.Errorf("terminated %v after a person has looked", got)
			}
		})
	})
}

func TestAStrangerHoldsEverythingUntilItIsLifted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, "i-1")
		r.extend("i-1", 30*time.Minute)
		inTurn(t, r, "", func() { after(2 * time.Minute) })
		time.Sleep(48 * time.Hour)
		inTurn(t, r, "", func() {
			after(2 * time.Hour)
			if got := r.cloud.ended(); len(got) > 0 {
				t.Fatalf("terminated %v, by one who cannot know what became of the registry", got)
			}
			r.lift(lease.BrakeStranger)
			after(2 * time.Minute)
			if got := r.cloud.ended(); !slices.Equal(got, []string{"i-1"}) {
				t.Errorf("terminated %v after a person has looked", got)
			}
		})
	})
}

func TestAReplicaThatFollowedIsNoStranger(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, "i-1")
		j := r.janitorOf(quiet())
		j.LastStamp = func(ctx context.Context) (lease.Registry, lease.Sweep, error) {
			reg, err := r.store.Registry(ctx)
			if err != nil {
				return reg, lease.Sweep{}, err
			}
			s, err := r.store.Sweep(ctx)
			return reg, s, err
		}
		following, stop := context.WithCancel(t.Context())
		inTurn(t, r, "", func() {
			go j.follow(following)
			after(10 * time.Minute)
		})
		stop()
		time.Sleep(time.Hour)
		snapshot, err := r.store.Snapshot(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if j.past.see(time.Now(), snapshot, true); len(j.past.standing()) > 0 {
			t.Errorf("%v stand", j.past.standing())
		}
	})
}

// onDisk waits until a memory is on disk, as a sweep does before anything is ended by it.
func onDisk(t *testing.T, p *past) {
	t.Helper()
	if err := p.flush(t.Context()); err != nil {
		t.Fatal(err)
	}
}
