package api

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
)

// census is an EC2 that knows everybody, and counts what it is asked.
type census struct {
	mu    sync.Mutex
	asked []int // ids in each call
	err   error
}

func (c *census) Location() lease.Location { return lease.Location{Account: "1", Region: "r"} }

func (c *census) Describe(_ context.Context, ids []string) (lease.Listing, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked = append(c.asked, len(ids))
	var all lease.Listing
	for _, id := range ids {
		all.Instances = append(all.Instances, lease.Instance{ID: id})
	}
	return all, c.err
}

func TestInstancesThatEnrolTogetherAreFewCallsToEC2(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cloud := &census{}
		d := newDescriber(cloud, describesPerSecond, slog.New(slog.DiscardHandler))
		var all sync.WaitGroup
		for n := range 250 {
			id := fmt.Sprint("i-", n)
			all.Go(func() {
				if i, known, err := d.describe(t.Context(), id); err != nil || !known || i.ID != id {
					t.Errorf("%s is %+v, %t, %v", id, i, known, err)
				}
			})
		}
		all.Wait()
		if len(cloud.asked) != 3 || cloud.asked[0]+cloud.asked[1]+cloud.asked[2] != 250 {
			t.Errorf("calls of %v ids", cloud.asked)
		}
	})
}

// TestEnrolmentTakesNoMoreThanItsShareOfEC2 has one instance ask without end, and others now and then: none of them is kept out.
func TestEnrolmentTakesNoMoreThanItsShareOfEC2(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cloud := &census{}
		d := newDescriber(cloud, describesPerSecond, slog.New(slog.DiscardHandler))
		var all sync.WaitGroup
		for n := range 200 { // for ten seconds
			ids := []string{"i-hostile"}
			if n%10 == 0 {
				ids = append(ids, fmt.Sprint("i-", n))
			}
			for _, id := range ids {
				all.Go(func() {
					if _, known, err := d.describe(t.Context(), id); err != nil || !known {
						t.Errorf("%s: %t, %v", id, known, err)
					}
				})
			}
			time.Sleep(50 * time.Millisecond)
		}
		all.Wait()
		if most := (describesAtOnce+10)*describesPerSecond + 1; len(cloud.asked) > most {
			t.Errorf("%d calls, want at most %d", len(cloud.asked), most)
		}
	})
}

// TestMoreInstancesThanTheShareOfEC2Allows has all of a large fleet come at once: those who would wait too long are told at once.
func TestMoreInstancesThanTheShareOfEC2Allows(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d, began := newDescriber(&census{}, describesPerSecond, slog.New(slog.DiscardHandler)), time.Now()
		var all sync.WaitGroup
		var refused atomic.Int64
		for n := range 5000 {
			all.Go(func() {
				if _, _, err := d.describe(t.Context(), fmt.Sprint("i-", n)); errors.Is(err, errBusy) {
					refused.Add(1)
				} else if err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if most := describeWait + time.Second; time.Since(began) > most || refused.Load() < 2500 || refused.Load() > 3500 {
			t.Errorf("%d are refused, and the last of the others waited for %s", refused.Load(), time.Since(began))
		}
	})
}

func TestAnErrorOfEC2IsThatOfAllWhoAsked(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDescriber(&census{err: errors.New("throttled")}, describesPerSecond, slog.New(slog.DiscardHandler))
		var all sync.WaitGroup
		for range 2 {
			all.Go(func() {
				if _, known, err := d.describe(t.Context(), "i-1"); err == nil || known {
					t.Errorf("%t, %v", known, err)
				}
			})
		}
		all.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, _, err := d.describe(ctx, "i-1"); !errors.Is(err, context.Canceled) {
			t.Errorf("a caller that has gone waits: %v", err)
		}
	})
}
