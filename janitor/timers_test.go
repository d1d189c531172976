package janitor

import (
	"testing"
	"testing/synctest"
	"time"

	"lapse/lease"
)

func TestReactionsToChangesRestAsLongAsTheyTake(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ took, ago, due, want time.Duration }{
		"a change after a long rest":    {2 * time.Second, time.Minute, time.Hour, settleMin},
		"a change right after another":  {2 * time.Second, 0, time.Hour, 2 * time.Second},
		"a change while decisions rest": {2 * time.Second, 500 * time.Millisecond, time.Hour, 1500 * time.Millisecond},
		"quick decisions":               {time.Millisecond, 0, time.Hour, settleMin},
		"a date that comes first":       {2 * time.Second, 0, time.Second, time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				now := time.Now()
				term := &timers{took: test.took, reacted: now.Add(-test.ago), due: now.Add(test.due), timer: time.NewTimer(test.due)}
				term.soon()
				<-term.timer.C
				if got := time.Since(now); got != test.want || !term.due.Equal(time.Now()) {
					t.Errorf("due after %s, want %s", got, test.want)
				}
			})
		})
	}
}

// TestWhatTheWatchHasToldIsKnownToTheNextDecision lets changes wait when a reaction begins, and when a sweep decides.
func TestWhatTheWatchHasToldIsKnownToTheNextDecision(t *testing.T) {
	t.Parallel()
	for name, decides := range map[string]func(*inLeadership, *rig){
		"a reaction": func(o *inLeadership, r *rig) { o.react(r.t.Context()) },
		"a sweep": func(o *inLeadership, r *rig) {
			s := &sweep{leader: o.leader}
			if err := s.decides(r.t.Context(), o.listings); err != nil {
				r.t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, "i-1", "i-2")
				o := r.inLeadership()
				told := make(chan lease.Change, 2)
				for _, id := range []string{"i-1", "i-2"} {
					l, err := r.store.Lease(t.Context(), id)
					if err != nil {
						t.Fatal(err)
					}
					l.Holder, l.Revision = "told", l.Revision+10
					told <- lease.Change{Lease: &l}
				}
				close(told)
				o.changes = told
				decides(o, r)
				for _, id := range []string{"i-1", "i-2"} {
					if got := o.joined.Row(id).Holder; got != "told" {
						t.Errorf("%s was decided about as of holder %q, before what the watch had told", id, got)
					}
				}
				o.finish(passMax)
			})
		})
	}
}
