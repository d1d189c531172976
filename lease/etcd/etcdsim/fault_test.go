package etcdsim_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"lapse/lease"
	"lapse/lease/etcd"
	"lapse/lease/etcd/etcdsim"
)

// term is raft's, as an answer tells it.
func (w *world) term() uint64 {
	w.Helper()
	resp, err := w.Get(w.Context(), "any")
	if err != nil {
		w.Fatal(err)
	}
	if resp.Header.RaftTerm != w.Term() {
		w.Fatalf("an answer tells term %d of %d", resp.Header.RaftTerm, w.Term())
	}
	return resp.Header.RaftTerm
}

func TestEtcdLeasesExpireToTheSecond(t *testing.T) {
	bubble(t, func(w *world) {
		w.grant(10, "b/long")
		w.grant(1, "a/short") // etcd makes 2 s of it
		watch := w.Watch(w.within(time.Hour), "", clientv3.WithPrefix())
		time.Sleep(2*time.Second - 1)
		w.wantKeys("a/short", "b/long")
		time.Sleep(time.Nanosecond)
		w.wantKeys("b/long")
		time.Sleep(8 * time.Second)
		w.wantKeys()
		w.wantTold(watch, "DELETE a/short", "DELETE b/long")
		last := w.commits[len(w.commits)-1]
		if last.By != "" || len(last.Deletes) != 1 || last.Deletes[0].Key != "b/long" || last.Deletes[0].Lease == 0 ||
			last.Deletes[0].Before == nil || last.Deletes[0].Value != nil {
			w.Errorf("observed %+v", last)
		}
	})
}

func TestARenewedEtcdLeaseGoesOn(t *testing.T) {
	bubble(t, func(w *world) {
		id := w.grant(10, "k")
		for range 10 {
			time.Sleep(9 * time.Second)
			if resp, err := w.KeepAliveOnce(w.Context(), id); err != nil || resp.TTL != 10 {
				w.Fatal(resp, err)
			}
		}
		w.wantKeys("k")
		time.Sleep(10 * time.Second)
		if _, err := w.KeepAliveOnce(w.Context(), id); !errors.Is(err, rpctypes.ErrLeaseNotFound) {
			w.Errorf("renewed when it had run out: %v", err)
		}
	})
}

func TestTheObserverSeesEachChange(t *testing.T) {
	bubble(t, func(w *world) {
		held := w.grant(10, "held")
		w.put("k", "old")
		_, err := w.faulty().Txn(w.Context()).Then(
			clientv3.OpPut("new", "1", clientv3.WithLease(held)), clientv3.OpPut("k", ""), clientv3.OpDelete("held"), clientv3.OpDelete("none"),
		).Commit()
		if err != nil {
			w.Fatal(err)
		}
		c := w.commits[len(w.commits)-1]
		if len(w.commits) != 3 || c.Revision != w.Revision() || c.By != "faulty" || !c.At.Equal(time.Now()) || len(c.Puts) != 2 || len(c.Deletes) != 1 {
			w.Fatalf("observed %+v", w.commits)
		}
		created, changed, deleted := c.Puts[0], c.Puts[1], c.Deletes[0]
		if created.Key != "new" || created.Before != nil || string(created.Value) != "1" || created.Lease != int64(held) {
			w.Errorf("created %+v", created)
		}
		if changed.Key != "k" || string(changed.Before) != "old" || changed.Value == nil || len(changed.Value) != 0 || changed.Lease != 0 {
			w.Errorf("changed %+v", changed)
		}
		if deleted.Key != "held" || deleted.Before == nil || deleted.Value != nil || deleted.Lease != int64(held) {
			w.Errorf("deleted %+v", deleted)
		}
	})
}

// As measured on a real etcd: SIGSTOP of 12 s at a TTL of 10 s deletes all heartbeats on waking.
func TestAStallDeletesExpiredKeysOnWaking(t *testing.T) {
	for name, c := range map[string]struct {
		stall func(w *world) (wake func())
		terms uint64
	}{
		"stall":  {func(w *world) func() { return w.Stall() }, 1},
		"freeze": {func(w *world) func() { return w.Freeze() }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(w *world) {
				term := w.term()
				id := w.grant(10, "short")
				w.grant(20, "long")
				wake := c.stall(w)
				time.Sleep(5 * time.Second)
				if _, err := w.KeepAliveOnce(w.within(time.Second), id); !errors.Is(err, context.DeadlineExceeded) {
					w.Errorf("renewed in a stall: %v", err)
				}
				time.Sleep(6 * time.Second)
				w.wantKeys("long", "short")
				wake()
				wake()
				w.wantKeys("long")
				if got := w.term(); got != term+c.terms {
					w.Errorf("term %d after %d", got, term)
				}
				time.Sleep(8 * time.Second)
				w.wantKeys()
			})
		})
	}
}

func TestCallsThatArrivedInAStallAreDoneOnWaking(t *testing.T) {
	bubble(t, func(w *world) {
		first, second := w.Stall(), w.Stall()
		if _, err := w.Put(w.within(time.Second), "late", ""); !errors.Is(err, context.DeadlineExceeded) {
			w.Errorf("put in a stall: %v", err)
		}
		waited := make(chan error)
		go func() {
			_, err := w.Put(w.within(time.Hour), "waiting", "")
			waited <- err
		}()
		w.fate("put", etcdsim.Fate{Before: time.Minute})
		go func() { _, _ = w.faulty().Put(w.within(time.Hour), "on its way", "") }()
		synctest.Wait()
		first()
		w.wantKeys()
		second()
		if err := <-waited; err != nil {
			w.Error(err)
		}
		w.wantKeys("late", "waiting")
		time.Sleep(time.Minute)
		w.wantKeys("late", "on its way", "waiting")
		if keys := []string{w.commits[0].Puts[0].Key, w.commits[1].Puts[0].Key}; keys[0] != "late" || keys[1] != "waiting" {
			w.Errorf("done in the order %v", keys)
		}
	})
}

func TestAnElectionRestartsEtcdLeases(t *testing.T) {
	bubble(t, func(w *world) {
		term := w.term()
		w.grant(10, "k")
		time.Sleep(9 * time.Second)
		w.Elect()
		time.Sleep(10*time.Second - 1)
		w.wantKeys("k")
		if got := w.term(); got != term+1 {
			w.Errorf("term %d after %d", got, term)
		}
		time.Sleep(time.Nanosecond)
		w.wantKeys()
	})
}

func TestATermCanBeThatOfBefore(t *testing.T) {
	bubble(t, func(w *world) {
		image, term := w.Image(), w.term()
		w.Restore(image)
		w.SetTerm(term)
		if got := w.term(); got != term {
			w.Errorf("term %d, want %d", got, term)
		}
	})
}

func TestNoSpaceRefusesPutsAndGrantsAlone(t *testing.T) {
	bubble(t, func(w *world) {
		ctx, store := w.Context(), etcd.New(w.Client, "test", etcd.Options{})
		id := w.grant(10, "k")
		if err := store.Healthy(ctx); err != nil {
			w.Errorf("without an alarm: %v", err)
		}
		w.Alarm(true)
		var alarm *etcd.AlarmError
		if err := store.Healthy(ctx); !errors.As(err, &alarm) || alarm.Alarms[0] != "NOSPACE" {
			w.Errorf("with an alarm: %v", err)
		}
		_, put := w.Put(ctx, "k", "")
		_, grant := w.Grant(ctx, 10)
		_, txn := w.Txn(ctx).Else(clientv3.OpPut("k", "")).Commit()
		if !errors.Is(put, rpctypes.ErrNoSpace) || !errors.Is(grant, rpctypes.ErrNoSpace) || !errors.Is(txn, rpctypes.ErrNoSpace) {
			w.Errorf("put: %v; grant: %v; transaction: %v", put, grant, txn)
		}
		_, get := w.Get(ctx, "k")
		_, renew := w.KeepAliveOnce(ctx, id)
		_, txn = w.Txn(ctx).Then(clientv3.OpDelete("k")).Commit()
		if err := errors.Join(get, renew, txn); err != nil {
			w.Error(err)
		}
		w.Alarm(false)
		w.put("k", "")
	})
}

func TestExpireAllDeletesWithTheEtcdLeases(t *testing.T) {
	bubble(t, func(w *world) {
		a, b := w.grant(10, "beats/a"), w.grant(10, "other/b")
		w.put("beats/free", "")
		w.put("other/of a", "", clientv3.WithLease(a))
		w.put("beats/deleted", "", clientv3.WithLease(a))
		w.put("beats/moved", "", clientv3.WithLease(a))
		w.put("beats/moved", "", clientv3.WithLease(b))
		if _, err := w.Delete(w.Context(), "beats/deleted"); err != nil {
			w.Fatal(err)
		}
		w.put("beats/moved", "") // held by none
		w.ExpireAll("beats/")
		w.wantKeys("beats/free", "beats/moved", "other/b")
		if _, err := w.KeepAliveOnce(w.Context(), a); !errors.Is(err, rpctypes.ErrLeaseNotFound) {
			w.Errorf("renewed: %v", err)
		}
		if _, err := w.KeepAliveOnce(w.Context(), b); err != nil {
			w.Error(err)
		}
	})
}

func TestTheHistoryCanBeRead(t *testing.T) {
	bubble(t, func(w *world) {
		before := w.Revision()
		w.put("k", "one")
		w.put("k", "two")
		if _, err := w.Delete(w.Context(), "k"); err != nil {
			w.Fatal(err)
		}
		w.put("k", "three")
		for i, want := range []string{"", "one", "two", "", "three"} {
			resp, err := w.Get(w.Context(), "k", clientv3.WithRev(before+int64(i)))
			if err != nil {
				w.Fatal(err)
			}
			got := ""
			for _, kv := range resp.Kvs {
				got = string(kv.GetValue())
			}
			if got != want {
				w.Errorf("%d after the beginning: %q, want %q", i, got, want)
			}
		}
	})
}

func TestACompactedHistoryIsGone(t *testing.T) {
	bubble(t, func(w *world) {
		first := w.put("a", "")
		w.put("b", "")
		_, _ = w.Delete(w.Context(), "a")
		now := w.put("b", "")
		w.Compact()
		if n := w.Items(); n != 1 {
			w.Errorf("%d keys are remembered", n)
		}
		if _, err := w.Get(w.Context(), "a", clientv3.WithRev(first)); !errors.Is(err, rpctypes.ErrCompacted) {
			w.Errorf("read: %v", err)
		}
		if resp, err := w.Get(w.Context(), "", clientv3.WithPrefix(), clientv3.WithRev(now)); err != nil || len(resp.Kvs) != 1 {
			w.Errorf("read now: %v, %v", resp, err)
		}
		resp := <-w.Watch(w.within(time.Hour), "a", clientv3.WithRev(first))
		if !errors.Is(resp.Err(), rpctypes.ErrCompacted) || !resp.Canceled || resp.CompactRevision != now {
			w.Errorf("watch: %+v", resp)
		}
		w.wantTold(w.Watch(w.within(time.Hour), "b", clientv3.WithRev(now)), "PUT b")
	})
}

func TestTheStoreKeepsItsBoundsOnASlowLink(t *testing.T) {
	bubble(t, func(w *world) {
		store := etcd.New(w.faulty(), "test", etcd.Options{CallTimeout: 5 * time.Second})
		w.fate("txn", etcdsim.Fate{After: 4 * time.Second})
		start := time.Now()
		heartbeat := lease.Heartbeat{InstanceID: "i-1", BootID: "boot", HeartbeatTimeout: lease.Duration(time.Minute)}
		claim, err := store.Claim(w.within(time.Minute), heartbeat)
		if err != nil || time.Since(start) != 8*time.Second { // to look, and to write
			w.Fatalf("%+v after %v, %v", claim, time.Since(start), err)
		}
		w.fate("txn", etcdsim.Fate{Unanswered: true})
		start = time.Now()
		_, _, err = store.Renew(w.within(time.Minute), claim, heartbeat)
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 5*time.Second {
			w.Errorf("renewed without an answer: %v after %v", err, time.Since(start))
		}
	})
}

func TestACallOnAClosedClientEnds(t *testing.T) {
	bubble(t, func(w *world) {
		client := w.faulty()
		w.fate("get", etcdsim.Fate{Lost: true})
		time.AfterFunc(time.Second, func() { _ = client.Close() })
		if _, err := client.Get(w.Context(), "k"); !errors.Is(err, context.Canceled) && !clientv3.IsConnCanceled(err) {
			w.Errorf("closed: %v", err)
		}
		w.Cluster.Close()
		w.Cluster.Close()
		if _, err := w.Get(w.Context(), "k"); !clientv3.IsConnCanceled(err) {
			w.Errorf("a closed cluster: %v", err)
		}
	})
}
