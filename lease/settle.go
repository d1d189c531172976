package lease

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// Member returns the attempt of l that made the instance. An instance belongs to a launch only if its launch tag equals
// the client token in its description and names an attempt of that launch: a console's "Launch more like this" copies
// the tag and not the token. With [AnimaKeyPair] it belongs to the attempt whose key pair it shows.
func (l Launch) Member(i Instance) (Attempt, bool) {
	if l.Anima == AnimaKeyPair {
		return l.keyed(i)
	}
	tag := i.Tags[TagLaunch]
	if tag == "" || tag != i.ClientToken {
		return Attempt{}, false
	}
	return l.Attempt(tag)
}

// Binds reports whether the lease is bound to this instance: the same id and, unless it was adopted, the same client
// token both in the tag and in the description, or the same key pair where that is its anima.
func (l Lease) Binds(i Instance) bool {
	if l.InstanceID != i.ID {
		return false
	}
	if l.KeyName != "" {
		return l.KeyName == i.KeyName
	}
	return l.ClientToken == "" || l.ClientToken == i.ClientToken && l.ClientToken == i.Tags[TagLaunch]
}

// Bind makes the lease of an instance with which EC2 answered an attempt. The term counts from the launch's creation.
func (l Launch) Bind(now time.Time, i Instance, a Attempt, by By) Lease {
	bound := l.grant(now, i, a)
	bound = bound.changed(now, ActionBind, by)
	bound.State = StateActive
	return bound
}

// Orphan makes the lease of an instance that a closed launch left without one. It is created revoked, so that a late
// launcher meets the same fence as everybody else.
func (l Launch) Orphan(now time.Time, i Instance, a Attempt, by By) Lease {
	orphan := l.grant(now, i, a)
	orphan = orphan.changed(now, ActionOrphan, by)
	orphan.Outlive = slices.Clone(i.Outlive)
	orphan.State, orphan.Cause, orphan.RevokedAt = StateRevoked, CauseFailedCreation, recorded(now)
	return orphan
}

func (l Launch) grant(now time.Time, i Instance, a Attempt) Lease {
	granted := Lease{
		Schema: Schema, InstanceID: i.ID, Launch: l.Token, ClientToken: a.ClientToken,
		Account: l.Account, Region: l.Region, Zone: i.Zone, ZoneID: i.ZoneID,
		Holder: l.Holder, Labels: maps.Clone(l.Labels), GrantedAt: recorded(now), ExpiresNumber: 1, SelfExtend: l.SelfExtend, HeartbeatTimeout: l.HeartbeatTimeout,
	}
	if l.Anima == AnimaKeyPair {
		granted.KeyName = KeyName(l.Registry, a.ClientToken)
	}
	granted.ExpiresAt = l.expiresAt()
	if l.MaxTerm > 0 {
		granted.MaxExpiresAt = recorded(l.CreatedAt.Add(time.Duration(l.MaxTerm)))
	}
	return granted
}

// expiresAt is the date that its instances are made with; zero is none.
func (l Launch) expiresAt() time.Time {
	if l.Term <= 0 {
		return time.Time{}
	}
	return recorded(l.CreatedAt.Add(time.Duration(l.Term)))
}

// Expiry is the agreed date that the tags of its instances are made with.
func (l Launch) Expiry() Expiry { return Expiry{At: l.expiresAt().Truncate(time.Second), Number: 1} }

// Adopt makes the lease of an instance that Lapse did not launch. It terminates nothing until the instance was seen to bear
// the registry's tag. Its date is numbered above the one on the instance's tag, and may be earlier: a person says so.
func Adopt(now time.Time, i Instance, expiresAt, maxExpiresAt time.Time, holder string, labels map[string]string, by By) Lease {
	l := Lease{
		Schema: Schema, InstanceID: i.ID, Account: i.Location.Account, Region: i.Location.Region, Zone: i.Zone, ZoneID: i.ZoneID,
		Holder: holder, Labels: labels, GrantedAt: recorded(now), Bore: cmp.Or(i.Tags[TagLaunch], keyedBy(i.KeyName)),
	}
	if !expiresAt.IsZero() {
		l.ExpiresAt = recorded(expiresAt)
	}
	if !maxExpiresAt.IsZero() {
		l.MaxExpiresAt = recorded(maxExpiresAt)
	}
	l.ExpiresNumber = numberAfter(0, i.Expiry().Number)
	l.ShortenedAt = l.ExpiresNumber
	l = l.changed(now, ActionAdopt, by)
	l.State = StateAdopting
	return l
}

// AdoptionTime is how long an adoption takes at most, from its record to the tag, which `lease adopt` sets and looks for.
const AdoptionTime = 5 * time.Minute

// Incomplete reports whether an adoption has not come to its end at now: the record is there, and nobody has seen the tag.
func (l *Lease) Incomplete(now time.Time) bool {
	return l.State == StateAdopting && now.Sub(l.adopted()) >= AdoptionTime
}

// adopted is when it was adopted last, by its history.
func (l *Lease) adopted() time.Time {
	for _, t := range slices.Backward(l.History) {
		if t.Action == ActionAdopt {
			return t.Time
		}
	}
	return l.GrantedAt
}

// completable is for how long after an adoption a janitor may set its tag. An older record that still lacks its tag may be
// one that a registry was set back to.
const completable = time.Hour

// Completable reports whether a janitor that may do so sets the registry's tag on the instance of an adopted lease. One whose
// date has passed is left to whoever adopts it again: nobody was told that it would be terminated.
func (l *Lease) Completable(now time.Time, i *Instance) bool {
	_, tagged := i.Tags[TagRegistry]
	return l.Incomplete(now) && !l.Over(now, 0) && now.Sub(l.adopted()) < completable && i.Alive() && !tagged && !i.Exempt()
}
