package lease_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"lapse/lease"
)

// lost is an instance of a launch that is no longer on record.
func lost(change ...func(*lease.Instance)) lease.Instance {
	i := instance()
	i.ClientToken = token + ".1"
	i.Tags = map[string]string{
		lease.TagRegistry: "uuid-1", lease.TagLaunch: token + ".1", lease.TagHolder: "ada",
		lease.TagExpires: noon.Add(72 * time.Hour).Format(time.RFC3339),
	}
	for _, c := range change {
		c(&i)
	}
	return i
}

func tag(key, value string) func(*lease.Instance) {
	return func(i *lease.Instance) { i.Tags[key] = value }
}

func untag(key string) func(*lease.Instance) { return func(i *lease.Instance) { delete(i.Tags, key) } }

// emptied is a registry that lost its records, except for those given.
func emptied(change ...func(*lease.Snapshot)) lease.Snapshot {
	s := lease.Snapshot{Registry: lease.Registry{UUID: "uuid-1"}}
	for _, c := range change {
		c(&s)
	}
	return s
}

// recorded is the launch of the lost instance, in a state.
func recorded(state lease.LaunchState) func(*lease.Snapshot) {
	return func(s *lease.Snapshot) {
		l := launched()
		l.State, l.Labels = state, map[string]string{"team": "search"}
		s.Launches = append(s.Launches, l)
	}
}

func TestARebuiltLeaseIsNewerThanItsSidecarKnows(t *testing.T) {
	t.Parallel()
	renewing := emptied(func(s *lease.Snapshot) {
		s.Heartbeats = map[string]lease.Heartbeat{instance().ID: {InstanceID: instance().ID, Changes: 7}}
	})
	l, err := lease.NewRecovery(renewing, lease.RecoveryTerms{}).Lease(noon, lost(), lease.By{})
	if err != nil || l.Changes != 8 {
		t.Errorf("%d changes (%v), want 8", l.Changes, err)
	}
	if !l.CuredAt.Equal(noon) {
		t.Errorf("cured %s, want now: the timer restarts", l.CuredAt)
	}
}

func TestAnInstanceOfAClosedLaunchHadALeaseIfItsSidecarHasSeenOne(t *testing.T) {
	t.Parallel()
	for changes, want := range map[int64]lease.Obstacle{0: lease.ObstacleOrphan, 1: ""} {
		s := emptied(recorded(lease.LaunchClosed))
		s.Heartbeats = map[string]lease.Heartbeat{instance().ID: {InstanceID: instance().ID, Changes: changes}}
		_, err := lease.NewRecovery(s, lease.RecoveryTerms{}).Lease(noon, lost(), lease.By{})
		got, _ := errors.AsType[*lease.UnrecoverableError](err)
		if (got == nil) != (want == "") || got != nil && got.Obstacle != want {
			t.Errorf("a sidecar that has seen %d changes: %v, want obstacle %q", changes, err, want)
		}
	}
}

// TestWhatIsBeyondTheNumberAskedForIsNotRecovered: where client tokens are ignored, more may have been created.
func TestWhatIsBeyondTheNumberAskedForIsNotRecovered(t *testing.T) {
	t.Parallel()
	l := must(keySent(t, 1).Launched([]string{"i-1"}).Done(noon))
	reg := lease.NewRegistry(noon, ownUUID, lease.ModeArmed)
	for id, want := range map[string]lease.Obstacle{"i-1": "", "i-2": lease.ObstacleOrphan} {
		i := lease.Instance{
			ID: id, Location: l.Location(), State: lease.InstanceRunning, KeyName: lease.KeyName(ownUUID, "web.1"), LaunchTime: noon.Add(time.Second),
			Tags: map[string]string{lease.TagRegistry: ownUUID, lease.TagLaunch: "web.1"},
		}
		r := lease.NewRecovery(lease.Snapshot{Registry: reg, Launches: []lease.Launch{l}}, lease.RecoveryTerms{Term: time.Hour})
		_, err := r.Lease(noon.Add(time.Hour), i, ada)
		var got lease.Obstacle
		if cannot, is := errors.AsType[*lease.UnrecoverableError](err); is {
			got = cannot.Obstacle
		}
		if got != want {
			t.Errorf("%s: %q (%v), want %q", id, got, err, want)
		}
	}
}

func TestALostLeaseIsRebuiltFromTags(t *testing.T) {
	t.Parallel()
	now := noon
	l, err := lease.NewRecovery(emptied(), lease.RecoveryTerms{MaxTerm: 7 * 24 * time.Hour}).Lease(now, lost(), lease.By{Actor: "cli:eve", Reason: "disk died"})
	if err != nil {
		t.Fatal(err)
	}
	if l.State != lease.StateActive || l.Holder != "ada" || l.Launch != token || l.ClientToken != token+".1" || l.HeartbeatTimeout != 0 || l.Revision != 0 {
		t.Errorf("%+v", l)
	}
	if !l.ExpiresAt.Equal(noon.Add(72*time.Hour)) || !l.MaxExpiresAt.Equal(now.Add(7*24*time.Hour)) {
		t.Errorf("until %s, not after %s", l.ExpiresAt, l.MaxExpiresAt)
	}
	if !l.Binds(lost()) {
		t.Error("it does not bind its instance")
	}
	last := l.History[len(l.History)-1]
	if last.Action != "recover" || last.Actor != "cli:eve" || last.Reason != "rebuilt from tags; expiry from its tag; disk died" {
		t.Errorf("%+v", last)
	}
}

func TestTheExpiryOfARecoveredLease(t *testing.T) {
	t.Parallel()
	hours := func(n time.Duration) time.Time { return noon.Add(n * time.Hour) }
	for name, c := range map[string]struct {
		tag     func(*lease.Instance)
		terms   lease.RecoveryTerms
		want    time.Time // zero: none
		maxTerm time.Time
		reason  string
	}{
		"as on the tag":                                {tag(lease.TagExpires, "2027-01-03T00:00:00Z"), lease.RecoveryTerms{}, time.Date(2027, 1, 3, 0, 0, 0, 0, time.UTC), time.Time{}, "expiry from its tag"},
		"passed long ago: a day":                       {tag(lease.TagExpires, "2020-01-01T00:00:00Z"), lease.RecoveryTerms{}, hours(24), time.Time{}, "its tag says 2020-01-01T00:00:00Z"},
		"soon: a day":                                  {tag(lease.TagExpires, hours(1).Format(time.RFC3339)), lease.RecoveryTerms{}, hours(24), time.Time{}, "its tag says"},
		"a date that no record can hold: a day":        {tag(lease.TagExpires, "9999-12-31T23:59:59-23:59"), lease.RecoveryTerms{}, hours(24), time.Time{}, "has no valid date"},
		"no date: a day":                               {tag(lease.TagExpires, "tomorrow"), lease.RecoveryTerms{}, hours(24), time.Time{}, "has no valid date"},
		"earlier than --term":                          {tag(lease.TagExpires, hours(1).Format(time.RFC3339)), lease.RecoveryTerms{Term: 48 * time.Hour, AnyTerm: true}, hours(48), time.Time{}, "its tag says"},
		"--term is less than a day":                    {tag(lease.TagExpires, hours(1).Format(time.RFC3339)), lease.RecoveryTerms{Term: time.Second, AnyTerm: true}, hours(24), time.Time{}, "its tag says"},
		"none: no expiry":                              {tag(lease.TagExpires, "none 3"), lease.RecoveryTerms{MaxTerm: time.Hour}, time.Time{}, time.Time{}, "does not expire"},
		"none at creation: no expiry":                  {tag(lease.TagExpires, "none"), lease.RecoveryTerms{}, time.Time{}, time.Time{}, "does not expire"},
		"no tag: a day":                                {untag(lease.TagExpires), lease.RecoveryTerms{}, hours(24), time.Time{}, "has no tag"},
		"none, but --term was given":                   {tag(lease.TagExpires, "none"), lease.RecoveryTerms{Term: 48 * time.Hour, AnyTerm: true}, hours(48), time.Time{}, "a term was given"},
		"the maximum is never earlier than the expiry": {tag(lease.TagExpires, hours(400).Format(time.RFC3339)), lease.RecoveryTerms{MaxTerm: 168 * time.Hour}, hours(400), hours(400), "expiry from its tag"},
	} {
		l, err := lease.NewRecovery(emptied(), c.terms).Lease(noon, lost(c.tag), lease.By{})
		if err != nil || !l.ExpiresAt.Equal(c.want) || !l.MaxExpiresAt.Equal(c.maxTerm) {
			t.Errorf("%s: until %s, not after %s, %v", name, l.ExpiresAt, l.MaxExpiresAt, err)
		}
		if !strings.Contains(l.History[0].Reason, c.reason) {
			t.Errorf("%s: %q", name, l.History[0].Reason)
		}
	}
}

func TestInstancesThatAreNotRecovered(t *testing.T) {
	t.Parallel()
	bad := func(kind, id string) func(*lease.Snapshot) {
		return func(s *lease.Snapshot) {
			s.Bad = append(s.Bad, lease.BadRecord{Kind: kind, ID: id, Err: errors.New("mangled")})
		}
	}
	of := func(client, launch string) lease.Instance {
		return lost(tag(lease.TagLaunch, launch), func(i *lease.Instance) { i.ClientToken = client })
	}
	windowOver := func(s *lease.Snapshot) { s.Launches[0].Window = 0 }
	beaten := func(s *lease.Snapshot) { s.Heartbeats = map[string]lease.Heartbeat{lost().ID: {Changes: 1}} }
	for name, c := range map[string]struct {
		s    lease.Snapshot
		i    lease.Instance
		want lease.Obstacle // empty: it is recovered
	}{
		"nothing is on record":                        {emptied(), lost(), ""},
		"it bears no registry tag":                    {emptied(), lost(untag(lease.TagRegistry)), lease.ObstacleUntagged},
		"it bears another registry's tag":             {emptied(), lost(tag(lease.TagRegistry, "uuid-2")), lease.ObstacleForeign},
		"a registry without a uuid":                   {lease.Snapshot{}, lost(tag(lease.TagRegistry, "")), lease.ObstacleUntagged},
		"it is shutting down":                         {emptied(), lost(func(i *lease.Instance) { i.State = lease.InstanceShuttingDown }), lease.ObstacleOver},
		"it is stopped":                               {emptied(), lost(func(i *lease.Instance) { i.State = lease.InstanceStopped }), ""},
		"it is exempt":                                {emptied(), lost(tag(lease.TagExempt, "")), lease.ObstacleExempt},
		"its launch tag was copied":                   {emptied(), of("", token+".1"), lease.ObstacleCopied},
		"its launch tag is of another launch":         {emptied(), of("other.1", token+".1"), lease.ObstacleCopied},
		"it has no launch tag, as what was adopted":   {emptied(), lost(untag(lease.TagLaunch)), lease.ObstacleCopied},
		"its client token is none of ours":            {emptied(), of("terraform-2027", "terraform-2027"), lease.ObstacleCopied},
		"its client token numbers no attempt":         {emptied(), of(token+".0", token+".0"), lease.ObstacleCopied},
		"its client token numbers one oddly":          {emptied(), of(token+".01", token+".01"), lease.ObstacleCopied},
		"its lease is on record":                      {emptied(func(s *lease.Snapshot) { s.Leases = []lease.Lease{held()} }), lost(func(i *lease.Instance) { i.ID = held().InstanceID }), lease.ObstacleLeased},
		"its lease's record cannot be read":           {emptied(bad("lease", lost().ID)), lost(), lease.ObstacleUnread},
		"its launch's record cannot be read":          {emptied(bad("launch", token)), lost(), lease.ObstacleUnread},
		"only its heartbeat cannot be read":           {emptied(bad("heartbeat", lost().ID)), lost(), ""},
		"its launch is under way":                     {emptied(recorded(lease.LaunchOpen)), lost(), lease.ObstacleOpen},
		"its launch is under way, in an older state":  {emptied(recorded(lease.LaunchOpen)), of(token+".2", token+".2"), lease.ObstacleOpen},
		"its launch is open, its window over":         {emptied(recorded(lease.LaunchOpen), windowOver), lost(), ""},
		"its launch is under way, its lease was seen": {emptied(recorded(lease.LaunchOpen), beaten), lost(), ""},
		"its launch was closed":                       {emptied(recorded(lease.LaunchClosed)), lost(), lease.ObstacleOrphan},
		"its launch was closed, and knows it not":     {emptied(recorded(lease.LaunchClosed)), of(token+".2", token+".2"), lease.ObstacleDoubt},
		"its launch is done":                          {emptied(recorded(lease.LaunchDone)), lost(), ""},
		"its launch is done, and knows it not":        {emptied(recorded(lease.LaunchDone)), of(token+".2", token+".2"), lease.ObstacleDoubt},
		"its launch is done, in another location":     {emptied(recorded(lease.LaunchDone)), lost(func(i *lease.Instance) { i.Location.Region = "mars-1" }), lease.ObstacleDoubt},
	} {
		l, err := lease.NewRecovery(c.s, lease.RecoveryTerms{}).Lease(noon, c.i, lease.By{})
		cannot, refused := errors.AsType[*lease.UnrecoverableError](err)
		switch {
		case c.want == "" && (err != nil || l.State != lease.StateActive):
			t.Errorf("%s: %+v, %v", name, l, err)
		case c.want != "" && (!refused || cannot.Obstacle != c.want || l.InstanceID != ""):
			t.Errorf("%s: %+v, %v", name, l, err)
		}
	}
}

func TestARecoveredLeaseTakesTheLabelsOfItsLaunch(t *testing.T) {
	t.Parallel()
	l, err := lease.NewRecovery(emptied(recorded(lease.LaunchDone)), lease.RecoveryTerms{HeartbeatTimeout: time.Minute}).Lease(noon, lost(), lease.By{})
	if err != nil || l.Labels["team"] != "search" || l.HeartbeatTimeout != lease.Duration(time.Minute) {
		t.Errorf("%+v, %v", l, err)
	}
}

// Whatever the tags say, nothing that is recovered ends within a day, and nothing is that does not prove its launch.
func TestARecoveredLeaseLastsADay(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(rapid.String(), rapid.Map(rapid.Int64Range(-1<<33, 1<<33), func(s int64) string {
			return time.Unix(s, 0).UTC().Format(time.RFC3339)
		})).Draw(t, "term")
		client, launch := rapid.StringMatching(`[a-z-]{0,5}\.?[0-9]{0,3}`).Draw(t, "client"), rapid.StringMatching(`[a-z-]{0,5}\.?[0-9]{0,3}`).Draw(t, "launch")
		i := lost(tag(lease.TagExpires, text), tag(lease.TagLaunch, launch), func(i *lease.Instance) { i.ClientToken = client })
		terms := lease.RecoveryTerms{Term: time.Duration(rapid.Int64Range(0, int64(100*time.Hour)).Draw(t, "least"))}
		l, err := lease.NewRecovery(emptied(), terms).Lease(noon, i, lease.By{})
		if err != nil {
			return
		}
		if client != launch || !l.Binds(i) || l.ExpiresAt.Before(noon.Add(max(24*time.Hour, terms.Term).Truncate(time.Millisecond))) {
			t.Fatalf("%+v", l)
		}
	})
}
