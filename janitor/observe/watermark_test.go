package observe

import (
	"log/slog"
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

// checkpointed is what a registry holds whose last checkpoint has this number, and is so old.
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

func TestTheMemoryOfAReplicaRevealsARollback(t *testing.T) {
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
		"a new janitor that never wrote a checkpoint":     {[]look{follow(checkpointed(7, time.Hour)), lead(checkpointed(7, time.Hour)), lead(checkpointed(7, time.Hour))}, lease.BrakeUnwatched},
		"another registry than one that was set back":     {[]look{lead(checkpointed(7, 0)), lead(checkpointed(3, 0)), lead(checkpointed(3, 0, func(s *lease.Snapshot) { s.Registry.UUID = "another" }))}, ""},
		"another registry":                                {[]look{lead(checkpointed(7, 0)), lead(checkpointed(3, 0, func(s *lease.Snapshot) { s.Registry.UUID = "another" }))}, ""},
	} {
		for kind, restarts := range map[string]bool{"one process": false, "a new process for each read": true} {
			t.Run(name+"/"+kind, func(t *testing.T) {
				t.Parallel()
				dir := t.TempDir()
				open := func() *Watermark {
					p, err := OpenWatermark(dir, slog.New(slog.DiscardHandler))
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
				if held := p.Standing(); len(held) == 1 && held[0].Since.Equal(Noon) && held[0].Reason != "" {
					got = held[0].Name
				} else if len(held) > 0 {
					t.Errorf("engaged %+v", held)
				}
				if got != c.want {
					t.Errorf("%q is engaged, want %q", got, c.want)
				}
			})
		}
	}
}

func TestARegistryUnwatchedForAnHourIsNotTrusted(t *testing.T) {
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
					open := func() *Watermark {
						p, err := OpenWatermark(dir, slog.New(slog.DiscardHandler))
						if err != nil {
							t.Fatal(err)
						}
						return p
					}
					found, p := checkpointed(7, 0, func(s *lease.Snapshot) {
						s.Checkpoint.Time, s.Checkpoint.NextSweep = time.Now(), time.Now().Add(c.pause)
					}), open()
					p.Enter()
					p.See(time.Now(), found, true)
					p.Settle(time.Now(), true)
					time.Sleep(c.gap)
					if restarts {
						p = open()
					}
					c.change(&found)
					defer func() { onDisk(t, p) }()
					p.Enter()
					p.See(time.Now().Add(c.wrong), found, false)
					p.See(time.Now().Add(c.wrong), found, true)
					time.Sleep(10 * time.Minute) // until EC2 confirms the clock
					if held := p.Standing(); len(held) > 0 {
						t.Errorf("by a clock that may be wrong, %v are held", held)
					}
					p.Settle(time.Now(), true)
					if held := p.Standing(); len(held) != c.want || c.want > 0 && held[0].Name != lease.BrakeUnwatched {
						t.Errorf("%v engaged, want %d, unwatched", held, c.want)
					}
				})
			})
		}
	}
}

// takesIn has a replica read the registry, and settle what it finds if it leads.
func takesIn(p *Watermark, now time.Time, s lease.Snapshot, leading bool) {
	p.See(now, s, leading)
	if leading {
		p.Settle(now, true)
	}
}

// TestABrakeReleasedWhileUnwatchedDiffersFromTheNext: its lifting is no word about what came later.
func TestABrakeReleasedWhileUnwatchedDiffersFromTheNext(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	look := func(now time.Time, found lease.Snapshot) []lease.Brake {
		p, err := OpenWatermark(dir, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		p.See(now, found, true)
		onDisk(t, p)
		return p.Standing()
	}
	look(Noon, checkpointed(7, 0))
	first := look(In(time.Minute), checkpointed(6, 0))
	if len(first) != 1 {
		t.Fatalf("%v engaged after the registry was set back", first)
	}
	again := checkpointed(5, 0, func(s *lease.Snapshot) {
		s.Registry = s.Registry.Lift(In(time.Hour), lease.BrakeRollback, first, lease.By{Actor: "ada"})
	})
	if second := look(In(2*time.Hour), again); len(second) != 1 || !second[0].Since.After(first[0].Since) {
		t.Errorf("%v engaged after it was set back again, want another one than %v", second, first)
	}
}

func TestAMemoryFarOlderThanAnOldCheckpointIsIgnored(t *testing.T) {
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
				p, err := OpenWatermark(dir, slog.New(slog.DiscardHandler))
				if err != nil {
					t.Fatal(err)
				}
				takesIn(p, now, s, leading)
				onDisk(t, p)
				return p.Standing()
			}
			look(Ago(c.seen), checkpointed(7, c.seen), false)
			look(Noon, checkpointed(150, c.left), c.leading)
			if held := look(Noon, checkpointed(150, c.left), true); len(held) != c.want || c.want > 0 && held[0].Name != lease.BrakeUnwatched {
				t.Errorf("%v engaged, want %d, unwatched", held, c.want)
			}
		})
	}
}

func TestAnUnreadableMemoryIsIgnored(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "registry-"+Ours+".json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := OpenWatermark(dir, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	takesIn(p, Noon, checkpointed(7, time.Hour), true)
	onDisk(t, p)
	if held := p.Standing(); len(held) != 1 || held[0].Name != lease.BrakeUnwatched {
		t.Errorf("engaged %v, want unwatched", held)
	}
}

func TestAStateDirectoryThatCannotBeCreatedIsAnErrorAtTheStart(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenWatermark(filepath.Join(file, "state"), slog.New(slog.DiscardHandler)); err == nil {
		t.Error("no error")
	}
}

func TestAReleasedBrakeStaysReleasedAndTheNextOneEngages(t *testing.T) {
	t.Parallel()
	p, err := OpenWatermark("", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	p.See(Noon, checkpointed(7, 0), true)
	p.See(Noon, checkpointed(3, 0), true)
	held := p.Standing()
	lifted := checkpointed(4, 0, func(s *lease.Snapshot) {
		s.Checkpoint.Standing, s.Registry = held, s.Registry.Lift(In(time.Minute), lease.BrakeRollback, held, lease.By{Actor: "ada"})
	})
	p.See(In(time.Minute), lifted, true)
	if got := p.Standing(); len(got) > 0 {
		t.Fatalf("%v engaged after they were released", got)
	}
	again := lifted
	again.Checkpoint.Sequence = 2
	p.See(In(time.Hour), again, true)
	if got := p.Standing(); len(got) != 1 || !got[0].Since.Equal(In(time.Hour)) {
		t.Errorf("%v engaged after another return, want one of that time", got)
	}
}

func TestAFollowerAdoptsTheLeadersBrake(t *testing.T) {
	t.Parallel()
	p, err := OpenWatermark("", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	p.See(Noon, checkpointed(7, 0), false)
	p.See(Noon, checkpointed(3, 0), false)
	theirs := []lease.Brake{{Name: lease.BrakeRollback, Since: Ago(time.Second), Reason: "sidecars"}}
	p.See(Noon, checkpointed(4, 0, func(s *lease.Snapshot) { s.Checkpoint.Standing = theirs }), false)
	if got := p.Standing(); !slices.Equal(got, theirs) {
		t.Errorf("%v engaged, want the leader's: it is one incident, and is released once", got)
	}
}

// onDisk waits until a memory is on disk, as a sweep does before anything is ended by it.
func onDisk(t *testing.T, p *Watermark) {
	t.Helper()
	if err := p.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
}
