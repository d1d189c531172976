package etcd_test

import (
	"context"
	"errors"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"lapse/lease"
	"lapse/lease/etcd"
)

// lateClient loses the answer of every conditional write, which reaches etcd only when the test lets it; nor does it
// reach etcd to revoke an etcd lease.
type lateClient struct {
	*clientv3.Client
	late []func() (*clientv3.TxnResponse, error)
}

func (c *lateClient) Txn(ctx context.Context) clientv3.Txn {
	return &lateTxn{Txn: c.Client.Txn(context.WithoutCancel(ctx)), client: c}
}

func (c *lateClient) Revoke(context.Context, clientv3.LeaseID) (*clientv3.LeaseRevokeResponse, error) {
	return nil, context.DeadlineExceeded
}

type lateTxn struct {
	clientv3.Txn
	client *lateClient
	writes bool
}

func (t *lateTxn) If(cmps ...clientv3.Cmp) clientv3.Txn {
	t.Txn, t.writes = t.Txn.If(cmps...), true
	return t
}

func (t *lateTxn) Then(ops ...clientv3.Op) clientv3.Txn {
	t.Txn = t.Txn.Then(ops...)
	return t
}

func (t *lateTxn) Else(ops ...clientv3.Op) clientv3.Txn {
	t.Txn = t.Txn.Else(ops...)
	return t
}

func (t *lateTxn) Commit() (*clientv3.TxnResponse, error) {
	if !t.writes {
		return t.Txn.Commit()
	}
	t.client.late = append(t.client.late, t.Txn.Commit)
	return nil, context.DeadlineExceeded
}

func heartbeat(id, boot string) lease.Heartbeat { return lease.Heartbeat{InstanceID: id, BootID: boot} }

// A claim times out at the sidecar, which claims again; then the first claim reaches etcd after all. Nobody keeps its
// etcd lease alive, so a key attached to it would expire while the sidecar renews the newer one.
func TestClaimThatLandsLateAttachesNothing(t *testing.T) {
	t.Parallel()
	b := newBench(t, etcd.Options{})
	slow := &lateClient{Client: b.client}
	if _, err := etcd.New(slow, b.namespace, etcd.Options{}).Claim(t.Context(), heartbeat("i-1", "boot")); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("the first claim: %v, want a time-out", err)
	}
	claim, err := b.Claim(t.Context(), heartbeat("i-1", "boot"))
	if err != nil {
		t.Fatal(err)
	}
	if len(slow.late) != 1 {
		t.Fatalf("%d late writes, want one", len(slow.late))
	}
	resp, err := slow.late[0]()
	if err != nil || resp.Succeeded {
		t.Fatalf("the late claim was written: %v, %v", resp, err)
	}
	kept := b.get(t, b.Key("heartbeat", "i-1")).Kvs[0]
	if kept.GetLease() != claim.Handle || kept.GetModRevision() != claim.Revision {
		t.Errorf("the key hangs on %d since %d, want %+v", kept.GetLease(), kept.GetModRevision(), claim)
	}
	if _, _, err := b.Renew(t.Context(), claim, claim.Heartbeat); err != nil {
		t.Error(err)
	}
}

// unansweredClient loses the answers to conditional writes, which etcd carries out.
type unansweredClient struct{ *clientv3.Client }

func (c *unansweredClient) Txn(ctx context.Context) clientv3.Txn {
	return &unansweredTxn{Txn: c.Client.Txn(ctx)}
}

type unansweredTxn struct {
	clientv3.Txn
	writes bool
}

func (t *unansweredTxn) If(cmps ...clientv3.Cmp) clientv3.Txn {
	t.Txn, t.writes = t.Txn.If(cmps...), true
	return t
}

func (t *unansweredTxn) Then(ops ...clientv3.Op) clientv3.Txn {
	t.Txn = t.Txn.Then(ops...)
	return t
}

func (t *unansweredTxn) Else(ops ...clientv3.Op) clientv3.Txn {
	t.Txn = t.Txn.Else(ops...)
	return t
}

func (t *unansweredTxn) Commit() (*clientv3.TxnResponse, error) {
	resp, err := t.Txn.Commit()
	if t.writes {
		return nil, context.DeadlineExceeded
	}
	return resp, err
}

// A replica of the API makes or moves a heartbeat, and etcd's answer is lost. Another replica may have renewed it by then.
func TestAHeartbeatThatWasWrittenWithoutAnAnswerIsKept(t *testing.T) {
	t.Parallel()
	for name, do := range map[string]func(*testing.T, *bench, *etcd.Store) error{
		"claimed": func(t *testing.T, _ *bench, s *etcd.Store) error {
			t.Helper()
			_, err := s.Claim(t.Context(), heartbeat("i-1", "boot"))
			return err
		},
		"moved to another timeout": func(t *testing.T, b *bench, s *etcd.Store) error {
			t.Helper()
			claim, err := b.Claim(t.Context(), heartbeat("i-1", "boot"))
			if err != nil {
				t.Fatal(err)
			}
			hb := claim.Heartbeat
			hb.HeartbeatTimeout = lease.Duration(time.Hour)
			_, _, err = s.Renew(t.Context(), claim, hb)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, etcd.Options{})
			if err := do(t, b, etcd.New(&unansweredClient{b.client}, b.namespace, etcd.Options{})); !errors.Is(err, context.DeadlineExceeded) {
				t.Fatalf("%v, want a time-out", err)
			}
			claim, err := b.Resume(t.Context(), "i-1", "boot")
			if err != nil {
				t.Fatalf("the heartbeat is gone: %v", err)
			}
			if _, _, err := b.Renew(t.Context(), claim, claim.Heartbeat); err != nil {
				t.Error(err)
			}
		})
	}
}

// etcd is set back to an older state, in which the key exists and is attached to the same etcd lease. The key is
// written again, since only so it shows that the sidecar has seen a later change of its lease.
func TestARenewalRewritesAKeyThatWasReset(t *testing.T) {
	t.Parallel()
	b := newBench(t, etcd.Options{})
	claim, err := b.Claim(t.Context(), heartbeat("i-1", "boot"))
	if err != nil {
		t.Fatal(err)
	}
	key := b.Key("heartbeat", "i-1")
	for name, older := range map[string]string{
		"an older count": string(b.get(t, key).Kvs[0].GetValue()),
		"an older TTL":   `{"schema":3,"instance_id":"i-1","boot_id":"boot","heartbeat_timeout":"5s","changes":7}`,
		"nonsense":       `{`,
	} {
		hb := claim.Heartbeat
		hb.Changes = 7
		if claim, _, err = b.Renew(t.Context(), claim, hb); err != nil {
			t.Fatal(err)
		}
		b.put(t, key, older, clientv3.WithLease(clientv3.LeaseID(claim.Handle)))
		if claim, _, err = b.Renew(t.Context(), claim, hb); err != nil {
			t.Fatal(err)
		}
		kept := b.get(t, key).Kvs[0]
		says, err := lease.Decode[lease.Heartbeat]("heartbeat", "i-1", kept.GetValue())
		if err != nil || says.Changes != 7 || says.HeartbeatTimeout != hb.HeartbeatTimeout || kept.GetLease() != claim.Handle || kept.GetModRevision() != claim.Revision {
			t.Errorf("%s: the key says %+v (%v) and hangs on %d, want what %+v says", name, says, err, kept.GetLease(), claim)
		}
		if again, _, err := b.Renew(t.Context(), claim, hb); err != nil || again != claim {
			t.Errorf("%s: renewed without news as %+v (%v), want %+v", name, again, err, claim)
		}
	}
}

// An instance without a heartbeat is revoked while its claim is still in flight.
func TestClaimThatLandsAfterRevocationAttachesNothing(t *testing.T) {
	t.Parallel()
	b := newBench(t, etcd.Options{})
	registry, leadership := b.registry(t), b.leadership(t, "janitor")
	l := b.mustPut(t, activeLease("i-1"))
	slow := &lateClient{Client: b.client}
	if _, err := etcd.New(slow, b.namespace, etcd.Options{}).Claim(t.Context(), heartbeat("i-1", "boot")); err == nil {
		t.Fatal("the claim was answered")
	}
	if err := revoke(t, leadership, registry, l, lease.CauseHeartbeatLost); err != nil {
		t.Fatal(err)
	}
	if resp, err := slow.late[0](); err != nil || resp.Succeeded {
		t.Errorf("the late claim was written: %v, %v", resp, err)
	}
	if _, err := b.Claim(t.Context(), heartbeat("i-1", "boot")); !is[*lease.StateError](err) {
		t.Errorf("the next claim: %v, want a StateError", err)
	}
}

// What a claim without the comparison would do: the key moves to an etcd lease that nobody renews. The renewal of the
// other etcd lease succeeds at etcd, and the sidecar is told nevertheless.
func TestRenewalNoticesAKeyOnADeadEtcdLease(t *testing.T) {
	t.Parallel()
	b := newBench(t, etcd.Options{})
	registry, leadership := b.registry(t), b.leadership(t, "janitor")
	l := b.mustPut(t, activeLease("i-1"))
	dying, err := b.client.Grant(t.Context(), 60)
	if err != nil {
		t.Fatal(err)
	}
	claim, err := b.Claim(t.Context(), heartbeat("i-1", "boot-1"))
	if err != nil {
		t.Fatal(err)
	}
	ghost := `{"schema":3,"instance_id":"i-1","boot_id":"boot-0","heartbeat_timeout":"1m0s"}`
	b.put(t, b.Key("heartbeat", "i-1"), ghost, clientv3.WithLease(dying.ID))
	_, _, err = b.Renew(t.Context(), claim, claim.Heartbeat)
	var lost *lease.ClaimLostError
	if !errors.As(err, &lost) || lost.By != "boot-0" {
		t.Errorf("renewed: %v, want a ClaimLostError by boot-0", err)
	}
	if _, err := b.client.Revoke(t.Context(), dying.ID); err != nil {
		t.Fatal(err)
	}
	if _, _, err = b.Renew(t.Context(), claim, claim.Heartbeat); !errors.As(err, &lost) || lost.By != "" {
		t.Errorf("renewed: %v, want a ClaimLostError by nobody", err)
	}
	b.put(t, b.Key("heartbeat", "i-1"), ghost) // no etcd lease holds it: it never expires, and proves nothing
	if err := revoke(t, leadership, registry, l, lease.CauseHeartbeatLost); err != nil {
		t.Errorf("a ghost kept the lease: %v", err)
	}
}
