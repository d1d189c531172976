package lease_test

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"lapse/lease"
)

// closedWeb is a launch that was created at noon, sent a minute later and closed.
func closedWeb() lease.Launch {
	return lease.Launch{
		Schema: 1, Token: "web", State: lease.LaunchClosed, Window: lease.Duration(15 * time.Minute), CreatedAt: at(0), SettledAt: at(time.Hour),
		Attempts: []lease.Attempt{{ClientToken: "web.1", LastSend: at(time.Minute)}},
	}
}

func TestLeftoversOfALaunchByDate(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		at   time.Time
		want bool
	}{
		"at the send": {at(time.Minute), true},
		"at its creation, by a clock a little off": {at(-lease.MaxSkew), true},
		"before that":              {at(-lease.MaxSkew - 1), false},
		"at the end of its window": {at(16*time.Minute + lease.MaxSkew), true},
		"after that":               {at(16*time.Minute + lease.MaxSkew + 1), false},
		"nobody knows when":        {time.Time{}, false},
	} {
		if got := closedWeb().Spans(c.at); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
	brief := closedWeb()
	brief.Window = lease.Duration(time.Minute)
	if late := at(6*time.Minute + lease.MaxSkew); !brief.Spans(late) || brief.Spans(late.Add(1)) {
		t.Error("a window of a minute: EC2 carries a call out until its signature is five minutes old, and no longer")
	}
}

func TestStatesOfLeftovers(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		kind                 lease.LeftoverKind
		state                string
		attached             bool
		loose, passing, gone bool
	}{
		{lease.LeftoverVolume, "available", false, true, false, false},
		{lease.LeftoverVolume, "available", true, false, false, false},
		{lease.LeftoverVolume, "in-use", true, false, false, false},
		{lease.LeftoverVolume, "creating", false, false, true, false},
		{lease.LeftoverVolume, "deleting", false, false, false, true},
		{lease.LeftoverVolume, "error", false, false, false, false},
		{lease.LeftoverVolume, "active", false, false, false, false},
		{lease.LeftoverInterface, "available", false, true, false, false},
		{lease.LeftoverInterface, "detaching", true, false, true, false},
		{lease.LeftoverSpot, "open", false, true, false, false},
		{lease.LeftoverSpot, "active", false, true, false, false},
		{lease.LeftoverSpot, "available", false, false, false, false},
		{lease.LeftoverSpot, "cancelled", false, false, false, true},
		{lease.LeftoverSpot, "closed", false, false, false, true},
		{lease.LeftoverSpot, "disabled", false, false, false, false},
	} {
		x := lease.Leftover{Kind: c.kind, State: c.state, Attached: c.attached}
		if x.Loose() != c.loose || x.Passing() != c.passing || x.Gone() != c.gone {
			t.Errorf("%s %s: loose %v, passing %v, gone %v", c.kind, c.state, x.Loose(), x.Passing(), x.Gone())
		}
	}
}

func TestALeftoverIsManagedByValueAndExemptByPresence(t *testing.T) {
	t.Parallel()
	x := lease.Leftover{Tags: map[string]string{lease.TagRegistry: "", lease.TagExempt: ""}}
	if x.ManagedBy("") || x.ManagedBy("uuid") || !x.Exempt() {
		t.Errorf("managed by nothing %v, by uuid %v, exempt %v", x.ManagedBy(""), x.ManagedBy("uuid"), x.Exempt())
	}
	x.Tags = map[string]string{lease.TagRegistry: "uuid"}
	if !x.ManagedBy("uuid") || x.Exempt() {
		t.Errorf("managed %v, exempt %v", x.ManagedBy("uuid"), x.Exempt())
	}
}

func TestOnlyAClosedLaunchIsCleared(t *testing.T) {
	t.Parallel()
	web := closedWeb()
	noted := must(web.Removing(at(2*time.Hour), "vol-1", "eni-1"))
	noted = must(noted.Removing(at(3*time.Hour), "vol-1"))
	noted = must(noted.Cleared(at(4 * time.Hour)))
	if !noted.Removals["vol-1"].Equal(at(3*time.Hour)) || !noted.Removals["eni-1"].Equal(at(2*time.Hour)) || !noted.ClearedAt.Equal(at(4*time.Hour)) {
		t.Errorf("noted %v, cleared %s", noted.Removals, noted.ClearedAt)
	}
	once := must(web.Removing(at(2*time.Hour), "vol-1"))
	if must(once.Removing(at(3*time.Hour), "vol-1", "eni-1")); len(once.Removals) != 1 || !once.Removals["vol-1"].Equal(at(2*time.Hour)) {
		t.Errorf("noted %v in the launch that was judged", once.Removals)
	}
	if web.Removals != nil || !web.ClearedAt.IsZero() {
		t.Error("a transition altered what it was made from")
	}
	for _, state := range []lease.LaunchState{lease.LaunchOpen, lease.LaunchDone} {
		web.State = state
		_, removing := web.Removing(at(0), "vol-1")
		_, cleared := web.Cleared(at(0))
		for _, err := range []error{removing, cleared} {
			if _, refused := errors.AsType[*lease.LaunchStateError](err); !refused {
				t.Errorf("%s: %v", state, err)
			}
		}
	}
}

func TestAnOrphanNotesItsLeftoversAndAnAdoptedLeaseItsTags(t *testing.T) {
	t.Parallel()
	web := closedWeb()
	i := lease.Instance{ID: "i-1", ClientToken: "web.1", Outlive: []string{"vol-1"}, Tags: map[string]string{lease.TagLaunch: "web.1"}}
	orphan := web.Orphan(at(0), i, web.Attempts[0], jan)
	if orphan.WasActive() || len(orphan.Outlive) != 1 || orphan.Outlive[0] != "vol-1" || orphan.Bore != "" {
		t.Errorf("orphan: was active %v, outlive %v, bore %q", orphan.WasActive(), orphan.Outlive, orphan.Bore)
	}
	adopted := lease.Adopt(at(0), i, at(time.Hour), time.Time{}, "", nil, ada)
	if !adopted.WasActive() || adopted.Bore != "web.1" || adopted.Launch != "" || adopted.Outlive != nil {
		t.Errorf("adopted: was active %v, bore %q, launch %q, outlive %v", adopted.WasActive(), adopted.Bore, adopted.Launch, adopted.Outlive)
	}
	for _, cause := range []lease.Cause{"", lease.CauseExpired, lease.CauseRelease, lease.CauseRevoke, lease.CauseHeartbeatLost, lease.CauseNoHeartbeat, lease.CauseGone} {
		if !(lease.Lease{Cause: cause}).WasActive() {
			t.Errorf("a lease with cause %q was never active", cause)
		}
	}
}

func TestAnAdoptedLeaseThatEndedUntaggedIsAdoptedAgain(t *testing.T) {
	t.Parallel()
	l := must(adopting().End(at(time.Hour), lease.CauseGone, jan))
	data, err := json.Marshal(l)
	if err != nil {
		t.Fatal(err)
	}
	read, err := lease.Decode[lease.Lease]("lease", "i-1", data)
	if err != nil {
		t.Fatal(err)
	}
	back := must(read.Reopen(at(2*time.Hour), jan))
	if back.State != lease.StateAdopting || back.Untagged || back.Cause != "" {
		t.Errorf("reopened as %s, untagged %v, cause %q", back.State, back.Untagged, back.Cause)
	}
	again := must(must(back.Activate(at(3*time.Hour), jan)).End(at(4*time.Hour), lease.CauseGone, jan))
	if back := must(again.Reopen(at(5*time.Hour), jan)); back.State != lease.StateActive {
		t.Errorf("after its tag was seen, reopened as %s", back.State)
	}
}
