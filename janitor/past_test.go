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

// recorded is what a registry holds whose last checkpoint has this number, and is so old.
func checkpointed(sequence int64, age time.Duration, changes ...func(*lease.Snapshot)) lease.Snapshot {
	s := lease.Snapshot{
		Registry:   lease.NewRegistry(Ago(Long), Ours, lease.ModeArmed),
		Checkpoint: lease.Checkpoint{Sequence: sequence, Nonce: "a", Time: Ago(age), NextSweep: Ago(age).Add(time.Minute)},
	}
	for _, change := range changes {
		change(&s)
	}
	return s
}

func nonce(n string) func(*lease.Snapshot) { return func(s *lease.Snapshot) { s.Checkpoint.Nonce = n } }

func unreadableCheckpoint(s *lease.Snapshot) {
	s.Checkpoint, s.Bad = lease.Checkpoint{}, []lease.BadRecord{{Kind: plan.BadCheckpoint}}
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
		"a new registry":                                  {[]look{lead(checkpointed(0, Long))}, ""},
		"taken over in time":                              {[]look{lead(checkpointed(7, 2*time.Minute))}, ""},
		"left alone until the next sweep was late":        {[]look{lead(checkpointed(7, 4*time.Minute))}, ""},
		"left alone for longer than that":                 {[]look{lead(checkpointed(7, 4*time.Minute+time.Second))}, lease.BrakeUnwatched},
		"left alone for long":                             {[]look{lead(checkpointed(7, time.Hour))}, lease.BrakeUnwatched},
		"a checkpoint of tomorrow":                        {[]look{lead(checkpointed(7, -24*time.Hour))}, lease.BrakeUnwatched},
		"a checkpoint that cannot be read":                {[]look{lead(checkpointed(0, 0, unreadableCheckpoint))}, lease.BrakeUnwatched},
		"followed, and left alone since":                  {[]look{follow(checkpointed(7, time.Minute)), lead(checkpointed(7, time.Hour))}, ""},
		"first seen stale, then led at once":              {[]look{follow(checkpointed(7, time.Hour)), lead(checkpointed(7, time.Hour))}, lease.BrakeUnwatched},
		"first seen stale, then others went on":           {[]look{follow(checkpointed(7, time.Hour)), follow(checkpointed(8, 0)), lead(checkpointed(8, 0))}, ""},
		"first seen stale, and never led":                 {[]look{follow(checkpointed(7, time.Hour))}, ""},
		"a lower checkpoint":                              {[]look{lead(checkpointed(7, 0)), lead(checkpointed(6, 0))}, lease.BrakeRollback},
		"a lower checkpoint, while following":             {[]look{follow(checkpointed(7, 0)), follow(checkpointed(6, 0)), lead(checkpointed(9, 0))}, lease.BrakeRollback},
		"the same number from another line":               {[]look{lead(checkpointed(7, 0)), lead(checkpointed(7, 0, nonce("b")))}, lease.BrakeRollback},
		"no checkpoint where there was one":               {[]look{lead(checkpointed(7, 0)), lead(checkpointed(0, 0))}, lease.BrakeRollback},
		"the same checkpoint again":                       {[]look{lead(checkpointed(7, 0)), lead(checkpointed(7, 0))}, ""},
		"a later checkpoint":                              {[]look{lead(checkpointed(7, 0)), lead(checkpointed(12, 0, nonce("b")))}, ""},
		"unreadable for a while":                          {[]look{lead(checkpointed(7, 0)), lead(checkpointed(0, 0, unreadableCheckpoint)), lead(checkpointed(8, 0))}, ""},
		"unreadable for a while, then a lower checkpoint": {[]look{lead(checkpointed(7, 0)), lead(checkpointed(0, 0, unreadableCheckpoint)), lead(checkpointed(6, 0))}, lease.BrakeRollback},
		"first seen stale, and led by another start":      {[]look{follow(checkpointed(7, time.Hour)), follow(checkpointed(7, time.Hour)), lead(checkpointed(7, time.Hour))}, lease.BrakeUnwatched},
		"a stranger that never got to checkpoint":         {[]look{follow(checkpointed(7, time.Hour)), lead(checkpointed(7, time.Hour)), lead(checkpointed(7, time.Hour))}, lease.BrakeUnwatched},
		"another registry than one that was set back":     {[]look{lead(checkpointed(7, 0)), lead(checkpointed(3, 0)), lead(checkpointed(3, 0, func(s *lease.Snapshot) { s.Registry.UUID = "another" }))}, ""},
		"another registry":                                {[]look{lead(checkpointed(7, 0)), lead(checkpointed(3, 0, func(s *lease.Snapshot) { s.Registry.UUID = "another" }))}, ""},
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
		pause, gap time.Duration         // of the schedule, and without a checkpoint
		change     func(*lease.Snapshot) // of what is found
		wrong      time.Duration         // by which the clock is wrong at first
		want       int
	}{
		"an hour":           {time.Minute, time.Hour, plain, 0, 0},
		"more than an hour": {time.Minute, time.Hour + 1, plain, 0, 1},
		"more than an hour, but others recorded": {time.Minute, time.Hour + 1, func(s *lease.Snapshot) {
			s.Checkpoint.Sequence, s.Checkpoint.Time, s.Checkpoint.NextSweep = 8, time.Now(), time.Now()
		}, 0, 0},
		"more than an hour, recorded by a clock that EC2 had not told since": {time.Minute, time.Hour + 1, func(s *lease.Snapshot) {
			s.Checkpoint.Witnessed = s.Checkpoint.Time
			s.Checkpoint.Time, s.Checkpoint.NextSweep = time.Now().Add(-20*time.Minute), time.Now().Add(-19*time.Minute)
		}, 0, 1},
		"an hour, recorded by a clock that EC2 had not told since": {time.Minute, time.Hour, func(s *lease.Snapshot) {
			s.Checkpoint.Witnessed = s.Checkpoint.Time
			s.Checkpoint.Time, s.Checkpoint.NextSweep = time.Now().Add(-20*time.Minute), time.Now().Add(-19*time.Minute)
		}, 0, 0},
		"more than an hour, and unreadable":        {time.Minute, time.Hour + 1, unreadableCheckpoint, 0, 1},
		"unreadable":                               {time.Minute, time.Hour, unreadableCheckpoint, 0, 0},
		"until a sweep was late, hours after":      {5 * time.Hour, 5*time.Hour + 3*time.Minute, plain, 0, 0},
		"for longer than that":                     {5 * time.Hour, 5*time.Hour + 3*time.Minute + 1, plain, 0, 1},
		"the same, and unreadable":                 {5 * time.Hour, 5*time.Hour + 3*time.Minute + 1, unreadableCheckpoint, 0, 1},
		"a pause of hours, and unreadable":         {5 * time.Hour, 5 * time.Hour, unreadableCheckpoint, 0, 0},
		"until a sweep was late, minutes after":    {time.Minute, 4*time.Minute + 1, plain, 0, 0},
		"a week, which a checkpoint asks for":      {365 * 24 * time.Hour, 7 * 24 * time.Hour, plain, 0, 0},
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
					found, p := checkpointed(7, 0, func(s *lease.Snapshot) {
						s.Checkpoint.Time, s.Checkpoint.NextSweep = time.Now(), time.Now().Add(c.pause)
					}), open()
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
					if held := p.standing(); len(held) != c.want || c.want > 0 && held[0].Name != lease.BrakeUnwatched {
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
	look(Noon, checkpointed(7, 0))
	first := look(In(time.Minute), checkpointed(6, 0))
	if len(first) != 1 {
		t.Fatalf("%v stand after the registry was set back", first)
	}
	again := checkpointed(5, 0, func(s *lease.Snapshot) {
		s.Registry = s.Registry.Lift(In(time.Hour), lease.BrakeRollback, first, lease.By{Actor: "ada"})
	})
	if second := look(In(2*time.Hour), again); len(second) != 1 || !second[0].Since.After(first[0].Since) {
		t.Errorf("%v stand after it was set back again, want another one than %v", second, first)
	}
}

// TestWhoLeadsAllNightWatches: a schedule need not be one of equal intervals.
func TestWhoLeadsAllNightWatches(t *testing.T) {
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
			if s, err := r.store.Checkpoint(t.Context()); err != nil || len(s.Standing) > 0 {
				t.Errorf("%v are held (%v)", s.Standing, err)
			}
		}
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestAMemoryFarOlderThanACheckpointThatNobodyKeepsUpIsAsGoodAsNone(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		seen, left time.Duration // when the checkpoint was seen last, and when the last one was written
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
			look(Ago(c.seen), checkpointed(7, c.seen), false)
			look(Noon, checkpointed(150, c.left), c.leading)
			if held := look(Noon, checkpointed(150, c.left), true); len(held) != c.want || c.want > 0 && held[0].Name != lease.BrakeUnwatched {
				t.Errorf("%v stand, want %d, as a stranger", held, c.want)
			}
		})
	}
}

func TestTheCheckpointAfterOneThatCannotBeReadCountsOn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, "i-1")
		dir := t.TempDir()
		inTurn(t, r, dir, func() { after(5 * time.Minute) })
		before, err := r.store.Checkpoint(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		r.store.Put("checkpoint", "", []byte("{"))
		inTurn(t, r, dir, func() { after(time.Minute) })
		if now, err := r.store.Checkpoint(t.Context()); err != nil || now.Sequence <= before.Sequence || len(now.Standing) > 0 {
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
	takesIn(p, Noon, checkpointed(7, time.Hour), true)
	onDisk(t, p)
	if held := p.standing(); len(held) != 1 || held[0].Name != lease.BrakeUnwatched {
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
	p.see(Noon, checkpointed(7, 0), true)
	p.see(Noon, checkpointed(3, 0), true)
	held := p.standing()
	lifted := checkpointed(4, 0, func(s *lease.Snapshot) {
		s.Checkpoint.Standing, s.Registry = held, s.Registry.Lift(In(time.Minute), lease.BrakeRollback, held, lease.By{Actor: "ada"})
	})
	p.see(In(time.Minute), lifted, true)
	if got := p.standing(); len(got) > 0 {
		t.Fatalf("%v stand after they were lifted", got)
	}
	again := lifted
	again.Checkpoint.Sequence = 2
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
	p.see(Noon, checkpointed(7, 0), false)
	p.see(Noon, checkpointed(3, 0), false)
	theirs := []lease.Brake{{Name: lease.BrakeRollback, Since: Ago(time.Second), Reason: "sidecars"}}
	p.see(Noon, checkpointed(4, 0, func(s *lease.Snapshot) { s.Checkpoint.Standing = theirs }), false)
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
	checkpoint, err := r.store.Checkpoint(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	if _, _, err := r.store.UpdateRegistry(r.t.Context(), func(g lease.Registry) (lease.Registry, error) {
		return g.Lift(r.now(), name, checkpoint.Standing, lease.By{Actor: "ada"}), nil
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
		var backup, checkpoint []byte
		inTurn(t, r, dir, func() {
			after(2 * time.Minute)
			backup, checkpoint = r.store.Get("lease", "i-1"), r.store.Get("checkpoint", "")
			r.extendRecord("i-1", 48*time.Hour)
			after(2 * time.Minute)
		})
		r.store.Put("lease", "i-1", backup)
		r.store.Put("checkpoint", "", checkpoint)
		inTurn(t, r, dir, func() { after(2 * time.Hour) })
		inTurn(t, r, "", func() { // one that remembers nothing finds it in the checkpoint
			after(2 * time.Hour)
			if got := r.cloud.ended(); len(got) > 0 {
				t.Fatalf("terminated %v, days before the end of a term that the backup does not know", got)
			}
			r.lift(lease.BrakeRollback)
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

func TestUnwatchedHoldsEverythingUntilItIsReleased(t *testing.T) {
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
			r.lift(lease.BrakeUnwatched)
			after(2 * time.Minute)
			if got := r.cloud.ended(); !slices.Equal(got, []string{"i-1"}) {
				t.Errorf("terminated %v after a person has looked", got)
			}
		})
	})
}

func TestAReplicaThatFollowedEngagesNoUnwatchedBrake(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, "i-1")
		j := r.janitorOf(quiet())
		j.LastCheckpoint = func(ctx context.Context) (lease.Registry, lease.Checkpoint, error) {
			reg, err := r.store.Registry(ctx)
			if err != nil {
				return reg, lease.Checkpoint{}, err
			}
			s, err := r.store.Checkpoint(ctx)
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
