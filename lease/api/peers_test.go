package api_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"lapse/lease"
	"lapse/lease/api"
	"lapse/lease/api/edge"
	"lapse/lease/leasetest"
	"lapse/lease/self"
)

// leased gives an instance a lease of its launch, as launchers do.
func (w *world) leased(id, launch string) {
	w.Helper()
	_, _, err := w.store.UpdateLease(w.Context(), id, func(l lease.Lease) (lease.Lease, error) {
		l.Launch = launch
		return l, nil
	})
	if err != nil {
		w.Fatal(err)
	}
	record, err := w.store.Launch(w.Context(), launch)
	if err != nil {
		w.Fatal(err)
	}
	record.Attempts[0].Outcome, record.Attempts[0].Instances = lease.OutcomeLaunched, []string{id}
	if _, err := w.store.PutLaunch(w.Context(), record); err != nil {
		w.Fatal(err)
	}
}

// TestNothingIsSeenOfAnotherLaunch has two instances of two launches renew, and asks for the peers of one.
func TestNothingIsSeenOfAnotherLaunch(t *testing.T) {
	t.Parallel()
	s := newSiege(t, newWorld(t))
	s.leased(s.mine.ID, "mine-1")
	s.leased(s.theirs.ID, "theirs-2")
	status, kind, answer := s.mineKey.call(http.MethodGet, own(s.mine.ID, "/peers"), nil)
	if text := string(answer); status != http.StatusOK || !strings.Contains(text, s.mine.ID) || strings.Contains(text, s.theirs.ID) || strings.Contains(text, "theirs") {
		t.Errorf("%d %s %s", status, kind, answer)
	}
	for _, secret := range []string{s.myToken, lease.HashToken(s.myToken), "ami-1", "attempts", "history", "holder"} {
		if strings.Contains(string(answer), secret) {
			t.Errorf("the answer has %q: %s", secret, answer)
		}
	}
}

// TestAskingForPeersTooOftenHarmsNobody asks without end. The instance renews all the same, and its neighbour asks.
func TestAskingForPeersTooOftenHarmsNobody(t *testing.T) {
	t.Parallel()
	s := newSiege(t, newWorld(t))
	for range 30 {
		s.mineKey.call(http.MethodGet, own(s.mine.ID, "/peers"), nil)
	}
	status, kind, answer := s.mineKey.call(http.MethodGet, own(s.mine.ID, "/peers"), nil)
	if status != http.StatusTooManyRequests || kind != "too-often" || !strings.Contains(string(answer), "asks for its peers too often") {
		t.Errorf("%d %s %s", status, kind, answer)
	}
	if status, kind, _ := s.mineKey.call(http.MethodPut, own(s.mine.ID, "/heartbeat"), heartbeatOf("boot", false)); status != http.StatusOK {
		t.Errorf("it cannot renew: %d %s", status, kind)
	}
	if status, kind, _ := s.neighbourCaller.call(http.MethodGet, own(s.theirs.ID, "/peers"), nil); status != http.StatusOK {
		t.Errorf("its neighbour cannot ask: %d %s", status, kind)
	}
	s.mu.Lock()
	s.ahead = 2 * time.Second
	s.mu.Unlock()
	if status, kind, _ := s.mineKey.call(http.MethodGet, own(s.mine.ID, "/peers"), nil); status != http.StatusOK {
		t.Errorf("two seconds later: %d %s", status, kind)
	}
}

// reluctant is a store that fails to read heartbeats when told to, and is never to be searched.
type reluctant struct {
	*leasetest.Store
	*testing.T
	fails bool
}

func (r *reluctant) Members(context.Context, string) ([]string, error) {
	r.Error("all leases are searched")
	return nil, nil
}

func (r *reluctant) Renewals(ctx context.Context, ids []string) ([]lease.Lease, map[string]lease.Heartbeat, error) {
	if r.fails {
		return nil, nil, errors.New("etcdserver: request timed out at 10.1.2.3")
	}
	return r.Store.Renewals(ctx, ids)
}

// TestPeersThatCannotBeReadAreNotGuessed: no older answer takes the place of one that cannot be had. Nor are all leases searched for
// those of a launch.
func TestPeersThatCannotBeReadAreNotGuessed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const id = "i-0123456789abcdef0"
		store := &reluctant{Store: leasetest.NewStore(), T: t}
		leasetest.Launched(t, store.Store, leasetest.NewCloud(), id)
		_, _, err := store.UpdateEnrolment(t.Context(), id, func(e lease.Enrolment) (lease.Enrolment, error) {
			return e.Enrol(time.Now(), time.Now(), lease.EnrolledKey{SHA256: "key", Proof: lease.ProofLaunch})
		})
		if err != nil {
			t.Fatal(err)
		}
		handler := api.New(api.Config{Store: store, Clouds: []api.Cloud{nowhere{}}, Now: time.Now, Logger: slog.New(slog.DiscardHandler)}).Handler()
		get := func() *httptest.ResponseRecorder {
			caller := edge.Caller{Key: "key", Addr: netip.MustParseAddr("10.0.0.1")}
			answer := httptest.NewRecorder()
			handler.ServeHTTP(answer, httptest.NewRequestWithContext(edge.NewContext(t.Context(), caller), http.MethodGet, own(id, "/peers"), nil))
			return answer
		}
		if got := get(); got.Code != http.StatusOK {
			t.Errorf("%d %s", got.Code, got.Body)
		}
		store.fails = true
		time.Sleep(self.PeersAge + time.Millisecond)
		if got := get(); got.Code != http.StatusServiceUnavailable || got.Header().Get("Retry-After") == "" || strings.Contains(got.Body.String(), "10.1.2.3") {
			t.Errorf("%d %v %s", got.Code, got.Header(), got.Body)
		}
	})
}
