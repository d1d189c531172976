package janitor

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"lapse/lease"
)

// TestAClockThatStoppedWhileTheMachineWasOffDoesNotMakeTheRegistryLookNew: two days pass, in which somebody extends and the
// registry is set back; the machine's clock starts where it stopped, and is then set right.
func TestAClockThatStoppedWhileTheMachineWasOffDoesNotMakeTheRegistryLookNew(t *testing.T) {
	t.Parallel()
	for name, remembers := range map[string]bool{"with a memory": true, "without": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { stuckForTwoDays(t, remembers) })
		})
	}
}

func stuckForTwoDays(t *testing.T, remembers bool) {
	t.Helper()
	r := newRig(t, "i-1")
	r.extend("i-1", 3*time.Hour)
	dir := t.TempDir()
	inTurn(t, r, dir, func() { after(2 * time.Minute) })
	if !remembers {
		dir = t.TempDir()
	}
	off, backup := time.Now(), r.store.Get("lease", "i-1")
	after(time.Hour)
	r.extend("i-1", 96*time.Hour)
	after(47 * time.Hour)
	r.store.Put("lease", "i-1", backup)
	var behind atomic.Int64
	set := func(d time.Duration) {
		behind.Store(int64(d))
		r.cloud.Mu.Lock()
		defer r.cloud.Mu.Unlock()
		r.cloud.Skew = -d
	}
	set(time.Since(off) - 20*time.Second)
	inTurn(t, r, dir, func() {
		after(2 * time.Minute)
		set(0)
		after(10 * time.Minute)
	}, func(j *Janitor) { j.Now = func() time.Time { return time.Now().Add(-time.Duration(behind.Load())) } })
	s, err := r.store.Checkpoint(t.Context())
	if got := r.cloud.Ended(); len(got) > 0 || err != nil || len(s.Standing) != 1 || s.Standing[0].Name != lease.BrakeUnwatched {
		t.Errorf("terminated %v, two days before the end that was agreed; held %v (%v)", got, s.Standing, err)
	}
}

// TestAClockThatIsWrongEngagesNoUnwatchedBrake: one that remembers nothing takes over from a leader that swept just now.
func TestAClockThatIsWrongEngagesNoUnwatchedBrake(t *testing.T) {
	t.Parallel()
	for _, ahead := range []time.Duration{-15 * time.Second, -time.Minute, -24 * time.Hour, time.Hour} {
		for name, follows := range map[string]bool{"followed": true, "new": false} {
			t.Run(ahead.String()+"/"+name, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					r := newRig(t, "i-1")
					inTurn(t, r, "", func() { after(2*time.Minute + 2*time.Second) })
					wrong := ahead
					r.cloud.Mu.Lock()
					r.cloud.Skew = ahead
					r.cloud.Mu.Unlock()
					inTurn(t, r, "", func() {
						after(10 * time.Minute)
						r.cloud.Mu.Lock()
						r.cloud.Skew, wrong = 0, 0
						r.cloud.Mu.Unlock()
						after(10 * time.Minute)
					}, func(j *Janitor) {
						j.Now = func() time.Time {
							r.cloud.Mu.Lock()
							defer r.cloud.Mu.Unlock()
							return time.Now().Add(wrong)
						}
						if snapshot, err := r.store.Snapshot(t.Context()); follows && err == nil {
							j.watermark.See(j.Now(), snapshot, false)
						}
					})
					if s, err := r.store.Checkpoint(t.Context()); err != nil || len(s.Standing) > 0 {
						t.Errorf("%v engaged (%v)", s.Standing, err)
					}
				})
			})
		}
	}
}
