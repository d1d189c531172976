// Package plantest makes views for tests of decisions: a quiet world, its subjects, and what may be wrong with them.
package plantest

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"lapse/lease"

	"lapse/janitor/plan"
)

const (
	Ours             = "11111111-2222-4333-8444-555555555555" // our registry's UUID
	HeartbeatTimeout = time.Minute
	Long             = 100 * time.Hour // longer than anything that is waited for
)

var (
	Noon  = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	Here  = lease.Location{Account: "111122223333", Region: "eu-west-1"}
	There = lease.Location{Account: "111122223333", Region: "us-east-1"}
	Jan   = lease.By{Actor: "janitor:test"}
)

// Ago and in are dates as seen from the noon at which every decision is made.
func Ago(d time.Duration) time.Time { return Noon.Add(-d) }
func In(d time.Duration) time.Time  { return Noon.Add(d) }

// Subject is one instance with its lease and what the leader saw of its heartbeat; any of them may be missing.
type Subject struct {
	Lease    *lease.Lease
	Instance *lease.Instance
	Renewal  *plan.Renewal
	absent   bool // looked up by id, and not found
}

// Holds is a subject whose lease holds: running, granted two days ago, with a term of another day.
func Holds(id string, changes ...func(*Subject)) Subject {
	token := "launch-of-" + id
	s := Subject{
		Lease: &lease.Lease{
			Schema: 1, InstanceID: id, Launch: token, ClientToken: token + ".1", Account: Here.Account, Region: Here.Region,
			Zone: "eu-west-1a", ZoneID: "euw1-az1", State: lease.StateActive, GrantedAt: Ago(48 * time.Hour), ExpiresAt: In(24 * time.Hour),
		},
		Instance: &lease.Instance{
			ID: id, Location: Here, Zone: "eu-west-1a", ZoneID: "euw1-az1", State: lease.InstanceRunning,
			LaunchTime: Ago(48 * time.Hour), ClientToken: token + ".1",
			Tags: map[string]string{lease.TagRegistry: Ours, lease.TagLaunch: token + ".1"},
		},
	}
	for _, change := range changes {
		change(&s)
	}
	return s
}

// agree lets the two keys of a lease's date agree.
func (s Subject) agree() {
	if s.Lease == nil {
		return
	}
	if s.Lease.ExpiresNumber == 0 {
		s.Lease.ExpiresNumber = 1
	}
	if s.Instance == nil || s.Lease.State == lease.StateAdopting {
		return
	}
	if _, says := s.Instance.Tags[lease.TagExpires]; !says {
		s.Instance.Tags[lease.TagExpires] = s.Lease.Expiry().String()
	}
	if _, says := s.Instance.Tags[lease.TagLeased]; !says && s.Lease.Cause != lease.CauseFailedCreation {
		s.Instance.Tags[lease.TagLeased] = s.Lease.LeasedTag()
	}
}

// Changes of a subject.

func Over(d time.Duration) func(*Subject) {
	return func(s *Subject) { s.Lease.ExpiresAt = Ago(d) }
}

func Revoked(cause lease.Cause, d time.Duration) func(*Subject) {
	return func(s *Subject) {
		s.Lease.State, s.Lease.Cause, s.Lease.RevokedAt = lease.StateRevoked, cause, Ago(d)
	}
}

func Ended(d time.Duration) func(*Subject) {
	return func(s *Subject) { s.Lease.State, s.Lease.EndedAt = lease.StateEnded, Ago(d) }
}

func Marked(cause lease.Cause, deadline time.Time) func(*Subject) {
	return func(s *Subject) {
		s.Lease.Mark = &lease.Mark{Cause: cause, Since: deadline.Add(-5 * time.Minute), Deadline: deadline}
	}
}

func Heartbeats(s *Subject) {
	s.Lease.HeartbeatTimeout, s.Renewal = lease.Duration(HeartbeatTimeout), &plan.Renewal{Present: true, Seen: true}
}

// Lost for so long under this leader, which saw it renew before, with a witness.
func Lost(d time.Duration) func(*Subject) {
	return func(s *Subject) {
		s.Lease.HeartbeatTimeout, s.Renewal = lease.Duration(HeartbeatTimeout), &plan.Renewal{For: d, Missing: d, Seen: true, Witness: true, Marked: Long}
		s.Lease.ClaimedAt = Ago(40 * time.Hour)
	}
}

func Unseen(s *Subject)  { s.Renewal.Seen = false }
func Alone(s *Subject)   { s.Renewal.Witness = false }
func Exempt(s *Subject)  { s.Instance.Tags[lease.TagExempt] = "" }
func Foreign(s *Subject) { s.Instance.Tags[lease.TagRegistry] = "another" }
func Unbound(s *Subject) { s.Instance.ClientToken = "other" }
func Bare(s *Subject)    { s.Lease, s.Renewal = nil, nil }
func Missing(s *Subject) { s.Instance = nil }
func Absent(s *Subject)  { s.Instance, s.absent = nil, true }

func Is(state lease.InstanceState) func(*Subject) {
	return func(s *Subject) { s.Instance.State = state }
}

func InZone(id string) func(*Subject) {
	return func(s *Subject) {
		if s.Lease != nil {
			s.Lease.ZoneID, s.Lease.Zone = id, id
		}
		if s.Instance != nil {
			s.Instance.ZoneID, s.Instance.Zone = id, id
		}
	}
}

func WithLease(change func(*lease.Lease)) func(*Subject) {
	return func(s *Subject) { change(s.Lease) }
}

func WithRenewal(change func(*plan.Renewal)) func(*Subject) {
	return func(s *Subject) { change(s.Renewal) }
}

// Many makes n subjects with ids from a prefix.
func Many(n int, prefix string, changes ...func(*Subject)) []Subject {
	all := make([]Subject, n)
	for k := range all {
		all[k] = Holds(fmt.Sprintf("i-%s%03d", prefix, k), changes...)
	}
	return all
}

// Launch is a record of one attempt for one instance, created an hour before now.
func Launch(token string, state lease.LaunchState, changes ...func(*lease.Launch)) lease.Launch {
	l := lease.Launch{
		Schema: 1, Token: token, State: state, Account: Here.Account, Region: Here.Region, Count: 1,
		Window: lease.Duration(15 * time.Minute), CreatedAt: Ago(time.Hour),
		Attempts: []lease.Attempt{{ClientToken: token + ".1", Min: 1, Max: 1, Sends: 1, LastSend: Ago(time.Hour)}},
	}
	if state != lease.LaunchOpen {
		l.SettledAt = Ago(40 * time.Minute)
	}
	for _, change := range changes {
		change(&l)
	}
	return l
}

func Answered(ids ...string) func(*lease.Launch) {
	return func(l *lease.Launch) {
		l.Attempts[0].Outcome, l.Attempts[0].Instances = lease.OutcomeLaunched, ids
	}
}

func FirstSeen(d time.Duration, ids ...string) func(*lease.Launch) {
	return func(l *lease.Launch) {
		l.FirstSeen = map[string]time.Time{}
		for _, id := range ids {
			l.FirstSeen[id] = Ago(d)
		}
	}
}

// World is all that is observed, before it is joined.
type World struct {
	Now        time.Time
	Policy     plan.Policy
	Snapshot   lease.Snapshot
	Locations  []plan.LocationView
	Renewals   map[string]plan.Renewal // by instance id, for active leases with a timeout
	Standing   []lease.Brake
	Leadership plan.LeadershipView
	Written    map[string]plan.Written // by instance id: tags that were written since the locations were listed
}

// View is the world, joined.
func (w World) View() plan.View {
	j := plan.Join(w.Snapshot, w.Locations, plan.Indexed(w.Locations), w.Written)
	for n := range j.Rows {
		j.Rows[n].Renewal = w.Renewals[j.Rows[n].InstanceID]
	}
	return plan.View{Now: w.Now, Policy: w.Policy, Joined: j, Locations: w.Locations, Standing: w.Standing, Leadership: w.Leadership}
}

// Decide joins the world, and decides.
func Decide(w World) plan.Plan { return plan.Decide(w.View()) }

// WorldOf is a quiet world: an armed registry swept for days by this leader, a full listing, clocks that agree.
func WorldOf(subjects ...Subject) World {
	v := World{
		Now: Noon, Policy: plan.DefaultPolicy(),
		Snapshot: lease.Snapshot{
			Registry: lease.NewRegistry(Ago(Long), Ours, lease.ModeArmed),
			Checkpoint: lease.Checkpoint{
				Sequence: 7, Time: Ago(time.Minute), NextSweep: Noon,
				Enforcing: map[string]time.Time{Here.String(): Ago(Long)}, Leaderships: []time.Time{Ago(Long)},
			},
			Heartbeats: map[string]lease.Heartbeat{}, Revision: 1, Term: 2,
		},
		Locations:  []plan.LocationView{{Location: Here, Dated: true, Absent: map[string]bool{}}},
		Renewals:   map[string]plan.Renewal{},
		Leadership: plan.LeadershipView{Checkpointed: true, Since: Long},
	}
	for _, s := range subjects {
		Add(&v, s)
	}
	return v
}

// Add puts a subject into the view. Its instance says on its tags what its lease does, unless the subject has such tags.
func Add(v *World, s Subject) {
	s.agree()
	if s.Lease != nil {
		v.Snapshot.Leases = append(v.Snapshot.Leases, *s.Lease)
	}
	if s.Instance != nil {
		v.Locations[0].Instances = append(v.Locations[0].Instances, *s.Instance)
	}
	if s.Renewal != nil {
		v.Renewals[s.Lease.InstanceID] = *s.Renewal
		if s.Renewal.Present {
			v.Snapshot.Heartbeats[s.Lease.InstanceID] = lease.Heartbeat{InstanceID: s.Lease.InstanceID, HeartbeatTimeout: s.Lease.HeartbeatTimeout, Held: true}
		}
	}
	if s.absent {
		v.Locations[0].Absent[s.Lease.InstanceID] = true
	}
}

// Changes of a view.

func Launches(all ...lease.Launch) func(*World) {
	return func(v *World) { v.Snapshot.Launches = append(v.Snapshot.Launches, all...) }
}

func Bad(kind, id string) func(*World) {
	return func(v *World) {
		v.Snapshot.Bad = append(v.Snapshot.Bad, lease.BadRecord{Kind: kind, ID: id, Err: errors.New(kind + " " + id + " cannot be read")})
	}
}

func EnforcingFor(d time.Duration) func(*World) {
	return func(v *World) { v.Snapshot.Checkpoint.Enforcing[Here.String()] = Ago(d) }
}

// ArmedAhead is a registry that was armed by a clock an hour ahead, at one revision, beside a checkpoint of another.
func ArmedAhead(registry, sweep int64) func(*World) {
	return func(v *World) {
		v.Snapshot.Registry.ModeSince, v.Snapshot.Registry.Revision, v.Snapshot.Checkpoint.Revision = In(time.Hour), registry, sweep
	}
}

func Skewed(d time.Duration) func(*World) { return func(v *World) { v.Locations[0].Skew = d } }
func Undated(v *World)                    { v.Locations[0].Dated = false }
func Unlisted(v *World)                   { v.Locations[0].Err = "RequestLimitExceeded" }
func Ill(v *World)                        { v.Leadership.Unhealthy = "alarm NOSPACE" }
func Unstamped(v *World)                  { v.Leadership.Checkpointed = false }

// Ruling is what a case expects of the decision about one instance.
type Ruling struct {
	Action   plan.Action
	Cause    lease.Cause
	Brake    string
	Deadline time.Time
}

// RulingOn decides, and returns the only verdict about an instance.
func RulingOn(t *testing.T, v World, id string) (Ruling, plan.Verdict) {
	t.Helper()
	var found []plan.Verdict
	for _, verdict := range Decide(v).Verdicts {
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
	if one.Action == plan.ActHold { // what it would be is told by its reason
		return Ruling{one.Action, "", one.Brake, one.Deadline}, one
	}
	return Ruling{one.Action, one.Cause, one.Brake, one.Deadline}, one
}

// ActionOnLaunch returns what is decided about a launch itself; empty if nothing.
func ActionOnLaunch(v World, token string) plan.Action {
	for _, verdict := range Decide(v).Verdicts {
		if verdict.Token == token && verdict.InstanceID == "" {
			return verdict.Action
		}
	}
	return ""
}

// Tally counts verdicts by action.
func Tally(planned plan.Plan) map[plan.Action]int {
	n := map[plan.Action]int{}
	for _, v := range planned.Verdicts {
		n[v.Action]++
	}
	return n
}
