package janitor

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"lapse/lease"
)

// spans are the lengths of time around which rules turn.
var spans = []time.Duration{
	0, 1, time.Second, 59 * time.Second, time.Minute, 2 * time.Minute, 5*time.Minute - 1, 5 * time.Minute, 10 * time.Minute,
	30*time.Minute - 1, 30 * time.Minute, time.Hour - 1, time.Hour, 2 * time.Hour, 25 * time.Hour, long, 91 * 24 * time.Hour,
}

func span(t *rapid.T) time.Duration { return rapid.SampledFrom(spans).Draw(t, "span") }

// date is one around noon, before or after it.
func date(t *rapid.T) time.Time {
	if rapid.Bool().Draw(t, "to come") {
		return in(span(t))
	}
	return ago(span(t))
}

// oneIn is true once in n times.
func oneIn(t *rapid.T, n int, label string) bool { return rapid.IntRange(1, n).Draw(t, label) == n }

func pick[T any](t *rapid.T, label string, from ...T) T {
	return rapid.SampledFrom(from).Draw(t, label)
}

// worlds checks a property in many worlds.
func worlds(t *testing.T, property func(*rapid.T, View)) {
	t.Helper()
	rapid.Check(t, func(t *rapid.T) {
		for range 5 {
			property(t, drawView(t))
		}
	})
}

// drawView draws a whole world: mostly armed and well, so that much is ended, and sometimes anything but.
func drawView(t *rapid.T) View {
	v := viewOf()
	p := &v.Policy
	p.SilentMin, p.SilentShare = pick(t, "silent min", 0, 2, 2, 6), pick(t, "silent share", 0, 0.3, 0.9)
	p.RateMin, p.RateShare = pick(t, "rate min", 0, 1, 2, 5, 5), pick(t, "rate share", 0.05, 0.3, 0.9)
	p.TermGrace, p.NoSilence = pick(t, "term grace", 0, 0, time.Minute), oneIn(t, 20, "no silence")
	v.Places = append(v.Places, PlaceView{Place: there, Dated: true, Absent: map[string]bool{}})
	v.Snapshot.Sweep.Acting[there.String()] = ago(long)
	for n := range v.Places {
		place := &v.Places[n]
		switch pick(t, "trouble", 0, 0, 0, 0, 0, 0, 0, 1, 2, 3) {
		case 1:
			place.Dated = false
		case 2:
			place.Skew = pick(t, "skew", 9*time.Second, 11*time.Second, -11*time.Second)
		case 3:
			place.Err = "failed"
		}
		if oneIn(t, 4, "acting") {
			v.Snapshot.Sweep.Acting[place.Place.String()] = ago(span(t))
		}
	}
	if oneIn(t, 10, "mode") {
		v.Snapshot.Registry.Mode, v.Snapshot.Registry.ModeSince = pick(t, "mode", lease.ModeArmed, lease.ModeObserve, lease.ModePaused), ago(span(t))
	}
	v.Snapshot.Sweep.Time = ago(pick(t, "stamp", time.Minute, time.Minute, time.Minute, time.Hour))
	for range pick(t, "offices", 0, 1, 2, 3, 4) {
		v.Snapshot.Sweep.Offices = append(v.Snapshot.Sweep.Offices, ago(span(t)))
	}
	v.Office.Stamped = !oneIn(t, 20, "unstamped")
	if oneIn(t, 20, "ill") {
		ill(&v)
	}
	for n := range pick(t, "launches", 2, 3, 4, 1, 0) {
		v.Snapshot.Launches = append(v.Snapshot.Launches, drawLaunch(t, fmt.Sprintf("launch-%d", n)))
	}
	for n := range pick(t, "subjects", 8, 14, 20, 3, 1, 0) {
		v.put(t, drawSubject(t, v, fmt.Sprintf("i-%02d", n)))
	}
	for _, id := range slices.Sorted(maps.Keys(v.Snapshot.Heartbeats)) {
		hb := v.Snapshot.Heartbeats[id]
		if oneIn(t, 20, "ahead") {
			hb.Changes = 7
			v.Snapshot.Heartbeats[id] = hb
		}
	}
	if oneIn(t, 30, "standing") {
		v.Standing = []lease.Brake{{Name: pick(t, "which brake", lease.BrakeRestored, lease.BrakeStranger), Since: ago(span(t)), Reason: "then"}}
	}
	drawLeftovers(t, &v)
	for range pick(t, "bad", 0, 0, 0, 1, 2) {
		bad(pick(t, "kind", badLease, badHeartbeat, "launch"), pick(t, "bad id", "i-x", "i-y", "launch-9"))(&v)
	}
	return v
}

func drawLaunch(t *rapid.T, token string) lease.Launch {
	l := launch(token, pick(t, "launch state", lease.LaunchOpen, lease.LaunchDone, lease.LaunchClosed, lease.LaunchClosed, lease.LaunchClosed))
	if oneIn(t, 3, "elsewhere") {
		l.Region = there.Region
	}
	if oneIn(t, 3, "second attempt") {
		l.Attempts = append(l.Attempts, lease.Attempt{ClientToken: token + ".2", Sends: 1, LastSend: ago(span(t))})
	}
	if oneIn(t, 2, "refused") {
		l.Attempts[len(l.Attempts)-1].Outcome = lease.OutcomeRefused
	}
	if l.State != lease.LaunchOpen {
		l.SettledAt = ago(span(t))
	}
	l.Looks = map[string]time.Time{}
	return l
}

// drawSubject draws an instance with a lease, or without one and of some launch, or of none.
func drawSubject(t *rapid.T, v View, id string) subject {
	s := holds(id, inZone(pick(t, "zone", "az-a", "az-b")))
	if len(v.Snapshot.Launches) > 0 && oneIn(t, 3, "of a launch") {
		l := &v.Snapshot.Launches[rapid.IntRange(0, len(v.Snapshot.Launches)-1).Draw(t, "which")]
		a := &l.Attempts[rapid.IntRange(0, len(l.Attempts)-1).Draw(t, "attempt")]
		s.lease.Launch, s.lease.ClientToken, s.lease.Region = l.Token, a.ClientToken, l.Region
		s.instance.ClientToken, s.instance.Tags[lease.TagLaunch], s.instance.Place = a.ClientToken, a.ClientToken, l.Place()
		if oneIn(t, 2, "answered") {
			a.Outcome, a.Instances = lease.OutcomeLaunched, append(a.Instances, id)
		}
		if !oneIn(t, 4, "no look") {
			l.Looks[id] = ago(span(t))
		}
		if !oneIn(t, 3, "bound") {
			bare(&s)
		}
	} else if oneIn(t, 4, "other place") {
		s.lease.Region, s.instance.Place = there.Region, there
	}
	if s.lease != nil {
		drawRecord(t, &s)
	}
	drawInstance(t, &s)
	return s
}

func drawRecord(t *rapid.T, s *subject) {
	l := s.lease
	l.GrantedAt = ago(pick(t, "granted", long, long, long, time.Minute))
	l.ExpiresAt = pick(t, "term", in(time.Hour), in(time.Hour), in(time.Hour), time.Time{}, date(t))
	l.TTL = lease.Duration(pick(t, "ttl", 0, time.Minute, time.Minute, time.Hour))
	if oneIn(t, 2, "marked") {
		marked(pick(t, "mark", lease.CauseSilence, lease.CauseSilence, lease.CauseNeverBeat, lease.CauseTerm), date(t))(s)
	}
	switch cause := pick(t, "cause", lease.CauseSilence, lease.CauseNeverBeat, lease.CauseRelease, lease.CauseFailedCreation); pick(t, "state", 0, 0, 0, 0, 0, 0, 1, 2, 3, 4) {
	case 1:
		revoked(cause, span(t))(s)
		l.Tries, l.TriedAt = pick(t, "tries", 0, 1, 5), ago(span(t))
	case 2:
		revoked(cause, span(t))(s)
		ended(span(t))(s)
	case 3:
		l.State, l.EndedAt = pick(t, "over", lease.StateEnded, lease.StateUnmanaged), ago(span(t))
	case 4:
		l.State = lease.StateAdopting
	}
	if l.State == lease.StateActive && l.TTL > 0 {
		s.silence = &Silence{
			Broken: oneIn(t, 3, "broken"), For: span(t), Seen: !oneIn(t, 3, "unseen"), Witness: !oneIn(t, 3, "alone"),
			Started: pick(t, "started", 0, 0, time.Minute, time.Hour), Noticed: span(t),
		}
	}
}

func drawInstance(t *rapid.T, s *subject) {
	switch pick(t, "instance", 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8) {
	case 1:
		exempt(s)
	case 2:
		foreign(s)
	case 3:
		s.instance.ClientToken = "other"
	case 4:
		s.instance.Tags[lease.TagLaunch] = "launch-0.1"
	case 5:
		is(pick(t, "instance state", lease.InstancePending, lease.InstanceStopped, lease.InstanceShuttingDown, lease.InstanceTerminated))(s)
	case 6:
		s.instance.LaunchTime = ago(span(t))
	case 7:
		missing(s)
	case 8:
		if s.lease != nil {
			absent(s)
		}
	}
}

// put adds a subject where it is.
func (v *View) put(t *rapid.T, s subject) {
	at := 0
	if s.instance != nil && s.instance.Place == there || s.lease != nil && s.lease.Region == there.Region {
		at = 1
	}
	v.Places[0], v.Places[at] = v.Places[at], v.Places[0]
	v.add(s)
	v.Places[0], v.Places[at] = v.Places[at], v.Places[0]
	if s.lease != nil && oneIn(t, 30, "bad heartbeat") {
		v.Snapshot.Bad = append(v.Snapshot.Bad, lease.BadRecord{Kind: badHeartbeat, ID: s.lease.InstanceID, Err: errors.New("unreadable")})
	}
}

// copied shares nothing with v that a decision could alter.
func copied(v View) View {
	s := &v.Snapshot
	s.Leases, s.Launches, s.Bad = slices.Clone(s.Leases), slices.Clone(s.Launches), slices.Clone(s.Bad)
	s.Heartbeats, v.Silences = maps.Clone(s.Heartbeats), maps.Clone(v.Silences)
	s.Sweep.Acting, s.Sweep.Offices = maps.Clone(s.Sweep.Acting), slices.Clone(s.Sweep.Offices)
	for n := range s.Leases {
		if mark := s.Leases[n].Mark; mark != nil {
			again := *mark
			s.Leases[n].Mark = &again
		}
	}
	for n := range s.Launches {
		s.Launches[n].Looks, s.Launches[n].Attempts = maps.Clone(s.Launches[n].Looks), slices.Clone(s.Launches[n].Attempts)
	}
	v.Places = slices.Clone(v.Places)
	for n := range v.Places {
		p := &v.Places[n]
		p.Instances, p.Absent = slices.Clone(p.Instances), maps.Clone(p.Absent)
		for k := range p.Instances {
			p.Instances[k].Tags = maps.Clone(p.Instances[k].Tags)
		}
	}
	return v
}
