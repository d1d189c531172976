package etcdsim_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"pgregory.net/rapid"

	"lapse/lease/etcd/etcdsim"
)

// The simulated etcd and a real one are asked the same, and must answer the same; so must watches of all that happened.
func TestAnswersAsARealEtcdDoes(t *testing.T) {
	t.Parallel()
	client := dial(t, start(t, shortDir(t)))
	cases := 0
	rapid.Check(t, func(t *rapid.T) {
		ctx, cancel := context.WithTimeout(client.Ctx(), time.Minute)
		defer cancel()
		cases++
		real, sim := realSide(t, ctx, client, fmt.Sprintf("/case-%d/", cases)), simSide(t, ctx)
		defer real.forget()
		watched := [2][]clientv3.WatchChan{real.watch(), sim.watch()}
		steps := append([]step{grant(3600), grant(3600)}, rapid.SliceOfN(rapid.Custom(drawStep), 1, 40).Draw(t, "steps")...)
		compacted := false
		for i, step := range steps {
			want, got := step.do(real), step.do(sim)
			if got != want {
				t.Fatalf("step %d, %s:\nreal      %s\nsimulated %s", i, step.name, want, got)
			}
			compacted = compacted || step.name == "compact"
		}
		real.alarm(false)
		sim.alarm(false)
		for i := range watched[0] {
			previous := i == 1 && !compacted // a compaction may be faster than the watch
			want, got := real.events(t, watched[0][i], previous), sim.events(t, watched[1][i], previous)
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Fatalf("watch %d:\nreal      %v\nsimulated %v", i, want, got)
			}
		}
		want, got := real.late(t), sim.late(t)
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("a late watch:\nreal      %v\nsimulated %v", want, got)
		}
	})
}

func realSide(t *rapid.T, ctx context.Context, client *clientv3.Client, root string) *side {
	alarm(t, client, false) // one that failed may have left it
	resp, err := client.Get(ctx, root)
	if err != nil {
		t.Fatal(err)
	}
	return &side{Client: client, ctx: ctx, root: root, base: resp.Header.Revision, alarm: func(on bool) { alarm(t, client, on) }}
}

func simSide(t *rapid.T, ctx context.Context) *side {
	cluster := etcdsim.New(etcdsim.Options{})
	t.Cleanup(cluster.Close)
	return &side{Client: cluster.Client("t", nil), ctx: ctx, root: "/sim/", base: cluster.Revision(), alarm: cluster.Alarm}
}

// watch opens watches of all that will happen: one of everything, one with what was before, two of one kind of event.
func (s *side) watch() (all []clientv3.WatchChan) {
	for _, options := range [][]clientv3.OpOption{
		nil, {clientv3.WithPrevKV()}, {clientv3.WithFilterDelete()}, {clientv3.WithFilterPut(), clientv3.WithRev(s.base + 1)},
	} {
		all = append(all, s.Watch(s.ctx, s.root, append(options, clientv3.WithPrefix())...))
	}
	return all
}

// events are those that a watch tells, up to a key that is made, and deleted, for the purpose.
func (s *side) events(t *rapid.T, watch clientv3.WatchChan, previous bool) (told []string) {
	last := s.key("last")
	if _, err := s.Put(s.ctx, last, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Delete(s.ctx, last); err != nil {
		t.Fatal(err)
	}
	for resp := range watch {
		if err := resp.Err(); err != nil {
			return append(told, failed(err), fmt.Sprint(resp.Canceled, s.rev(resp.CompactRevision)))
		}
		for _, e := range resp.Events {
			if string(e.Kv.Key) == last {
				return told
			}
			words := fmt.Sprint(e.Type, " ", s.kv(e.Kv))
			if previous {
				words += " was " + s.kv(e.PrevKv)
			}
			told = append(told, words)
		}
	}
	return append(told, "closed")
}

// late is what a watch tells that is opened when all has happened, or that it is forgotten.
func (s *side) late(t *rapid.T) []string {
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	return s.events(t, s.Watch(ctx, s.root, clientv3.WithPrefix(), clientv3.WithRev(s.base+1)), false)
}

func TestRefusesWhatARealEtcdRefuses(t *testing.T) {
	t.Parallel()
	client := dial(t, start(t, shortDir(t)))
	cluster := etcdsim.New(etcdsim.Options{})
	t.Cleanup(cluster.Close)
	puts := func(n int) (ops []clientv3.Op) {
		for i := range n {
			ops = append(ops, clientv3.OpPut(fmt.Sprint("k", i), ""))
		}
		return ops
	}
	compares := func(n int) (cmps []clientv3.Cmp) {
		for range n {
			cmps = append(cmps, clientv3.Compare(clientv3.Version("k"), "=", 0))
		}
		return cmps
	}
	for name, c := range map[string]struct {
		do   func(kv clientv3.KV) error
		want error
	}{
		"128 operations": {func(kv clientv3.KV) error { return commit(kv.Txn(t.Context()).Then(puts(128)...)) }, nil},
		"129 operations": {func(kv clientv3.KV) error { return commit(kv.Txn(t.Context()).Else(puts(129)...)) }, rpctypes.ErrTooManyOps},
		"129 conditions": {func(kv clientv3.KV) error { return commit(kv.Txn(t.Context()).If(compares(129)...)) }, rpctypes.ErrTooManyOps},
		"a key put twice": {func(kv clientv3.KV) error {
			return commit(kv.Txn(t.Context()).Then(clientv3.OpPut("a", ""), clientv3.OpPut("a", "")))
		}, rpctypes.ErrDuplicateKey},
		"a key put that is deleted with others": {func(kv clientv3.KV) error {
			return commit(kv.Txn(t.Context()).Else(clientv3.OpPut("a", ""), clientv3.OpDelete("a", clientv3.WithPrefix())))
		}, rpctypes.ErrDuplicateKey},
		"a key put that is deleted with all that follow": {func(kv clientv3.KV) error {
			return commit(kv.Txn(t.Context()).Then(clientv3.OpPut("z", ""), clientv3.OpDelete("z", clientv3.WithFromKey())))
		}, nil},
		"a key deleted twice": {func(kv clientv3.KV) error {
			return commit(kv.Txn(t.Context()).Then(clientv3.OpDelete("a"), clientv3.OpDelete("a")))
		}, nil},
		"an empty key": {func(kv clientv3.KV) error { _, err := kv.Put(t.Context(), "", ""); return err }, rpctypes.ErrEmptyKey},
	} {
		for side, kv := range map[string]clientv3.KV{"real": client, "simulated": cluster.Client("t", nil)} {
			if err := c.do(kv); !errors.Is(err, c.want) || c.want == nil && err != nil {
				t.Errorf("%s: %s etcd: %v, want %v", name, side, err, c.want)
			}
		}
	}
}

func commit(txn clientv3.Txn) error {
	_, err := txn.Commit()
	return err
}
