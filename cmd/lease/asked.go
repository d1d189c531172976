package main

import (
	"lapse/cmd/internal/cli"
	"lapse/lease"
)

// asked are the leases, by instance id, that a person was shown with the question. It is empty if nobody was asked.
type asked map[string]lease.Lease

func askedOf(leases []lease.Lease) asked {
	shown := asked{}
	for _, l := range leases {
		shown[l.InstanceID] = l
	}
	return shown
}

// covers refuses valid leases that were not shown with the question.
func (a asked) covers(leases []lease.Lease) error {
	for _, l := range leases {
		if _, shown := a[l.InstanceID]; !shown && l.Live() {
			return cli.Outdated("%s was added to them", l.InstanceID)
		}
	}
	return nil
}

// still refuses a lease whose expiry, holder or grant somebody else has changed. A revocation, or a cancelled mark, is
// no reason to ask again.
func (a asked) still(l lease.Lease) error {
	was, shown := a[l.InstanceID]
	switch {
	case !shown || !l.Live():
	case !was.GrantedAt.Equal(l.GrantedAt), was.Holder != l.Holder:
		return cli.Outdated("%s was given another lease, for holder %q", l.InstanceID, l.Holder)
	case !was.ExpiresAt.Equal(l.ExpiresAt):
		return cli.Outdated("%s was extended or shortened by somebody else", l.InstanceID)
	}
	return nil
}
