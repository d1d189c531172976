package etcd

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"lapse/lease"
)

// oneRecord of each kind, by the key that it has below the namespace.
func oneRecord() map[string]any {
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	return map[string]any{
		"registry":   lease.NewRegistry(noon, "uuid-1", lease.ModeArmed),
		"checkpoint": lease.Checkpoint{Schema: lease.Schema, Sequence: 7, Nonce: "n", Time: noon, NextSweep: noon.Add(time.Minute)},
		"leases/i-1": lease.Lease{
			Schema: lease.Schema, InstanceID: "i-1", State: lease.StateActive, GrantedAt: noon, ExpiresNumber: 1,
			HeartbeatTimeout: lease.Duration(time.Minute),
		},
		"launches/nightly": lease.Launch{
			Schema: lease.Schema, Token: "nightly", State: lease.LaunchOpen, Count: 1, Request: json.RawMessage(`{}`),
			Attempts: []lease.Attempt{{ClientToken: "nightly.1", Min: 1, Max: 1}},
		},
		"heartbeats/i-1": lease.Heartbeat{Schema: lease.Schema, InstanceID: "i-1", BootID: "b", HeartbeatTimeout: lease.Duration(time.Minute)},
	}
}

// told is an etcd that answers every listing with some keys.
type told struct {
	Client
	kvs []*mvccpb.KeyValue
}

func (c told) Get(context.Context, string, ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	return &clientv3.GetResponse{Header: &etcdserverpb.ResponseHeader{Revision: 9, RaftTerm: 2}, Kvs: c.kvs}, nil
}

// FuzzKeys: whatever is below a namespace, a listing and a watch end with records that name themselves as their keys do,
// and with all else either named as bad or none of ours. Only an etcd lease makes a heartbeat held.
func FuzzKeys(f *testing.F) {
	for key, record := range oneRecord() {
		data, err := json.Marshal(record)
		if err != nil {
			f.Fatal(err)
		}
		f.Add("/lapse/test/"+key, data, int64(5), int64(7), int64(3))
		f.Add("/lapse/test/"+key, data, int64(5), int64(7), int64(0))
	}
	f.Add("/lapse/test/leases/i-2", []byte(`{"instance_id":"i-1","state":"active"}`), int64(1), int64(1), int64(0))
	f.Add("/lapse/test/leases/", []byte(`{}`), int64(0), int64(-1), int64(0))
	f.Add("/lapse/test/election/janitor/12", []byte{0xff}, int64(1), int64(1), int64(12))
	f.Add("/lapse/tes", []byte(nil), int64(0), int64(0), int64(0))
	f.Fuzz(func(t *testing.T, key string, value []byte, created, modified, etcdLease int64) {
		kv := &mvccpb.KeyValue{Key: []byte(key), Value: value, CreateRevision: created, ModRevision: modified, Lease: etcdLease}
		s := New(told{}, "test", Options{})
		kind, name := s.parse(key)
		p := s.decodePage([]*mvccpb.KeyValue{kv, nil, kv})
		counted := len(p.leases) + len(p.launches) + len(p.heartbeats) + len(p.bad)
		for _, single := range []bool{p.registry != nil, p.sweep != nil} {
			if single {
				counted += 2
			}
		}
		if want := map[bool]int{true: 0, false: 2}[kind == ""]; counted != want {
			t.Fatalf("%q is %d records of kind %q: %+v", key, counted, kind, p)
		}
		for _, l := range p.leases {
			if kind != "lease" || l.InstanceID != name || l.Revision != modified {
				t.Fatalf("%q: %+v", key, l)
			}
		}
		for _, l := range p.launches {
			if kind != "launch" || l.Token != name || l.Revision != modified {
				t.Fatalf("%q: %+v", key, l)
			}
		}
		for _, h := range p.heartbeats {
			if kind != "heartbeat" || h.InstanceID != name || h.Held != (etcdLease != 0) || h.Created != created {
				t.Fatalf("%q: %+v", key, h)
			}
		}
		for _, bad := range p.bad {
			wantRefused(t, bad.Err)
			if bad.Kind != kind || bad.ID != name {
				t.Fatalf("%q: %+v", key, bad)
			}
		}
		snapshot, err := New(told{kvs: []*mvccpb.KeyValue{kv}}, "test", Options{}).Snapshot(t.Context())
		if err != nil {
			wantRefused(t, err)
		} else if kind != "registry" || snapshot.Registry.UUID == "" {
			t.Fatalf("%q makes the registry %+v", key, snapshot.Registry)
		}
		for _, event := range []*clientv3.Event{{Type: clientv3.EventTypePut, Kv: kv}, {Type: clientv3.EventTypeDelete, Kv: kv}} {
			change, isTold, err := s.change(event)
			if err != nil {
				wantRefused(t, err)
			}
			if isTold && err == nil && (change.Lapsed == name) != (kind == "heartbeat" && event.Type == clientv3.EventTypeDelete) && name != "" {
				t.Fatalf("%s of %q: %+v", event.Type, key, change)
			}
		}
	})
}

// wantRefused wants an error that says that a record cannot be read, or that the registry is not there.
func wantRefused(t *testing.T, err error) {
	t.Helper()
	var malformed *lease.MalformedError
	var newer *lease.SchemaError
	var absent *lease.NotFoundError
	if !errors.As(err, &malformed) && !errors.As(err, &newer) && !errors.As(err, &absent) {
		t.Fatalf("%T: %v", err, err)
	}
}
