package api_test

import (
	"net/http"
	"testing"
	"time"

	"lapse/lease"
	"lapse/lease/ec2/ec2sim"
)

// claims lets a caller take the heartbeat.
func (w *world) claims(c *caller, id string) {
	w.Helper()
	if status, kind, _ := c.call(http.MethodPut, own(id, "/heartbeat"), heartbeatOf("boot", true)); status != http.StatusOK {
		w.Fatalf("claim: %d %s", status, kind)
	}
}

func (w *world) passes(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ahead += d
}

// TestAContestIsOnTheLeaseHoweverLateThatComes has two keys used by turns before there is a lease, and a third after it.
func TestAContestIsOnTheLeaseHoweverLateThatComes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	i, token := w.launched("web")
	one, other, third := w.caller(i.PrivateIP), w.caller(i.PrivateIP), w.caller(i.PrivateIP)
	for _, c := range []*caller{one, other} {
		if status, kind := c.enrol(i.ID, w.document(i.ID), token); status != http.StatusOK {
			t.Fatalf("%d %s", status, kind)
		}
		w.claims(c, i.ID)
		w.passes(time.Minute)
	}
	w.claims(one, i.ID)
	if w.enrolment(i.ID).Contested.IsZero() {
		t.Fatal("not contested")
	}
	w.bind(i)
	w.claims(other, i.ID)
	l := w.lease(i.ID)
	if l.ContestedAt.IsZero() || !l.VouchedAt.IsZero() {
		t.Errorf("the lease does not say so: %+v", l)
	}
	if status, kind := third.enrol(i.ID, w.document(i.ID), token); status != http.StatusOK {
		t.Fatalf("%d %s", status, kind)
	}
	w.claims(third, i.ID)
	if keys := w.enrolment(i.ID).Keys; len(keys) != 3 || keys[2].UsedAt.IsZero() {
		t.Errorf("the use of the third is not kept: %+v", keys)
	}
	if status, kind, _ := third.call(http.MethodPost, own(i.ID, "/extend"), map[string]string{"by": "1h"}); status != http.StatusOK {
		t.Errorf("none may extend: %d %s", status, kind)
	}
}

// TestWhoCannotBeCheckedIsVouchedFor has instances that lose their keys while EC2 or the certificates fail.
func TestWhoCannotBeCheckedIsVouchedFor(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		fails   func(w *world)
		from    string // empty: the instance's own address
		vouched bool
	}{
		"EC2 gives no answer": {func(w *world) {
			w.Sim.Inject(ec2sim.Fault{Action: "DescribeInstances", Effect: ec2sim.Refuse, Code: "RequestLimitExceeded"})
		}, "", true},
		"no certificate, from its own address":       {func(w *world) { clear(w.known) }, "", true},
		"no certificate, from anywhere else":         {func(w *world) { clear(w.known) }, "203.0.113.9", false},
		"the certificates of another Region alone":   {func(w *world) { delete(w.known, "us-east-1") }, "203.0.113.9", false},
		"the certificate of the Region is another's": {func(w *world) { w.known["us-east-1"] = w.known["eu-west-1"] }, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			i, token := w.launched("web")
			w.bind(i)
			document := w.document(i.ID)
			test.fails(w)
			from := i.PrivateIP
			if test.from != "" {
				from = test.from
			}
			c := w.caller(from)
			status, kind := c.enrol(i.ID, document, token)
			l := w.lease(i.ID)
			if status < 400 || kind == "" || l.VouchedAt.IsZero() == test.vouched {
				t.Errorf("%d %s; vouched for at %s, want %t", status, kind, l.VouchedAt, test.vouched)
			}
		})
	}
}

// TestAVouchEndsWithARenewal enrols once EC2 answers again.
func TestAVouchEndsWithARenewal(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	i, token := w.launched("web")
	w.bind(i)
	remove := w.Sim.Inject(ec2sim.Fault{Action: "DescribeInstances", Effect: ec2sim.Refuse, Code: "RequestLimitExceeded"})
	c, document := w.caller(i.PrivateIP), w.document(i.ID)
	c.enrol(i.ID, document, token)
	if w.lease(i.ID).VouchedAt.IsZero() {
		t.Fatal("not vouched for")
	}
	remove()
	if status, kind := c.enrol(i.ID, document, token); status != http.StatusOK {
		t.Fatalf("%d %s", status, kind)
	}
	l := w.lease(i.ID)
	if !l.VouchedAt.IsZero() || l.CuredAt.IsZero() {
		t.Errorf("still vouched for: %+v", l)
	}
	_, _, err := w.store.UpdateLease(t.Context(), i.ID, func(l lease.Lease) (lease.Lease, error) { return l.Vouch(time.Now(), lease.By{Actor: "test"}) })
	if err != nil {
		t.Fatal(err)
	}
	w.claims(c, i.ID)
	if !w.lease(i.ID).VouchedAt.IsZero() {
		t.Error("vouched for, although it renews")
	}
}

// TestAHostileCounterIsNotBelieved says to have seen more changes than it was told: three such could hold everybody's terminations.
func TestAHostileCounterIsNotBelieved(t *testing.T) {
	t.Parallel()
	s := newSiege(t, newWorld(t))
	hostile := heartbeatOf("boot", false)
	for range 3 {
		hostile["changes"] = 1_000_000_000
		if status, kind, _ := s.mineKey.call(http.MethodPut, own(s.mine.ID, "/heartbeat"), hostile); status != http.StatusOK {
			t.Fatalf("%d %s", status, kind)
		}
	}
	claim, err := s.store.Resume(t.Context(), s.mine.ID, "boot")
	if l := s.lease(s.mine.ID); err != nil || claim.Heartbeat.Changes != l.Changes || l.Changes == 0 {
		t.Errorf("the heartbeat says %d, the lease %d: %v", claim.Heartbeat.Changes, l.Changes, err)
	}
}

// TestAnInstanceWritesNoMoreThanItsShare moves its date, and its heartbeat's text, as often as it can.
func TestAnInstanceWritesNoMoreThanItsShare(t *testing.T) {
	t.Parallel()
	s := newSiege(t, newWorld(t))
	refused := 0
	for n := range 60 {
		hb := heartbeatOf("boot", n%3 == 0)
		hb["version"] = time.Now().String()
		status, kind, _ := s.mineKey.call(http.MethodPut, own(s.mine.ID, "/heartbeat"), hb)
		if n%2 == 0 {
			status, kind, _ = s.mineKey.call(http.MethodPost, own(s.mine.ID, "/extend"), map[string]string{"by": "1s"})
		}
		if status == http.StatusTooManyRequests && kind == "too-often" {
			refused++
		} else if status != http.StatusOK {
			t.Fatalf("%d %s", status, kind)
		}
	}
	if refused < 30 {
		t.Errorf("%d of 60 refused", refused)
	}
	if status, kind, _ := s.neighbourCaller.call(http.MethodPost, own(s.theirs.ID, "/extend"), map[string]string{"by": "1h"}); status != http.StatusOK {
		t.Errorf("the neighbour may not extend: %d %s", status, kind)
	}
}
