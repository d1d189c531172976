package observe

import (
	"fmt"

	"lapse/janitor/plan"
	"lapse/lease"
)

// Older says by what a snapshot is older than what was observed before, whatever its checkpoint says; empty if by nothing.
// etcd's revisions only rise, each is given once, and a read holds all that was written before it was asked for: at least the
// revision that had been observed by then. So a record of an older revision than was seen was set back, and so was one that
// is gone, unless it was a tombstone, which is all that janitors delete.
func Older(before *plan.Joined, least int64, s lease.Snapshot) string {
	if s.Revision < least {
		return fmt.Sprintf("etcd is at revision %d, and %d was seen before", s.Revision, least)
	}
	lost := func(now, before int64) bool { return now < before && before <= s.Revision }
	if lost(s.Registry.Revision, before.Registry.Revision) {
		return "a later state of the registry's own record was seen before"
	}
	leases, launches := map[string]int64{}, map[string]int64{}
	for _, bad := range s.Bad {
		leases[bad.ID], launches[bad.ID] = bad.Revision, bad.Revision
	}
	for _, l := range s.Leases {
		leases[l.InstanceID] = l.Revision
	}
	for _, l := range s.Launches {
		launches[l.Token] = l.Revision
	}
	for n := range before.Rows {
		l := before.Rows[n].Lease
		if now, there := leases[l.InstanceID]; lost(now, l.Revision) && (there || l.Live() || l.State == lease.StateRevoked) {
			return "a later state of the lease of " + l.InstanceID + " was seen before"
		}
	}
	for _, l := range before.Launches {
		if now, there := launches[l.Token]; lost(now, l.Revision) && (there || l.State == lease.LaunchOpen) {
			return "a later state of launch " + l.Token + " was seen before"
		}
	}
	return ""
}
