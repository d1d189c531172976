//go:build chaos

package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// root is where the registry lives that the janitors look after.
const root = "/lapse/default/"

// The records as they stand in etcd, as far as the checker reads them.
type (
	registryRecord struct {
		UUID    string `json:"uuid"`
		Resumed []struct {
			Name string    `json:"name"`
			At   time.Time `json:"at"`
		} `json:"resumed"`
	}
	checkpointRecord struct {
		Sequence int64     `json:"sequence"`
		Time     time.Time `json:"time"`
		Leader   string    `json:"leader"`
		Brakes   []struct {
			Name   string `json:"name"`
			Scope  string `json:"scope"`
			Reason string `json:"reason"`
		} `json:"brakes"`
		Behind map[string]int64 `json:"behind"` // leases that are held back one by one
	}
	leaseRecord struct {
		InstanceID       string    `json:"instance_id"`
		Launch           string    `json:"launch"`
		State            string    `json:"state"`
		GrantedAt        time.Time `json:"granted_at"`
		ExpiresAt        time.Time `json:"expires_at"`
		HeartbeatTimeout string    `json:"heartbeat_timeout"`
		ClaimedAt        time.Time `json:"claimed_at"`
		CuredAt          time.Time `json:"cured_at"`
		ExpiresNumber    int64     `json:"expires_number"`
		TagNumber        int64     `json:"tag_number"` // of a tag that is newer than a revoked record
		Cause            string    `json:"cause"`
		RevokedAt        time.Time `json:"revoked_at"`
		TriedAt          time.Time `json:"tried_at"`
		Tries            int       `json:"tries"`
		Stuck            string    `json:"stuck"`
		Changes          int64     `json:"changes"`
		Mark             *struct {
			Cause    string    `json:"cause"`
			Since    time.Time `json:"since"`
			Deadline time.Time `json:"deadline"`
		} `json:"mark"`
		History []struct {
			Time   time.Time `json:"time"`
			Actor  string    `json:"actor"`
			Action string    `json:"action"`
		} `json:"history"`
	}
	launchRecord struct {
		Token    string               `json:"token"`
		State    string               `json:"state"`
		Count    int                  `json:"count"`
		Created  time.Time            `json:"created_at"`
		Looks    map[string]time.Time `json:"first_seen"`
		Settled  time.Time            `json:"settled_at"`
		Attempts []struct {
			ClientToken string   `json:"client_token"`
			Instances   []string `json:"instances"`
		} `json:"attempts"`
	}
)

// event is one write that etcd committed, in the order of revisions within an epoch. A restore begins a new epoch.
type event struct {
	epoch    int
	revision int64
	created  int64  // revision at which the key appeared
	key      string // below the root
	value    []byte // nil: deleted
	held     bool   // by an etcd lease
	seen     time.Time
	base     bool // was there when the epoch began
}

func (e event) deleted() bool { return e.value == nil }

func (e event) lease() (leaseRecord, bool) { return decoded[leaseRecord](e, "leases/") }

func decoded[R any](e event, dir string) (R, bool) {
	var r R
	if e.deleted() || !strings.HasPrefix(e.key, dir) {
		return r, false
	}
	err := json.Unmarshal(e.value, &r)
	return r, err == nil
}

// history is everything that etcd committed, by a watch of its own.
type history struct {
	client *clientv3.Client

	mu        sync.Mutex
	epoch     int
	last      int64 // revision that was seen
	all       []event
	now       map[string]event
	condemned map[string]bool // instances whose lease was taken away, and whose end was authorised, in any epoch
	lost      error           // why it is not complete
	anew      chan struct{}   // closed when an epoch ends
}

func newHistory(c *clientv3.Client) *history {
	return &history{client: c, condemned: map[string]bool{}, anew: make(chan struct{})}
}

// begin starts an epoch with the present records. Nobody else may write until it returns, or that write is lost.
func (h *history) begin(t *testing.T) {
	t.Helper()
	within(t, "reading all of etcd", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		resp, err := h.client.Get(ctx, "/lapse/", clientv3.WithPrefix(), clientv3.WithSort(clientv3.SortByModRevision, clientv3.SortAscend))
		if err != nil {
			return false
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		h.epoch++
		h.last, h.now = resp.Header.Revision, map[string]event{}
		for _, kv := range resp.Kvs {
			h.add(event{revision: kv.ModRevision, created: kv.CreateRevision, key: string(kv.Key), value: kv.Value, held: kv.Lease != 0, base: true})
		}
		close(h.anew)
		h.anew = make(chan struct{})
		return true
	})
}

// add takes in one event. h is locked.
func (h *history) add(e event) {
	key, ours := strings.CutPrefix(e.key, root)
	if !ours {
		return // of the leases of which linearizability is checked
	}
	e.key, e.epoch, e.seen = key, h.epoch, time.Now()
	h.all = append(h.all, e)
	h.now[key] = e
	if l, ok := e.lease(); ok && l.State == "revoked" && l.Tries > 0 {
		h.condemned[l.InstanceID] = true
	}
}

// follow watches until ctx ends, from one epoch to the next.
func (h *history) follow(ctx context.Context) {
	for ctx.Err() == nil {
		h.watch(ctx)
		pause(ctx, 50*time.Millisecond)
	}
}

func (h *history) watch(ctx context.Context) {
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	defer cancel()
	h.mu.Lock()
	epoch, from, anew := h.epoch, h.last+1, h.anew
	h.mu.Unlock()
	changes := h.client.Watch(ctx, "/lapse/", clientv3.WithPrefix(), clientv3.WithRev(from))
	for {
		select {
		case <-anew:
			return
		case resp, open := <-changes:
			if !open || resp.Canceled && resp.CompactRevision == 0 {
				return
			}
			if resp.CompactRevision != 0 {
				h.fail(fmt.Errorf("etcd compacted revision %d before it was seen", from))
				return
			}
			h.take(epoch, resp.Events)
		}
	}
}

func (h *history) fail(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lost = err
}

func (h *history) take(epoch int, events []*clientv3.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, e := range events {
		if h.epoch != epoch || e.Kv.ModRevision < h.last {
			continue
		}
		h.last = e.Kv.ModRevision
		change := event{revision: e.Kv.ModRevision, created: e.Kv.CreateRevision, key: string(e.Kv.Key), held: e.Kv.Lease != 0}
		if e.Type == clientv3.EventTypePut {
			change.value = append([]byte{}, e.Kv.Value...)
		}
		h.add(change)
	}
}

// caughtUp waits until everything up to a revision was seen. All that is written lies below what is watched.
func (h *history) caughtUp(t *testing.T, revision int64) {
	t.Helper()
	within(t, "the watch having seen everything", func() bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		return h.last >= revision
	})
}

// latest reads a key as it was last seen.
func (h *history) latest(key string) event {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.now[key]
}

// number of the epoch.
func (h *history) number() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.epoch
}

func (h *history) registry() registryRecord {
	r, _ := decoded[registryRecord](h.latest("registry"), "registry")
	return r
}

func (h *history) checkpoint() checkpointRecord {
	r, _ := decoded[checkpointRecord](h.latest("checkpoint"), "checkpoint")
	return r
}

// braked reports whether a brake was held when the last sweep decided, everywhere, in a zone or location, or for a lease that is not spared anyway.
func (h *history) braked(name string, spared func(scope string) bool) bool {
	for _, b := range h.checkpoint().Brakes {
		if b.Name == name && !spared(b.Scope) {
			return true
		}
	}
	for id := range h.checkpoint().Behind {
		if name == "rollback" && !spared(id) {
			return true
		}
	}
	return false
}

func (h *history) leaseOf(id string) (leaseRecord, bool) { return h.latest("leases/" + id).lease() }

// heartbeats reports whether a heartbeat exists that an etcd lease holds.
func (h *history) heartbeats(id string) bool {
	e := h.latest("heartbeats/" + id)
	return !e.deleted() && e.held
}

// condemns reports whether etcd was seen to have authorised the end of an instance.
func (h *history) condemns(id string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.condemned[id]
}

// current returns all records below a directory as they were last seen.
func current[R any](h *history, dir string) []R {
	h.mu.Lock()
	defer h.mu.Unlock()
	var all []R
	for _, e := range h.now {
		if r, ok := decoded[R](e, dir); ok {
			all = append(all, r)
		}
	}
	return all
}

// everything returns all events, and why some are missing, if so.
func (h *history) everything() ([]event, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.all), h.lost
}
