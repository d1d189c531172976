package janitor

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"lapse/lease"
)

const (
	ours = "11111111-2222-4333-8444-555555555555" // our registry's UUID
	ttl  = time.Minute
	long = 100 * time.Hour // longer than anything that is waited for
)

var (
	noon  = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	here  = lease.Place{Account: "111122223333", Region: "eu-west-1"}
	there = lease.Place{Account: "111122223333", Region: "us-east-1"}
	jan   = lease.By{Actor: "janitor:test"}
)

// ago and in are dates as seen from the noon at which every decision is made.
func ago(d time.Duration) time.Time { return noon.Add(-d) }
func in(d time.Duration) time.Time  { return noon.Add(d) }

// subject is one instance with its lease and what the leader saw of its heartbeat; any of them may be missing.
type subject struct {
	lease    *lease.Lease
	instance *lease.Instance
	silence  *Silence
	absent   bool // looked up by id, and not found
}

// holds is a subject whose lease holds: running, granted two days ago, with a term of another day.
func holds(id string, changes ...func(*subject)) subject {
	token := "launch-of-" + id
	s := subject{
		lease: &lease.Lease{
			Schema: 1, InstanceID: id, Launch: token, ClientToken: token + ".1", Account: here.Account, Region: here.Region,
			Zone: "eu-west-1a", ZoneID: "euw1-az1", State: lease.StateActive, GrantedAt: ago(48 * time.Hour), ExpiresAt: in(24 * time.Hour),
		},
		instance: &lease.Instance{
			ID: id, Place: here, Zone: "eu-west-1a", ZoneID: "euw1-az1", State: lease.InstanceRunning,
			LaunchTime: ago(48 * time.Hour), ClientToken: token + ".1",
			Tags: map[string]string{lease.TagRegistry: ours, lease.TagLaunch: token + ".1"},
		},
	}
	for _, change := range changes {
		change(&s)
	}
	return s
}

// Changes of a subject.

func over(d time.Duration) func(*subject) {
	return func(s *subject) { s.lease.ExpiresAt = ago(d) }
}

func revoked(cause lease.Cause, d time.Duration) func(*subject) {
	return func(s *subject) {
		s.lease.State, s.lease.Cause, s.lease.RevokedAt = lease.StateRevoked, cause, ago(d)
	}
}

func ended(d time.Duration) func(*subject) {
	return func(s *subject) { s.lease.State, s.lease.EndedAt = lease.StateEnded, ago(d) }
}

func marked(cause lease.Cause, deadline time.Time) func(*subject) {
	return func(s *subject) {
		s.lease.Mark = &lease.Mark{Cause: cause, Since: deadline.Add(-5 * time.Minute), Deadline: deadline}
	}
}

func beats(s *subject) {
	s.lease.TTL, s.silence = lease.Duration(ttl), &Silence{Broken: true, Seen: true}
}

// silent for so long under this leader, which saw it beat before, with a witness.
func silent(d time.Duration) func(*subject) {
	return func(s *subject) {
		s.lease.TTL, s.silence = lease.Duration(ttl), &Silence{For: d, Seen: true, Witness: true, Noticed: long}
		s.lease.ClaimedAt = ago(40 * time.Hour)
	}
}

func unseen(s *subject)  { s.silence.Seen = false }
func alone(s *subject)   { s.silence.Witness = false }
func exempt(s *subject)  { s.instance.Tags[lease.TagExempt] = "" }
func foreign(s *subject) { s.instance.Tags[lease.TagRegistry] = "another" }
func unbound(s *subject) { s.instance.ClientToken = "other" }
func bare(s *subject)    { s.lease, s.silence = nil, nil }
func missing(s *subject) { s.instance = nil }
func absent(s *subject)  { s.instance, s.absent = nil, true }

func is(state lease.InstanceState) func(*subject) {
	return func(s *subject) { s.instance.State = state }
}

func inZone(id string) func(*subject) {
	return func(s *subject) {
		if s.lease != nil {
			s.lease.ZoneID, s.lease.Zone = id, id
		}
		if s.instance != nil {
			s.instance.ZoneID, s.instance.Zone = id, id
		}
	}
}

func withLease(change func(*lease.Lease)) func(*subject) {
	return func(s *subject) { change(s.lease) }
}

func withSilence(change func(*Silence)) func(*subject) {
	return func(s *subject) { change(s.silence) }
}

// many makes n subjects with ids from a prefix.
func many(n int, prefix string, changes ...func(*subject)) []subject {
	all := make([]subject, n)
	for k := range all {
		all[k] = holds(fmt.Sprintf("i-%s%03d", prefix, k), changes...)
	}
	return all
}

// launch is a record of one attempt for one instance, created an hour before now.
func launch(token string, state lease.LaunchState, changes ...func(*lease.Launch)) lease.Launch {
	l := lease.Launch{
		Schema: 1, Token: token, State: state, Account: here.Account, Region: here.Region, Count: 1,
		Window: lease.Duration(15 * time.Minute), CreatedAt: ago(time.Hour),
		Attempts: []lease.Attempt{{ClientToken: token + ".1", Min: 1, Max: 1, Sends: 1, LastSend: ago(time.Hour)}},
	}
	if state != lease.LaunchOpen {
		l.SettledAt = ago(40 * time.Minute)
	}
	for _, change := range changes {
		change(&l)
	}
	return l
}

func answered(ids ...string) func(*lease.Launch) {
	return func(l *lease.Launch) {
		l.Attempts[0].Outcome, l.Attempts[0].Instances = lease.OutcomeLaunched, ids
	}
}

func looked(d time.Duration, ids ...string) func(*lease.Launch) {
	return func(l *lease.Launch) {
		l.Looks = map[string]time.Time{}
		for _, id := range ids {
			l.Looks[id] = ago(d)
		}
	}
}

// viewOf is a quiet world: an armed registry swept for days by this leader, a full listing, clocks that agree.
func viewOf(subjects ...subject) View {
	v := View{
		Now: noon, Policy: DefaultPolicy(),
		Snapshot: lease.Snapshot{
			Registry: lease.NewRegistry(ago(long), ours, lease.ModeArmed),
			Sweep: lease.Sweep{
				Sequence: 7, Time: ago(time.Minute), Interval: lease.Duration(time.Minute),
				Acting: map[string]time.Time{here.String(): ago(long)}, Offices: []time.Time{ago(long)},
			},
			Heartbeats: map[string]lease.Heartbeat{}, Revision: 1, Term: 2,
		},
		Places:   []PlaceView{{Place: here, Dated: true, Absent: map[string]bool{}}},
		Silences: map[string]Silence{},
		Office:   OfficeView{Stamped: true, Since: long},
	}
	for _, s := range subjects {
		v.add(s)
	}
	return v
}

func (v *View) add(s subject) {
	if s.lease != nil {
		v.Snapshot.Leases = append(v.Snapshot.Leases, *s.lease)
	}
	if s.instance != nil {
		v.Places[0].Instances = append(v.Places[0].Instances, *s.instance)
	}
	if s.silence != nil {
		v.Silences[s.lease.InstanceID] = *s.silence
		if s.silence.Broken {
			v.Snapshot.Heartbeats[s.lease.InstanceID] = lease.Heartbeat{InstanceID: s.lease.InstanceID, TTL: s.lease.TTL, Held: true}
		}
	}
	if s.absent {
		v.Places[0].Absent[s.lease.InstanceID] = true
	}
}

// Changes of a view.

func launches(all ...lease.Launch) func(*View) {
	return func(v *View) { v.Snapshot.Launches = append(v.Snapshot.Launches, all...) }
}

func bad(kind, id string) func(*View) {
	return func(v *View) {
		v.Snapshot.Bad = append(v.Snapshot.Bad, lease.BadRecord{Kind: kind, ID: id, Err: errors.New(kind + " " + id + " cannot be read")})
	}
}

func actingFor(d time.Duration) func(*View) {
	return func(v *View) { v.Snapshot.Sweep.Acting[here.String()] = ago(d) }
}

// armedAhead is a registry that was armed by a clock an hour ahead, at one revision, beside a stamp of another.
func armedAhead(registry, sweep int64) func(*View) {
	return func(v *View) {
		v.Snapshot.Registry.ModeSince, v.Snapshot.Registry.Revision, v.Snapshot.Sweep.Revision = in(time.Hour), registry, sweep
	}
}

func skewed(d time.Duration) func(*View) { return func(v *View) { v.Places[0].Skew = d } }
func undated(v *View)                    { v.Places[0].Dated = false }
func unlisted(v *View)                   { v.Places[0].Err = "RequestLimitExceeded" }
func ill(v *View)                        { v.Office.Unhealthy = "alarm NOSPACE" }
func unstamped(v *View)                  { v.Office.Stamped = false }

// ruling is what a case expects of the decision about one instance.
type ruling struct {
	action   Action
	cause    lease.Cause
	brake    string
	deadline time.Time
}

// rulingOn decides, and returns the only verdict about an instance.
func rulingOn(t *testing.T, v View, id string) (ruling, Verdict) {
	t.Helper()
	var found []Verdict
	for _, verdict := range decide(v).Verdicts {
		if verdict.InstanceID == id {
			found = append(found, verdict)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%d verdicts about %s: %+v", len(found), id, found)
	}
	one := found[0]
	if one.Reason == "" {
		t.Errorf("no reason to %s %s", one.Action, id)
	}
	return ruling{one.Action, one.Cause, one.Brake, one.Deadline}, one
}

// actionOnLaunch returns what is decided about a launch itself; empty if nothing.
func actionOnLaunch(v View, token string) Action {
	for _, verdict := range decide(v).Verdicts {
		if verdict.Token == token && verdict.InstanceID == "" {
			return verdict.Action
		}
	}
	return ""
}

// tally counts verdicts by action.
func tally(plan Plan) map[Action]int {
	n := map[Action]int{}
	for _, v := range plan.Verdicts {
		n[v.Action]++
	}
	return n
}
