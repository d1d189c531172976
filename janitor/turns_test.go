package janitor

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"lapse/lease"

	"lapse/janitor/observe"
)

// TestALeaderWatchesAllNight: a schedule need not be one of equal intervals.
func TestALeaderWatchesAllNight(t *testing.T) {
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

func TestTheSequenceContinuesAfterAnUnreadableCheckpoint(t *testing.T) {
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

// inTurn runs one janitor after another over the same registry.
func inTurn(t *testing.T, r *rig, dir string, work func(), changes ...func(*Janitor)) {
	t.Helper()
	j := r.janitorOf(quiet())
	remembers, err := observe.OpenWatermark(dir, quiet())
	if err != nil {
		t.Fatal(err)
	}
	j.watermark = remembers
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

func TestAJanitorStartedAfterARollbackHoldsEverythingBackUntilRelease(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, "i-1")
		r.extend("i-1", 30*time.Minute)
		r.cloud.TagsDenied = true // to write tags: only the brake knows better than the backup
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
			if got := r.cloud.Ended(); len(got) > 0 {
				t.Fatalf("terminated %v, days before the end of a term that the backup does not know", got)
			}
			r.lift(lease.BrakeRollback)
			after(time.Second)
			if l := r.lease("i-1"); len(r.cloud.Ended()) > 0 || l.Mark == nil {
				t.Errorf("terminated %v, mark %v; want notice first", r.cloud.Ended(), l.Mark)
			}
			after(2 * time.Minute)
			if got := r.cloud.Ended(); !slices.Equal(got, []string{"i-1"}) {
				t.Errorf("terminated %v after a person has checked", got)
			}
		})
	})
}

func TestBrakeUnwatchedHoldsEverythingBackUntilRelease(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, "i-1")
		r.extend("i-1", 30*time.Minute)
		inTurn(t, r, "", func() { after(2 * time.Minute) })
		time.Sleep(48 * time.Hour)
		inTurn(t, r, "", func() {
			after(2 * time.Hour)
			if got := r.cloud.Ended(); len(got) > 0 {
				t.Fatalf("terminated %v, by one who cannot know what became of the registry", got)
			}
			r.lift(lease.BrakeUnwatched)
			after(2 * time.Minute)
			if got := r.cloud.Ended(); !slices.Equal(got, []string{"i-1"}) {
				t.Errorf("terminated %v after a person has checked", got)
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
		if j.watermark.See(time.Now(), snapshot, true); len(j.watermark.Standing()) > 0 {
			t.Errorf("%v engaged", j.watermark.Standing())
		}
	})
}
