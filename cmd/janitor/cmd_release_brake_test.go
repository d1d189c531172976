package main

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	ucli "github.com/urfave/cli/v2"
	clientv3 "go.etcd.io/etcd/client/v3"

	"lapse/cmd/internal/cli"
	"lapse/cmd/internal/registry"
	"lapse/cmd/internal/script"
	"lapse/lease"
	"lapse/lease/etcd"
	"lapse/lease/etcd/embedded"
)

func TestLeasesAreBehindEvenIfTheirSidecarsHaveStopped(t *testing.T) {
	t.Parallel()
	s := lease.Snapshot{
		Leases: []lease.Lease{
			{InstanceID: "i-renews", Changes: 3}, {InstanceID: "i-stopped", Changes: 3}, {InstanceID: "i-restarted", Changes: 3}, {InstanceID: "i-caught-up", Changes: 8},
		},
		Heartbeats: map[string]lease.Heartbeat{
			"i-renews": {Held: true, Changes: 5}, "i-restarted": {Held: true, Changes: 1}, "i-ghost": {Changes: 9}, "i-lost": {Held: true, Changes: 9},
		},
		Checkpoint: lease.Checkpoint{Brakes: []lease.Brake{
			{Name: lease.BrakeRollback},
			{Name: lease.BrakeHeartbeats, Scope: "zone", Count: 4},
		}, Behind: map[string]int64{"i-stopped": 7, "i-restarted": 7, "i-caught-up": 7, "i-lost": 9}},
	}
	seen, lost := behind(s, lease.BrakeRollback)
	if want := map[string]int64{"i-renews": 5, "i-stopped": 7, "i-restarted": 7}; !maps.Equal(seen, want) || !slices.Equal(lost, []string{"i-lost"}) {
		t.Errorf("behind %v, without a record %v; want %v, and i-lost", seen, lost, want)
	}
	if seen, lost := behind(s, lease.BrakeUnwatched); len(seen)+len(lost) > 0 {
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

// held is an etcd with one lease, and a leading janitor whose checkpoint has the brake rollback engaged for everything
// and for that lease, whose sidecar has seen change 7.
type held struct {
	client     etcd.Client
	store      *etcd.Store
	leadership *etcd.Leadership
	id         string
}

func newHeld(t *testing.T) held {
	t.Helper()
	dir := script.ShortDir(t)
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
	h, now := held{client: client, store: etcd.New(client, "default", etcd.Options{}), id: "i-1"}, time.Now()
	if _, err := h.store.PutRegistry(t.Context(), lease.NewRegistry(now, "6ba7b810-9dad-11d1-80b4-00c04fd430c8", lease.ModeArmed)); err != nil {
		t.Fatal(err)
	}
	i := lease.Instance{ID: h.id, Location: here, Zone: "us-east-1a"}
	if _, err := h.store.PutLease(t.Context(), lease.Adopt(now, i, now.Add(time.Hour), time.Time{}, "", nil, lease.By{Actor: "test"})); err != nil {
		t.Fatal(err)
	}
	if h.leadership, err = h.store.Campaign(t.Context(), "one", time.Minute); err != nil {
		t.Fatal(err)
	}
	if err := h.checkpoint(t.Context(), 7, lease.Brake{Name: lease.BrakeRollback, Since: now}); err != nil {
		t.Fatal(err)
	}
	return h
}

// checkpoint writes the checkpoint of a sweep with these brakes engaged, and the lease alone where its sidecar has seen
// changes.
func (h held) checkpoint(ctx context.Context, behind int64, brakes ...lease.Brake) error {
	registry, err := h.store.Registry(ctx)
	if err != nil {
		return err
	}
	last, err := h.store.Checkpoint(ctx)
	if _, none := errors.AsType[*lease.NotFoundError](err); err != nil && !none {
		return err
	}
	alone := map[string]int64{}
	if behind > 0 {
		alone[h.id] = behind
	}
	_, err = h.leadership.PutCheckpoint(ctx, registry, lease.Checkpoint{
		Schema: lease.Schema, Sequence: last.Sequence + 1, Nonce: rand.Text(), Time: time.Now(), NextSweep: time.Now().Add(time.Minute), Leader: "one",
		Brakes: brakes, Behind: alone, Revision: last.Revision,
	})
	return err
}

// resume releases the brake by a client, and returns its output.
func (h held) resume(t *testing.T, client etcd.Client, patience time.Duration) (string, error) {
	t.Helper()
	flags, out := flag.NewFlagSet("resume", flag.ContinueOnError), &strings.Builder{}
	flags.Bool("yes", true, "")
	c := ucli.NewContext(&ucli.App{Writer: out, ErrWriter: out}, flags, &ucli.Context{Context: t.Context()})
	err := releaseBrake(c, etcd.New(client, "default", etcd.Options{}), lease.BrakeRollback, patience)
	return out.String(), err
}

func TestABrakeIsNotReleasedIfALeaseCouldNotCatchUp(t *testing.T) {
	t.Parallel()
	h := newHeld(t)
	resume := func(client etcd.Client) (lease.Registry, lease.Lease, error) {
		_, failed := h.resume(t, client, time.Millisecond)
		after, err := h.store.Snapshot(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return after.Registry, after.Leases[0], failed
	}
	if r, l, err := resume(readOnly{h.client, "/" + h.id}); !errors.Is(err, errReadOnly) || len(r.Resumed) > 0 || l.Changes >= 7 {
		t.Errorf("released %v, %d changes (%v); want an error and nothing released", r.Resumed, l.Changes, err)
	}
	if r, l, err := resume(h.client); err != nil || len(r.Resumed) != 1 || l.Changes < 7 {
		t.Errorf("released %v, %d changes (%v); want both", r.Resumed, l.Changes, err)
	}
}

func TestAReleaseThatTheNextSweepUndoesSaysSo(t *testing.T) {
	t.Parallel()
	everything := lease.Brake{Name: lease.BrakeRollback, Since: time.Now().Add(time.Hour), Reason: "set back once more"}
	for name, c := range map[string]struct {
		next   []lease.Brake // of the checkpoint after the release; nil: there is none
		behind int64         // what a sidecar has seen, by that checkpoint
		code   int
		says   string // on stdout, or in the error
	}{
		"nothing is held":                 {[]lease.Brake{}, 0, cli.ExitDone, "brake rollback released\n"},
		"another brake is":                {[]lease.Brake{{Name: "rate"}}, 0, cli.ExitDone, "brake rollback released\n"},
		"everything is held back again":   {[]lease.Brake{everything}, 0, cli.ExitHeld, "engaged it again (everywhere): set back once more"},
		"the sidecar claims more":         {[]lease.Brake{}, 8, cli.ExitHeld, "the next sweep holds i-1 back again"},
		"a sweep that had begun before":   {[]lease.Brake{}, 7, cli.ExitDone, "brake rollback released\n"},
		"nobody sweeps within the bounds": {nil, 0, cli.ExitDone, "no sweep has followed within 300ms"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHeld(t)
			patience, checkpointed := 300*time.Millisecond, make(chan error, 1)
			if c.next == nil {
				checkpointed <- nil
			} else {
				patience = time.Minute
				changes := h.store.Watch(t.Context(), lease.Snapshot{Revision: 1})
				go func() {
					for change := range changes {
						if change.Registry != nil && len(change.Registry.Resumed) > 0 {
							checkpointed <- h.checkpoint(t.Context(), c.behind, c.next...)
							return
						}
					}
				}()
			}
			said, err := h.resume(t, h.client, patience)
			if failed := <-checkpointed; failed != nil {
				t.Fatal(failed)
			}
			if err != nil {
				said += err.Error()
			}
			if registry.ExitCode(err) != c.code || !strings.Contains(said, c.says) {
				t.Errorf("exit code %d, says %q; want %d, %q", registry.ExitCode(err), said, c.code, c.says)
			}
		})
	}
}
