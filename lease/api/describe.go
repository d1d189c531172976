package api

import (
	"context"
	"errors"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"lapse/lease"
)

// What enrolment takes of EC2's limits: a tenth of the 20 DescribeInstances calls a second that EC2 refills.
//
// Source: https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-throttling.html
const (
	describesPerSecond = 2
	describesAtOnce    = 5   // times as many
	describeIDs        = 100 // in one call
	describePause      = 50 * time.Millisecond
)

// errBusy says that too many instances enrol at once.
var errBusy = errors.New("too many instances enrol at once")

// describer asks one location about instances that enrol: about those that come together in one call, and no more often than
// its share allows.
type describer struct {
	Cloud

	limit *rate.Limiter

	mu   sync.Mutex
	next *batch // that has not been asked yet; nil: none
}

// batch is what one call asks, and its answer.
type batch struct {
	ids   []string
	done  chan struct{}
	found map[string]lease.Instance
	err   error
}

func newDescriber(c Cloud, perSecond float64) *describer {
	return &describer{Cloud: c, limit: rate.NewLimiter(rate.Limit(perSecond), int(describesAtOnce*perSecond))}
}

// describe asks about one instance; false if EC2 does not know it.
func (d *describer) describe(ctx context.Context, id string) (i lease.Instance, known bool, err error) {
	b := d.join(ctx, id)
	if b == nil {
		return i, false, errBusy
	}
	select {
	case <-b.done:
	case <-ctx.Done():
		return i, false, ctx.Err()
	}
	i, known = b.found[id]
	return i, known, b.err
}

// join puts an id into the next call; nil if there may be none.
func (d *describer) join(ctx context.Context, id string) *batch {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.next == nil {
		if !d.limit.Allow() {
			return nil
		}
		b := &batch{done: make(chan struct{}), found: map[string]lease.Instance{}}
		d.next = b
		call, cancel := context.WithTimeout(context.WithoutCancel(ctx), callMax)
		time.AfterFunc(describePause, func() {
			defer cancel()
			d.ask(call, b)
		})
	}
	b := d.next
	if b.ids = append(b.ids, id); len(b.ids) == describeIDs {
		d.next = nil
	}
	return b
}

// ask asks about all that have joined.
func (d *describer) ask(ctx context.Context, b *batch) {
	d.mu.Lock()
	if d.next == b {
		d.next = nil
	}
	ids := b.ids
	d.mu.Unlock()
	defer close(b.done)
	listing, err := d.Describe(ctx, ids)
	if b.err = err; err != nil {
		return
	}
	for _, i := range listing.Instances {
		b.found[i.ID] = i
	}
}
