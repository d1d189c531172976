package selftest

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"lapse/lease"
)

// vanished is how long a test waits at most until what has vanished is gone: far longer than it may take.
const vanished = 30 * time.Second

func peerCases() map[string]func(*fixture) {
	return map[string]func(*fixture){
		"peers are those of the launch that live":     peersOfLaunch,
		"peers are no peers of another launch":        peersElsewhere,
		"a peer is gone as soon as its heartbeat is":  peerGone,
		"a peer appears as soon as it renews":         peerAppears,
		"fifty of two hundred peers vanish":           peersVanish,
		"an adopted instance is its only peer":        peersAdopted,
		"without a lease there are no peers":          peersUnbound,
		"a revoked instance sees no peers":            peersRevoked,
		"who is not a member by its lease is no peer": peersByLease,
	}
}

// other is the n-th instance beside the one under test.
func other(n int) string { return fmt.Sprintf("i-0fedcba98765%05x", n) }

// launch stores a launch of instances, and a lease for each of them.
func (t *fixture) launch(token string, ids ...string) {
	t.Helper()
	now := time.Now().UTC().Truncate(time.Millisecond)
	record, err := t.Store.Launch(t.Context(), token)
	if err != nil {
		record = lease.Launch{
			Schema: lease.Schema, Token: token, State: lease.LaunchOpen, Account: "123456789012", Region: "us-east-1", CreatedAt: now,
			Window: lease.Duration(15 * time.Minute), Request: []byte("{}"),
		}
	}
	record.Count = len(ids)
	record.Attempts = []lease.Attempt{{ClientToken: token + ".1", Min: len(ids), Max: len(ids), Sends: 1, LastSend: now, Outcome: lease.OutcomeLaunched, Instances: ids}}
	if _, err = t.Store.PutLaunch(t.Context(), record); err != nil {
		t.Fatal(err)
	}
	for _, id := range ids {
		t.lease(func(l *lease.Lease) {
			l.InstanceID, l.Launch, l.ClientToken, l.Zone, l.Labels = id, token, token+".1", "us-east-1a", map[string]string{"role": "monitor"}
		})
	}
}

// renews claims the heartbeat of an instance, from an address of its own.
func (t *fixture) renews(id string) {
	t.Helper()
	hb := t.heartbeat("boot")
	hb.InstanceID, hb.Address = id, "10.0.0."+id[len(id)-1:]
	if _, err := t.Store.Claim(t.Context(), hb); err != nil {
		t.Fatal(err)
	}
}

// peers asks for the peers, and fails if that is refused.
func (t *fixture) peers() map[string]lease.Peer {
	t.Helper()
	peers, err := t.Way.Peers(t.Context(), t.ID)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.IsSortedFunc(peers, func(a, b lease.Peer) int { return strings.Compare(a.InstanceID, b.InstanceID) }) {
		t.Errorf("not in order: %+v", peers)
	}
	all := map[string]lease.Peer{}
	for _, p := range peers {
		all[p.InstanceID] = p
	}
	return all
}

// wantPeers asks for the peers until they are these: an answer may be a second old. It tries rarely, so
// that nothing is refused for asking too often.
func (t *fixture) wantPeers(ids ...string) {
	t.Helper()
	slices.Sort(ids)
	ticker, late := time.NewTicker(1500*time.Millisecond), time.After(vanished)
	defer ticker.Stop()
	for {
		got := slices.Sorted(maps.Keys(t.peers()))
		if slices.Equal(got, ids) {
			return
		}
		select {
		case <-ticker.C:
		case <-late:
			t.Fatalf("%d peers are %q; want %d, %q", len(got), got, len(ids), ids)
		}
	}
}

func peersOfLaunch(t *fixture) {
	never, revoked, marked, lost := other(1), other(2), other(3), other(4)
	t.launch("fleet", t.ID, other(5), never, revoked, marked, lost)
	for _, id := range []string{t.ID, other(5), revoked, marked, lost} {
		t.renews(id)
	}
	t.Store.Lapse(lost)
	t.change(revoked, func(l lease.Lease) (lease.Lease, error) { return l.Revoke(time.Now(), lease.CauseRevoke, lease.By{}) })
	t.change(marked, func(l lease.Lease) (lease.Lease, error) {
		l.Mark = &lease.Mark{Cause: lease.CauseHeartbeatLost, Since: time.Now(), Deadline: time.Now().Add(time.Hour)}
		return l, nil
	})
	l, err := t.Store.Lease(t.Context(), other(5))
	if err != nil {
		t.Fatal(err)
	}
	got := t.peers()
	want := lease.Peer{
		InstanceID: other(5), Address: "10.0.0.5", Labels: map[string]string{"role": "monitor"}, Launch: "fleet", Zone: "us-east-1a", ExpiresAt: l.ExpiresAt,
	}
	if len(got) != 2 || !reflect.DeepEqual(got[other(5)], want) {
		t.Errorf("peers are %+v", got)
	}
	if me := got[t.ID]; !me.Self || me.Launch != "fleet" {
		t.Errorf("itself is %+v", me)
	}
}

func (t *fixture) change(id string, change func(lease.Lease) (lease.Lease, error)) {
	t.Helper()
	if _, _, err := t.Store.UpdateLease(t.Context(), id, change); err != nil {
		t.Fatal(err)
	}
}

func peersElsewhere(t *fixture) {
	t.launch("fleet", t.ID)
	t.launch("fleet-2", other(1))
	t.launch("flee", other(2))
	for _, id := range []string{t.ID, other(1), other(2)} {
		t.renews(id)
	}
	t.wantPeers(t.ID)
}

func peerGone(t *fixture) {
	t.launch("fleet", t.ID, other(1))
	t.renews(t.ID)
	t.renews(other(1))
	t.wantPeers(t.ID, other(1))
	t.Store.Lapse(other(1))
	t.wantPeers(t.ID)
}

func peerAppears(t *fixture) {
	t.launch("fleet", t.ID, other(1))
	t.wantPeers()
	t.renews(t.ID)
	t.renews(other(1))
	t.wantPeers(t.ID, other(1))
}

func peersVanish(t *fixture) {
	ids := []string{t.ID}
	for n := range 199 {
		ids = append(ids, other(n))
	}
	slices.Reverse(ids) // EC2 answers in any order
	t.launch("fleet", ids...)
	for _, id := range ids {
		t.renews(id)
	}
	t.wantPeers(ids...) // which sorts them
	for _, id := range ids[150:] {
		t.Store.Lapse(id)
	}
	t.wantPeers(ids[:150]...)
}

func peersAdopted(t *fixture) {
	t.lease()
	t.wantPeers()
	t.renews(t.ID)
	t.wantPeers(t.ID)
	if !t.peers()[t.ID].Self {
		t.Error("it is not marked as itself")
	}
}

func peersUnbound(t *fixture) {
	t.launch("fleet", other(1))
	t.renews(other(1))
	_, err := t.Way.Peers(t.Context(), t.ID)
	wantError[*lease.NotFoundError](t, err)
}

func peersRevoked(t *fixture) {
	t.launch("fleet", t.ID, other(1))
	t.renews(other(1))
	t.revoke()
	_, err := t.Way.Peers(t.Context(), t.ID)
	if e := errorOf[*lease.StateError](t, err); e.State != lease.StateRevoked {
		t.Errorf("%+v", e)
	}
}

// peersByLease has an instance of which the launch speaks, and whose lease belongs to another.
func peersByLease(t *fixture) {
	t.launch("fleet", t.ID, other(1))
	t.renews(t.ID)
	t.renews(other(1))
	t.change(other(1), func(l lease.Lease) (lease.Lease, error) {
		l.Launch = "other"
		return l, nil
	})
	t.wantPeers(t.ID)
}
