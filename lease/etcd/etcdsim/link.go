package etcdsim

import (
	"context"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Link decides what happens to each call on its way; nil: all arrive and are answered at once. It is called from many
// goroutines, without the cluster's lock, and before the call has any effect.
type Link func(op Op) Fate

// Op is one call, or one delivery of a watch.
type Op struct {
	// Kind is get, put, delete, txn, compact, grant, revoke, keepalive, ttl, leases, alarms, watch (the establishing of
	// one) or event (what a watch delivers at once).
	Kind string
	// Key is the first that it is about: for a transaction that of its first operation, or else condition. It is empty
	// for etcd leases and alarms.
	Key string
	// Write says that it may change what etcd keeps: puts, deletions, compactions, and all of etcd leases but looking.
	Write bool
}

// Fate is what happens to a call. The zero value: it arrives and is answered at once.
type Fate struct {
	Before time.Duration // on its way to etcd; if the caller's ctx ends before that, the call still lands, late
	After  time.Duration // on the answer's way back
	// Lost: it never arrives. Unanswered: it is done, and the answer never comes. The caller waits until its ctx ends,
	// and gets ctx's error.
	Lost, Unanswered bool
}

// retryPause is how long a watch waits before it tries a link again that was down.
const retryPause = time.Second

// fate asks the link.
func (c *Client) fate(op Op) Fate {
	if c.link == nil {
		return Fate{}
	}
	return c.link(op)
}

// down reports whether a watch gets nothing through.
func (f Fate) down() bool { return f.Lost || f.Unanswered }

// call is one call from here to etcd and back. What serve returns is the answer; it runs with the cluster locked, once
// at most, and perhaps long after the caller has gone.
func call[R any](ctx context.Context, c *Client, op Op, serve func() (R, error)) (R, error) {
	if err := c.ended(ctx); err != nil {
		var none R
		return none, err
	}
	return pass(ctx, c, c.fate(op), serve)
}

// pass is a call whose fate is known.
func pass[R any](ctx context.Context, c *Client, fate Fate, serve func() (R, error)) (R, error) {
	if fate == (Fate{}) && c.cluster.enter() {
		defer c.cluster.mu.Unlock()
		return serve()
	}
	return travel(ctx, c, fate, serve)
}

// travel is a call that takes its time.
func travel[R any](ctx context.Context, c *Client, fate Fate, serve func() (R, error)) (R, error) {
	type answer struct {
		resp R
		err  error
	}
	answers := make(chan answer, 1)
	c.send(fate, func() func() {
		resp, err := serve()
		return func() { answers <- answer{resp, err} }
	})
	select {
	case a := <-answers:
		return a.resp, a.err
	case <-ctx.Done():
	case <-c.closed:
	case <-c.cluster.closed:
	}
	var none R
	return none, c.ended(ctx)
}

// send lets a call travel, and what serve returns back. It does not wait.
func (c *Client) send(fate Fate, serve func() (answer func())) {
	if fate.Lost {
		return
	}
	arrive := func() {
		c.cluster.arrive(func() {
			answer := serve()
			switch {
			case fate.Unanswered:
			case fate.After > 0:
				time.AfterFunc(fate.After, answer)
			default:
				answer()
			}
		})
	}
	if fate.Before > 0 {
		time.AfterFunc(fate.Before, arrive)
		return
	}
	arrive()
}

// ended is why a caller need not wait any longer, as gRPC says it; nil if there is no reason.
func (c *Client) ended(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return status.FromContextError(err).Err()
	}
	select {
	case <-c.closed:
	case <-c.cluster.closed:
	default:
		return nil
	}
	return status.Error(codes.Canceled, "grpc: the client connection is closing")
}

// sleep waits, and reports false if there is no reason to wait any longer.
func (c *Client) sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return c.ended(ctx) == nil
	}
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
	case <-c.closed:
	case <-c.cluster.closed:
	}
	return false
}
