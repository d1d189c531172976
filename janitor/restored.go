package janitor

import (
	"fmt"
	"slices"
	"time"

	"lapse/lease"
)

// brakeRestored holds everything: the registry was set back to an older state, which does not know of later extensions.
const brakeRestored = "restored"

// stamps is the newest stamp that this process has seen or written. Only leaders write stamps, and each counts on from
// the one before it, so an older one, or another of the same number, means that the registry was set back.
type stamps struct {
	sequence int64
	nonce    string
	restored *lease.Brake // once set, kept for as long as the process lives: a person has to look
}

// see takes in a stamp that was read.
func (s *stamps) see(now time.Time, snapshot lease.Snapshot) {
	if slices.ContainsFunc(snapshot.Bad, func(bad lease.BadRecord) bool { return bad.Kind == "sweep" }) {
		return // it says nothing
	}
	read := snapshot.Sweep
	if older := read.Sequence < s.sequence || read.Sequence == s.sequence && read.Nonce != s.nonce; older && s.restored == nil {
		s.restored = &lease.Brake{
			Name: brakeRestored, Since: now.UTC().Truncate(time.Millisecond),
			Reason: fmt.Sprintf("the stamp is number %d, and number %d was seen before: the registry was set back to an older state; "+
				"extend what must live, then restart the janitor", read.Sequence, s.sequence),
		}
	}
	s.wrote(read)
}

// wrote takes in a stamp that this process has written.
func (s *stamps) wrote(w lease.Sweep) { s.sequence, s.nonce = w.Sequence, w.Nonce }
