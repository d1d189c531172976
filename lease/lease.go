// Package lease says what leases and launches are: values, the transitions between their states as pure functions, and
// the errors that refuse a transition. It does no I/O, reads no clock and imports the standard library alone.
//
// Read it in this order:
//
//   - lease.go: [Lease], its [State]s, [Cause]s and [Mark].
//   - transition.go: what may happen to a lease, and who is refused. request.go: what an instance asks for itself.
//   - expiry.go: [Expiry], the agreed date as record and tag have it, and [Compare]. keys.go: the transitions that make the
//     two agree, and what kept an instance after its date.
//   - overdue.go: [Overdue], an instance that should be gone by its record and is not, and what keeps it.
//   - launch.go: [Launch] and its [Attempt]s, a creation that cannot be lost. userdata.go, join.go, wrap.go: what its instances get to
//     read, the token by which they enrol with the API, and how both become one.
//   - settle.go: to which launch an instance belongs; bind, orphan, adopt. recovery.go: what tags alone can rebuild.
//   - leftover.go: [Leftover], what a failed creation leaves beside instances.
//   - registry.go: [Registry], [Checkpoint], [Heartbeat], [Snapshot]: what a store holds beside leases. brake.go: [Brake],
//     which holds terminations back, and who releases it.
//   - enrolment.go: [Enrolment], the keys with which an instance calls the API. peer.go: [Peer], what it sees of others.
//   - instance.go, termination.go: [Instance], [Location] and the tags, and the outcome of a request to terminate: what EC2
//     says.
//   - errors.go, record.go, quick.go, limits.go: refusals as types, JSON as stored and printed, bounds of what people may ask for.
package lease

import (
	"maps"
	"slices"
	"time"
)

// Lease is the record that one instance may run. Its id is the instance id.
//
// A Lease is a value: a transition returns a changed copy, and a store writes it only if Revision is still the one that
// was read.
type Lease struct {
	Schema      int               `json:"schema"`
	InstanceID  string            `json:"instance_id"`
	Launch      string            `json:"launch,omitzero"`       // token of its launch; empty for an adopted instance
	ClientToken string            `json:"client_token,omitzero"` // client token of the attempt that made it
	KeyName     string            `json:"key_name,omitzero"`     // of the key pair of that attempt, where it is the anima
	Bore        string            `json:"bore,omitzero"`         // client token of the attempt that made it, by its launch tag or its key pair when it was adopted
	Account     string            `json:"account,omitzero"`
	Region      string            `json:"region,omitzero"`
	Zone        string            `json:"zone,omitzero"`
	ZoneID      string            `json:"zone_id,omitzero"`
	Holder      string            `json:"holder,omitzero"`
	Labels      map[string]string `json:"labels,omitempty"`
	State       State             `json:"state"`
	GrantedAt   time.Time         `json:"granted_at"`
	ExpiresAt   time.Time         `json:"expires_at,omitzero"` // zero: no term
	// ExpiresNumber is the number of that date, counted from 1: see [Expiry]. Extensions, shortenings, adoptions,
	// recoveries and an operator's revocation take the next; nothing else does.
	ExpiresNumber int64 `json:"expires_number"`
	// ShortenedAt is the number at which a person shortened the lease, or adopted or recovered it; 0: nobody did. Only such
	// a word brings the date on the instance's tag forward.
	ShortenedAt      int64      `json:"shortened_at,omitzero"`
	MaxExpiresAt     time.Time  `json:"max_expires_at,omitzero"`    // zero: may be extended without limit
	SelfExtend       *Duration  `json:"self_extend,omitempty"`      // how far from now its instance may extend it; nil: up to MaxExpiresAt; zero: not at all
	HeartbeatTimeout Duration   `json:"heartbeat_timeout,omitzero"` // longest time allowed between renewals; zero: no renewal asked for
	ClaimedAt        time.Time  `json:"claimed_at,omitzero"`        // when a sidecar was first seen to renew it
	CuredAt          time.Time  `json:"cured_at,omitzero"`          // last extension or unmark: the heartbeat timeout restarts here
	ContestedAt      time.Time  `json:"contested_at,omitzero"`      // since when more than one claims to be the instance; its heartbeat is not judged
	VouchedAt        time.Time  `json:"vouched_at,omitzero"`        // when it was proved to run without being able to renew; its heartbeat is not judged
	KeptSince        time.Time  `json:"kept_since,omitzero"`        // when something was first seen to keep it after its date: see [Lease.Keep]
	KeptReason       KeptReason `json:"kept_reason,omitzero"`       // of a revoked one: the kind of Stuck
	Mark             *Mark      `json:"mark,omitempty"`
	Cause            Cause      `json:"cause,omitzero"` // why it was revoked, or how it ended
	RevokedAt        time.Time  `json:"revoked_at,omitzero"`
	TagNumber        int64      `json:"tag_number,omitzero"` // of a revoked lease: number of a tag that is newer than the record
	EndedAt          time.Time  `json:"ended_at,omitzero"`
	Untagged         bool       `json:"untagged,omitzero"`     // it ended while it was being adopted, before its tag was seen
	AbsentSince      time.Time  `json:"absent_since,omitzero"` // first look-up by id that found nothing, after revocation
	Tries            int        `json:"tries,omitzero"`        // authorised attempts to terminate
	TriedAt          time.Time  `json:"tried_at,omitzero"`     // time of the last one
	Stuck            string     `json:"stuck,omitzero"`        // why it cannot be terminated
	StuckCode        string     `json:"stuck_code,omitzero"`   // EC2's error code, where EC2 refuses to terminate it
	Outlive          []string   `json:"outlive,omitempty"`     // of a failed creation: volumes and interfaces that are not deleted with it
	Changes          int64      `json:"changes"`               // counts what History tells of; never decreases, nor exceeds maxChanges
	// HistoryDropped is how many transitions are not kept: they came after the first historyFirst of History.
	HistoryDropped int64        `json:"history_dropped,omitzero"`
	History        []Transition `json:"history"` // the first and the last of them, historyMax in all, oldest first

	// Revision is the store's revision of this record; 0 means that it is not stored yet. Written by stores only.
	Revision int64 `json:"revision,omitzero"`

	unknown unknownFields
}

// State of a lease.
type State string

// States of a lease. Active leads to revoked and then to ended; active and adopting go to ended directly only when EC2
// says that the instance is terminated; unmanaged lasts until somebody adopts the instance again.
const (
	StateAdopting  State = "adopting"  // record first, tag not seen yet
	StateActive    State = "active"    // valid, with or without a mark
	StateRevoked   State = "revoked"   // taken away for good; the instance is being terminated
	StateEnded     State = "ended"     // EC2 confirmed the termination
	StateUnmanaged State = "unmanaged" // forgotten on request; Lapse no longer touches the instance
)

// Cause says why a lease is marked, revoked or ended.
type Cause string

// Causes. The first three are declared by somebody; the janitor infers heartbeat-lost and no-heartbeat.
const (
	CauseExpired        Cause = "expired"         // ExpiresAt has passed
	CauseRelease        Cause = "release"         // the holder gave it back
	CauseRevoke         Cause = "revoke"          // an operator revoked it
	CauseHeartbeatLost  Cause = "heartbeat-lost"  // the sidecar stopped renewing
	CauseNoHeartbeat    Cause = "no-heartbeat"    // no sidecar ever renewed
	CauseFailedCreation Cause = "failed-creation" // made by a launch that was closed before it bound the instance
	CauseGone           Cause = "gone"            // terminated by somebody else
)

// Declared reports whether a person or a program agreed to the termination: its date was known, so it is guarded, not rationed.
func (c Cause) Declared() bool {
	return c == CauseExpired || c == CauseRelease || c == CauseRevoke
}

// Inferred reports whether the janitor inferred the cause from missing heartbeats.
func (c Cause) Inferred() bool { return c == CauseHeartbeatLost || c == CauseNoHeartbeat }

// Mark is the janitor's notice that the lease will be revoked after Deadline unless it is renewed, extended or unmarked.
type Mark struct {
	Cause    Cause     `json:"cause"`
	Since    time.Time `json:"since"`
	Deadline time.Time `json:"deadline"`

	unknown unknownFields
}

// Transition is one entry of a lease's history.
type Transition struct {
	Time   time.Time `json:"time"`
	Actor  string    `json:"actor"`
	Action Action    `json:"action"`
	Reason string    `json:"reason,omitzero"`
	From   time.Time `json:"from,omitzero"` // expiry before an extension, or maximum expiry before it was moved; zero: none
	To     time.Time `json:"to,omitzero"`   // the same after it; zero: none, or nothing was moved

	unknown unknownFields
}

// Bounds of the history kept in a record, so that it stays small however often a lease is extended. Who launched the
// instance, and for whom the lease was first changed, is never dropped.
const (
	historyMax   = 16
	historyFirst = 4
)

// Recent are the last transitions, none of which is missing between.
func (l Lease) Recent() []Transition {
	if l.HistoryDropped == 0 {
		return l.History
	}
	return l.History[min(historyFirst, len(l.History)):]
}

// Since are the transitions since the change counter was at changes, oldest first, and how many more there were that the
// record does not remember.
func (l Lease) Since(changes int64) (news []Transition, forgotten int64) {
	recent := l.Recent()
	kept, n := int64(len(recent)), l.Changes-changes
	if n <= 0 || kept == 0 {
		return nil, 0
	}
	return recent[kept-min(n, kept):], max(0, n-kept)
}

// Location of the instance.
func (l Lease) Location() Location { return Location{Account: l.Account, Region: l.Region} }

// Live reports whether the lease has not been revoked, ended or forgotten.
func (l Lease) Live() bool { return l.State == StateActive || l.State == StateAdopting }

// Over reports whether the lease has expired at now, with grace added. A lease without a term never expires.
func (l Lease) Over(now time.Time, grace time.Duration) bool {
	return !l.ExpiresAt.IsZero() && !now.Before(l.ExpiresAt.Add(grace))
}

// By says who does something and why; both end up in the history.
type By struct {
	Actor  string // for example "cli:ada@laptop" or "janitor:host-1"
	Reason string
}

// copied returns a copy of l that shares no map, slice or mark with it.
func (l Lease) copied() Lease {
	l.Labels, l.History, l.Outlive = maps.Clone(l.Labels), slices.Clone(l.History), slices.Clone(l.Outlive)
	if l.Mark != nil {
		mark := *l.Mark
		l.Mark = &mark
	}
	if l.SelfExtend != nil {
		limit := *l.SelfExtend
		l.SelfExtend = &limit
	}
	return l
}

// changed returns a copy of l with one more transition.
func (l Lease) changed(now time.Time, action Action, by By) Lease {
	l = l.copied()
	l.History = append(l.History, Transition{Time: recorded(now), Actor: by.Actor, Action: action, Reason: by.Reason})
	l.Changes = min(l.Changes+1, maxChanges)
	return l.bounded()
}

// bounded drops what is too much of its history, which is its own.
func (l Lease) bounded() Lease {
	if over := len(l.History) - historyMax; over > 0 {
		l.History = slices.Delete(l.History, historyFirst, historyFirst+over)
		l.HistoryDropped = min(l.HistoryDropped+int64(over), maxChanges)
	}
	return l
}

// recorded is the form in which records keep a time: UTC, without a monotonic reading, to the millisecond.
func recorded(t time.Time) time.Time { return t.UTC().Round(0).Truncate(time.Millisecond) }
