package etcdsim_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"pgregory.net/rapid"

	"lapse/lease/etcd"
)

// side is a real etcd or a simulated one. What it answers is told in words that do not depend on which it is: keys
// without the root, revisions since the beginning, etcd leases by their number.
type side struct {
	etcd.Client
	ctx    context.Context
	root   string
	base   int64 // revision at the beginning
	leases []clientv3.LeaseID
	alarm  func(on bool)
}

// step does one thing to a side, and tells the answer.
type step struct {
	name string
	do   func(s *side) string
}

// forget revokes the etcd leases, which would run out in the middle of another case.
func (s *side) forget() {
	for _, id := range s.leases {
		_, _ = s.Revoke(s.ctx, id)
	}
}

func (s *side) key(k string) string { return s.root + k }

// id is that of etcd lease number n; 0 is none, and one that was never granted is nobody's.
func (s *side) id(n int) clientv3.LeaseID {
	switch {
	case n == 0:
		return clientv3.NoLease
	case n <= len(s.leases):
		return s.leases[n-1]
	}
	return 12345
}

func (s *side) rev(revision int64) int64 {
	if revision == 0 {
		return 0
	}
	return revision - s.base
}

func (s *side) kv(kv *mvccpb.KeyValue) string {
	if kv == nil {
		return "nothing"
	}
	number := 0
	for i, id := range s.leases {
		if int64(id) == kv.Lease {
			number = i + 1
		}
	}
	key := strings.TrimPrefix(string(kv.Key), s.root)
	return fmt.Sprintf("%s=%q c%d m%d v%d l%d", key, kv.Value, s.rev(kv.CreateRevision), s.rev(kv.ModRevision), kv.Version, number)
}

func (s *side) kvs(kvs []*mvccpb.KeyValue) string {
	all := make([]string, len(kvs))
	for i, kv := range kvs {
		all[i] = s.kv(kv)
	}
	return "[" + strings.Join(all, ", ") + "]"
}

func failed(err error) string {
	for _, known := range []error{
		rpctypes.ErrEmptyKey, rpctypes.ErrKeyNotFound, rpctypes.ErrValueProvided, rpctypes.ErrLeaseProvided, rpctypes.ErrTooManyOps,
		rpctypes.ErrDuplicateKey, rpctypes.ErrCompacted, rpctypes.ErrFutureRev, rpctypes.ErrNoSpace, rpctypes.ErrLeaseNotFound,
		rpctypes.ErrLeaseTTLTooLarge, rpctypes.ErrInvalidSortOption,
	} {
		if errors.Is(err, known) {
			return known.Error()
		}
	}
	return "unforeseen: " + err.Error()
}

func (s *side) got(r *clientv3.GetResponse) string {
	return fmt.Sprintf("r%d %s count %d more %v", s.rev(r.Header.Revision), s.kvs(r.Kvs), r.Count, r.More)
}

func (s *side) deleted(r *clientv3.DeleteResponse) string {
	return fmt.Sprintf("r%d %d %s", s.rev(r.Header.Revision), r.Deleted, s.kvs(r.PrevKvs))
}

func (s *side) done(r *clientv3.TxnResponse) string {
	all := []string{fmt.Sprintf("r%d %v", s.rev(r.Header.Revision), r.Succeeded)}
	for _, op := range r.Responses {
		switch {
		case op.GetResponseRange() != nil:
			all = append(all, "got "+s.got((*clientv3.GetResponse)(op.GetResponseRange())))
		case op.GetResponsePut() != nil:
			put := op.GetResponsePut()
			all = append(all, fmt.Sprintf("put r%d over %s", s.rev(put.Header.Revision), s.kv(put.PrevKv)))
		case op.GetResponseDeleteRange() != nil:
			all = append(all, "deleted "+s.deleted((*clientv3.DeleteResponse)(op.GetResponseDeleteRange())))
		}
	}
	return strings.Join(all, "; ")
}

// opOf makes an operation for a side: ids and revisions differ between them.
type opOf func(s *side) clientv3.Op

func drawKey(t *rapid.T) string {
	return rapid.SampledFrom([]string{"a", "a/1", "a/2", "b", "c"}).Draw(t, "key")
}

func drawGet(t *rapid.T) opOf {
	key := drawKey(t)
	var options []clientv3.OpOption
	switch rapid.IntRange(0, 3).Draw(t, "range") {
	case 0:
		options = append(options, clientv3.WithPrefix())
	case 1:
		key = ""
		options = append(options, clientv3.WithPrefix())
	}
	if rapid.Bool().Draw(t, "limited") {
		options = append(options, clientv3.WithLimit(rapid.Int64Range(0, 4).Draw(t, "limit")))
	}
	if rapid.Bool().Draw(t, "sorted") {
		options = append(options, clientv3.WithSort(
			clientv3.SortTarget(rapid.IntRange(0, 4).Draw(t, "target")), clientv3.SortOrder(rapid.IntRange(0, 2).Draw(t, "order"))))
	}
	if rapid.IntRange(0, 4).Draw(t, "count only") == 0 {
		options = append(options, clientv3.WithCountOnly())
	} else if rapid.IntRange(0, 4).Draw(t, "keys only") == 0 {
		options = append(options, clientv3.WithKeysOnly())
	}
	at := rapid.Int64Range(-8, 12).Draw(t, "revision")
	filtered, bound := rapid.IntRange(0, 2).Draw(t, "filter") == 0, rapid.Int64Range(1, 10).Draw(t, "bound")
	return func(s *side) clientv3.Op {
		options := append([]clientv3.OpOption{}, options...)
		if at > 0 {
			options = append(options, clientv3.WithRev(s.base+at))
		}
		if filtered {
			options = append(options, clientv3.WithMaxCreateRev(s.base+bound))
		}
		return clientv3.OpGet(s.key(key), options...)
	}
}

func drawPut(t *rapid.T) opOf {
	key, value := drawKey(t), rapid.SampledFrom([]string{"", "x", "y", "zz"}).Draw(t, "value")
	held := rapid.IntRange(-2, 4).Draw(t, "lease")
	return func(s *side) clientv3.Op {
		return clientv3.OpPut(s.key(key), value, clientv3.WithLease(s.id(max(0, held))))
	}
}

func drawDelete(t *rapid.T) opOf {
	key := drawKey(t)
	var options []clientv3.OpOption
	if rapid.IntRange(0, 3).Draw(t, "range") == 0 {
		options = append(options, clientv3.WithPrefix())
	}
	return func(s *side) clientv3.Op { return clientv3.OpDelete(s.key(key), options...) }
}

func drawCompare(t *rapid.T) func(s *side) clientv3.Cmp {
	key := drawKey(t)
	result := rapid.SampledFrom([]string{"=", "!=", ">", "<"}).Draw(t, "result")
	target, number := rapid.IntRange(0, 4).Draw(t, "target"), rapid.Int64Range(0, 6).Draw(t, "number")
	value := rapid.SampledFrom([]string{"", "x", "y"}).Draw(t, "value")
	prefix := rapid.IntRange(0, 3).Draw(t, "range") == 0
	return func(s *side) clientv3.Cmp {
		revision := number
		if number > 0 {
			revision += s.base
		}
		var c clientv3.Cmp
		switch k := s.key(key); target {
		case 0:
			c = clientv3.Compare(clientv3.Value(k), result, value)
		case 1:
			c = clientv3.Compare(clientv3.Version(k), result, number)
		case 2:
			c = clientv3.Compare(clientv3.CreateRevision(k), result, revision)
		case 3:
			c = clientv3.Compare(clientv3.ModRevision(k), result, revision)
		default:
			equality := map[string]string{">": "!=", "<": "="}[result] // ids are in no order
			if equality == "" {
				equality = result
			}
			c = clientv3.Compare(clientv3.LeaseValue(k), equality, s.id(int(number)))
		}
		if prefix {
			c = c.WithPrefix()
		}
		return c
	}
}

func drawOps(t *rapid.T) []opOf {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) opOf {
		return rapid.SampledFrom([]func(*rapid.T) opOf{drawGet, drawPut, drawPut, drawDelete}).Draw(t, "op")(t)
	}), 0, 3).Draw(t, "ops")
}

func opsFor(s *side, ops []opOf) (made []clientv3.Op) {
	for _, op := range ops {
		made = append(made, op(s))
	}
	return made
}

func drawTxn(t *rapid.T) step {
	cmps := rapid.SliceOfN(rapid.Custom(drawCompare), 0, 3).Draw(t, "compares")
	then, otherwise := drawOps(t), drawOps(t)
	return step{"txn", func(s *side) string {
		var conditions []clientv3.Cmp
		for _, c := range cmps {
			conditions = append(conditions, c(s))
		}
		resp, err := s.Txn(s.ctx).If(conditions...).Then(opsFor(s, then)...).Else(opsFor(s, otherwise)...).Commit()
		if err != nil {
			return failed(err)
		}
		return s.done(resp)
	}}
}

// drawOp is one operation without a transaction.
func drawOp(t *rapid.T) step {
	op := rapid.SampledFrom([]func(*rapid.T) opOf{drawGet, drawPut, drawPut, drawDelete}).Draw(t, "op")(t)
	return step{"op", func(s *side) string {
		resp, err := s.Do(s.ctx, op(s))
		switch {
		case err != nil:
			return failed(err)
		case resp.Get() != nil:
			return "got " + s.got(resp.Get())
		case resp.Put() != nil:
			return fmt.Sprintf("put r%d over %s", s.rev(resp.Put().Header.Revision), s.kv(resp.Put().PrevKv))
		}
		return "deleted " + s.deleted(resp.Del())
	}}
}

func drawGrant(t *rapid.T) step {
	return grant(rapid.SampledFrom([]int64{3600, 7200, 9_000_000_000, 9_000_000_001}).Draw(t, "ttl")) // none that expires in between
}

func grant(timeout int64) step {
	return step{"grant", func(s *side) string {
		resp, err := s.Grant(s.ctx, timeout)
		if err != nil {
			return failed(err)
		}
		s.leases = append(s.leases, resp.ID)
		return fmt.Sprintf("r%d ttl %d", s.rev(resp.Revision), resp.TTL)
	}}
}

// drawHeld does something about one etcd lease.
func drawHeld(t *rapid.T) step {
	n, what := rapid.IntRange(1, 4).Draw(t, "lease"), rapid.SampledFrom([]string{"revoke", "keepalive", "ttl"}).Draw(t, "what")
	return step{what, func(s *side) string {
		switch what {
		case "revoke":
			resp, err := s.Revoke(s.ctx, s.id(n))
			if err != nil {
				return failed(err)
			}
			return fmt.Sprintf("r%d", s.rev(resp.Header.Revision))
		case "keepalive":
			resp, err := s.KeepAliveOnce(s.ctx, s.id(n))
			if err != nil {
				return failed(err)
			}
			return fmt.Sprintf("r%d ttl %d", s.rev(resp.Revision), resp.TTL)
		}
		resp, err := s.TimeToLive(s.ctx, s.id(n), clientv3.WithAttachedKeys())
		if err != nil {
			return failed(err)
		}
		var keys []string
		for _, key := range resp.Keys {
			keys = append(keys, strings.TrimPrefix(string(key), s.root))
		}
		slices.Sort(keys) // a real etcd has them in a map
		return fmt.Sprintf("r%d granted %d gone %v keys %v", s.rev(resp.Revision), resp.GrantedTTL, resp.TTL < 0, keys)
	}}
}

func drawCompaction(t *rapid.T) step {
	at := rapid.Int64Range(1, 12).Draw(t, "revision")
	return step{"compact", func(s *side) string {
		if _, err := s.Compact(s.ctx, s.base+at); err != nil {
			return failed(err)
		}
		return "compacted"
	}}
}

func drawAlarm(t *rapid.T) step {
	on := rapid.IntRange(0, 2).Draw(t, "on") == 0
	return step{"alarm", func(s *side) string {
		s.alarm(on)
		return fmt.Sprint(on)
	}}
}

func drawStep(t *rapid.T) step {
	kinds := []func(*rapid.T) step{
		drawOp, drawOp, drawOp, drawOp, drawTxn, drawTxn, drawTxn, drawTxn, drawGrant, drawHeld, drawHeld, drawCompaction, drawAlarm,
	}
	return rapid.SampledFrom(kinds).Draw(t, "kind")(t)
}
