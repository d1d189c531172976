package lease

import (
	"maps"
	"slices"
	"time"
)

// Plan is what the leader would do if its registry were armed. A leader that observes or is paused publishes it beside its
// checkpoint, so that whoever arms has seen what the janitor itself sees, in every location that it sweeps.
type Plan struct {
	Schema   int       `json:"schema"`
	Sequence int64     `json:"sequence"` // of the sweep whose listing it was decided by, and its nonce
	Nonce    string    `json:"nonce"`
	Time     time.Time `json:"time"` // when it was decided, dated like the checkpoint
	Leader   string    `json:"leader"`
	// RegistryRevision is that of the registry by which it was decided. Once the registry has changed, the plan is out of date.
	RegistryRevision int64            `json:"registry_revision"`
	HeartbeatsJudged bool             `json:"heartbeats_judged"` // false: it was made by a single sweep
	Locations        []LocationStatus `json:"locations"`
	Counts           map[string]int   `json:"counts"`  // of verdicts, by action
	Foreign          int              `json:"foreign"` // instances of other registries, which are counted here alone
	Verdicts         []Judgement      `json:"verdicts"`
	Omitted          int              `json:"omitted"` // verdicts that are counted and not among Verdicts
	Brakes           []Brake          `json:"brakes"`

	Revision int64 `json:"revision,omitzero"` // the store's revision of this record
}

// LocationStatus is a location that the leader sweeps, and why it could not list it.
type LocationStatus struct {
	Location Location `json:"location"`
	Error    string   `json:"error,omitzero"` // empty: the listing is complete
}

// Judgement is one verdict of a [Plan].
type Judgement struct {
	Action     string       `json:"action"`
	InstanceID string       `json:"instance_id,omitzero"`
	Leftover   string       `json:"leftover,omitzero"` // id of a volume, an interface or a spot request
	Kind       LeftoverKind `json:"kind,omitzero"`     // of the leftover
	Launch     string       `json:"launch,omitzero"`
	Location   string       `json:"location"`
	Cause      Cause        `json:"cause,omitzero"`
	Brake      string       `json:"brake,omitzero"`
	Foreign    bool         `json:"foreign,omitzero"` // about an instance of another registry
	Reason     string       `json:"reason"`

	Overdue // should be gone by its record: what keeps it, and since when
}

// Of reports whether the plan was decided by that registry, on the listing of that checkpoint.
func (p Plan) Of(r Registry, s Checkpoint) bool {
	return p.Nonce != "" && p.Nonce == s.Nonce && p.RegistryRevision == r.Revision
}

// SameAs reports whether p says the same as q. When they were decided makes no difference, nor do reasons: they tell ages.
func (p Plan) SameAs(q Plan) bool {
	return p.RegistryRevision == q.RegistryRevision && p.Nonce == q.Nonce && p.Foreign == q.Foreign && maps.Equal(p.Counts, q.Counts) &&
		slices.EqualFunc(p.Verdicts, q.Verdicts, func(a, b Judgement) bool {
			a.Reason, b.Reason, a.Since, b.Since = "", "", time.Time{}, time.Time{}
			return a == b
		}) &&
		slices.EqualFunc(p.Brakes, q.Brakes, func(a, b Brake) bool { return a.Name == b.Name && a.Scope == b.Scope })
}

// Unseen are the locations that the leader could not list.
func (p Plan) Unseen() []LocationStatus {
	return slices.DeleteFunc(slices.Clone(p.Locations), func(s LocationStatus) bool { return s.Error == "" })
}

func (p Plan) valid() error { return within("sequence", p.Sequence, 0, maxChanges) }
