package plantest

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"lapse/janitor/plan"
	"lapse/lease"

	"pgregory.net/rapid"
)

// Due has lost its heartbeat, with its mark and every grace behind it: it is terminated unless a brake holds that back.
func Due(s *Subject) {
	Lost(Long)(s)
	Marked(lease.CauseHeartbeatLost, Ago(2*time.Hour))(s)
}

func HeldBy(planned plan.Plan, name, scope string) bool {
	return slices.ContainsFunc(planned.Brakes, func(b lease.Brake) bool { return b.Name == name && b.Scope == scope })
}

// Dead are additions to a world: each brings something that is dead, missing, or not understood.
func Dead() map[string]func(*rapid.T, *World, string) {
	added := func(changes ...func(*Subject)) func(*rapid.T, *World, string) {
		return func(t *rapid.T, v *World, id string) {
			s := Holds(id, append(changes, InZone(Pick(t, "its zone", "az-a", "az-b")))...)
			if s.Lease != nil && s.Lease.HeartbeatTimeout > 0 {
				s.Lease.HeartbeatTimeout = lease.Duration(Pick(t, "its ttl", 10*time.Second, time.Minute, time.Hour))
			}
			Add(v, s)
		}
	}
	return map[string]func(*rapid.T, *World, string){
		"silent":                          added(Lost(0)),
		"lost and marked":                 added(Lost(0), Marked(lease.CauseHeartbeatLost, In(time.Minute))),
		"lost and due":                    added(Due),
		"lost, due and unseen":            added(Due, Unseen, Alone),
		"lost and missing":                added(Due, Missing),
		"lost and absent":                 added(Due, Absent),
		"lost and stopped":                added(Due, Is(lease.InstanceStopped)),
		"lost and terminated":             added(Due, Is(lease.InstanceTerminated)),
		"lost and exempt":                 added(Due, Exempt),
		"lost and not ours":               added(Due, Foreign),
		"over":                            added(Over(time.Minute)),
		"over long ago":                   added(Over(Long)),
		"over, and renewing":              added(Heartbeats, Over(time.Minute)),
		"over and missing":                added(Over(time.Minute), Missing),
		"missing":                         added(Missing),
		"absent":                          added(Absent),
		"stopped":                         added(Is(lease.InstanceStopped)),
		"released":                        added(Revoked(lease.CauseRelease, time.Minute)),
		"revoked for a lost heartbeat":    added(Lost(0), Revoked(lease.CauseHeartbeatLost, time.Minute)),
		"terminated for a lost heartbeat": added(Lost(0), Revoked(lease.CauseNoHeartbeat, time.Minute), Ended(time.Second), Missing),
		"failed creation, revoked":        added(Revoked(lease.CauseFailedCreation, time.Minute)),
		"no record":                       added(Bare),
		"bad lease":                       func(t *rapid.T, v *World, id string) { added(Bare)(t, v, id); Bad(plan.BadLease, id)(v) },
		"bad lease, missing":              func(_ *rapid.T, v *World, id string) { Bad(plan.BadLease, id)(v) },
		"bad heartbeat":                   func(t *rapid.T, v *World, id string) { added(Due)(t, v, id); Bad(plan.BadHeartbeat, id)(v) },
		"bad launch":                      func(_ *rapid.T, v *World, id string) { Bad("launch", id)(v) },
		"in a location not swept":         added(Due, WithLease(func(l *lease.Lease) { l.Region = "mars-1" }), Missing),
		"orphan of a launch":              addOrphan,
		"orphan of one more launch":       func(_ *rapid.T, v *World, id string) { Orphans(id, 1, 2)(v) },
		"revoked of a failed launch":      addFailed,
	}
}

// addOrphan adds one more instance to what a closed launch of the world left.
func addOrphan(t *rapid.T, v *World, id string) {
	for n := range v.Snapshot.Launches {
		if l := &v.Snapshot.Launches[n]; l.State == lease.LaunchClosed && l.Location() == Here {
			s := Holds(id, Bare)
			s.Instance.ClientToken, s.Instance.Tags[lease.TagLaunch] = l.Attempts[0].ClientToken, l.Attempts[0].ClientToken
			l.FirstSeen[id] = Ago(Pick(t, "looked", time.Hour, 0))
			Add(v, s)
			return
		}
	}
}

// addFailed adds the lease of what a launch of the world left, ended a moment ago.
func addFailed(t *rapid.T, v *World, id string) {
	if len(v.Snapshot.Launches) > 0 {
		Add(v, Failed(id, rapid.SampledFrom(v.Snapshot.Launches).Draw(t, "failed").Token, time.Minute))
	}
}

// Orphans puts n orphans into the view, one or several to a launch, and ripe.
func Orphans(prefix string, tokens, each int) func(*World) {
	return func(v *World) {
		for k := range tokens {
			token := fmt.Sprintf("%s%03d", prefix, k)
			l := Launch(token, lease.LaunchClosed)
			l.FirstSeen = map[string]time.Time{}
			for n := range each {
				s := Holds(fmt.Sprintf("i-%s-%03d", token, n), Bare)
				s.Instance.ClientToken, s.Instance.Tags[lease.TagLaunch] = token+".1", token+".1"
				l.FirstSeen[s.Instance.ID] = Ago(time.Hour)
				Add(v, s)
			}
			v.Snapshot.Launches = append(v.Snapshot.Launches, l)
		}
	}
}

// Failed is a lease of what a launch left, revoked and terminated so long ago.
func Failed(id, token string, d time.Duration) Subject {
	return Holds(id, Revoked(lease.CauseFailedCreation, d), Ended(d), Missing, WithLease(func(l *lease.Lease) { l.Launch = token }))
}

// BornOf is an instance without any record, of a launch with that token.
func BornOf(token string) func(*Subject) {
	return func(s *Subject) {
		Bare(s)
		s.Instance.ClientToken, s.Instance.Tags[lease.TagLaunch] = token+".1", token+".1"
	}
}

// Knows is a heartbeat whose sidecar has seen so many changes of its lease.
func Knows(id string, changes int64) func(*World) {
	return func(v *World) {
		v.Snapshot.Heartbeats[id] = lease.Heartbeat{InstanceID: id, HeartbeatTimeout: lease.Duration(HeartbeatTimeout), Held: true, Changes: changes}
	}
}

func SeenIn(p plan.LocationView, id string) *lease.Instance {
	for n := range p.Instances {
		if p.Instances[n].ID == id {
			return &p.Instances[n]
		}
	}
	return nil
}

func Summary(p plan.Plan) string {
	s := fmt.Sprintf("next %s, brakes %+v, behind %v, enforcing %v\n", p.Next, p.Brakes, p.Behind, p.Enforcing)
	for _, v := range p.Verdicts {
		s += fmt.Sprintf("%s %s%s %s: %s\n", v.Action, v.InstanceID, v.LeftoverID(), v.Token, v.Reason)
	}
	return s
}

// Fleet are leases with heartbeats, of which one in so many is in trouble of some kind; 0: none.
func Fleet(n, trouble int) World {
	all := Many(n, "", Heartbeats, func(s *Subject) { s.Lease.HeartbeatTimeout = lease.Duration(5 * time.Minute) })
	if trouble > 0 {
		kinds := []func(*Subject){Lost(0), Due, Over(time.Minute), Missing, Revoked(lease.CauseRelease, time.Hour)}
		for k := 0; k < n; k += trouble {
			kinds[k/trouble%len(kinds)](&all[k])
		}
	}
	slices.SortFunc(all, func(a, b Subject) int { return cmp.Compare(a.Lease.InstanceID, b.Lease.InstanceID) }) // as stores do
	v := WorldOf(all...)
	for n := range 1000 {
		v.Snapshot.Launches = append(v.Snapshot.Launches, Launch(fmt.Sprintf("t%d", n), lease.LaunchDone))
	}
	return v
}
