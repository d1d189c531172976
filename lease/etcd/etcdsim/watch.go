package etcdsim

import (
	"context"
	"slices"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// watch is one open watch. As with clientv3, what etcd sent waits at the client until it is taken, and after a break it
// goes on where it was.
type watch struct {
	client     *Client
	key, end   []byte
	prevKV     bool
	puts, dels bool // whether they are told
	out        chan clientv3.WatchResponse
	wake       chan struct{} // there is something in pending

	// With the cluster locked:
	next    int64                    // what is before this revision was told, or is not wanted
	pending []clientv3.WatchResponse // what is on its way to the client
}

// Watch implements [clientv3.Watcher]. It returns once the watch is established, or ctx ended. Of the options it knows
// ranges, WithRev, WithPrevKV and the filters.
func (c *Client) Watch(ctx context.Context, key string, opts ...clientv3.OpOption) clientv3.WatchChan {
	op := clientv3.OpWatch(key, opts...)
	w := &watch{
		client: c, key: op.KeyBytes(), end: op.RangeBytes(), next: op.Rev(), prevKV: op.IsPrevKV(),
		puts: !op.IsFilterPut(), dels: !op.IsFilterDelete(),
		out: make(chan clientv3.WatchResponse, 1), wake: make(chan struct{}, 1),
	}
	if len(w.key) == 0 {
		w.key = []byte{0} // the smallest there is
	}
	if !w.establish(ctx, "watch", c.fate(w.op("watch"))) {
		w.leave()
		close(w.out)
		return w.out
	}
	go func() {
		defer close(w.out)
		defer w.leave()
		w.run(ctx)
	}()
	return w.out
}

// RequestProgress implements [clientv3.Watcher], and does nothing.
func (c *Client) RequestProgress(context.Context) error { return nil }

func (w *watch) op(kind string) Op { return Op{Kind: kind, Key: string(w.key)} }

// establish makes etcd send events from w.next on, trying until the link lets it through. False means that there is no
// reason to go on.
func (w *watch) establish(ctx context.Context, kind string, fate Fate) bool {
	for fate.down() {
		if !w.client.sleep(ctx, retryPause) {
			return false
		}
		fate = w.client.fate(w.op(kind))
	}
	if w.client.ended(ctx) != nil {
		return false
	}
	_, err := pass(ctx, w.client, fate, func() (struct{}, error) {
		if w.client.ended(ctx) == nil { // if the caller is still there
			w.client.cluster.watches = append(w.client.cluster.watches, w)
			w.catchUp()
		}
		return struct{}{}, nil
	})
	return err == nil
}

// leave makes etcd send nothing more.
func (w *watch) leave() {
	c := w.client.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	w.unregister()
}

func (w *watch) unregister() {
	c := w.client.cluster
	c.watches = slices.DeleteFunc(c.watches, func(other *watch) bool { return other == w })
	w.pending = nil
}

// catchUp sends what happened from w.next on, or says that it is forgotten.
func (w *watch) catchUp() {
	c := w.client.cluster
	w.pending = nil
	if w.next == 0 {
		w.next = c.store.revision + 1
	}
	if w.next < c.store.compacted {
		w.send(clientv3.WatchResponse{Header: c.header(), CompactRevision: c.store.compacted, Canceled: true})
		return
	}
	for _, done := range c.store.since(w.next) {
		w.see(done, c)
	}
}

// see sends a change, if it is one that the watch wants.
func (w *watch) see(done change, c *Cluster) {
	if done.revision < w.next {
		return
	}
	var events []*clientv3.Event
	for _, d := range done.deeds {
		if d.event.Type == mvccpb.Event_PUT && !w.puts || d.event.Type == mvccpb.Event_DELETE && !w.dels ||
			!within(d.event.Kv.Key, w.key, w.end) {
			continue
		}
		event := d.event
		if w.prevKV {
			event = &mvccpb.Event{Type: event.Type, Kv: event.Kv, PrevKv: d.before}
		}
		events = append(events, event)
	}
	if len(events) > 0 {
		w.send(clientv3.WatchResponse{Header: c.header(), Events: events})
	}
}

func (w *watch) send(resp clientv3.WatchResponse) {
	w.pending = append(w.pending, resp)
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// run delivers what etcd sends until ctx ends or etcd ends the watch.
func (w *watch) run(ctx context.Context) {
	for {
		select {
		case <-w.wake:
		case <-ctx.Done():
			return
		case <-w.client.closed:
			return
		case <-w.client.cluster.closed:
			return
		}
		if !w.sent() {
			continue
		}
		fate := w.client.fate(w.op("event"))
		if fate.down() {
			w.leave()
			if !w.establish(ctx, "event", fate) {
				return
			}
		} else if !w.client.sleep(ctx, fate.Before) {
			return
		} else if !w.deliver(ctx, w.take()) {
			return
		}
	}
}

// sent reports whether anything is on its way.
func (w *watch) sent() bool {
	w.client.cluster.mu.Lock()
	defer w.client.cluster.mu.Unlock()
	return len(w.pending) > 0
}

// take is all that was on its way. From here on it is the client's: a break of the connection does not lose it.
func (w *watch) take() []clientv3.WatchResponse {
	w.client.cluster.mu.Lock()
	defer w.client.cluster.mu.Unlock()
	batch := w.pending
	w.pending = nil
	for _, resp := range batch {
		if len(resp.Events) > 0 {
			w.next = resp.Events[0].Kv.GetModRevision() + 1
		}
	}
	return batch
}

// deliver hands on what arrived. It reports false when the watch is over.
func (w *watch) deliver(ctx context.Context, batch []clientv3.WatchResponse) bool {
	for _, resp := range batch {
		select {
		case w.out <- resp:
		case <-ctx.Done():
			return false
		case <-w.client.closed:
			return false
		case <-w.client.cluster.closed:
			return false
		}
		if resp.Canceled {
			return false
		}
	}
	return true
}
