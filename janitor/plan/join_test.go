package plan_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"lapse/janitor/plan"
	. "lapse/janitor/plan/plantest"
	"lapse/lease"
)

// TestChangesOfAWatchAreJoinedLikeASnapshot: a decision over records that were kept up is that over records that were
// read after the same changes.
func TestChangesOfAWatchAreJoinedLikeASnapshot(t *testing.T) {
	t.Parallel()
	worlds(t, func(t *rapid.T, w World) {
		w.Policy.CompleteAdoptions, w.Written = true, map[string]plan.Written{}
		kept := Copied(w).View()
		for n := range rapid.IntRange(1, 8).Draw(t, "changes") {
			change(t, &w, kept.Joined, n)
		}
		for n := range kept.Rows {
			kept.Rows[n].Renewal = w.Renewals[kept.Rows[n].InstanceID]
		}
		if got, want := saidBy(plan.Decide(kept)), saidBy(Decide(w)); got != want {
			t.Fatalf("kept up:\n%s\nread:\n%s", got, want)
		}
		kept.List(w.Locations, plan.Indexed(w.Locations), w.Written)
		if got, want := saidBy(plan.Decide(kept)), saidBy(Decide(w)); got != want {
			t.Fatalf("listed again:\n%s\nread:\n%s", got, want)
		}
	})
}

func saidBy(p plan.Plan) string { return fmt.Sprintf("%s%+v\n%v", Summary(p), p.Tags, p.Seen) }

// change draws something that happens, and lets the world and what is kept up know of it.
func change(t *rapid.T, w *World, kept *plan.Joined, n int) {
	s := &w.Snapshot
	id := fmt.Sprintf("i-%02d", rapid.IntRange(0, 20).Draw(t, "id"))
	at := slices.IndexFunc(s.Leases, func(l lease.Lease) bool { return l.InstanceID == id })
	switch Pick(t, "change", "lease", "lease", "launch", "heartbeat", "lapse", "bad heartbeat", "tag", "registry") {
	case "lease":
		subject := drawSubject(t, *w, id)
		for _, l := range Copied(*w).Snapshot.Launches { // one of them may have been answered with the instance
			kept.PutLaunch(l)
		}
		if subject.Lease == nil {
			return
		}
		if OneIn(t, 5, "raised") {
			subject.Lease.History = []lease.Transition{{Action: lease.ActionRaise, Time: date(t)}}
		}
		subject.Lease.ExpiresNumber = int64(rapid.IntRange(1, 4).Draw(t, "number"))
		w.Renewals[id] = plan.Renewal{}
		if subject.Renewal != nil {
			w.Renewals[id] = *subject.Renewal
		}
		if at < 0 {
			s.Leases = append(s.Leases, *subject.Lease)
		} else {
			s.Leases[at] = *subject.Lease
		}
		kept.PutLease(*subject.Lease)
	case "launch":
		l := drawLaunch(t, fmt.Sprintf("launch-%d", rapid.IntRange(0, 4).Draw(t, "token")))
		if i := slices.IndexFunc(s.Launches, func(o lease.Launch) bool { return o.Token == l.Token }); i < 0 {
			s.Launches = append(s.Launches, l)
		} else {
			l.Attempts = s.Launches[i].Attempts // they are only ever added to
			s.Launches[i] = l
		}
		kept.PutLaunch(l)
	case "heartbeat":
		hb := lease.Heartbeat{InstanceID: id, HeartbeatTimeout: lease.Duration(HeartbeatTimeout), Held: true, Changes: int64(rapid.IntRange(0, 3).Draw(t, "changes seen"))}
		s.Heartbeats[id], s.Bad = hb, readAgain(s.Bad, id)
		kept.PutHeartbeat(hb)
	case "lapse":
		delete(s.Heartbeats, id)
		s.Bad = readAgain(s.Bad, id)
		kept.DropHeartbeat(id)
	case "bad heartbeat":
		delete(s.Heartbeats, id)
		s.Bad = readAgain(s.Bad, id)
		Bad(plan.BadHeartbeat, id)(w)
		kept.PutBad(s.Bad[len(s.Bad)-1])
	case "registry":
		s.Registry.UUID = Pick(t, "uuid", Ours, Ours, "another")
		kept.PutRegistry(s.Registry)
	case "tag":
		written := plan.Written{Expires: lease.Expiry{At: In(span(t)), Number: int64(n + 1)}, Leased: Pick(t, "leased", "", id, "x")}
		w.Written = maps.Clone(w.Written)
		w.Written[id] = written
		kept.Wrote(id, written)
		if at < 0 {
			delete(w.Written, id) // nothing is written for what has no lease
		}
	}
}

func readAgain(bad []lease.BadRecord, id string) []lease.BadRecord {
	return slices.DeleteFunc(slices.Clone(bad), func(b lease.BadRecord) bool { return b.Kind == plan.BadHeartbeat && b.ID == id })
}
