package main

import (
	"lapse/cmd/internal/cli"
	"lapse/lease"
)

// asked are the leases that a person was shown before the question, by instance id. Empty, nobody was asked.
type asked map[string]lease.Lease

func askedOf(leases []lease.Lease) asked {
	shown := asked{}
	for _, l := range leases {
		shown[l.InstanceID] = l
	}
	return shown
}

// covers refuses leases that hold and of which the question did not speak.
func (a asked) covers(leases []lease.Lease) error {
	for _, l := range leases {
		if _, shown := a[l.InstanceID]; !shown && l.Live() {
			return cli.Outdated("%s came to it", l.InstanceID)
		}
	}
	return nil
}

// still refuses a lease that somebody else gave a new date, a new holder or a new beginning. What ends it, or only cures
// it, is no reason to ask again.
func (a asked) still(l lease.Lease) error {
	was, shown := a[l.InstanceID]
	switch {
	case !shown || !l.Live():
	case !was.GrantedAt.Equal(l.GrantedAt), was.Holder != l.Holder:
		return cli.Outdated("%s got another lease, for holder %q", l.InstanceID, l.Holder)
	case !was.ExpiresAt.Equal(l.ExpiresAt):
		return cli.Outdated("%s was extended or shortened by somebody else", l.InstanceID)
	}
	return nil
}
