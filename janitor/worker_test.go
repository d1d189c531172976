package janitor

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"lapse/lease"
)

func TestOrphansAreTerminatedHoweverLongReactionsTake(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ids := []string{}
		for n := range 12 {
			ids = append(ids, fmt.Sprintf("i-%02d", n))
		}
		r := newRig(t, ids...)
		for n, id := range ids { // each is due while the one before it is being ended
			r.extend(id, time.Duration(n+1)*58*time.Second)
		}
		then := r.now().Add(-time.Hour)
		if _, err := r.store.PutLaunch(t.Context(), lease.Launch{
			Schema: lease.Schema, Token: "gone", State: lease.LaunchClosed, Account: r.cloud.Where.Account, Region: r.cloud.Where.Region, Count: 1,
			Window: lease.Duration(15 * time.Minute), Request: []byte("{}"), CreatedAt: then, SettledAt: then,
			Attempts: []lease.Attempt{{ClientToken: "gone.1", Min: 1, Max: 1, Sends: 1, LastSend: then}},
		}); err != nil {
			t.Fatal(err)
		}
		r.cloud.Change("i-left", func(i *lease.Instance) { *i = r.instance("i-left", "gone.1") })
		r.cloud.OnReserve = func() error { time.Sleep(59 * time.Second); return nil }
		inTurn(t, r, "", func() {
			after(5 * time.Minute)
			if got := r.cloud.Ended(); !slices.Contains(got, "i-left") || len(got) == len(ids)+1 {
				t.Errorf("terminated %v after five minutes, want i-left among them, and others to come", got)
			}
		})
	})
}
