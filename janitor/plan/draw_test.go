package plan_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"lapse/lease"

	"lapse/janitor/plan"
	. "lapse/janitor/plan/plantest"
)

// spans are the lengths of time around which rules turn.
var spans = []time.Duration{
	0, 1, time.Second, 59 * time.Second, time.Minute, 2 * time.Minute, 5*time.Minute - 1, 5 * time.Minute, 10 * time.Minute,
	30*time.Minute - 1, 30 * time.Minute, time.Hour - 1, time.Hour, 2 * time.Hour, 25 * time.Hour, Long, 91 * 24 * time.Hour,
}

func span(t *rapid.T) time.Duration { return rapid.SampledFrom(spans).Draw(t, "span") }

// date is one around noon, before or after it.
func date(t *rapid.T) time.Time {
	if rapid.Bool().Draw(t, "to come") {
		return In(span(t))
	}
	return Ago(span(t))
}

// worlds checks a property in many worlds.
func worlds(t *testing.T, property func(*rapid.T, World)) {
	t.Helper()
	rapid.Check(t, func(t *rapid.T) {
		for range 5 {
			property(t, drawView(t))
		}
	})
}

// drawView draws a whole world: mostly armed and well, so that much is ended, and sometimes anything but.
func drawView(t *rapid.T) World {
	v := WorldOf()
	p := &v.Policy
	p.LostMin, p.LostShare = Pick(t, "lost min", 0, 2, 2, 6), Pick(t, "lost share", 0, 0.3, 0.9)
	p.RateMin, p.RateShare = Pick(t, "rate min", 0, 1, 2, 5, 5), Pick(t, "rate share", 0.05, 0.3, 0.9)
	p.TermGrace, p.SkipHeartbeats = Pick(t, "term grace", 0, 0, time.Minute), OneIn(t, 20, "no loss")
	v.Locations = append(v.Locations, plan.LocationView{Location: There, Dated: true, Absent: map[string]bool{}})
	v.Snapshot.Checkpoint.Enforcing[There.String()] = Ago(Long)
	for n := range v.Locations {
		location := &v.Locations[n]
		switch Pick(t, "trouble", 0, 0, 0, 0, 0, 0, 0, 1, 2, 3) {
		case 1:
			location.Dated = false
		case 2:
			location.Skew = Pick(t, "skew", 9*time.Second, 11*time.Second, -11*time.Second)
		case 3:
			location.Err = "failed"
		}
		if OneIn(t, 4, "acting") {
			v.Snapshot.Checkpoint.Enforcing[location.Location.String()] = Ago(span(t))
		}
	}
	if OneIn(t, 10, "mode") {
		v.Snapshot.Registry.Mode, v.Snapshot.Registry.ModeSince = Pick(t, "mode", lease.ModeArmed, lease.ModeObserve, lease.ModePaused), Ago(span(t))
	}
	v.Snapshot.Checkpoint.Time = Ago(Pick(t, "checkpoint", time.Minute, time.Minute, time.Minute, time.Hour))
	for range Pick(t, "offices", 0, 1, 2, 3, 4) {
		v.Snapshot.Checkpoint.Leaderships = append(v.Snapshot.Checkpoint.Leaderships, Ago(span(t)))
	}
	v.Leadership.Checkpointed = !OneIn(t, 20, "unstamped")
	if OneIn(t, 20, "ill") {
		Ill(&v)
	}
	for n := range Pick(t, "launches", 2, 3, 4, 1, 0) {
		v.Snapshot.Launches = append(v.Snapshot.Launches, drawLaunch(t, fmt.Sprintf("launch-%d", n)))
	}
	for n := range Pick(t, "subjects", 8, 14, 20, 3, 1, 0) {
		putDrawn(&v, t, drawSubject(t, v, fmt.Sprintf("i-%02d", n)))
	}
	for _, id := range slices.Sorted(maps.Keys(v.Snapshot.Heartbeats)) {
		hb := v.Snapshot.Heartbeats[id]
		if OneIn(t, 20, "ahead") {
			hb.Changes = 7
			v.Snapshot.Heartbeats[id] = hb
		}
	}
	if OneIn(t, 30, "standing") {
		v.Standing = []lease.Brake{{Name: Pick(t, "which brake", lease.BrakeRollback, lease.BrakeUnwatched), Since: Ago(span(t)), Reason: "then"}}
	}
	drawLeftovers(t, &v)
	for range Pick(t, "bad", 0, 0, 0, 1, 2) {
		Bad(Pick(t, "kind", plan.BadLease, plan.BadHeartbeat, "launch"), Pick(t, "bad id", "i-x", "i-y", "launch-9"))(&v)
	}
	return v
}

func drawLaunch(t *rapid.T, token string) lease.Launch {
	l := Launch(token, Pick(t, "launch state", lease.LaunchOpen, lease.LaunchDone, lease.LaunchClosed, lease.LaunchClosed, lease.LaunchClosed))
	if OneIn(t, 3, "elsewhere") {
		l.Region = There.Region
	}
	if OneIn(t, 3, "second attempt") {
		l.Attempts = append(l.Attempts, lease.Attempt{ClientToken: token + ".2", Sends: 1, LastSend: Ago(span(t))})
	}
	if OneIn(t, 2, "refused") {
		l.Attempts[len(l.Attempts)-1].Outcome = lease.OutcomeRefused
	}
	if l.State != lease.LaunchOpen {
		l.SettledAt = Ago(span(t))
	}
	l.FirstSeen = map[string]time.Time{}
	return l
}

// drawSubject draws an instance with a lease, or without one and of some launch, or of none.
func drawSubject(t *rapid.T, v World, id string) Subject {
	s := Holds(id, InZone(Pick(t, "zone", "az-a", "az-b")))
	if len(v.Snapshot.Launches) > 0 && OneIn(t, 3, "of a launch") {
		l := &v.Snapshot.Launches[rapid.IntRange(0, len(v.Snapshot.Launches)-1).Draw(t, "which")]
		a := &l.Attempts[rapid.IntRange(0, len(l.Attempts)-1).Draw(t, "attempt")]
		s.Lease.Launch, s.Lease.ClientToken, s.Lease.Region = l.Token, a.ClientToken, l.Region
		s.Instance.ClientToken, s.Instance.Tags[lease.TagLaunch], s.Instance.Location = a.ClientToken, a.ClientToken, l.Location()
		if OneIn(t, 2, "answered") {
			a.Outcome, a.Instances = lease.OutcomeLaunched, append(a.Instances, id)
		}
		if !OneIn(t, 4, "no sighting") {
			l.FirstSeen[id] = Ago(span(t))
		}
		if !OneIn(t, 3, "bound") {
			Bare(&s)
		}
	} else if OneIn(t, 4, "other location") {
		s.Lease.Region, s.Instance.Location = There.Region, There
	}
	if s.Lease != nil {
		drawRecord(t, &s)
	}
	drawInstance(t, &s)
	return s
}

func drawRecord(t *rapid.T, s *Subject) {
	l := s.Lease
	l.GrantedAt = Ago(Pick(t, "granted", Long, Long, Long, time.Minute))
	l.ExpiresAt = Pick(t, "term", In(time.Hour), In(time.Hour), In(time.Hour), time.Time{}, date(t))
	l.HeartbeatTimeout = lease.Duration(Pick(t, "heartbeat_timeout", 0, time.Minute, time.Minute, time.Hour))
	if OneIn(t, 2, "marked") {
		Marked(Pick(t, "mark", lease.CauseHeartbeatLost, lease.CauseHeartbeatLost, lease.CauseNoHeartbeat, lease.CauseExpired), date(t))(s)
	}
	switch cause := Pick(t, "cause", lease.CauseHeartbeatLost, lease.CauseNoHeartbeat, lease.CauseRelease, lease.CauseFailedCreation); Pick(t, "state", 0, 0, 0, 0, 0, 0, 1, 2, 3, 4) {
	case 1:
		Revoked(cause, span(t))(s)
		l.Tries, l.TriedAt = Pick(t, "tries", 0, 1, 5), Ago(span(t))
	case 2:
		Revoked(cause, span(t))(s)
		Ended(span(t))(s)
	case 3:
		l.State, l.EndedAt = Pick(t, "over", lease.StateEnded, lease.StateUnmanaged), Ago(span(t))
	case 4:
		l.State = lease.StateAdopting
	}
	if l.State == lease.StateActive && l.HeartbeatTimeout > 0 {
		s.Renewal = &plan.Renewal{
			Present: OneIn(t, 3, "broken"), For: span(t), Seen: !OneIn(t, 3, "unseen"), Witness: !OneIn(t, 3, "alone"),
			Started: Pick(t, "started", 0, 0, time.Minute, time.Hour), Marked: span(t),
		}
	}
}

func drawInstance(t *rapid.T, s *Subject) {
	switch Pick(t, "instance", 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8) {
	case 1:
		Exempt(s)
	case 2:
		Foreign(s)
	case 3:
		s.Instance.ClientToken = "other"
	case 4:
		s.Instance.Tags[lease.TagLaunch] = "launch-0.1"
	case 5:
		Is(Pick(t, "instance state", lease.InstancePending, lease.InstanceStopped, lease.InstanceShuttingDown, lease.InstanceTerminated))(s)
	case 6:
		s.Instance.LaunchTime = Ago(span(t))
	case 7:
		Missing(s)
	case 8:
		if s.Lease != nil {
			Absent(s)
		}
	}
}

// putDrawn adds a subject where it is.
func putDrawn(v *World, t *rapid.T, s Subject) {
	at := 0
	if s.Instance != nil && s.Instance.Location == There || s.Lease != nil && s.Lease.Region == There.Region {
		at = 1
	}
	v.Locations[0], v.Locations[at] = v.Locations[at], v.Locations[0]
	Add(v, s)
	v.Locations[0], v.Locations[at] = v.Locations[at], v.Locations[0]
	if s.Lease != nil && OneIn(t, 30, "bad heartbeat") {
		v.Snapshot.Bad = append(v.Snapshot.Bad, lease.BadRecord{Kind: plan.BadHeartbeat, ID: s.Lease.InstanceID, Err: errors.New("unreadable")})
	}
}
