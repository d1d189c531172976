package self_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"lapse/lease"
	"lapse/lease/leasetest"
	"lapse/lease/self"
)

// counted is a store that counts how often peers are looked for.
type counted struct {
	*leasetest.Store
	searches, readings atomic.Int64
}

func (c *counted) Members(ctx context.Context, launch string) ([]string, error) {
	c.searches.Add(1)
	return c.Store.Members(ctx, launch)
}

func (c *counted) Renewals(ctx context.Context, ids []string) ([]lease.Lease, map[string]lease.Heartbeat, error) {
	c.readings.Add(1)
	return c.Store.Renewals(ctx, ids)
}

// TestThoseOfOneLaunchShareAReading has fifty instances ask at once, and again.
func TestThoseOfOneLaunchShareAReading(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store, cloud := &counted{Store: leasetest.NewStore()}, leasetest.NewCloud()
		var ids []string
		for n := range 50 {
			ids = append(ids, fmt.Sprintf("i-0123456789abcd%03d", n))
		}
		leasetest.Launched(t, store.Store, cloud, ids...)
		service := self.New(store, time.Now, slog.New(slog.DiscardHandler))
		ask := func(wantReadings int64) {
			t.Helper()
			var all sync.WaitGroup
			for _, id := range ids {
				all.Go(func() {
					if _, err := service.Peers(t.Context(), id); err != nil {
						t.Error(err)
					}
				})
			}
			all.Wait()
			if s, r := store.searches.Load(), store.readings.Load(); s != wantReadings || r != wantReadings {
				t.Errorf("%d searches and %d readings; want %d", s, r, wantReadings)
			}
		}
		ask(1)
		time.Sleep(self.PeersAge)
		ask(1)
		time.Sleep(time.Millisecond)
		ask(2)
	})
}

func TestWhoWaitsForAReadingWaitsNoLongerThanItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store, cloud := leasetest.NewStore(), leasetest.NewCloud()
		leasetest.Launched(t, store, cloud, "i-0123456789abcdef0")
		service := self.New(store, time.Now, slog.New(slog.DiscardHandler))
		stuck, release := make(chan struct{}), make(chan struct{})
		go func() {
			_, _ = service.PeersAmong(t.Context(), "i-0123456789abcdef0", func(context.Context, string) ([]string, error) {
				close(stuck)
				<-release
				return nil, nil
			})
		}()
		<-stuck
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := service.Peers(ctx, "i-0123456789abcdef0")
		if _, is := errors.AsType[*lease.UnavailableError](err); !is {
			t.Errorf("%T %v", err, err)
		}
		close(release)
	})
}
