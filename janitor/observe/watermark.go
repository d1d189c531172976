package observe

import (
	"fmt"
	"slices"
	"time"

	"lapse/janitor/plan"
	"lapse/lease"
)

// watermark is the newest checkpoint of a registry that a replica has seen, leading or not, and the brakes that stand until a
// person releases them. Only leaders write checkpoints, and each counts on from the one before it, so a lower number, or the
// same with another nonce, means that the registry was set back.
type watermark struct {
	Sequence  int64         `json:"sequence"`
	Nonce     string        `json:"nonce"`
	Time      time.Time     `json:"time"`
	NextSweep time.Time     `json:"next_sweep"`
	Standing  []lease.Brake `json:"standing,omitempty"`
}

// known is all that a replica knows of a registry: its watermark, and what it cannot tell yet. It is a value: what is seen
// makes another one of it.
type known struct {
	watermark
	any    bool   // anything was seen of the registry before
	enters bool   // this replica has become leader, and has not read the registry since
	found  *found // what it found then, or at its first read, until that is settled
	stale  string // why somebody who remembers nothing, or too little, cannot tell what the registry is; empty if there is no such reason
}

// found is what a new leader found, or what was found before there was any memory.
type found struct {
	checkpoint lease.Checkpoint // the last
	at         time.Time        // when that was, by the monotonic clock
	first      bool             // nothing was remembered
}

// sighting is the registry and its checkpoint as read. leading says whether this replica leads.
type sighting struct {
	now, mono  time.Time // our clock, and the monotonic one
	registry   lease.Registry
	checkpoint lease.Checkpoint
	unreadable bool // the checkpoint cannot be read
	leading    bool
}

func sightingOf(now, mono time.Time, s lease.Snapshot, leading bool) sighting {
	unreadable := slices.ContainsFunc(s.Bad, func(bad lease.BadRecord) bool { return bad.Kind == plan.BadCheckpoint })
	return sighting{now, mono, s.Registry, s.Checkpoint, unreadable, leading}
}

// see takes in what was read, and returns what is known then: the brakes that it engages are among those that stand. A memory
// that is far older than a checkpoint which nobody keeps up is as good as none: higher checkpoints may have come between,
// and been lost. Until that is settled, nothing is kept, for a new process would take it for what it had seen in time.
func (k known) see(s sighting) (after known, keep bool) {
	before, read := k, s.checkpoint
	k.any = true
	k.Standing = s.registry.Stands(k.Standing) // one that was released while nobody watched is not the next
	switch {
	case !before.any && s.unreadable:
		k.stale = "the last checkpoint cannot be read, and this janitor remembers nothing of the registry"
	case !before.any && read.Sequence > 0:
		k.found = &found{read, s.mono, true}
	case before.any && !s.unreadable && (read.Sequence < before.Sequence || read.Sequence == before.Sequence && read.Nonce != before.Nonce):
		k = k.engage(s.now, lease.BrakeRollback, fmt.Sprintf(
			"the checkpoint is number %d, and number %d was seen before: the registry was set back to an older state", read.Sequence, before.Sequence))
		k.enters = false // there is no doubt
	case before.any && read.Sequence > before.Sequence && (read.Fresh(s.now) || before.upTo(read)):
		k.stale = "" // others go on, and hold what they have to
		if !s.leading {
			k.found = nil
		}
	case before.any && read.Sequence > before.Sequence && !before.upTo(read):
		k.stale = fmt.Sprintf("the last checkpoint is from %s, but this janitor last saw the registry at %s",
			read.Time.Format(time.RFC3339), before.Time.Format(time.RFC3339))
	}
	if s.leading && k.enters {
		k.enters = false
		k = k.find(before, s)
	}
	if s.leading && k.stale != "" {
		k = k.engage(s.now, lease.BrakeUnwatched, k.stale+"; it may have been set back since then")
		k.stale = ""
	}
	k.Standing = joined(s.registry.Stands(read.Standing), k.Standing)
	if !s.unreadable {
		k.Sequence, k.Nonce, k.Time, k.NextSweep = read.Sequence, read.Nonce, read.Time, read.NextSweep
	}
	return k, k.stale == "" && (k.found == nil || !k.found.first || k.found.checkpoint.Fresh(s.now))
}

// checkpoint is what is remembered of the last one.
func (w watermark) checkpoint() lease.Checkpoint {
	return lease.Checkpoint{Time: w.Time, NextSweep: w.NextSweep}
}

// upTo reports whether the memory was kept up until about the time of a checkpoint, as those who follow keep it: the one that
// it knows was still fresh.
func (w watermark) upTo(s lease.Checkpoint) bool { return w.checkpoint().Fresh(s.Time) }

// same reports whether a file that holds one need not be written for the other.
func (w watermark) same(o watermark) bool {
	return w.Sequence == o.Sequence && w.Nonce == o.Nonce && slices.Equal(w.Standing, o.Standing)
}

// unwatchedMax is the longest gap without a checkpoint after which a new leader still believes a registry that it remembers,
// unless the schedule pauses for longer. Memory shows that a registry was set back to before what was seen. It does not show
// that the registry was changed after the last checkpoint and then set back to it.
const unwatchedMax = time.Hour

// enter notes that this replica has become leader.
func (k known) enter() known {
	k.enters = true
	if k.found != nil && !k.found.first {
		k.found = nil
	}
	return k
}

// find notes what a new leader has found. Where the checkpoint cannot be read, it is that which was seen last.
func (k known) find(before known, s sighting) known {
	last := before.checkpoint()
	if s.checkpoint.Sequence > 0 {
		last = s.checkpoint
	}
	if before.any && k.found == nil && !last.Time.IsZero() {
		k.found = &found{checkpoint: last, at: s.mono}
	}
	return k
}

// settle judges what a new leader has found, by EC2's clock, if that is told: its own may be wrong. Where it is not, one
// that remembers the registry waits, and one that does not must not: its own checkpoint comes next, and is fresh.
func (k known) settle(now, mono time.Time, told bool) known {
	f := k.found
	if f == nil || !told && !f.first {
		return k
	}
	k.found = nil
	then := now.Add(-mono.Sub(f.at))
	if f.checkpoint.Fresh(then) {
		return k
	}
	why := "and this janitor remembers nothing of the registry"
	if !f.first {
		if then.Sub(f.checkpoint.Watched()).Abs() <= unwatchedMax {
			return k
		}
		why = "and no janitor has watched the registry since"
	}
	return k.engage(now, lease.BrakeUnwatched, fmt.Sprintf("the last checkpoint is from %s, %s; it may have been set back since then", f.checkpoint.Time.Format(time.RFC3339), why))
}

// wrote takes in a checkpoint that this replica has written.
func (k known) wrote(w lease.Checkpoint) known {
	k.watermark = watermark{Sequence: w.Sequence, Nonce: w.Nonce, Time: w.Time, NextSweep: w.NextSweep, Standing: joined(w.Standing, k.Standing)}
	return k
}

// engage engages a brake that stands, unless it does already.
func (k known) engage(now time.Time, name, reason string) known {
	b := lease.Brake{Name: name, Since: now.UTC().Truncate(time.Millisecond), Reason: reason}
	k.Standing = joined(k.Standing, []lease.Brake{b})
	return k
}

// joined are the brakes of both lists; where both have one of the same name and scope, that of the first.
func joined(first, second []lease.Brake) []lease.Brake {
	all := slices.Clone(first)
	for _, b := range second {
		if !slices.ContainsFunc(first, func(o lease.Brake) bool { return o.Name == b.Name && o.Scope == b.Scope }) {
			all = append(all, b)
		}
	}
	return all
}
