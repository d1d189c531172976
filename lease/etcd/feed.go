package etcd

import (
	"context"
	"errors"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// feed renews the etcd lease of a session, as the client's KeepAlive does, for as long as whoever holds it works. A session
// renews itself in a goroutine of its own, which goes on whatever becomes of the program that it is for.
type feed struct {
	clientv3.Lease
	heartbeatTimeout time.Duration
	timeout          time.Duration // of one renewal

	mu        sync.Mutex
	works     func() error // nil: whoever waits to be elected has nothing to show
	confirmed time.Time    // when the last renewal was asked for that etcd has confirmed
	steady    time.Time    // since when each was confirmed in time
}

// slowMax is how much longer than usual etcd may take to confirm a renewal, before it counts as stalled.
const slowMax = time.Second

// pause is between two renewals.
func (f *feed) pause() time.Duration { return f.heartbeatTimeout / 5 }

// begin counts from now.
func (f *feed) begin() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.confirmed = time.Now()
	f.steady = f.confirmed
}

// confirm notes that etcd has confirmed a renewal.
func (f *feed) confirm(asked time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.late() {
		f.steady = time.Now()
	}
	f.confirmed = asked
}

// late reports whether etcd should have confirmed another renewal by now.
func (f *feed) late() bool { return time.Since(f.confirmed) > f.pause()+slowMax }

// since is since when etcd has confirmed each renewal in time; now if one is late.
func (f *feed) since() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.late() {
		return time.Now()
	}
	return f.steady
}

// left is for how long the last confirmation is good.
func (f *feed) left() time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.heartbeatTimeout - time.Since(f.confirmed)
}

func (f *feed) while(works func() error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.works = works
}

func (f *feed) idle() error {
	f.mu.Lock()
	works := f.works
	f.mu.Unlock()
	if works == nil {
		return nil
	}
	return works()
}

// KeepAlive renews at once and five times in a ttl, until ctx ends, the etcd lease is gone, or no renewal was confirmed for
// the ttl. Then the channel closes. Its answers are of no use to a session; the newest that is not read is kept.
func (f *feed) KeepAlive(ctx context.Context, id clientv3.LeaseID) (<-chan *clientv3.LeaseKeepAliveResponse, error) {
	answers := make(chan *clientv3.LeaseKeepAliveResponse, 1)
	f.begin()
	go func() {
		defer close(answers)
		for f.left() > 0 {
			asked := time.Now()
			answer, err := f.renew(ctx, id)
			if err == nil {
				f.confirm(asked)
				select {
				case answers <- answer:
				default:
				}
			}
			select {
			case <-time.After(min(f.pause(), f.left())):
			case <-ctx.Done():
			}
			if ctx.Err() != nil || errors.Is(err, rpctypes.ErrLeaseNotFound) {
				return
			}
		}
	}()
	return answers, nil
}

func (f *feed) renew(ctx context.Context, id clientv3.LeaseID) (*clientv3.LeaseKeepAliveResponse, error) {
	if err := f.idle(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, min(f.timeout, f.heartbeatTimeout/3))
	defer cancel()
	return f.KeepAliveOnce(ctx, id)
}
