package lease

import (
	"maps"
	"slices"
	"time"
)

// Leftover is what EC2 says of something that was made for an instance and can outlive it. It bears the tags of its
// launch, but no client token, so a copied tag shows in nothing that EC2 says: see [Launch.Spans].
type Leftover struct {
	Kind       LeftoverKind
	ID         string
	Name       string // of a key pair: see [KeyName]
	Print      string // of a key pair: its fingerprint, in the form of its endpoint
	Location   Location
	State      string
	Attached   bool      // to an instance, or to anything else
	InstanceID string    // what it is attached to, or what fulfilled the spot request; may be empty although attached
	Service    bool      // an AWS service made it, and manages it
	Persistent bool      // a spot request that makes another instance when its own is terminated
	CreatedAt  time.Time // zero for interfaces, of which EC2 does not tell
	Tags       map[string]string
}

// LeftoverKind is the kind of a leftover.
type LeftoverKind string

// Kinds of leftovers.
const (
	LeftoverVolume    LeftoverKind = "volume"
	LeftoverInterface LeftoverKind = "interface"
	LeftoverSpot      LeftoverKind = "spot request"
	LeftoverKeyPair   LeftoverKind = "key pair" // of an attempt, with [AnimaKeyPair]
)

// ManagedBy reports whether the leftover bears the registry's tag by value.
func (x Leftover) ManagedBy(uuid string) bool { return uuid != "" && x.Tags[TagRegistry] == uuid }

// Exempt reports whether the leftover bears the tag that spares it, whatever its value.
func (x Leftover) Exempt() bool {
	_, exempt := x.Tags[TagExempt]
	return exempt
}

// Loose reports whether nothing uses the leftover: a volume or an interface that is attached to nothing, or a spot
// request that may still be fulfilled, or was.
//
// Source: the State of https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_Volume.html, the Status of
// API_NetworkInterface.html and the State of API_SpotInstanceRequest.html there.
func (x Leftover) Loose() bool {
	switch x.Kind {
	case LeftoverSpot:
		return x.State == "open" || x.State == "active"
	case LeftoverKeyPair: // instances show its name whether it is there or not
		return true
	case LeftoverVolume, LeftoverInterface:
	}
	return x.State == "available" && !x.Attached
}

// Passing reports whether EC2 is about to change the state by itself, so that a later listing tells more.
func (x Leftover) Passing() bool {
	switch x.State {
	case "creating", "pending", "attaching", "detaching":
		return true
	}
	return false
}

// Gone reports whether nothing is left to remove.
func (x Leftover) Gone() bool {
	switch x.State {
	case "deleting", "deleted", "closed", "cancelled", "failed":
		return true
	}
	return false
}

// LeftoverListing is one complete answer of EC2 about leftovers, with its clock as in [Listing].
type LeftoverListing struct {
	Leftovers []Leftover
	Skew      time.Duration
	Dated     bool
}

// Removal is what became of a request to remove a leftover.
type Removal struct {
	ID        string
	Busy      bool   // EC2 says that something still uses it: to be tried again later
	Code      string // EC2's error code if it refused; empty otherwise
	RequestID string // of the call that decided; empty if no answer came
	Err       error  // why it is not gone; nil if it is, or if EC2 did not know it
}

// signatureMax is how long after it was signed EC2 still carries a call out, however late it arrives.
//
// Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-troubleshooting.html
const signatureMax = 5 * time.Minute

// Spans reports whether t lies in the time in which EC2 may have made something for the launch: from its creation to
// the end of its window, or of the last call's signature if that is later, with [MaxSkew] on either side. A zero t does not.
func (l Launch) Spans(t time.Time) bool {
	last := l.LastSend().Add(max(time.Duration(l.Window), signatureMax))
	return !t.IsZero() && !t.Before(l.CreatedAt.Add(-MaxSkew)) && !t.After(last.Add(MaxSkew))
}

// MayLeave reports whether something may be left of a settled launch: of a closed one, and of any with [AnimaKeyPair], whose
// key pairs are deleted, and whose endpoint may have created more than it answered with.
func (l Launch) MayLeave() bool {
	return l.State == LaunchClosed || l.State == LaunchDone && l.Anima == AnimaKeyPair
}

// Sought are the names of the key pairs by which instances of a settled launch are looked for, since its endpoint may have
// dropped the tags of the creating call: those of attempts that were sent. A listing may lack something and not say so, as it
// may lack what bears a tag, so they are looked for until the record is purged; only of a launch that is done, what EC2 has
// answered is no longer in doubt once a full listing has shown that nothing is left.
func (l Launch) Sought() (names []string) {
	if !l.MayLeave() || l.Anima != AnimaKeyPair {
		return nil
	}
	for _, a := range l.Attempts {
		answered := a.Outcome == OutcomeRefused || a.Outcome == OutcomeLaunched && !a.Doubtful && l.State == LaunchDone && !l.ClearedAt.IsZero()
		if a.Sends > 0 && !answered {
			names = append(names, KeyName(l.Registry, a.ClientToken))
		}
	}
	return names
}

// Quiet reports whether whoever launches has come to an end, and an endpoint shows what was created until then. Whatever a call
// still creates that was under way for longer is found all the same: see [Launch.Sought].
func (l Launch) Quiet(now time.Time) bool {
	return l.WindowOver(now) && !now.Before(l.LastSend().Add(time.Duration(l.Consistency)+MaxSkew))
}

// OwnsKey reports whether a key pair is that of an attempt: it has the name and either the id or a fingerprint that is on
// record, or both of our tags by value. A name alone proves nothing.
func (l Launch) OwnsKey(x Leftover) bool {
	clientToken, is := KeyOf(l.Registry, x.Name)
	a, made := l.Attempt(clientToken)
	if x.Kind != LeftoverKeyPair || !is || !made || a.KeyAt.IsZero() || l.Location() != x.Location {
		return false
	}
	known := x.ID != "" && x.ID == a.KeyID || x.Print != "" && slices.Contains(a.KeyPrints, x.Print)
	return known || x.ManagedBy(l.Registry) && x.Tags[TagLaunch] == clientToken
}

// Removing notes that these leftovers are about to be removed. Write the result before the call.
func (l Launch) Removing(now time.Time, ids ...string) (Launch, error) {
	if !l.MayLeave() {
		return l, l.refuse("remove leftovers of")
	}
	removals := maps.Clone(l.Removals)
	if removals == nil {
		removals = map[string]time.Time{}
	}
	for _, id := range ids {
		removals[id] = recorded(now)
	}
	l.Removals = removals
	return l, nil
}

// Cleared notes that a full listing found nothing more to remove of a settled launch.
func (l Launch) Cleared(now time.Time) (Launch, error) {
	if !l.MayLeave() {
		return l, l.refuse("clear")
	}
	l.ClearedAt = recorded(now)
	return l, nil
}

// WasActive reports whether the lease was ever active. Only the lease of a failed creation never was: it was created
// revoked.
func (l Lease) WasActive() bool { return l.Cause != CauseFailedCreation }
