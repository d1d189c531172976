package lease_test

import (
	"testing"
	"time"

	"lapse/lease"
)

// TestOverdue has leases of which the registry alone tells whether their instances should be gone, and why they are not.
func TestOverdue(t *testing.T) {
	t.Parallel()
	const location, zone = "111122223333/eu-west-1", "euw1-az1"
	over := func(d time.Duration) func(*lease.Lease) {
		return func(l *lease.Lease) { l.ExpiresAt = noon.Add(-d) }
	}
	revoked := func(d time.Duration) func(*lease.Lease) {
		return func(l *lease.Lease) {
			l.State, l.Cause, l.RevokedAt = lease.StateRevoked, lease.CauseRelease, noon.Add(-d)
		}
	}
	kept := func(by lease.KeptReason) func(*lease.Lease) {
		return func(l *lease.Lease) { l.KeptSince, l.KeptReason = noon.Add(-time.Second), by }
	}
	stuck := func(by lease.KeptReason) func(*lease.Lease) {
		return func(l *lease.Lease) { l.Stuck, l.KeptReason = "something", by }
	}
	marked := func(cause lease.Cause, d time.Duration) func(*lease.Lease) {
		return func(l *lease.Lease) { l.Mark = &lease.Mark{Cause: cause, Deadline: noon.Add(-d)} }
	}
	brake := func(name, scope string) func(*lease.Snapshot) {
		return func(s *lease.Snapshot) { s.Checkpoint.Brakes = []lease.Brake{{Name: name, Scope: scope}} }
	}
	behind := func(id string) func(*lease.Snapshot) {
		return func(s *lease.Snapshot) { s.Checkpoint.Behind = map[string]int64{id: 4} }
	}
	changes := func(all ...func(*lease.Lease)) []func(*lease.Lease) { return all }
	as := func(s *lease.Snapshot) {}
	for name, c := range map[string]struct {
		lease []func(*lease.Lease)
		known func(*lease.Snapshot)
		want  lease.KeptReason
	}{
		"its date has not passed":       {changes(over(-1)), as, ""},
		"without a date":                {nil, as, ""},
		"just over":                     {changes(over(5*time.Minute - 1)), as, ""},
		"over, and nothing explains it": {changes(over(5 * time.Minute)), as, lease.KeptWaiting},
		"over, within the grace that the checkpoint tells": {changes(over(time.Hour)), func(s *lease.Snapshot) { s.Checkpoint.TermGrace = lease.Duration(time.Hour) }, ""},
		"under notice":                                        {changes(over(time.Hour), marked(lease.CauseExpired, -1)), as, ""},
		"its notice has passed":                               {changes(over(time.Hour), marked(lease.CauseExpired, 5*time.Minute)), as, lease.KeptWaiting},
		"exempt: at once":                                     {changes(over(0), kept(lease.KeptByExempt)), as, lease.KeptByExempt},
		"without its registry tag: at once":                   {changes(over(0), kept(lease.KeptByRegistry)), as, lease.KeptByRegistry},
		"its tag is on its way":                               {changes(over(5*time.Minute-1), kept(lease.KeptByTag)), as, ""},
		"its tag is late":                                     {changes(over(5*time.Minute), kept(lease.KeptByTag)), as, lease.KeptByTag},
		"what kept it is gone, and it is under notice":        {changes(over(time.Hour), kept(lease.KeptByExempt), marked(lease.CauseExpired, -1)), as, ""},
		"exempt, and the registry observes":                   {changes(over(time.Hour), kept(lease.KeptByExempt)), func(s *lease.Snapshot) { s.Registry.Mode = lease.ModeObserve }, lease.KeptByExempt},
		"revoked just now":                                    {changes(revoked(5*time.Minute - 1)), as, ""},
		"revoked, and asked for":                              {changes(revoked(5*time.Minute), func(l *lease.Lease) { l.Tries = 1 }), as, lease.KeptUnconfirmed},
		"revoked, and not asked for":                          {changes(revoked(5 * time.Minute)), as, lease.KeptWaiting},
		"revoked by a clock that was a month ahead":           {changes(revoked(-30 * 24 * time.Hour)), as, lease.KeptWaiting},
		"the same, and EC2 refuses":                           {changes(revoked(-30*24*time.Hour), stuck(lease.KeptStuck)), as, lease.KeptStuck},
		"revoked, and EC2 refuses: at once":                   {changes(revoked(0), stuck(lease.KeptStuck)), as, lease.KeptStuck},
		"revoked, and EC2 refuses, noted by an older janitor": {changes(revoked(0), stuck("")), as, lease.KeptStuck},
		"revoked, and exempt: at once":                        {changes(revoked(0), stuck(lease.KeptByExempt)), as, lease.KeptByExempt},
		"revoked, and unrecorded: at once":                    {changes(revoked(0), stuck(lease.KeptByAudit)), as, lease.KeptByAudit},
		"revoked, and its tag is newer: at once":              {changes(revoked(0), func(l *lease.Lease) { l.TagNumber = 9 }), as, lease.KeptByTag},
		"revoked, and exempt while it was active":             {changes(revoked(time.Hour), kept(lease.KeptByExempt)), as, lease.KeptWaiting},
		"revoked, and absent":                                 {changes(revoked(time.Hour), func(l *lease.Lease) { l.AbsentSince = noon }), as, lease.KeptUnseen},
		"over, and absent":                                    {changes(over(time.Hour), func(l *lease.Lease) { l.AbsentSince = noon }), as, lease.KeptUnseen},
		"being adopted, and over":                             {changes(over(time.Hour), func(l *lease.Lease) { l.State = lease.StateAdopting }), as, lease.KeptAdopting},
		"ended":                                               {changes(over(time.Hour), func(l *lease.Lease) { l.State = lease.StateEnded }), as, ""},
		"unmanaged":                                           {changes(over(time.Hour), func(l *lease.Lease) { l.State = lease.StateUnmanaged }), as, ""},
		"its location is not swept":                           {changes(over(time.Hour), func(l *lease.Lease) { l.Region = "eu-west-2" }), as, lease.KeptUnswept},
		"its location could not be listed":                    {changes(over(time.Hour)), func(s *lease.Snapshot) { s.Checkpoint.Locations = nil; brake("health", location)(s) }, lease.KeptBraked},
		"nobody sweeps":                                       {changes(over(time.Hour)), func(s *lease.Snapshot) { s.Checkpoint.NextSweep = noon.Add(-4 * time.Minute) }, lease.KeptUnswept},
		"nobody ever swept":                                   {changes(over(time.Hour)), func(s *lease.Snapshot) { s.Checkpoint = lease.Checkpoint{} }, lease.KeptUnswept},
		"the registry observes":                               {changes(over(time.Hour)), func(s *lease.Snapshot) { s.Registry.Mode = lease.ModeObserve }, lease.KeptByObserving},
		"the registry is paused":                              {changes(revoked(time.Hour)), func(s *lease.Snapshot) { s.Registry.Mode = lease.ModePaused }, lease.KeptByPause},
		"the audit log is down":                               {changes(over(time.Hour)), func(s *lease.Snapshot) { s.Checkpoint.Unable = lease.KeptByAudit }, lease.KeptByAudit},
		"a brake that holds everything back":                  {changes(over(time.Hour)), brake(lease.BrakeRollback, ""), lease.KeptBraked},
		"a brake that somebody has released": {changes(over(time.Hour)), func(s *lease.Snapshot) {
			brake(lease.BrakeRollback, "")(s)
			s.Registry = s.Registry.Lift(noon, lease.BrakeRollback, s.Checkpoint.Brakes, lease.By{Actor: "ada"})
		}, lease.KeptWaiting},
		"a brake that holds its lease alone":                             {changes(revoked(time.Hour)), behind("i-1"), lease.KeptBraked},
		"a brake that holds another lease":                               {changes(revoked(time.Hour)), behind("i-2"), lease.KeptWaiting},
		"the clock there":                                                {changes(over(time.Hour)), brake("clock", location), lease.KeptBraked},
		"the clock elsewhere":                                            {changes(over(time.Hour)), brake("clock", "111122223333/eu-west-2"), lease.KeptWaiting},
		"brake heartbeats holds back no expiry":                          {changes(over(time.Hour)), brake(lease.BrakeHeartbeats, ""), lease.KeptWaiting},
		"brake heartbeats holds back a mark for a lost heartbeat":        {changes(over(-time.Hour), marked(lease.CauseHeartbeatLost, 5*time.Minute)), brake(lease.BrakeHeartbeats, zone), lease.KeptBraked},
		"brake heartbeats of another zone":                               {changes(over(-time.Hour), marked(lease.CauseHeartbeatLost, 5*time.Minute)), brake(lease.BrakeHeartbeats, "euw1-az2"), ""},
		"lost, and held as new leaders are":                              {changes(marked(lease.CauseNoHeartbeat, time.Hour)), brake("health", ""), lease.KeptBraked},
		"lost, and waits for a witness":                                  {changes(marked(lease.CauseHeartbeatLost, 65*time.Minute-1)), as, ""},
		"lost, and no longer waits for a witness":                        {changes(marked(lease.CauseHeartbeatLost, 65*time.Minute)), as, lease.KeptWaiting},
		"lost, and renewed again":                                        {changes(marked(lease.CauseHeartbeatLost, 2*time.Hour)), func(s *lease.Snapshot) { s.Heartbeats["i-1"] = lease.Heartbeat{Held: true} }, ""},
		"lost, and its heartbeat is a ghost":                             {changes(marked(lease.CauseHeartbeatLost, 2*time.Hour)), func(s *lease.Snapshot) { s.Heartbeats["i-1"] = lease.Heartbeat{} }, lease.KeptWaiting},
		"lost, renewed again, and over":                                  {changes(over(time.Hour), marked(lease.CauseHeartbeatLost, 2*time.Hour)), func(s *lease.Snapshot) { s.Heartbeats["i-1"] = lease.Heartbeat{Held: true} }, lease.KeptWaiting},
		"over, although its mark for a lost heartbeat has a while to go": {changes(over(time.Hour), marked(lease.CauseHeartbeatLost, -time.Hour)), as, lease.KeptWaiting},
		"exempt, although it was marked for a lost heartbeat":            {changes(over(time.Hour), kept(lease.KeptByExempt), marked(lease.CauseHeartbeatLost, time.Hour)), as, lease.KeptByExempt},
	} {
		l := lease.Lease{
			InstanceID: "i-1", State: lease.StateActive, Account: "111122223333", Region: "eu-west-1", Zone: "eu-west-1a", ZoneID: zone, ExpiresNumber: 1,
		}
		for _, change := range c.lease {
			change(&l)
		}
		s := lease.Snapshot{
			Registry:   lease.Registry{UUID: "ours", Mode: lease.ModeArmed},
			Checkpoint: lease.Checkpoint{Time: noon.Add(-time.Minute), NextSweep: noon, Locations: []lease.Location{l.Location(), {Account: "111122223333", Region: "eu-west-1"}}},
			Heartbeats: map[string]lease.Heartbeat{},
		}
		if l.Region != "eu-west-1" {
			s.Checkpoint.Locations = s.Checkpoint.Locations[1:]
		}
		c.known(&s)
		got := s.Circumstances(noon).Overdue(&l, nil)
		if got.Reason != c.want || (got.Since.IsZero() != (c.want == "")) || (got.Brake == "") != (c.want != lease.KeptBraked) {
			t.Errorf("%s: %+v, want %q", name, got, c.want)
		}
	}
}

func TestTheStateInEC2OutweighsTheRecord(t *testing.T) {
	t.Parallel()
	yesterday := noon.Add(-24 * time.Hour)
	l := lease.Lease{
		InstanceID: "i-1", State: lease.StateActive, ExpiresAt: yesterday, ExpiresNumber: 1,
		KeptSince: yesterday, KeptReason: lease.KeptByExempt,
	}
	c := lease.Circumstances{Now: noon, UUID: "ours", Mode: lease.ModeArmed, Fresh: true, Swept: map[lease.Location]bool{{}: true}}
	shown := func(state lease.InstanceState, tags map[string]string) *lease.Instance {
		all := map[string]string{lease.TagRegistry: "ours", lease.TagExpires: l.Expiry().String()}
		for key, value := range tags {
			all[key] = value
		}
		return &lease.Instance{ID: "i-1", State: state, Tags: all}
	}
	for name, is := range map[string]struct {
		i    *lease.Instance
		want lease.KeptReason
	}{
		"nothing":                         {nil, lease.KeptByExempt},
		"exempt no longer":                {shown(lease.InstanceRunning, nil), lease.KeptWaiting},
		"exempt still":                    {shown(lease.InstanceStopped, map[string]string{lease.TagExempt: "no"}), lease.KeptByExempt},
		"another registry's":              {shown(lease.InstanceRunning, map[string]string{lease.TagRegistry: "theirs"}), lease.KeptByRegistry},
		"a later date":                    {shown(lease.InstanceRunning, map[string]string{lease.TagExpires: "2099-01-01T00:00:00Z"}), lease.KeptByTag},
		"no date":                         {shown(lease.InstanceRunning, map[string]string{lease.TagExpires: ""}), lease.KeptByTag},
		"shutting down, for a long while": {shown(lease.InstanceShuttingDown, nil), lease.KeptUnconfirmed},
		"terminated":                      {shown(lease.InstanceTerminated, nil), ""},
	} {
		if got := c.Overdue(&l, is.i).Reason; got != is.want {
			t.Errorf("%s: %q, want %q", name, got, is.want)
		}
	}
}
