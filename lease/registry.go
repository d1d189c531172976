package lease

import (
	"maps"
	"slices"
	"time"
)

// Registry is one Lapse installation: a namespace in etcd, with a UUID that instances bear as a tag.
type Registry struct {
	Schema    int       `json:"schema"`
	MinSchema int       `json:"min_schema"` // janitors that know less do not campaign
	UUID      string    `json:"uuid"`
	Mode      Mode      `json:"mode"`
	ModeSince time.Time `json:"mode_since"`
	// ModeBy and ModeReason say who set the mode, and why; empty where that is not on record.
	ModeBy     string    `json:"mode_by,omitzero"`
	ModeReason string    `json:"mode_reason,omitzero"`
	Before     Mode      `json:"before,omitzero"` // mode to which a paused registry resumes
	CreatedAt  time.Time `json:"created_at"`
	// Resumed is what people said of brakes, by `janitor release-brake`.
	Resumed []Resumption `json:"resumed,omitempty"`
	// Animas are those of launches that do not say, by location, where client tokens are not it.
	Animas map[string]Anima `json:"animas,omitempty"`
	// Tokenless has, by location, the id of an instance that was launched with a client token and shows none: the endpoint
	// ignores them.
	Tokenless map[string]string `json:"tokenless,omitempty"`
	// API is the URL at which instances reach the API: see [CheckAPI]. Empty: launches give them no join token.
	API string `json:"api,omitzero"`

	Revision int64 `json:"revision,omitzero"` // the store's revision of this record

	unknown unknownFields
}

// Mode says what janitors may do.
type Mode string

// Modes of a registry.
const (
	ModeObserve Mode = "observe" // report the plan, terminate nothing: how a new registry starts
	ModeArmed   Mode = "armed"   // carry the plan out
	ModePaused  Mode = "paused"  // a person stopped all acting
)

// NewRegistry makes a registry that observes, or is armed if so asked.
func NewRegistry(now time.Time, uuid string, mode Mode) Registry {
	return Registry{
		Schema: Schema, MinSchema: Schema, UUID: uuid, Mode: mode, ModeSince: recorded(now), CreatedAt: recorded(now),
	}
}

// To sets the mode, and notes by whom and why. Pausing remembers the mode before it.
func (r Registry) To(now time.Time, mode Mode, by By) Registry {
	if r.Mode == mode {
		return r
	}
	r.Before = ""
	if mode == ModePaused {
		r.Before = r.Mode
	}
	r.Mode, r.ModeSince, r.ModeBy, r.ModeReason = mode, recorded(now), by.Actor, by.Reason
	return r
}

// WithAnima notes the anima of launches into a location that do not say. With [AnimaClientToken] it forgets what was seen of
// that.
func (r Registry) WithAnima(p Location, anima Anima) Registry {
	r.Animas, r.Tokenless = maps.Clone(r.Animas), maps.Clone(r.Tokenless)
	delete(r.Animas, p.String())
	if anima == AnimaClientToken {
		delete(r.Tokenless, p.String())
		return r
	}
	if r.Animas == nil {
		r.Animas = map[string]Anima{}
	}
	r.Animas[p.String()] = anima
	return r
}

// WithTokenless notes an instance of a location that was launched with a client token and shows none.
func (r Registry) WithTokenless(p Location, id string) Registry {
	if r.Tokenless[p.String()] != "" {
		return r
	}
	if r.Tokenless = maps.Clone(r.Tokenless); r.Tokenless == nil {
		r.Tokenless = map[string]string{}
	}
	r.Tokenless[p.String()] = id
	return r
}

// Resume sets a paused registry to the mode that it had before, and changes no other. Where the record does not say that
// it was armed, it observes.
func (r Registry) Resume(now time.Time, by By) Registry {
	switch {
	case r.Mode != ModePaused:
		return r
	case r.Before == ModeArmed:
		return r.To(now, ModeArmed, by)
	}
	return r.To(now, ModeObserve, by)
}

// Checkpoint is the record of the last sweep. Launchers refuse unless it is fresh and names their location; a new leader learns
// from it whether there was one before.
type Checkpoint struct {
	Schema   int       `json:"schema"`
	Sequence int64     `json:"sequence"`
	Nonce    string    `json:"nonce"` // tells two sweeps of the same sequence apart, after a restore
	Time     time.Time `json:"time"`  // by EC2's clock where the leader's own is wrong
	// Witnessed is the time by EC2's clock, as far as leaders were ever told it: one that EC2 has not answered yet takes over the
	// time of those before it. By it others judge for how long nobody watched, since Time may be of a clock that was ahead.
	Witnessed time.Time `json:"witnessed,omitzero"`
	// NextSweep is when the next one is due, dated like Time.
	NextSweep time.Time  `json:"next_sweep"`
	Locations []Location `json:"locations"`
	Leader    string     `json:"leader"`
	// LaunchWindow is how long after its last send a launch may still send, before the janitor settles it. Launchers
	// freeze it in the launch.
	LaunchWindow Duration `json:"launch_window,omitzero"`
	// Retention is how long the record of a launch with a generated token is kept. Launchers refuse older tokens, which
	// nobody would recognise.
	Retention Duration `json:"retention,omitzero"`
	// Enforcing has, by location, since when instances of expired leases were terminated there without a gap. A lease that
	// expired before that is marked first.
	Enforcing   map[string]time.Time `json:"enforcing,omitempty"`
	Leaderships []time.Time          `json:"leaderships,omitempty"` // when the last leaders became leader, oldest first
	Brakes      []Brake              `json:"brakes,omitempty"`      // engaged when this sweep decided
	// Standing are those of the brakes that stay engaged until a person releases them. Each checkpoint takes them over from the one
	// before, also that of a janitor which does not know of them.
	Standing []Brake `json:"standing,omitempty"`
	// Behind has, by instance id, the change of its lease that a sidecar has seen, where that is later than the registry's: an
	// extension may be lost, so each of them is held back by itself. The first hundred are named.
	Behind map[string]int64  `json:"behind,omitempty"`
	Seen   map[string]Census `json:"seen,omitempty"` // by location that was listed
	// TermGrace is the grace after the date of a lease; Unable is why the leader terminates nothing, if it cannot.
	TermGrace Duration   `json:"term_grace,omitzero"`
	Unable    KeptReason `json:"unable,omitzero"`

	Revision int64 `json:"revision,omitzero"` // the store's revision of this record

	unknown unknownFields
}

// Bounds of what a checkpoint says of the next sweep. They are constants: an office-hours schedule has pauses of 62 h, and a
// janitor that should have swept is missed as soon after the longest of them as after the shortest.
const (
	lateMax = 3 * time.Minute    // between a sweep that is due and its checkpoint: it lists EC2 first
	nextMax = 7 * 24 * time.Hour // for which no other sweep need follow, whatever the checkpoint says
)

// Due is when the next sweep is due, by the checkpoint: NextSweep, but never more than 7 days after Time.
func (s Checkpoint) Due() time.Time {
	if latest := s.Time.Add(nextMax); s.NextSweep.After(latest) {
		return latest
	}
	return s.NextSweep
}

// FreshFor is for how long, counted from Time, the checkpoint is recent enough to rely on a janitor being there: until 3 min
// after the next sweep is due. One that names no next sweep never is; it is negative then.
func (s Checkpoint) FreshFor() time.Duration { return s.Due().Sub(s.Time) + lateMax }

// Fresh reports whether the checkpoint is recent enough at now to rely on a janitor being there. One that is dated more than
// [MaxSkew] ahead is not: whoever wrote it, or whoever reads it, has a clock that is wrong.
func (s Checkpoint) Fresh(now time.Time) bool {
	age := now.Sub(s.Time)
	return !s.Time.IsZero() && age >= -MaxSkew && age <= s.FreshFor()
}

// Names reports whether the janitor sweeps the location.
func (s Checkpoint) Names(p Location) bool { return slices.Contains(s.Locations, p) }

// Heartbeat says who renews a lease. Its key is attached to an etcd lease of the timeout, so the key exists or has expired.
type Heartbeat struct {
	Schema           int       `json:"schema"`
	InstanceID       string    `json:"instance_id"`
	BootID           string    `json:"boot_id"`
	Address          string    `json:"address,omitzero"`
	Version          string    `json:"version,omitzero"`
	Changes          int64     `json:"changes"` // change counter of the lease, as last seen by the sidecar
	HeartbeatTimeout Duration  `json:"heartbeat_timeout"`
	Since            time.Time `json:"since"` // when it was claimed, by the wall clock of the instance

	Created int64 `json:"-"` // the store's revision at which the key appeared
	Held    bool  `json:"-"` // whether an etcd lease holds the key: one that nothing holds is a ghost
}

// Claim is a heartbeat as the store keeps it. It is lost when the key expires or when somebody else claims it.
type Claim struct {
	Heartbeat Heartbeat
	Handle    int64 // the store's name for what keeps the key alive
	Revision  int64 // the store's revision of the key
}

// Snapshot is the registry's content at one revision.
type Snapshot struct {
	Registry   Registry
	Checkpoint Checkpoint // zero if there was none yet
	Leases     []Lease
	Launches   []Launch
	Heartbeats map[string]Heartbeat // by instance id
	Bad        []BadRecord
	Planned    bool // a plan is published beside the checkpoint
	Revision   int64
	Term       uint64 // raft term in which it was read: a change means that etcd stalled or held a new election
}

// BadRecord is a record that cannot be read. It is reported, and its instance is spared.
type BadRecord struct {
	Kind     string // lease, launch, heartbeat, checkpoint
	ID       string
	Err      error
	Revision int64
}

// Change is something that a watch saw: exactly one of the fields is set.
type Change struct {
	Lease     *Lease
	Launch    *Launch
	Registry  *Registry
	Enrolment *Enrolment // a key was enrolled or used after another, or somebody was invited
	Heartbeat *Heartbeat // appeared, or was claimed again
	Lapsed    string     // instance id whose heartbeat key is gone
	Bad       *BadRecord // a heartbeat that cannot be read was written: what it said before no longer counts
	Snapshot  *Snapshot  // the watch fell behind what etcd keeps, and listed again
}
