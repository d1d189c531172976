package leasetest

import (
	"fmt"
	"slices"

	"lapse/lease"
)

func peerCases() map[string]func(*fixture) {
	return map[string]func(*fixture){
		"members are those whose lease names the launch":        membersByLease,
		"renewals are read of each instance that has a lease":   renewalsOfAll,
		"renewals leave out what is not there":                  renewalsOfNobody,
		"renewals leave out what cannot be read":                renewalsUnreadable,
		"renewals tell a held heartbeat from a ghost":           renewalsOfGhosts,
		"a heartbeat that expires is not read with its renewal": renewalsExpire,
	}
}

// member stores the lease of an instance of a launch.
func (t *fixture) member(id, launch string) {
	t.Helper()
	l := activeLease(id)
	l.Launch = launch
	must[lease.Lease](t)(t.Store.PutLease(t.Context(), l))
}

func (t *fixture) renewals(ids ...string) ([]string, map[string]lease.Heartbeat) {
	t.Helper()
	leases, heartbeats, err := t.Store.Renewals(t.Context(), ids)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, l := range leases {
		found = append(found, l.InstanceID)
	}
	return found, heartbeats
}

func membersByLease(t *fixture) {
	var want []string
	for n := range 10 {
		id := fmt.Sprintf("i-%02d", n)
		t.member(id, "web")
		t.member("i-0a"+id, "web-2")
		want = append(want, id)
	}
	holder := activeLease("i-holder")
	holder.Holder = "web"
	must[lease.Lease](t)(t.Store.PutLease(t.Context(), holder))
	t.Put(t, "lease", "i-bad", []byte(`{"launch":"web"`))
	t.launch("web")
	got, err := t.Store.Members(t.Context(), "web")
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%q, %v", got, err)
	}
	if got, err := t.Store.Members(t.Context(), "none"); err != nil || len(got) > 0 {
		t.Errorf("%q, %v", got, err)
	}
}

// More than one transaction holds.
func renewalsOfAll(t *fixture) {
	var ids []string
	for n := range 150 {
		id := fmt.Sprintf("i-%03d", n)
		t.member(id, "web")
		if n%2 == 0 {
			must[lease.Claim](t)(t.Store.Claim(t.Context(), heartbeatOf(id, "boot")))
		}
		ids = append(ids, id)
	}
	found, heartbeats := t.renewals(ids...)
	if !slices.Equal(found, ids) || len(heartbeats) != 75 {
		t.Errorf("%d leases, %d heartbeats", len(found), len(heartbeats))
	}
	for id, hb := range heartbeats {
		if hb.InstanceID != id || !hb.Held || hb.BootID != "boot" {
			t.Errorf("%s has %+v", id, hb)
		}
	}
}

func renewalsOfNobody(t *fixture) {
	if found, heartbeats := t.renewals(); len(found)+len(heartbeats) > 0 {
		t.Errorf("%q, %v", found, heartbeats)
	}
	must[lease.Claim](t)(t.Store.Claim(t.Context(), heartbeatOf("i-unbound", "boot")))
	if found, heartbeats := t.renewals("i-unbound", "i-none"); len(found)+len(heartbeats) > 0 {
		t.Errorf("%q, %v", found, heartbeats)
	}
}

func renewalsUnreadable(t *fixture) {
	t.member("i-1", "web")
	t.member("i-2", "web")
	must[lease.Claim](t)(t.Store.Claim(t.Context(), heartbeatOf("i-1", "boot")))
	t.Put(t, "heartbeat", "i-2", []byte(`{`))
	t.Put(t, "lease", "i-3", []byte(`{`))
	found, heartbeats := t.renewals("i-3", "i-2", "i-1")
	if _, renews := heartbeats["i-1"]; !slices.Equal(found, []string{"i-2", "i-1"}) || len(heartbeats) != 1 || !renews {
		t.Errorf("%q, %v", found, heartbeats)
	}
}

func renewalsOfGhosts(t *fixture) {
	t.member("i-1", "web")
	must[lease.Claim](t)(t.Store.Claim(t.Context(), heartbeatOf("i-1", "boot")))
	t.Put(t, "heartbeat", "i-1", t.Get(t, "heartbeat", "i-1"))
	if _, heartbeats := t.renewals("i-1"); heartbeats["i-1"].Held {
		t.Errorf("%v", heartbeats)
	}
}

func renewalsExpire(t *fixture) {
	t.member(someID, "web")
	t.claim("boot")
	if _, heartbeats := t.renewals(someID); len(heartbeats) != 1 {
		t.Errorf("%v", heartbeats)
	}
	t.Lapse(t, someID)
	if found, heartbeats := t.renewals(someID); len(found) != 1 || len(heartbeats) != 0 {
		t.Errorf("%q, %v", found, heartbeats)
	}
}
