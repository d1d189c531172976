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
// waits for ever is one that holds its location in the line and never leads.
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
				time.Sleep(time.Minute) // its key in the queue has expired
				leadership, err := store.Campaign(ctx, "first", 30*time.Second)
				if err != nil {
					t.Fatal(err)
				}
				if err := leadership.Resign(ctx); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// TestARestoredLeaderDeposesItsSuccessor: who led when the snapshot was taken may only have been paused,
// and finds its key where it left it. Of two that lead at once, each counts only its own kills.
func TestARestoredLeaderDeposesItsSuccessor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cluster := etcdsim.New(etcdsim.Options{})
		defer cluster.Close()
		janitor := func(name string) *etcd.Store { return etcd.New(cluster.Client(name, nil), "default", etcd.Options{}) }
		registry, err := janitor("operator").PutRegistry(t.Context(), lease.NewRegistry(time.Now(), "u", lease.ModeArmed))
		if err != nil {
			t.Fatal(err)
		}
		lead := func(name string) *etcd.Leadership {
			o, err := janitor(name).Campaign(t.Context(), name, 30*time.Second)
			if err != nil {
				t.Error(err)
			}
			return o
		}
		checkpoint := func(o *etcd.Leadership, sequence int64) error {
			sweep := lease.Checkpoint{Schema: lease.Schema, Sequence: sequence}
			if s, err := janitor("reader").Checkpoint(t.Context()); err == nil {
				sweep.Revision = s.Revision
			}
			_, err := o.PutCheckpoint(t.Context(), registry, sweep)
			return err
		}
		first := lead("first")
		elected := make(chan *etcd.Leadership, 1)
		go func() { elected <- lead("second") }()
		synctest.Wait() // the second stands in line
		image := cluster.Image()
		if err := first.Resign(t.Context()); err != nil {
			t.Fatal(err)
		}
		second := <-elected
		if err := checkpoint(second, 1); err != nil {
			t.Fatal(err)
		}
		cluster.Restore(image)
		if err := checkpoint(second, 2); !is[*lease.DeposedError](err) {
			t.Errorf("the second leader wrote beside the first, which is back: %v", err)
		}
		time.Sleep(time.Minute) // nobody keeps the first one's key, so it expires
		if err := checkpoint(second, 3); err != nil {
			t.Error(err)
		}
		if err := second.Resign(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
