package janitor

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"lapse/janitor/plan"
	"lapse/lease"
)

// expires is what the tag of an instance says of its date.
func (r *rig) expires(id string) string {
	r.cloud.Mu.Lock()
	defer r.cloud.Mu.Unlock()
	return r.cloud.Instances[id].Tags[lease.TagExpires]
}

func (r *rig) calls() int {
	r.cloud.Mu.Lock()
	defer r.cloud.Mu.Unlock()
	return r.cloud.TagCalls
}

func (r *rig) deny(denied bool) {
	r.cloud.Mu.Lock()
	defer r.cloud.Mu.Unlock()
	r.cloud.TagsDenied = denied
}

func TestAnExtensionReachesTheTagAtOnceAndAnIdleSweepWritesNone(t *testing.T) {
	t.Parallel()
	running(t, []string{"i-1", "i-2"}, quiet(), func(r *rig) {
		after(10 * time.Minute)
		if n := r.calls(); n != 0 {
			r.t.Errorf("%d calls while nothing was to be written", n)
		}
		r.extendRecord("i-1", 48*time.Hour)
		after(time.Second)
		if got, want := r.expires("i-1"), r.lease("i-1").Expiry().String(); got != want || r.calls() != 1 {
			r.t.Errorf("the tag says %q after %d calls, want %q after one", got, r.calls(), want)
		}
		after(10 * time.Minute)
		if n := r.calls(); n != 1 {
			r.t.Errorf("%d calls, want the one", n)
		}
	})
}

func TestATagThatIsFarAheadIsWrittenOnceAnHour(t *testing.T) {
	t.Parallel()
	running(t, []string{"i-1"}, quiet(), func(r *rig) {
		for n := range 150 {
			r.extendRecord("i-1", 48*time.Hour+time.Duration(n)*time.Minute)
			after(time.Minute)
		}
		if n := r.calls(); n < 3 || n > 4 {
			r.t.Errorf("%d calls for an extension a minute in two and a half hours, want one an hour", n)
		}
	})
}

func TestATagThatExpiresSoonIsWrittenWithEachExtension(t *testing.T) {
	t.Parallel()
	running(t, []string{"i-1"}, quiet(), func(r *rig) {
		for n := range 10 {
			r.extendRecord("i-1", 30*time.Minute+time.Duration(n)*time.Second)
			after(time.Minute)
		}
		if got, want := r.expires("i-1"), r.lease("i-1").Expiry().String(); got != want {
			r.t.Errorf("the tag says %q, want %q", got, want)
		}
	})
}

func TestAShortenedLeaseExpiresAtItsNewDate(t *testing.T) {
	t.Parallel()
	running(t, []string{"i-1", "i-2"}, quiet(), func(r *rig) {
		r.extendRecord("i-1", 20*time.Second)
		after(19 * time.Second)
		if got := r.cloud.Ended(); len(got) > 0 {
			r.t.Fatalf("terminated %v before the date", got)
		}
		after(2 * time.Second)
		if got := r.cloud.Ended(); !slices.Equal(got, []string{"i-1"}) {
			r.t.Errorf("terminated %v two seconds after the date of i-1", got)
		}
	})
}

func TestAShorteningToANearDateIsWrittenAtOnce(t *testing.T) {
	t.Parallel()
	running(t, []string{"i-1"}, quiet(), func(r *rig) {
		r.extendRecord("i-1", 48*time.Hour)
		after(time.Minute)
		r.extendRecord("i-1", time.Minute)
		after(62 * time.Second)
		if got := r.cloud.Ended(); !slices.Equal(got, []string{"i-1"}) {
			r.t.Errorf("terminated %v; want i-1 by the date to which it was shortened", got)
		}
	})
}

// TestARestoredBackupTerminatesNothingThatWasExtended has a backup of the registry and of what the replica remembers, put
// back together: nothing tells but the tags.
func TestARestoredBackupTerminatesNothingThatWasExtended(t *testing.T) {
	t.Parallel()
	for name, extensions := range map[string]int{"one extension": 1, "nine extensions": 9} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, "i-1")
				r.extend("i-1", 10*time.Minute)
				var backup, checkpoint []byte
				inTurn(t, r, "", func() { after(2 * time.Minute) })
				backup, checkpoint = r.store.Get("lease", "i-1"), r.store.Get("checkpoint", "")
				inTurn(t, r, "", func() {
					for range extensions {
						r.extendRecord("i-1", 5*time.Hour)
						after(2 * time.Second)
					}
				})
				r.store.Put("lease", "i-1", backup)
				r.store.Put("checkpoint", "", checkpoint)
				inTurn(t, r, "", func() {
					after(time.Hour)
					if got := r.cloud.Ended(); len(got) > 0 {
						t.Fatalf("terminated %v, hours before the date that was agreed", got)
					}
					l := r.lease("i-1")
					if left := time.Until(l.ExpiresAt); left < 3*time.Hour || l.ExpiresNumber < 3 {
						t.Errorf("the record says %s, in %s; want it raised to the tag's date", l.Expiry(), left)
					}
					checkpoint, err := r.store.Checkpoint(t.Context())
					if err != nil || len(plan.Standing(checkpoint.Brakes)) > 0 {
						t.Errorf("held back by %v (%v); want nobody needed", checkpoint.Brakes, err)
					}
					after(5 * time.Hour)
					if got := r.cloud.Ended(); !slices.Equal(got, []string{"i-1"}) {
						t.Errorf("terminated %v after the date that was agreed", got)
					}
				})
			})
		})
	}
}

func TestAnInstanceKeptByItsTagIsMarkedFirst(t *testing.T) {
	t.Parallel()
	running(t, []string{"i-1"}, quiet(), func(r *rig) {
		r.deny(true)
		r.extendRecord("i-1", time.Minute) // shortened, which the tag cannot say
		after(30 * time.Minute)
		if l := r.lease("i-1"); len(r.cloud.Ended()) > 0 || l.State != lease.StateActive || l.KeptReason != lease.KeptByTag {
			r.t.Fatalf("terminated %v, lease %s, kept by %q", r.cloud.Ended(), l.State, l.KeptReason)
		}
		r.deny(false)
		after(2*time.Minute + time.Second) // written by one sweep, and seen by the next
		if l := r.lease("i-1"); len(r.cloud.Ended()) > 0 && l.Mark == nil {
			r.t.Fatalf("terminated %v without notice", r.cloud.Ended())
		}
		after(2 * time.Minute)
		if got := r.cloud.Ended(); !slices.Equal(got, []string{"i-1"}) {
			r.t.Errorf("terminated %v after its notice", got)
		}
		if l := r.lease("i-1"); !slices.ContainsFunc(l.History, func(h lease.Transition) bool { return h.Action == "mark" }) {
			r.t.Errorf("no notice in %v", l.History)
		}
	})
}

func TestAnExemptionRemovedAfterTheExpiryGivesNoticeFirst(t *testing.T) {
	t.Parallel()
	for name, lead := range map[string]func(r *rig, until func()){
		"the same leader": func(r *rig, until func()) { until() },
		"another leader":  func(r *rig, until func()) { r.store.Depose(); after(5 * time.Second); until() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			running(t, []string{"i-1"}, quiet(), func(r *rig) {
				exempt := func(is bool) {
					r.cloud.Change("i-1", func(i *lease.Instance) {
						if delete(i.Tags, lease.TagExempt); is {
							i.Tags[lease.TagExempt] = ""
						}
					})
				}
				exempt(true)
				after(time.Minute)
				r.extend("i-1", 30*time.Second)
				after(5 * time.Minute)
				exempt(false)
				lead(r, func() {
					after(time.Minute)
					if l := r.lease("i-1"); len(r.cloud.Ended()) > 0 && !slices.ContainsFunc(l.History, func(h lease.Transition) bool { return h.Action == "mark" }) {
						t.Fatalf("terminated %v without notice", r.cloud.Ended())
					}
					after(2 * time.Minute)
					if got := r.cloud.Ended(); !slices.Equal(got, []string{"i-1"}) {
						t.Errorf("terminated %v at the end", got)
					}
				})
			})
		})
	}
}

func TestTagsAreWrittenWhilePausedAndNotWhileObserving(t *testing.T) {
	t.Parallel()
	for mode, want := range map[lease.Mode]bool{lease.ModePaused: true, lease.ModeObserve: false, lease.ModeArmed: true} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			running(t, []string{"i-1"}, quiet(), func(r *rig) {
				if _, _, err := r.store.UpdateRegistry(r.t.Context(), func(g lease.Registry) (lease.Registry, error) { return g.To(time.Now(), mode, lease.By{}), nil }); err != nil {
					t.Fatal(err)
				}
				after(time.Minute)
				r.extendRecord("i-1", 5*time.Hour)
				after(2 * time.Minute)
				if wrote := r.calls() > 0; wrote != want {
					t.Errorf("tags written: %t", wrote)
				}
			})
		})
	}
}

func TestARecordBehindItsTagIsRaisedWhilePausedAndNotWhileObserving(t *testing.T) {
	t.Parallel()
	for mode, want := range map[lease.Mode]int64{lease.ModePaused: 8, lease.ModeObserve: 1, lease.ModeArmed: 8} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			running(t, []string{"i-1"}, quiet(), func(r *rig) {
				if _, _, err := r.store.UpdateRegistry(r.t.Context(), func(g lease.Registry) (lease.Registry, error) { return g.To(time.Now(), mode, lease.By{}), nil }); err != nil {
					t.Fatal(err)
				}
				tag := lease.Expiry{Number: 7, At: time.Now().Add(5 * time.Hour).UTC().Truncate(time.Second)}
				r.cloud.Change("i-1", func(i *lease.Instance) { i.Tags[lease.TagExpires] = tag.String() })
				after(2 * time.Minute)
				if l := r.lease("i-1"); l.ExpiresNumber != want || want > 1 && l.ExpiresAt.Before(tag.At) {
					t.Errorf("at number %d until %s, want number %d", l.ExpiresNumber, l.ExpiresAt, want)
				}
				if got := r.cloud.Ended(); len(got) > 0 {
					t.Errorf("terminated %v", got)
				}
			})
		})
	}
}

func TestALeaderTagsALeasedInstanceOnce(t *testing.T) {
	t.Parallel()
	running(t, []string{"i-1", "i-2", "i-3"}, quiet(), func(r *rig) {
		for _, id := range []string{"i-1", "i-2", "i-3"} {
			r.cloud.Change(id, func(i *lease.Instance) { i.Tags[lease.TagLeased] = "" })
		}
		after(3 * time.Minute)
		r.cloud.Mu.Lock()
		defer r.cloud.Mu.Unlock()
		for id, i := range r.cloud.Instances {
			if i.Tags[lease.TagLeased] != "web.1" {
				r.t.Errorf("%s says %q", id, i.Tags[lease.TagLeased])
			}
		}
		if r.cloud.TagCalls != 1 {
			r.t.Errorf("%d calls, want one for all of an attempt", r.cloud.TagCalls)
		}
	})
}
