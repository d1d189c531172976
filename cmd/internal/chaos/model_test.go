//go:build chaos

package chaos

import (
	"math"
	"time"

	"github.com/anishathalye/porcupine"
)

// kind of an operation on one lease.
type kind string

const (
	opRead   kind = "read"
	opUpdate kind = "update" // extend or unmark, in a loop of reading and writing
	opPut    kind = "put"    // mark or revoke by a janitor, if the lease is still what it read
	opBind   kind = "bind"
	opClose  kind = "close" // the launch, by a janitor
	opClaim  kind = "claim"
	opRenew  kind = "renew"
)

// input is what was asked for.
type input struct {
	key    string
	kind   kind
	tag    string    // of what is written: no two writes have the same
	expect string    // tag of what a put replaces
	extend time.Time // the expiry that an update asks for; zero: it unmarks
	revoke bool      // a put that revokes
	lost   bool      // and that refuses if something renews
	called time.Time
}

// output is what was answered.
type output struct {
	answer   answer
	before   record // what was read
	after    record // what was written, or read
	returned time.Time
}

// answer is the kind of an answer.
type answer string

const (
	done       answer = "done"
	refused    answer = "refused"   // the lease's state, or the launch's, forbids it
	conflict   answer = "conflict"  // it is not what was read any more
	heartbeats answer = "beats"     // a heartbeat forbids it
	missing    answer = "missing"   // there is no lease
	powerless  answer = "powerless" // deposed, or the claim is lost: nothing was done, and it says nothing of the lease
	unknown    answer = "unknown"   // no answer, or one that does not tell
)

// record is what matters of a lease: who wrote it last tells all versions apart.
type record struct {
	exists, live, marked bool
	tag                  string
	changes              int64
	expires              int64 // milliseconds
}

// state is what the sequential specification says that there is.
type state struct {
	record
	closed         bool  // the launch
	heartbeatUntil int64 // a claim or a renewal lasts until then at least, in nanoseconds
}

// leaseTTL is that of the heartbeats of these leases.
const leaseTTL = 5 * time.Second

// model is a lease as the store promises it: a register whose writes compare what their writer read, which is bound
// while its launch is open, renewed while it is valid, and not revoked for a lost heartbeat while it is renewed.
func model() porcupine.Model {
	return porcupine.Model{
		Partition: byKey,
		Init:      func() any { return state{} },
		Step: func(s, in, out any) (bool, any) {
			return step(s.(state), in.(input), out.(output))
		},
	}
}

func byKey(history []porcupine.Operation) [][]porcupine.Operation {
	keys := map[string][]porcupine.Operation{}
	for _, op := range history {
		key := op.Input.(input).key
		keys[key] = append(keys[key], op)
	}
	var all [][]porcupine.Operation
	for _, ops := range keys {
		all = append(all, ops)
	}
	return all
}

func step(s state, in input, out output) (bool, state) {
	if out.answer == powerless {
		return true, s
	}
	switch in.kind {
	case opRead:
		return out.answer == missing && !s.exists || out.answer == done && s.record == out.after, s
	case opUpdate:
		return s.update(in, out)
	case opPut:
		return s.put(in, out)
	case opBind:
		return s.bind(in, out)
	case opClose:
		s.closed = s.closed || out.answer == done || out.answer == unknown
		return true, s
	case opClaim, opRenew:
		return s.heartbeat(in, out)
	}
	return false, s
}

// changed is what an update makes of the lease.
func (s state) changed(in input) record {
	r := s.record
	r.tag, r.marked = in.tag, false
	r.changes++
	if !in.extend.IsZero() {
		r.expires = in.extend.UnixMilli()
	}
	return r
}

func (s state) update(in input, out output) (bool, state) {
	switch out.answer {
	case missing:
		return !s.exists, s
	case refused:
		return s.exists && !s.live && s.record == out.before, s
	case unknown:
		if s.live {
			s.record = s.changed(in)
		}
		return true, s
	}
	if out.after == out.before { // nothing was to be changed
		return s.live && s.record == out.after, s
	}
	ok := s.live && s.record == out.before && out.after == s.changed(in)
	s.record = out.after
	return ok, s
}

func (s state) put(in input, out output) (bool, state) {
	next := s
	next.tag = in.tag
	next.changes++
	next.marked, next.live = s.marked || !in.revoke, !in.revoke
	switch out.answer {
	case conflict:
		return s.tag != in.expect, s
	case heartbeats: // whether one existed depends on when it expired
		return true, s
	case unknown:
		if s.tag == in.expect {
			return true, next
		}
		return true, s
	}
	inTime := !in.lost || out.returned.UnixNano() >= s.heartbeatUntil
	return s.tag == in.expect && s.live && inTime && out.after == next.record, next
}

func (s state) bind(in input, out output) (bool, state) {
	fresh := record{exists: true, live: true, tag: in.tag, changes: 1, expires: in.extend.UnixMilli()}
	switch {
	case out.answer == refused:
		return s.closed && !s.exists, s
	case s.exists:
		return out.answer == unknown || s.record == out.after, s
	case out.answer == unknown:
		if !s.closed {
			s.record = fresh
		}
		return true, s
	}
	s.record = fresh
	return !s.closed && out.after == fresh, s
}

func (s state) heartbeat(in input, out output) (bool, state) {
	switch out.answer {
	case refused:
		return s.exists && !s.live, s
	case conflict: // of two claims
		return true, s
	case unknown:
		return true, s
	}
	ok := !s.exists || s.live
	if in.kind == opRenew {
		ok = ok && s.record == out.after
	}
	s.heartbeatUntil = max(s.heartbeatUntil, in.called.Add(leaseTTL).UnixNano())
	return ok, s
}

// recorded is an operation as porcupine wants it. One whose outcome is not known may take effect at any time from its
// call on.
func recorded(client int, in input, out output, began time.Time) porcupine.Operation {
	op := porcupine.Operation{
		ClientId: client, Input: in, Output: out, Call: in.called.Sub(began).Nanoseconds(), Return: out.returned.Sub(began).Nanoseconds(),
	}
	if out.answer == unknown {
		op.Return = math.MaxInt64
	}
	return op
}
