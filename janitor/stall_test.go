package janitor

import (
	"slices"
	"testing"
	"time"

	"lapse/lease"
)

// TestAnEtcdThatStalledGivesNoticeAgain stops etcd for less time than a leadership lasts, so that nothing but
// the leader's own renewals shows it: a lease that nothing renews would lose its notice while nothing could renew it.
func TestAnEtcdThatStalledGivesNoticeAgain(t *testing.T) {
	t.Parallel()
	const grace, stall = 10 * time.Second, 8 * time.Second
	for name, test := range map[string]struct {
		stalls time.Duration // after the mark
		waits  time.Duration // for EC2's limits, with what was decided
	}{
		"for most of the notice":             {time.Second, 0},
		"when the notice runs out":           {grace - 4*time.Second, 0},
		"while a termination waits for EC2":  {grace + time.Second, 2 * stall},
		"before a termination stops waiting": {grace + time.Second, stall + 2*time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			change := func(c *Config) { c.Policy.MarkGrace, c.Schedule = grace, "@every 1s" }
			runningWith(t, []string{"i-1", "i-2"}, quiet(), change, func(r *rig) {
				witness := func() { r.heartbeatOf("i-2", 5*time.Second); after(time.Second) }
				r.heartbeat("i-1")
				for witness(); r.lease("i-1").Mark == nil; {
					witness()
				}
				r.cloud.OnReserve = func() error { time.Sleep(test.waits); return nil }
				for range test.stalls / time.Second {
					witness()
				}
				wake := r.store.Freeze()
				time.Sleep(stall)
				wake()
				for range grace/time.Second - 1 {
					witness()
				}
				if l := r.lease("i-1"); l.State != lease.StateActive || len(r.cloud.Ended()) > 0 {
					t.Errorf("%s, and terminated %v, before the notice had passed once more: %+v", l.State, r.cloud.Ended(), l.History)
				}
				for range 3 * grace / time.Second {
					witness()
				}
				if got := r.cloud.Ended(); !slices.Equal(got, []string{"i-1"}) {
					t.Errorf("terminated %v by the time that the notice had passed once more; want i-1", got)
				}
			})
		})
	}
}
