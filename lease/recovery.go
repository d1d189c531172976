package lease

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// MinRecovery is what a recovered lease lasts at least: whoever lost the records has so long to set it right.
const MinRecovery = 24 * time.Hour

// Recovery rebuilds leases from the tags of instances, after their records were lost. The tag [TagExpires] has the date
// as a leader last wrote it there, which an extension shortly before the loss may not have reached. So a recovered lease
// lasts longer rather than shorter, and what is in doubt is left alone.
type Recovery struct {
	registry   string // its UUID
	terms      RecoveryTerms
	leases     map[string]State  // by instance id
	launches   map[string]Launch // by token
	bad        map[string]error  // by instance id or token
	heartbeats map[string]Heartbeat
}

// RecoveryTerms are what recovered leases are given beside what tags say.
type RecoveryTerms struct {
	Term             time.Duration // at least so long from now; less than [MinRecovery] means that
	AnyTerm          bool          // Term also for instances whose tag says none
	MaxTerm          time.Duration // from now; a later term moves it; zero: none
	HeartbeatTimeout time.Duration // zero: none, for tags do not say
}

// NewRecovery prepares to judge instances by what the registry still knows. List the instances first and take the
// snapshot second, so that a lease made in between is not missed.
func NewRecovery(s Snapshot, t RecoveryTerms) Recovery {
	t.Term = max(t.Term, MinRecovery)
	r := Recovery{
		registry: s.Registry.UUID, terms: t, leases: make(map[string]State, len(s.Leases)), launches: make(map[string]Launch, len(s.Launches)),
		bad: map[string]error{}, heartbeats: s.Heartbeats,
	}
	for _, l := range s.Leases {
		r.leases[l.InstanceID] = l.State
	}
	for _, l := range s.Launches {
		r.launches[l.Token] = l
	}
	for _, b := range s.Bad {
		if b.Kind == "lease" || b.Kind == "launch" {
			r.bad[b.ID] = b.Err
		}
	}
	return r
}

// Obstacle says why a lease cannot be recovered.
type Obstacle string

// Obstacles, in the order in which they are checked.
const (
	ObstacleUnmanaged Obstacle = "unmanaged" // given up by somebody's word
	ObstacleUntagged  Obstacle = "untagged"  // bears no registry's tag
	ObstacleForeign   Obstacle = "foreign"   // bears another registry's tag
	ObstacleLeased    Obstacle = "leased"    // a lease is on record: nothing is lost
	ObstacleUnread    Obstacle = "unread"    // a record is there, and cannot be read
	ObstacleOver      Obstacle = "over"      // terminated, or on its way there
	ObstacleExempt    Obstacle = "exempt"    // bears the tag that forbids terminating it
	ObstacleCopied    Obstacle = "copied"    // its launch tag is not its client token
	ObstacleOpen      Obstacle = "open"      // its launch is under way and binds it
	ObstacleOrphan    Obstacle = "orphan"    // its launch was closed before it was bound: a janitor terminates it, or a brake holds that back
	ObstacleDoubt     Obstacle = "doubt"     // its launch is on record and does not know it
)

// UnrecoverableError says why the lease of an instance is not rebuilt from its tags.
type UnrecoverableError struct {
	ID       string
	Obstacle Obstacle
	Token    string // of its launch, where the record of that is the obstacle
	Why      string
}

func (e *UnrecoverableError) Error() string {
	return fmt.Sprintf("cannot recover the lease of %s: %s", e.ID, e.Why)
}

// Lease rebuilds the lease of an instance that no record mentions: alive, with this registry's tag by value, and with
// a launch tag that equals its client token. It is active, for the holder and until the date on the tags, but at least
// as long as the terms say. One whose tag says none gets no term either. The date is numbered above the tag's.
//
// Errors: [UnrecoverableError].
func (r Recovery) Lease(now time.Time, i Instance, by By) (Lease, error) {
	token, err := r.judge(now, i)
	if err != nil {
		return Lease{}, err
	}
	l := Lease{
		Schema: Schema, InstanceID: i.ID, Launch: token, ClientToken: i.Tags[TagLaunch],
		Account: i.Location.Account, Region: i.Location.Region, Zone: i.Zone, ZoneID: i.ZoneID,
		Holder: i.Tags[TagHolder], Labels: maps.Clone(r.launches[token].Labels), GrantedAt: recorded(now), HeartbeatTimeout: Duration(r.terms.HeartbeatTimeout),
	}
	if _, keyed := KeyOf(r.registry, i.KeyName); keyed {
		l.KeyName = i.KeyName
	}
	var source string
	l.ExpiresAt, source = r.term(now, i)
	l.ExpiresNumber = numberAfter(0, i.Expiry().Number)
	l.ShortenedAt = l.ExpiresNumber
	if !l.ExpiresAt.IsZero() && r.terms.MaxTerm > 0 {
		l.MaxExpiresAt = recorded(now.Add(r.terms.MaxTerm))
		if l.MaxExpiresAt.Before(l.ExpiresAt) {
			l.MaxExpiresAt = l.ExpiresAt
		}
	}
	reason := "rebuilt from tags; " + source
	if by.Reason != "" {
		reason += "; " + by.Reason
	}
	by.Reason = reason
	l.Changes = r.heartbeats[i.ID].Changes // what its sidecar has seen: this is a later state
	l = l.changed(now, ActionRecover, by)
	l.State, l.CuredAt = StateActive, recorded(now)
	return l, nil
}

// term is the date on the tags, or a later one, and where it comes from.
func (r Recovery) term(now time.Time, i Instance) (time.Time, string) {
	least := recorded(now.Add(r.terms.Term))
	text, tagged := i.Tags[TagExpires]
	tag := ParseExpiry(text)
	switch {
	case !tagged:
		return least, "it has no tag " + TagExpires
	case tag.Number == 0:
		return least, "its tag " + TagExpires + " has no valid date"
	case tag.At.IsZero() && !r.terms.AnyTerm:
		return time.Time{}, "its tag says that it does not expire"
	case tag.At.IsZero():
		return least, "its tag says that it does not expire, but a term was given"
	case tag.At.Before(least):
		return least, "its tag says " + date(tag.At) + ", which is too early"
	}
	return tag.At, "expiry from its tag"
}

// judge returns the launch token of an instance whose lease can be rebuilt.
func (r Recovery) judge(now time.Time, i Instance) (token string, err error) {
	refuse := func(o Obstacle, format string, args ...any) (string, error) {
		return "", &UnrecoverableError{ID: i.ID, Obstacle: o, Why: fmt.Sprintf(format, args...)}
	}
	state, leased := r.leases[i.ID]
	tag, tagged := i.Tags[TagLaunch]
	token, numbered := LaunchToken(tag)
	switch registry := i.Tags[TagRegistry]; {
	case state == StateUnmanaged:
		return refuse(ObstacleUnmanaged, "it was unmanaged")
	case registry == "":
		return refuse(ObstacleUntagged, "it bears no registry tag")
	case !i.ManagedBy(r.registry):
		return refuse(ObstacleForeign, "it bears the tag of another registry, %s", registry)
	case leased:
		return refuse(ObstacleLeased, "it has a lease on record, %s", state)
	case r.bad[i.ID] != nil:
		return refuse(ObstacleUnread, "its record cannot be read: %v", r.bad[i.ID])
	case !i.Alive():
		return refuse(ObstacleOver, "EC2 says %s", i.State)
	case i.Exempt():
		return refuse(ObstacleExempt, "it bears the tag %s, so it is never terminated", TagExempt)
	case !tagged:
		return refuse(ObstacleCopied, "it bears no tag %s: it was adopted, or its tags were copied", TagLaunch)
	case tag != i.ClientToken && i.KeyName != KeyName(r.registry, tag), !numbered:
		return refuse(ObstacleCopied, "its tag %s differs from the client token of its launch, so the tag was copied", TagLaunch)
	}
	return r.judgeLaunch(now, i, token)
}

// judgeLaunch asks what the record of the launch says, if there is one. A launch that is open on record may be one whose
// later states were lost, with the leases that it bound: it gives a lease only while its window lasts, and what it made is
// taken for a failed creation after that.
func (r Recovery) judgeLaunch(now time.Time, i Instance, token string) (string, error) {
	refuse := func(o Obstacle, format string, args ...any) (string, error) {
		return "", &UnrecoverableError{ID: i.ID, Obstacle: o, Token: token, Why: fmt.Sprintf(format, args...)}
	}
	launch, recorded := r.launches[token]
	_, member := launch.Member(i)
	switch {
	case r.bad[token] != nil:
		return refuse(ObstacleUnread, "the record of its launch cannot be read: %v", r.bad[token])
	case !recorded:
		return token, nil
	case launch.State == LaunchOpen && !launch.WindowOver(now) && r.heartbeats[i.ID].Changes == 0: // no sidecar has seen a lease
		return refuse(ObstacleOpen, "launch %s is still open and will bind it", token)
	case !member || launch.Location() != i.Location:
		return refuse(ObstacleDoubt, "launch %s is on record, but this instance does not belong to it", token)
	case launch.State == LaunchDone && launch.Anima == AnimaKeyPair && !slices.Contains(launch.Instances(), i.ID) && r.heartbeats[i.ID].Changes == 0:
		return refuse(ObstacleOrphan, "launch %s has launched it beyond the number asked for, so the janitor terminates it", token)
	case launch.State == LaunchClosed && r.heartbeats[i.ID].Changes == 0: // or its sidecar has seen a lease
		return refuse(ObstacleOrphan, "launch %s was closed before this instance was bound, so the janitor terminates it", token)
	}
	return token, nil
}
