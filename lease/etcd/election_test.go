package etcd_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"lapse/lease"
	"lapse/lease/etcd"
	"lapse/lease/etcd/etcdsim"
)

// TestACandidateDoesNotWaitForAnAnswerThatNeverComes: etcd's own election asks without a deadline, and a candidate that
// waits for ever is one that holds its place in the line and never leads.
func TestACandidateDoesNotWaitForAnAnswerThatNeverComes(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"get", "txn"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				cluster := etcdsim.New(etcdsim.Options{})
				defer cluster.Close()
				var mute atomic.Bool
				store := etcd.New(cluster.Client("candidate", func(op etcdsim.Op) etcdsim.Fate {
					about := op.Kind == kind && strings.Contains(op.Key, "/election/")
					return etcdsim.Fate{Unanswered: about && mute.Load()}
				}), "default", etcd.Options{})
				if _, err := store.PutRegistry(t.Context(), lease.NewRegistry(time.Now(), "u", lease.ModeArmed)); err != nil {
					t.Fatal(err)
				}
				mute.Store(true)
				ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
				defer cancel()
				began := time.Now()
				if _, err := store.Campaign(ctx, "first", 30*time.Second); err == nil || time.Since(began) > time.Minute {
					t.Fatalf("%v after %s; want an error soon", err, time.Since(began))
				}
				mute.Store(false)
				time.Sleep(time.Minute) // what it left in the line has lapsed
				office, err := store.Campaign(ctx, "first", 30*time.Second)
				if err != nil {
					t.Fatal(err)
				}
				if err := office.Resign(ctx); err != nil {
					t.Error(err)
				}
			})
		})
	}
}
