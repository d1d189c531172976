// Package audit tells what happens to leases, launches and the registry, whoever did it, and writes it down.
//
//   - event.go: [Event], one thing that happened, and the [Evidence] that it rested on.
//   - historian.go: [Historian], which derives from the records what others did.
//   - writer.go: [Writer], which writes events beside whoever tells them, and says so where it cannot.
//   - log.go: [Log], the file that they are written to.
package audit

import (
	"cmp"
	"time"

	"lapse/lease"
)

// ActorUnknown is the actor where the registry does not say who it was.
const ActorUnknown = "unknown"

// Event is one transition or refusal, told when it has happened.
type Event struct {
	Time       time.Time    `json:"time"`
	Kind       lease.Action `json:"kind"`
	InstanceID string       `json:"instance_id,omitzero"`
	Leftover   string       `json:"leftover,omitzero"` // id of what a launch left beside instances
	Launch     string       `json:"launch,omitzero"`   // token
	Location   string       `json:"location,omitzero"` // account/region
	Zone       string       `json:"zone,omitzero"`
	Actor      string       `json:"actor"` // [ActorUnknown] where the registry does not say who
	Cause      lease.Cause  `json:"cause,omitzero"`
	Brake      string       `json:"brake,omitzero"`
	Scope      string       `json:"scope,omitzero"` // of a brake; empty: everywhere
	Reason     string       `json:"reason,omitzero"`
	Evidence   Evidence     `json:"evidence,omitzero"`
	Revision   int64        `json:"revision,omitzero"` // etcd's, of the record as written
	RequestID  string       `json:"aws_request_id,omitzero"`
	Code       string       `json:"ec2_code,omitzero"` // EC2's error code

	Own     bool  `json:"-"` // done by this janitor
	Changes int64 `json:"-"` // change counter of the lease as written
}

// Evidence is what an event rested on.
type Evidence struct {
	ExpiresAt time.Time `json:"expires_at,omitzero"`
	Before    time.Time `json:"expires_before,omitzero"` // the expiry before an extension
	// MaxExpiresAt is the latest date to which the lease may be extended, and MaxBefore what that was, where it was moved.
	MaxExpiresAt time.Time           `json:"max_expires_at,omitzero"`
	MaxBefore    time.Time           `json:"max_expires_before,omitzero"`
	Mark         *lease.Mark         `json:"mark,omitempty"`
	Lost         lease.Duration      `json:"lost_for,omitzero"`    // by the leader's own clock
	Witness      bool                `json:"witness,omitzero"`     // another lease of the zone renewed since
	FirstSeen    time.Time           `json:"first_seen,omitzero"`  // first full listing that showed what a launch left
	RevokedAt    time.Time           `json:"revoked_at,omitzero"`  //
	Due          time.Time           `json:"due,omitzero"`         // when the termination was due
	Tries        int                 `json:"tries,omitzero"`       // authorised so far
	EC2          lease.InstanceState `json:"ec2_state,omitzero"`   // as EC2 said last
	Instances    []string            `json:"instances,omitempty"`  // of a launch
	Mode         lease.Mode          `json:"mode_before,omitzero"` // of the registry, before it was set
}

// Complete is the event as it is told: dated in UTC to the millisecond, and never without an actor.
func (e Event) Complete() Event {
	e.Time, e.Actor = e.Time.UTC().Truncate(time.Millisecond), cmp.Or(e.Actor, ActorUnknown)
	return e
}
