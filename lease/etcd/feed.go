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

	mu    sync.Mutex
	works func() error // nil: whoever waits to be elected has nothing to show
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

// KeepAlive renews at once and three times in a ttl, until ctx ends, the etcd lease is gone, or no renewal was confirmed for
// the ttl. Then the channel closes. Its answers are of no use to a session; the newest that is not read is kept.
func (f *feed) KeepAlive(ctx context.Context, id clientv3.LeaseID) (<-chan *clientv3.LeaseKeepAliveResponse, error) {
	answers := make(chan *clientv3.LeaseKeepAliveResponse, 1)
	go func() {
		defer close(answers)
		confirmed := time.Now()
		for time.Since(confirmed) < f.heartbeatTimeout {
			asked := time.Now()
			answer, err := f.renew(ctx, id)
			if err == nil {
				confirmed = asked
				select {
				case answers <- answer:
				default:
				}
			}
			select {
			case <-time.After(min(f.heartbeatTimeout/3, f.heartbeatTimeout-time.Since(confirmed))):
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
