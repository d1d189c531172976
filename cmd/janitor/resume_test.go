package main

import (
	"context"
	"errors"
	"flag"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	ucli "github.com/urfave/cli/v2"
	clientv3 "go.etcd.io/etcd/client/v3"

	"lapse/lease"
	"lapse/lease/etcd"
	"lapse/lease/etcd/embedded"
)

func TestLeasesAreBehindAlsoWhenTheirSidecarsHaveStopped(t *testing.T) {
	t.Parallel()
	held := func(id string, seen int) lease.Brake {
		return lease.Brake{Name: lease.BrakeRestored, Scope: id, Count: seen}
	}
	s := lease.Snapshot{
		Leases: []lease.Lease{
			{InstanceID: "i-beats", Changes: 3}, {InstanceID: "i-stopped", Changes: 3}, {InstanceID: "i-began-anew", Changes: 3}, {InstanceID: "i-caught-up", Changes: 8},
		},
		Heartbeats: map[string]lease.Heartbeat{
			"i-beats": {Held: true, Changes: 5}, "i-began-anew": {Held: true, Changes: 1}, "i-ghost": {Changes: 9}, "i-lost": {Held: true, Changes: 9},
		},
		Sweep: lease.Sweep{Brakes: []lease.Brake{
			{Name: lease.BrakeRestored},
			{Name: lease.BrakeSilence, Scope: "zone", Count: 4},
			held("i-stopped", 7), held("i-began-anew", 7), held("i-caught-up", 7), held("i-lost", 9),
		}},
	}
	seen, lost := behind(s, lease.BrakeRestored)
	if want := map[string]int64{"i-beats": 5, "i-stopped": 7, "i-began-anew": 7}; !maps.Equal(seen, want) || !slices.Equal(lost, []string{"i-lost"}) {
		t.Errorf("behind %v, without a record %v; want %v, and i-lost", seen, lost, want)
	}
	if seen, lost := behind(s, lease.BrakeStranger); len(seen)+len(lost) > 0 {
		t.Errorf("behind %v, without a record %v, where another brake is meant", seen, lost)
	}
}

// readOnly is a client whose writes of some keys fail, and readOnlyTxn one of its transactions.
type readOnly struct {
	etcd.Client
	suffix string
}

type readOnlyTxn struct {
	clientv3.Txn
	suffix string
	writes bool
}

var errReadOnly = errors.New("not written")

func (c readOnly) Txn(ctx context.Context) clientv3.Txn {
	return &readOnlyTxn{Txn: c.Client.Txn(ctx), suffix: c.suffix}
}

func (t *readOnlyTxn) If(cs ...clientv3.Cmp) clientv3.Txn {
	t.Txn = t.Txn.If(cs...)
	return t
}

func (t *readOnlyTxn) Then(ops ...clientv3.Op) clientv3.Txn {
	t.writes = slices.ContainsFunc(ops, func(op clientv3.Op) bool { return op.IsPut() && strings.HasSuffix(string(op.KeyBytes()), t.suffix) })
	t.Txn = t.Txn.Then(ops...)
	return t
}

func (t *readOnlyTxn) Else(ops ...clientv3.Op) clientv3.Txn {
	t.Txn = t.Txn.Else(ops...)
	return t
}

func (t *readOnlyTxn) Commit() (*clientv3.TxnResponse, error) {
	if t.writes {
		return nil, errReadOnly
	}
	return t.Txn.Commit()
}

func TestABrakeIsNotLiftedIfALeaseCouldNotCatchUp(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "l") //nolint:usetesting // a socket's path has 107 bytes at most
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	server, err := embedded.Start(t.Context(), embedded.Config{Dir: dir, NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	client, err := etcd.Dial(t.Context(), etcd.Config{Endpoints: server.Endpoints()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	store, now := etcd.New(client, "default", etcd.Options{}), time.Now()
	registry, err := store.PutRegistry(t.Context(), lease.NewRegistry(now, "6ba7b810-9dad-11d1-80b4-00c04fd430c8", lease.ModeArmed))
	if err != nil {
		t.Fatal(err)
	}
	i := lease.Instance{ID: "i-1", Place: here, Zone: "us-east-1a"}
	if _, err := store.PutLease(t.Context(), lease.Adopt(now, i, now.Add(time.Hour), time.Time{}, "", nil, lease.By{Actor: "test"})); err != nil {
		t.Fatal(err)
	}
	office, err := store.Campaign(t.Context(), "one", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := office.PutSweep(t.Context(), registry, lease.Sweep{
		Schema: lease.Schema, Sequence: 1, Nonce: "n", Time: now, NextSweep: now.Add(time.Minute), Leader: "one",
		Brakes: []lease.Brake{{Name: lease.BrakeRestored, Since: now}, {Name: lease.BrakeRestored, Scope: i.ID, Count: 7}},
	}); err != nil {
		t.Fatal(err)
	}
	resume := func(client etcd.Client) (lease.Registry, lease.Lease, error) {
		flags := flag.NewFlagSet("resume", flag.ContinueOnError)
		flags.Bool("yes", true, "")
		c := ucli.NewContext(&ucli.App{Writer: io.Discard, ErrWriter: io.Discard}, flags, &ucli.Context{Context: t.Context()})
		failed := resumeBrake(c, etcd.New(client, "default", etcd.Options{}), lease.BrakeRestored)
		after, err := store.Snapshot(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return after.Registry, after.Leases[0], failed
	}
	if r, l, err := resume(readOnly{client, "/" + i.ID}); !errors.Is(err, errReadOnly) || len(r.Resumed) > 0 || l.Changes >= 7 {
		t.Errorf("lifted %v, %d changes (%v); want an error and nothing lifted", r.Resumed, l.Changes, err)
	}
	if r, l, err := resume(client); err != nil || len(r.Resumed) != 1 || l.Changes < 7 {
		t.Errorf("lifted %v, %d changes (%v); want both", r.Resumed, l.Changes, err)
	}
}
