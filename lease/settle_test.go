package lease_test

import (
	"errors"
	"testing"
	"time"

	"pgregory.net/rapid"

	"lapse/lease"
)

func TestAnInstanceIsAMemberOnlyIfTagAndTokenNameAnAttempt(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		tag, client string
		want        bool
	}{
		"tag and client token of an attempt":                       {token + ".1", token + ".1", true},
		"a copied tag, launched by hand":                           {token + ".1", "", false},
		"a copied tag, launched with another client token":         {token + ".1", "other.1", false},
		"the client token without the tag":                         {"", token + ".1", false},
		"neither tag nor client token":                             {"", "", false},
		"tag and client token of an attempt that was never stored": {token + ".2", token + ".2", false},
		"tag and client token of another launch":                   {"other.1", "other.1", false},
		"the launch token without an attempt":                      {token, token, false},
		"a difference in case":                                     {"Nightly-build.1", "Nightly-build.1", false},
	} {
		i := instance()
		i.ClientToken = c.client
		if i.Tags[lease.TagLaunch] = c.tag; c.tag == "" {
			delete(i.Tags, lease.TagLaunch)
		}
		a, ok := launched().Member(i)
		if ok != c.want || ok && a.ClientToken != token+".1" || !ok && a.ClientToken != "" {
			t.Errorf("%s: %+v, %t", name, a, ok)
		}
	}
	// A record that somebody mangled must not make a member of every instance without tags.
	mangled := launched()
	mangled.Attempts = []lease.Attempt{{}}
	if _, ok := mangled.Member(lease.Instance{ID: "i-9"}); ok {
		t.Error("an instance without tags is a member of an attempt without a client token")
	}
}

func TestALeaseBindsItsInstanceOnly(t *testing.T) {
	t.Parallel()
	change := func(f func(*lease.Instance)) lease.Instance {
		i := instance()
		f(&i)
		return i
	}
	for name, c := range map[string]struct {
		l    lease.Lease
		i    lease.Instance
		want bool
	}{
		"its own":                        {held(), instance(), true},
		"another id":                     {held(), change(func(i *lease.Instance) { i.ID = "i-2" }), false},
		"another client token":           {held(), change(func(i *lease.Instance) { i.ClientToken = "x.1" }), false},
		"no client token":                {held(), change(func(i *lease.Instance) { i.ClientToken = "" }), false},
		"another tag":                    {held(), change(func(i *lease.Instance) { i.Tags[lease.TagLaunch] = "x.1" }), false},
		"no tags":                        {held(), change(func(i *lease.Instance) { i.Tags = nil }), false},
		"adopted":                        {adopting(), change(func(i *lease.Instance) { i.ClientToken, i.Tags = "", nil }), true},
		"adopted, made by somebody else": {adopting(), change(func(i *lease.Instance) { i.ClientToken = "theirs" }), true},
		"adopted, but another id":        {adopting(), change(func(i *lease.Instance) { i.ID = "i-2" }), false},
	} {
		if got := c.l.Binds(c.i); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

func TestBindGrantsTheRequestedTermFromTheLaunch(t *testing.T) {
	t.Parallel()
	l := launched()
	got := l.Bind(at(time.Hour), instance(), l.Last(), ada)
	want := lease.Lease{
		Schema: lease.Schema, InstanceID: "i-1", Launch: token, ClientToken: token + ".1",
		Account: "123456789012", Region: "eu-west-1", Zone: "eu-west-1a", ZoneID: "euw1-az2",
		Holder: "ada", Labels: map[string]string{"job": "42"}, State: lease.StateActive,
		GrantedAt: at(time.Hour), ExpiresAt: at(24 * time.Hour), ExpiresNumber: 1, MaxExpiresAt: at(7 * 24 * time.Hour),
		HeartbeatTimeout: lease.Duration(time.Minute), Changes: 1,
		History: []lease.Transition{{Time: at(time.Hour), Actor: ada.Actor, Action: "bind", Reason: ada.Reason}},
	}
	if !same(got, want) {
		t.Errorf("bound %s\nwant  %s", text(t, got), text(t, want))
	}
	if !got.Binds(instance()) || got.Location() != l.Location() || got.Location().String() != "123456789012/eu-west-1" {
		t.Errorf("bound in %s", got.Location())
	}
	l.Term, l.MaxTerm, l.HeartbeatTimeout = 0, 0, 0
	if got := l.Bind(at(time.Hour), instance(), l.Last(), ada); !got.ExpiresAt.IsZero() || !got.MaxExpiresAt.IsZero() || got.HeartbeatTimeout != 0 {
		t.Errorf("none asked for, but granted %s", text(t, got))
	}
}

func TestTheLeaseOfAnOrphanIsCreatedRevoked(t *testing.T) {
	t.Parallel()
	l := must(launched().Close(at(20*time.Minute), "window over"))
	got := l.Orphan(at(time.Hour), instance(), l.Last(), jan)
	if got.State != lease.StateRevoked || got.Cause != lease.CauseFailedCreation || !got.RevokedAt.Equal(at(time.Hour)) ||
		got.Launch != token || got.ClientToken != token+".1" || got.History[0].Action != "orphan" || got.Live() {
		t.Errorf("orphan %s", text(t, got))
	}
	if !got.Binds(instance()) {
		t.Error("its lease does not bind the orphan")
	}
}

func TestAnAdoptedInstanceIsNotActiveYet(t *testing.T) {
	t.Parallel()
	got := adopting()
	if got.State != lease.StateAdopting || got.Launch != "" || got.ClientToken != "" || !got.ExpiresAt.Equal(at(24*time.Hour)) ||
		!got.MaxExpiresAt.Equal(at(7*24*time.Hour)) || got.History[0].Action != "adopt" || got.Changes != 1 ||
		got.Location() != instance().Location || got.ZoneID != "euw1-az2" || got.Holder != "ada" || got.Schema != lease.Schema {
		t.Errorf("adopted %s", text(t, got))
	}
	none := lease.Adopt(noon, instance(), time.Time{}, time.Time{}, "", nil, ada)
	if !none.ExpiresAt.IsZero() || !none.MaxExpiresAt.IsZero() {
		t.Errorf("no dates given, but adopted %s", text(t, none))
	}
}

// TestAnAdoptionKeepsOfWhichLaunchAnInstanceWas: by its tag or, where that is missing, by its key pair.
func TestAnAdoptionKeepsOfWhichLaunchAnInstanceWas(t *testing.T) {
	t.Parallel()
	key := lease.KeyName(ownUUID, "web.1")
	for name, c := range map[string]struct{ tag, key, want string }{
		"by its tag":          {"web.2", key, "web.2"},
		"by its key pair":     {"", key, "web.1"},
		"neither":             {"", "", ""},
		"somebody's key pair": {"", "ada", ""},
		"a name like ours":    {"", "lapse-web.1", ""},
		"not of an attempt":   {"", lease.KeyName(ownUUID, "web"), ""},
	} {
		i := instance()
		i.KeyName, i.Tags = c.key, map[string]string{}
		if c.tag != "" {
			i.Tags[lease.TagLaunch] = c.tag
		}
		if got := lease.Adopt(noon, i, time.Time{}, time.Time{}, "ada", nil, ada).Bore; got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestANewLeaseSharesNothingWithItsLaunch(t *testing.T) {
	t.Parallel()
	labels := map[string]string{"job": "42"}
	l := launched()
	l.Labels = labels
	for _, made := range []lease.Lease{
		l.Bind(noon, instance(), l.Last(), ada),
		l.Orphan(noon, instance(), l.Last(), jan),
		lease.Adopt(noon, instance(), at(time.Hour), time.Time{}, "ada", labels, ada),
	} {
		made.Labels["job"] = "scrambled"
	}
	if labels["job"] != "42" {
		t.Error("labels are shared")
	}
}

func TestInstancesAreManagedByValueAndExemptByPresence(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		value := rapid.SampledFrom([]string{"", "uuid-1", "uuid-2", "UUID-1"})
		i := lease.Instance{Tags: map[string]string{lease.TagRegistry: value.Draw(t, "tag")}}
		uuid := value.Draw(t, "registry")
		if want := uuid != "" && uuid == i.Tags[lease.TagRegistry]; i.ManagedBy(uuid) != want {
			t.Fatalf("tag %q, registry %q: %t", i.Tags[lease.TagRegistry], uuid, !want)
		}
		if i.Exempt() {
			t.Fatal("exempt without the tag")
		}
		i.Tags[lease.TagExempt] = rapid.SampledFrom([]string{"", "false", "0", "yes"}).Draw(t, "exempt")
		if !i.Exempt() {
			t.Fatalf("not exempt with the value %q", i.Tags[lease.TagExempt])
		}
	})
	if (lease.Instance{}).ManagedBy("") || (lease.Instance{}).ManagedBy("uuid-1") || (lease.Instance{}).Exempt() {
		t.Error("an instance without tags is managed or exempt")
	}
}

func TestAnInstanceIsAliveUntilItShutsDown(t *testing.T) {
	t.Parallel()
	for state, want := range map[lease.InstanceState]bool{
		lease.InstancePending: true, lease.InstanceRunning: true, lease.InstanceStopping: true, lease.InstanceStopped: true,
		lease.InstanceShuttingDown: false, lease.InstanceTerminated: false,
	} {
		if got := (lease.Instance{State: state}).Alive(); got != want {
			t.Errorf("%s: %t", state, got)
		}
	}
}

func TestZonesAreGroupedByIDOrElseByName(t *testing.T) {
	t.Parallel()
	if got := instance().ZoneKey(); got != "euw1-az2" {
		t.Errorf("grouped by %q", got)
	}
	if got := (lease.Instance{Zone: "eu-west-1a"}).ZoneKey(); got != "eu-west-1a" {
		t.Errorf("grouped by %q", got)
	}
}

func TestATerminationIsAcceptedRefusedOrOpen(t *testing.T) {
	t.Parallel()
	failed := errors.New("failed")
	for name, c := range map[string]struct {
		t                 lease.Termination
		accepted, refused bool
	}{
		"accepted":                           {lease.Termination{State: lease.InstanceShuttingDown}, true, false},
		"this very instance refused":         {lease.Termination{Code: "OperationNotPermitted", Err: failed}, false, true},
		"the call failed for all of its ids": {lease.Termination{Err: failed}, false, false},
	} {
		if c.t.Accepted() != c.accepted || c.t.Refused() != c.refused {
			t.Errorf("%s: accepted %t, refused %t", name, c.t.Accepted(), c.t.Refused())
		}
	}
}
