package janitor

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"lapse/lease"
)

// TestALeaderWhoseSweepsTakeLongerThanTheirIntervalStaysInOffice has a place that answers after 90 s, each minute.
func TestALeaderWhoseSweepsTakeLongerThanTheirIntervalStaysInOffice(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, "i-1")
		inTurn(t, r, "", func() {
			after(30 * time.Minute)
			s, err := r.store.Sweep(t.Context())
			if err != nil || len(s.Offices) != 1 || s.Sequence < 15 {
				t.Errorf("%d leaders and %d sweeps in half an hour (%v), want one leader: its sweeps end", len(s.Offices), s.Sequence, err)
			}
		}, func(j *Janitor) { j.Clouds = []Cloud{slow{r.cloud, 90 * time.Second}} })
	})
}

// slow is a place whose listings take long.
type slow struct {
	*recorder
	takes time.Duration
}

func (s slow) List(ctx context.Context) (lease.Listing, error) {
	if !pause(ctx, s.takes) {
		return lease.Listing{}, ctx.Err()
	}
	return s.recorder.List(ctx)
}
