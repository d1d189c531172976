package api_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"lapse/lease"
	"lapse/lease/api"
	"lapse/lease/api/edge"
	"lapse/lease/leasetest"
)

// interrupted is a store in which somebody acts just before a heartbeat is read.
type interrupted struct {
	*leasetest.Store
	act func()
}

func (s interrupted) Resume(ctx context.Context, id, boot string) (lease.Claim, error) {
	s.act()
	return s.Store.Resume(ctx, id, boot)
}

// TestARenewalUnderWayDoesNotContestWhatIsSettled has an operator settle an enrolment while a key that is not kept renews.
func TestARenewalUnderWayDoesNotContestWhatIsSettled(t *testing.T) {
	t.Parallel()
	s := newSiege(t, newWorld(t))
	s.contest()
	kept, other := s.enrolment(s.mine.ID).Keys[0].SHA256, s.enrolment(s.mine.ID).Keys[1].SHA256
	settle := func() {
		keep := func(e lease.Enrolment) (lease.Enrolment, error) { return e.Settle(kept) }
		if _, _, err := s.store.UpdateEnrolment(t.Context(), s.mine.ID, keep); err != nil {
			t.Error(err)
		}
		settled := func(l lease.Lease) (lease.Lease, error) { return l.Settled(time.Now(), lease.By{Actor: "operator"}) }
		if _, _, err := s.store.UpdateLease(t.Context(), s.mine.ID, settled); err != nil {
			t.Error(err)
		}
	}
	handler := api.New(api.Config{
		Store: interrupted{s.store, settle}, Certificates: s.known, Logger: slog.New(slog.DiscardHandler), Now: time.Now,
	}).Handler()
	ctx := edge.NewContext(t.Context(), edge.Caller{Key: other})
	body := strings.NewReader(`{"boot_id":"boot","heartbeat_timeout":"1m0s"}`)
	handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, http.MethodPut, own(s.mine.ID, "/heartbeat"), body))
	if l, e := s.lease(s.mine.ID), s.enrolment(s.mine.ID); !l.ContestedAt.IsZero() || !e.Contested.IsZero() {
		t.Errorf("the lease is contested since %s, and the enrolment since %s", l.ContestedAt, e.Contested)
	}
}
