package api

import (
	"context"
	"errors"
	"fmt"
	"sync"
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
		d := newDescriber(cloud, describesPerSecond)
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

func TestEnrolmentTakesNoMoreThanItsShareOfEC2(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cloud := &census{}
		d := newDescriber(cloud, describesPerSecond)
		refused := 0
		for range 100 { // one after the other, for ten seconds
			if _, _, err := d.describe(t.Context(), "i-1"); errors.Is(err, errBusy) {
				refused++
			} else if err != nil {
				t.Error(err)
			}
			time.Sleep(50 * time.Millisecond)
		}
		if most := (describesAtOnce+10)*describesPerSecond + 1; len(cloud.asked) > most || refused == 0 || refused+len(cloud.asked) != 100 {
			t.Errorf("%d calls and %d refusals, want at most %d calls", len(cloud.asked), refused, most)
		}
	})
}

func TestAnErrorOfEC2IsThatOfAllWhoAsked(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDescriber(&census{err: errors.New("throttled")}, describesPerSecond)
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
