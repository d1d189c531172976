package etcdsim_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"lapse/lease/etcd/etcdsim"
)

func TestFates(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fate   etcdsim.Fate
		landed time.Duration // when; negative for never
		back   time.Duration // when the caller of 5 s patience goes on
		err    error
	}{
		"at once":              {etcdsim.Fate{}, 0, 0, nil},
		"slow on its way":      {etcdsim.Fate{Before: time.Second}, time.Second, time.Second, nil},
		"slow on the way back": {etcdsim.Fate{After: time.Second}, 0, time.Second, nil},
		"slow on both":         {etcdsim.Fate{Before: time.Second, After: 2 * time.Second}, time.Second, 3 * time.Second, nil},
		"lost":                 {etcdsim.Fate{Lost: true}, -1, 5 * time.Second, context.DeadlineExceeded},
		"unanswered":           {etcdsim.Fate{Unanswered: true}, 0, 5 * time.Second, context.DeadlineExceeded},
		"lands late":           {etcdsim.Fate{Before: 7 * time.Second}, 7 * time.Second, 5 * time.Second, context.DeadlineExceeded},
		"answered late":        {etcdsim.Fate{After: 7 * time.Second}, 0, 5 * time.Second, context.DeadlineExceeded},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(w *world) {
				w.fate("put", c.fate)
				start := time.Now()
				_, err := w.faulty().Put(w.within(5*time.Second), "k", "v")
				if back := time.Since(start); back != c.back || !errors.Is(err, c.err) || c.err == nil && err != nil {
					w.Errorf("after %v: %v; want after %v: %v", back, err, c.back, c.err)
				}
				time.Sleep(10 * time.Second)
				synctest.Wait()
				switch {
				case c.landed < 0 && len(w.commits) > 0:
					w.Errorf("landed: %+v", w.commits)
				case c.landed >= 0 && (len(w.commits) != 1 || w.commits[0].At.Sub(start) != c.landed):
					w.Errorf("landed as %+v, want after %v", w.commits, c.landed)
				}
			})
		})
	}
}

func TestACallerWhoseContextEndsGetsItsError(t *testing.T) {
	bubble(t, func(w *world) {
		client := w.faulty()
		for _, kind := range []string{"get", "txn", "grant", "revoke", "keepalive", "ttl", "alarms"} {
			w.fate(kind, etcdsim.Fate{Lost: true})
		}
		for name, call := range map[string]func(ctx context.Context) error{
			"get":       func(ctx context.Context) error { _, err := client.Get(ctx, "k"); return err },
			"txn":       func(ctx context.Context) error { _, err := client.Txn(ctx).Commit(); return err },
			"grant":     func(ctx context.Context) error { _, err := client.Grant(ctx, 5); return err },
			"revoke":    func(ctx context.Context) error { _, err := client.Revoke(ctx, 5); return err },
			"keepalive": func(ctx context.Context) error { _, err := client.KeepAliveOnce(ctx, 5); return err },
			"ttl":       func(ctx context.Context) error { _, err := client.TimeToLive(ctx, 5); return err },
			"alarms":    func(ctx context.Context) error { _, err := client.AlarmList(ctx); return err },
		} {
			if err := call(w.within(time.Second)); !errors.Is(err, context.DeadlineExceeded) {
				w.Errorf("%s: %v at the deadline", name, err)
			}
			ctx, cancel := context.WithCancel(w.Context())
			time.AfterFunc(time.Second, cancel)
			if err := call(ctx); !errors.Is(err, context.Canceled) {
				w.Errorf("%s: %v when cancelled", name, err)
			}
			asked := len(w.asked)
			if err := call(ctx); !errors.Is(err, context.Canceled) || len(w.asked) != asked {
				w.Errorf("%s: %v with a context that had ended, sent %v", name, err, len(w.asked) != asked)
			}
		}
	})
}

func TestTheLinkLearnsTheSubjectOfACall(t *testing.T) {
	bubble(t, func(w *world) {
		client, ctx := w.faulty(), w.Context()
		granted, _ := client.Grant(ctx, 5)
		_, _ = client.Put(ctx, "put", "")
		_, _ = client.Get(ctx, "get")
		_, _ = client.Delete(ctx, "delete")
		_, _ = client.Txn(ctx).If(clientv3.Compare(clientv3.Version("if"), "=", 0)).Then(clientv3.OpPut("then", "")).Commit()
		_, _ = client.Txn(ctx).If(clientv3.Compare(clientv3.Version("if"), "=", 0)).Else(clientv3.OpGet("else")).Commit()
		_, _ = client.Txn(ctx).If(clientv3.Compare(clientv3.Version("if"), "=", 0)).Commit()
		_, _ = client.KeepAliveOnce(ctx, granted.ID)
		_, _ = client.TimeToLive(ctx, granted.ID)
		_, _ = client.Revoke(ctx, granted.ID)
		_, _ = client.AlarmList(ctx)
		watch := client.Watch(w.within(time.Second), "watched")
		w.put("watched", "")
		w.wantTold(watch, "PUT watched")
		want := []etcdsim.Op{
			{Kind: "grant", Write: true},
			{Kind: "put", Key: "put", Write: true},
			{Kind: "get", Key: "get"},
			{Kind: "delete", Key: "delete", Write: true},
			{Kind: "txn", Key: "then", Write: true},
			{Kind: "txn", Key: "else"},
			{Kind: "txn", Key: "if"},
			{Kind: "keepalive", Write: true},
			{Kind: "ttl"},
			{Kind: "revoke", Write: true},
			{Kind: "alarms"},
			{Kind: "watch", Key: "watched"},
			{Kind: "event", Key: "watched"},
		}
		synctest.Wait()
		if !slices.Equal(w.asked, want) {
			w.Errorf("asked %+v\nwant  %+v", w.asked, want)
		}
	})
}

func TestEventsAreDelayedInOrder(t *testing.T) {
	bubble(t, func(w *world) {
		watch := w.faulty().Watch(w.within(time.Hour), "", clientv3.WithPrefix())
		w.fate("event", etcdsim.Fate{Before: 3 * time.Second})
		w.put("a", "")
		time.Sleep(time.Second)
		w.fate("event", etcdsim.Fate{})
		w.put("b", "")
		w.wantTold(watch)
		time.Sleep(2*time.Second - 1)
		w.wantTold(watch)
		time.Sleep(time.Nanosecond)
		w.wantTold(watch, "PUT a", "PUT b")
	})
}

func TestAWatchContinuesWhenTheLinkIsUpAgain(t *testing.T) {
	bubble(t, func(w *world) {
		watch := w.faulty().Watch(w.within(time.Hour), "", clientv3.WithPrefix())
		w.put("a", "")
		w.wantTold(watch, "PUT a")
		w.fate("event", etcdsim.Fate{Lost: true})
		w.put("b", "")
		time.Sleep(10 * time.Second)
		w.put("c", "")
		w.wantTold(watch)
		w.fate("event", etcdsim.Fate{})
		time.Sleep(time.Second)
		w.wantTold(watch, "PUT b", "PUT c")
		w.put("d", "")
		w.wantTold(watch, "PUT d")
	})
}

func TestAWatchThatWasDownTooLongLearnsThatItMissedEvents(t *testing.T) {
	bubble(t, func(w *world) {
		watch := w.faulty().Watch(w.within(time.Hour), "", clientv3.WithPrefix())
		w.fate("event", etcdsim.Fate{Lost: true})
		w.put("a", "")
		time.Sleep(time.Second)
		w.put("b", "")
		w.Compact()
		w.fate("event", etcdsim.Fate{})
		time.Sleep(time.Second)
		w.wantTold(watch, rpctypes.ErrCompacted.Error(), "closed")
	})
}

func TestAWatchEndsWithItsContextClientOrCluster(t *testing.T) {
	for name, end := range map[string]func(w *world, client *etcdsim.Client, cancel func()){
		"context": func(_ *world, _ *etcdsim.Client, cancel func()) { cancel() },
		"client":  func(_ *world, client *etcdsim.Client, _ func()) { _ = client.Close() },
		"cluster": func(w *world, _ *etcdsim.Client, _ func()) { w.Cluster.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(w *world) {
				client := w.faulty()
				ctx, cancel := context.WithCancel(w.Context())
				defer cancel()
				watch := client.Watch(ctx, "k")
				end(w, client, cancel)
				w.wantTold(watch, "closed")
				synctest.Wait()
				if n := w.Watches(); n != 0 {
					w.Errorf("etcd keeps %d watches", n)
				}
			})
		})
	}
}

func TestAWatchWithoutACallerIsNotKept(t *testing.T) {
	for name, fate := range map[string]etcdsim.Fate{
		"lost": {Lost: true}, "late": {Before: 2 * time.Second}, "answered late": {After: 2 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(w *world) {
				w.fate("watch", fate)
				start := time.Now()
				w.wantTold(w.faulty().Watch(w.within(time.Second), "k"), "closed")
				if time.Since(start) != time.Second {
					w.Errorf("closed after %v", time.Since(start))
				}
				time.Sleep(time.Minute)
				synctest.Wait()
				if n := w.Watches(); n != 0 {
					w.Errorf("etcd keeps %d watches", n)
				}
			})
		})
	}
}

// kept is a client that keeps etcd leases, for etcd's own sessions.
type kept struct{ *etcdsim.Client }

func (k kept) KeepAlive(ctx context.Context, id clientv3.LeaseID) (<-chan *clientv3.LeaseKeepAliveResponse, error) {
	answers := make(chan *clientv3.LeaseKeepAliveResponse)
	go func() {
		defer close(answers)
		for ctx.Err() == nil {
			_, _ = k.KeepAliveOnce(ctx, id) // what is not renewed runs out
			select {
			case <-time.After(3 * time.Second):
			case <-ctx.Done():
			}
		}
	}()
	return answers, nil
}

func TestElectionsAreWonInTurn(t *testing.T) {
	bubble(t, func(w *world) {
		ctx := w.within(time.Hour)
		var elections [3]*concurrency.Election
		var sessions [3]*concurrency.Session
		won := make(chan int, 3)
		for i := range elections {
			client := clientv3.NewCtxClient(ctx)
			client.KV, client.Lease, client.Watcher = w.faulty(), kept{w.Client}, w.Client
			session, err := concurrency.NewSession(client, concurrency.WithTTL(10), concurrency.WithContext(ctx))
			if err != nil {
				w.Fatal(err)
			}
			sessions[i], elections[i] = session, concurrency.NewElection(session, "office")
			go func() {
				if err := elections[i].Campaign(ctx, "me"); err != nil {
					w.Error(err)
				}
				won <- i
			}()
			synctest.Wait()
		}
		if first := <-won; first != 0 || len(won) != 0 {
			w.Fatalf("%d was first, %d more", first, len(won))
		}
		if err := elections[0].Proclaim(ctx, "still me"); err != nil {
			w.Error(err)
		}
		if err := elections[0].Resign(ctx); err != nil {
			w.Error(err)
		}
		if second := <-won; second != 1 {
			w.Errorf("%d was second", second)
		}
		sessions[1].Orphan()
		if third := <-won; third != 2 {
			w.Errorf("%d was third", third)
		}
		if leader, err := elections[0].Leader(ctx); err != nil || leader.Kvs[0].GetLease() != int64(sessions[2].Lease()) {
			w.Errorf("leader %v, %v", leader, err)
		}
	})
}

func TestAnOptionThatIsNotSimulatedIsRefused(t *testing.T) {
	bubble(t, func(w *world) {
		for name, op := range map[string]clientv3.Op{
			"put, previous":          clientv3.OpPut("k", "v", clientv3.WithPrevKV()),
			"put, value ignored":     clientv3.OpPut("k", "", clientv3.WithIgnoreValue()),
			"put, lease ignored":     clientv3.OpPut("k", "v", clientv3.WithIgnoreLease()),
			"delete, previous":       clientv3.OpDelete("k", clientv3.WithPrevKV()),
			"get, changed since":     clientv3.OpGet("k", clientv3.WithMinModRev(1)),
			"get, changed before":    clientv3.OpGet("k", clientv3.WithMaxModRev(1)),
			"get, created since":     clientv3.OpGet("k", clientv3.WithMinCreateRev(1)),
			"in a transaction, too":  clientv3.OpTxn(nil, []clientv3.Op{clientv3.OpPut("k", "v", clientv3.WithPrevKV())}, nil),
			"a transaction in other": clientv3.OpTxn(nil, []clientv3.Op{clientv3.OpTxn(nil, nil, nil)}, nil),
		} {
			if _, err := w.Do(w.Context(), op); status.Code(err) != codes.Unimplemented {
				w.Errorf("%s: %v", name, err)
			}
		}
		if len(w.commits) > 0 {
			w.Errorf("committed %+v", w.commits)
		}
	})
}
