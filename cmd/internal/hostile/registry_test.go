//go:build hostile

package hostile

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// registry is what etcd holds, read and written past the code under test.
type registry struct {
	t         *testing.T
	socket    string
	namespace string
	client    *clientv3.Client
}

// record is what the tests know of a lease.
type record struct {
	InstanceID string    `json:"instance_id"`
	State      string    `json:"state"`
	Cause      string    `json:"cause"`
	ExpiresAt  time.Time `json:"expires_at"`
	Changes    int64     `json:"changes"`
	Mark       *struct {
		Cause    string    `json:"cause"`
		Deadline time.Time `json:"deadline"`
	} `json:"mark"`
	History []struct {
		Time   time.Time `json:"time"`
		Actor  string    `json:"actor"`
		Action string    `json:"action"`
		Reason string    `json:"reason"`
	} `json:"history"`
}

// checkpoint is what they know of the last sweep.
type checkpoint struct {
	Sequence int64            `json:"sequence"`
	Brakes   []brake          `json:"brakes"`
	Behind   map[string]int64 `json:"behind"` // leases that are held back one by one
}

type brake struct {
	Name   string `json:"name"`
	Scope  string `json:"scope"`
	Reason string `json:"reason"`
}

func (r *registry) close() {
	if r.client != nil {
		_ = r.client.Close()
	}
}

// connect opens etcd, lazily: a client outlives the server's restarts, and finds it again.
func (r *registry) connect() *clientv3.Client {
	if r.client == nil {
		client, err := clientv3.New(clientv3.Config{Endpoints: []string{"unix://" + r.socket}, Logger: zap.NewNop(), Context: r.t.Context()})
		if err != nil {
			r.t.Fatal(err)
		}
		r.client = client
	}
	return r.client
}

func (r *registry) bounded() (context.Context, context.CancelFunc) {
	return context.WithTimeout(r.t.Context(), 2*time.Second)
}

func (r *registry) key(name string) string { return "/lapse/" + r.namespace + "/" + name }

func (r *registry) answers() bool {
	ctx, cancel := r.bounded()
	defer cancel()
	_, err := r.connect().Get(ctx, "health")
	return err == nil
}

// read reads a key into a value, and reports whether it is there. Where etcd does not answer, it is not.
func (r *registry) read(name string, into any) bool {
	ctx, cancel := r.bounded()
	defer cancel()
	resp, err := r.connect().Get(ctx, r.key(name))
	if err != nil || len(resp.Kvs) == 0 {
		return false
	}
	if into == nil {
		return true
	}
	return json.Unmarshal(resp.Kvs[0].Value, into) == nil
}

// grant makes an etcd lease, which lasts an hour.
func (r *registry) grant() clientv3.LeaseID {
	r.t.Helper()
	ctx, cancel := r.bounded()
	defer cancel()
	granted, err := r.connect().Grant(ctx, 3600)
	if err != nil {
		r.t.Fatal(err)
	}
	return granted.ID
}

// put writes a key that an etcd lease holds, as heartbeats are.
func (r *registry) put(name, value string, by clientv3.LeaseID) {
	r.t.Helper()
	ctx, cancel := r.bounded()
	defer cancel()
	if _, err := r.connect().Put(ctx, r.key(name), value, clientv3.WithLease(by)); err != nil {
		r.t.Fatal(err)
	}
}

// remove loses a key.
func (r *registry) remove(name string) {
	r.t.Helper()
	ctx, cancel := r.bounded()
	defer cancel()
	if _, err := r.connect().Delete(ctx, r.key(name)); err != nil {
		r.t.Fatal(err)
	}
}

func (r *registry) lease(id string) (l record) {
	r.read("leases/"+id, &l)
	return l
}

func (r *registry) heartbeats(id string) bool { return r.read("heartbeats/"+id, nil) }

func (r *registry) last() (s checkpoint) {
	r.read("checkpoint", &s)
	return s
}

func (r *registry) sequence() int64 { return r.last().Sequence }

// uuid is what instances of this registry bear as a tag.
func (r *registry) uuid() string {
	var is struct {
		UUID string `json:"uuid"`
	}
	r.read("registry", &is)
	return is.UUID
}

// needsPerson are the brakes of the last sweep that only a person releases.
func (r *registry) needsPerson() (names []string) {
	for _, b := range r.last().Brakes {
		switch b.Name {
		case "rollback", "unwatched":
			names = append(names, fmt.Sprintf("%s(%s): %s", b.Name, b.Scope, b.Reason))
		}
	}
	return names
}

// story is what became of a lease, for people.
func (r *registry) story(id string) string {
	l := r.lease(id)
	said := []string{fmt.Sprintf("its lease is %q %s, expires %s", l.State, l.Cause, l.ExpiresAt.Format(time.TimeOnly))}
	for _, h := range l.History {
		said = append(said, fmt.Sprintf("%s %s by %s (%s)", h.Time.Format("15:04:05.000"), h.Action, h.Actor, h.Reason))
	}
	return strings.Join(said, "; ")
}
