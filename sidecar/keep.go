package sidecar

import (
	"context"
	"errors"
	"time"

	"lapse/lease"
	"lapse/lease/self"
)

const (
	callMax         = 10 * time.Second // bound of one call to the registry
	backoffMin      = time.Second
	backoffMax      = 30 * time.Second
	checkpointEvery = time.Hour       // reading the checkpoint of the last sweep, by which the clock is judged
	waitForLease    = 2 * time.Second // first renewal while no lease is bound; doubles up to the usual interval
)

// keeper is the loop: one goroutine, one call at a time, each bounded, so that a loop that hangs misses its watchdog.
type keeper struct {
	cfg   Config
	lazy  *lazy
	clock *self.Clock
	view  *view
	wake  <-chan struct{}

	heartbeatTimeout time.Duration // that the heartbeat should have
	registry         Registry      // once it is open
	claim            lease.Claim
	timeoutHeld      time.Duration // that the claim was last made or renewed with; zero: there is none, or it was lost
	failures         int           // calls that failed since the last renewal
	losses           int           // claims that were lost since the last renewal
	unbound          int           // renewals in a row that found no lease

	claimUnnoted   bool      // the lease could not be told that it was claimed, which was logged
	checkpointRead time.Time // when the checkpoint of the last sweep was, with a monotonic reading
}

func newKeeper(s *Sidecar) *keeper {
	return &keeper{cfg: s.cfg, lazy: s.lazy, clock: s.clock, view: s.view, wake: s.wake, heartbeatTimeout: lease.DefaultHeartbeatTimeout}
}

// run renews until ctx ends, then returns nil, or until the lease is revoked or ended.
func (k *keeper) run(ctx context.Context) error {
	k.view.start()
	for ctx.Err() == nil {
		wait, err := k.heartbeat(ctx)
		if err != nil {
			return err
		}
		k.pause(ctx, wait)
	}
	return nil
}

// heartbeat claims or renews once, and says how long to wait before the next time. An error ends the sidecar.
func (k *keeper) heartbeat(ctx context.Context) (time.Duration, error) {
	err := k.renew(ctx)
	var lost *lease.ClaimLostError
	var over *lease.StateError
	switch {
	case err == nil:
		k.failures, k.losses = 0, 0
		k.readCheckpoint(ctx)
		return k.interval(), nil
	case errors.As(err, &over) && !lease.Lease{State: over.State}.Live():
		k.view.over(over)
		return 0, over
	case errors.As(err, &lost):
		k.timeoutHeld = 0
		k.view.lost(lost)
		k.losses++
		if k.losses == 1 {
			return 0, nil // at once: the janitor may be counting
		}
		return k.backoff(k.losses - 1), nil
	default:
		if ctx.Err() == nil {
			k.view.failed(err)
		}
		k.failures++
		return k.backoff(k.failures), nil
	}
}

// renew claims if need be, then renews, and once more if that shows that the lease has another timeout than the heartbeat.
func (k *keeper) renew(ctx context.Context) (err error) {
	opening, cancel := k.bound(ctx)
	k.registry, err = k.lazy.registry(opening)
	cancel()
	if err != nil {
		return err
	}
	if k.timeoutHeld == 0 {
		if err := k.claimAnew(ctx); err != nil {
			return err
		}
	}
	if err := k.renewClaim(ctx); err != nil || k.timeoutHeld == k.heartbeatTimeout {
		return err
	}
	return k.renewClaim(ctx)
}

func (k *keeper) claimAnew(ctx context.Context) error {
	ctx, cancel := k.bound(ctx)
	defer cancel()
	claim, err := k.registry.Claim(ctx, lease.Heartbeat{
		Schema: lease.Schema, InstanceID: k.cfg.InstanceID, BootID: k.cfg.BootID, Address: k.cfg.Address,
		Version: k.cfg.Version, Changes: k.view.changeCounter(), HeartbeatTimeout: lease.Duration(k.heartbeatTimeout), Since: k.cfg.Now().UTC(),
	})
	if err != nil {
		return err
	}
	k.claim, k.timeoutHeld = claim, k.heartbeatTimeout
	k.view.claimed(k.heartbeatTimeout)
	return nil
}

// renewClaim renews the claim, and moves it to another timeout if the lease's has become known or has changed. A lease that
// cannot be read is no failure of the renewal: the heartbeat is kept alive all the same.
func (k *keeper) renewClaim(ctx context.Context) error {
	call, cancel := k.bound(ctx)
	defer cancel()
	h := k.claim.Heartbeat
	h.Changes, h.HeartbeatTimeout = k.view.changeCounter(), lease.Duration(k.heartbeatTimeout)
	claim, l, err := k.registry.Renew(call, k.claim, h)
	k.claim = claim                    // also beside an error
	unreadable := self.Unreadable(err) // and only the lease beside it could not be read
	if err != nil && !unreadable {
		return err
	}
	k.timeoutHeld = k.heartbeatTimeout
	if unreadable {
		k.view.unreadable(k.heartbeatTimeout, err)
		return nil
	}
	if err := l.Renewable("renew"); err != nil {
		return err
	}
	k.view.heartbeat(k.heartbeatTimeout, l)
	if l.InstanceID == "" {
		k.unbound++
		return nil
	}
	k.unbound, k.heartbeatTimeout = 0, heartbeatTimeoutOf(l)
	if unnoted := l.State == lease.StateActive && l.ClaimedAt.IsZero(); unnoted && !k.claimUnnoted {
		k.cfg.Logger.WarnContext(ctx, "cannot record the first heartbeat in the lease; retrying")
		k.claimUnnoted = true
	}
	return nil
}

// readCheckpoint judges the clock by the checkpoint of the last sweep, once in a while. That it fails is no failure of the heartbeat.
func (k *keeper) readCheckpoint(ctx context.Context) {
	if !k.checkpointRead.IsZero() && time.Since(k.checkpointRead) < checkpointEvery {
		return
	}
	call, cancel := k.bound(ctx)
	defer cancel()
	checkpoint, err := k.registry.Checkpoint(call)
	if err != nil && !self.Unreadable(err) {
		k.cfg.Logger.DebugContext(ctx, "cannot read the checkpoint of the last sweep; retrying", "error", err)
		return
	}
	k.checkpointRead = time.Now()
	if err == nil {
		k.view.clockIs(k.clock.Learn(checkpoint))
	}
}

// bound gives one call to the registry its deadline, and tells systemd that the loop lives. A quarter of the timeout leaves
// time for two more tries before the key expires.
func (k *keeper) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	k.pet()
	limit := min(callMax, k.heartbeatTimeout/4)
	if k.cfg.Watchdog > 0 {
		limit = min(limit, k.cfg.Watchdog/2)
	}
	return context.WithTimeout(ctx, limit)
}

// pause waits for d, for a wake-up or for ctx to end, petting the watchdog all the while.
func (k *keeper) pause(ctx context.Context, d time.Duration) {
	end := time.NewTimer(d)
	defer end.Stop()
	var pet <-chan time.Time
	if k.cfg.Watchdog > 0 {
		ticker := time.NewTicker(k.cfg.Watchdog / 2)
		defer ticker.Stop()
		pet = ticker.C
	}
	for {
		k.pet()
		select {
		case <-ctx.Done():
			return
		case <-k.wake:
			return
		case <-end.C:
			return
		case <-pet:
		}
	}
}

func (k *keeper) pet() {
	if k.cfg.Watchdog > 0 {
		k.cfg.Notify("WATCHDOG=1")
	}
}

// interval between renewals: a quarter of the timeout, give or take a tenth of it so that sidecars started together drift
// apart. Sooner while no lease is bound, so that it is found soon after it is.
func (k *keeper) interval() time.Duration {
	usual := k.heartbeatTimeout / 4
	if k.unbound > 0 {
		usual = min(usual, doubled(waitForLease, k.unbound, usual))
	}
	return usual*9/10 + k.cfg.Random(usual/5)
}

// backoff after the nth failure in a row: 1 s, doubled up to a quarter of the timeout or 30 s, and between half and all of
// that.
func (k *keeper) backoff(n int) time.Duration {
	d := doubled(backoffMin, n, min(k.heartbeatTimeout/4, backoffMax))
	return d/2 + k.cfg.Random(d/2)
}

// doubled is first, doubled n-1 times, but at most limit.
func doubled(first time.Duration, n int, limit time.Duration) time.Duration {
	for ; n > 1 && first < limit; n-- {
		first *= 2
	}
	return min(first, limit)
}

// heartbeatTimeoutOf is the timeout of the heartbeat for a lease. One that asks for no renewals gets them all the same, so that people
// can see whether the instance lives.
func heartbeatTimeoutOf(l lease.Lease) time.Duration {
	if l.HeartbeatTimeout == 0 {
		return lease.DefaultHeartbeatTimeout
	}
	return min(max(time.Duration(l.HeartbeatTimeout), lease.MinHeartbeatTimeout), lease.MaxHeartbeatTimeout)
}
