package api

import (
	"context"
	"errors"
	"log/slog"
	"slices"
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
	describeWait       = 5 * time.Second // at most, for the share to allow another call
)

// errBusy says that too many instances enrol at once.
var errBusy = errors.New("too many instances enrol at once")

// describer asks one location about instances that enrol: about those that come together in one call, and no more often than
// its share allows. Who comes while it allows none joins the next call, so that nobody keeps others out by asking often.
type describer struct {
	Cloud

	limit *rate.Limiter
	log   *slog.Logger

	mu   sync.Mutex
	next *batch // that has not been asked yet, and is not full; nil: none
}

// batch is what one call asks, and its answer.
type batch struct {
	ids   []string // each once
	done  chan struct{}
	found map[string]lease.Instance
	err   error
}

func newDescriber(c Cloud, perSecond float64, log *slog.Logger) *describer {
	return &describer{Cloud: c, limit: rate.NewLimiter(rate.Limit(perSecond), int(describesAtOnce*perSecond)), log: log}
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

// join puts an id into the next call; nil if that would come too late.
func (d *describer) join(ctx context.Context, id string) *batch {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.next == nil {
		turn := d.limit.Reserve()
		if turn.Delay() > describeWait {
			turn.Cancel()
			return nil
		}
		b := &batch{done: make(chan struct{}), found: map[string]lease.Instance{}}
		d.next = b
		time.AfterFunc(max(turn.Delay(), describePause), func() { d.ask(context.WithoutCancel(ctx), b) })
	}
	b := d.next
	if slices.Contains(b.ids, id) {
		return b
	}
	if b.ids = append(b.ids, id); len(b.ids) == describeIDs {
		d.next = nil
	}
	return b
}

// ask asks about all that have joined.
func (d *describer) ask(ctx context.Context, b *batch) {
	ctx, cancel := context.WithTimeout(ctx, callMax)
	defer cancel()
	d.mu.Lock()
	if d.next == b {
		d.next = nil
	}
	ids := b.ids
	d.mu.Unlock()
	defer close(b.done)
	listing, err := d.Describe(ctx, ids)
	if b.err = err; err != nil {
		d.log.WarnContext(ctx, "cannot describe instances that enrol", "instances", len(ids), "error", err)
		return
	}
	for _, i := range listing.Instances {
		b.found[i.ID] = i
	}
}
