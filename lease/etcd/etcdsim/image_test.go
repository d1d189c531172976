package etcdsim_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"lapse/lease/etcd/etcdsim"
)

func TestARestoredEtcdIsAsItWas(t *testing.T) {
	bubble(t, func(w *world) {
		ctx, term := w.Context(), w.term()
		kept := w.grant(10, "kept")
		w.put("changed", "old")
		gone := w.put("deleted", "x")
		watch := w.Watch(w.within(time.Hour), "", clientv3.WithPrefix())
		image := w.Image()

		time.Sleep(9 * time.Second)
		w.put("changed", "new")
		w.put("made", "y")
		_, _ = w.Delete(ctx, "deleted")
		_, _ = w.Revoke(ctx, kept)
		w.Compact()
		w.wantTold(watch, "PUT changed", "PUT made", "DELETE deleted", "DELETE kept")
		seen := w.Revision()

		w.Restore(image)
		if w.Revision() != gone || w.Revision() != image.Revision() || w.term() != term+1 {
			w.Errorf("revision %d, want %d; term %d after %d", w.Revision(), gone, w.Term(), term)
		}
		w.wantKeys("changed", "deleted", "kept")
		c := w.commits[len(w.commits)-1]
		if c.By != "" || c.Revision != gone || len(c.Puts) != 3 || string(c.Puts[0].Before) != "new" || string(c.Puts[0].Value) != "old" ||
			len(c.Deletes) != 1 || c.Deletes[0].Key != "made" {
			w.Errorf("observed %+v", c)
		}
		if old, err := w.Get(ctx, "deleted", clientv3.WithRev(gone-1)); err != nil || len(old.Kvs) != 0 {
			w.Errorf("the history is not restored: %v, %v", old, err)
		}
		for w.Revision() < seen {
			w.put("unseen", "")
		}
		w.wantTold(watch)
		w.put("seen", "")
		w.wantTold(watch, "PUT seen")
		time.Sleep(10*time.Second - 1)
		w.wantKeys("changed", "deleted", "kept", "seen", "unseen")
		time.Sleep(time.Nanosecond)
		w.wantKeys("changed", "deleted", "seen", "unseen")

		w.Restore(image) // is as it was, whatever happened since
		w.wantKeys("changed", "deleted", "kept")
	})
}

func TestAnEventInFlightIsLostInARestoreUnlessItIsInTheImage(t *testing.T) {
	for name, told := range map[string][]string{"image before it": {"PUT next"}, "image after it": {"PUT k", "PUT next"}} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(w *world) {
				watch := w.faulty().Watch(w.within(time.Hour), "", clientv3.WithPrefix())
				image := w.Image()
				w.fate("event", etcdsim.Fate{Before: time.Second})
				w.put("k", "")
				if name == "image after it" {
					image = w.Image()
				}
				time.Sleep(time.Second / 2)
				w.Restore(image)
				w.put("next", "")
				time.Sleep(time.Minute)
				w.wantTold(watch, told...)
			})
		})
	}
}

func TestAnImageIsIndependentOfWhatFollows(t *testing.T) {
	bubble(t, func(w *world) {
		for range 3 { // leaves room behind the versions
			w.put("k", "first")
		}
		first := w.Image()
		w.Restore(first)
		w.put("k", "second")
		second := w.Image()
		w.Restore(first)
		w.put("k", "third")
		w.Restore(second)
		resp, err := w.Get(w.Context(), "k")
		if err != nil || string(resp.Kvs[0].GetValue()) != "second" {
			w.Errorf("restored %v, %v", resp, err)
		}
		told := <-w.Watch(w.within(time.Hour), "k", clientv3.WithRev(second.Revision()))
		if len(told.Events) != 1 || string(told.Events[0].Kv.GetValue()) != "second" {
			w.Errorf("got %v", told.Events)
		}
	})
}

func TestAnEventInAStallAfterARestoreIsDeliveredOnce(t *testing.T) {
	bubble(t, func(w *world) {
		w.grant(10, "k")
		watch := w.Watch(w.within(time.Hour), "k")
		image, wake := w.Image(), w.Stall()
		w.Restore(image)
		w.ExpireAll("k")
		wake()
		w.wantTold(watch, "DELETE k")
	})
}

func TestWaitingCallsAreLostInARestore(t *testing.T) {
	bubble(t, func(w *world) {
		image, wake := w.Image(), w.Stall()
		go func() {
			if _, err := w.Put(w.within(time.Second), "k", ""); !errors.Is(err, context.DeadlineExceeded) {
				w.Errorf("put: %v", err)
			}
		}()
		synctest.Wait()
		w.Restore(image)
		wake()
		time.Sleep(time.Minute)
		w.wantKeys()
	})
}

func TestAWipedEtcdIsEmpty(t *testing.T) {
	bubble(t, func(w *world) {
		id, term := w.grant(10, "k"), w.term()
		watch := w.Watch(w.within(time.Hour), "", clientv3.WithPrefix(), clientv3.WithRev(1))
		w.wantTold(watch, "PUT k")
		w.Wipe()
		w.wantKeys()
		if w.Revision() != 1 || w.term() != term+1 {
			w.Errorf("revision %d, term %d after %d", w.Revision(), w.Term(), term)
		}
		if _, err := w.KeepAliveOnce(w.Context(), id); !errors.Is(err, rpctypes.ErrLeaseNotFound) {
			w.Errorf("renewed: %v", err)
		}
		if granted, err := w.Grant(w.Context(), 10); err != nil || granted.ID == id {
			w.Errorf("granted %v after %v: %v", granted, id, err)
		}
		w.put("unseen", "")
		w.put("seen", "")
		w.wantTold(watch, "PUT seen")
	})
}
