package api_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"lapse/lease"
	"lapse/lease/api/identity"
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

// TestAnInstanceWritesNoMoreThanItsShare moves its date, and its heartbeat's text, as often as it can. However much that is, it is
// still seen alive.
func TestAnInstanceWritesNoMoreThanItsShare(t *testing.T) {
	t.Parallel()
	s := newSiege(t, newWorld(t))
	refused, texts := 0, map[string]bool{}
	for n := range 40 {
		status, kind, _ := s.mineKey.call(http.MethodPost, own(s.mine.ID, "/extend"), map[string]string{"by": "1s"})
		if status == http.StatusTooManyRequests && kind == "too-often" {
			refused++
		} else if status != http.StatusOK {
			t.Fatalf("extend: %d %s", status, kind)
		}
		hb := heartbeatOf("boot", false)
		hb["version"] = fmt.Sprint(n)
		if status, kind, _ := s.mineKey.call(http.MethodPut, own(s.mine.ID, "/heartbeat"), hb); status != http.StatusOK {
			t.Fatalf("a renewal is refused: %d %s", status, kind)
		}
		claim, err := s.store.Resume(t.Context(), s.mine.ID, "boot")
		if err != nil {
			t.Fatal(err)
		}
		texts[claim.Heartbeat.Version] = true
	}
	if refused < 15 || len(texts) > 25 {
		t.Errorf("%d of 40 extensions refused, %d texts written", refused, len(texts))
	}
	s.claims(s.mineKey, s.mine.ID)
	if status, kind, _ := s.neighbourCaller.call(http.MethodPost, own(s.theirs.ID, "/extend"), map[string]string{"by": "1h"}); status != http.StatusOK {
		t.Errorf("the neighbour may not extend: %d %s", status, kind)
	}
	if status, kind, _ := s.mineKey.call(http.MethodPost, own(s.mine.ID, "/release"), map[string]string{}); status != http.StatusOK {
		t.Errorf("it cannot be released: %d %s", status, kind)
	}
}

// TestClaimsWithoutEndAreRefused takes the heartbeat from itself again and again.
func TestClaimsWithoutEndAreRefused(t *testing.T) {
	t.Parallel()
	s := newSiege(t, newWorld(t))
	refused := 0
	for n := range 40 {
		if _, kind, _ := s.mineKey.call(http.MethodPut, own(s.mine.ID, "/heartbeat"), heartbeatOf(fmt.Sprint("boot ", n), true)); kind == "too-often" {
			refused++
		}
	}
	if refused < 15 {
		t.Errorf("%d of 40 refused", refused)
	}
}

// TestWhyAProofIsRefused has what no attacker of the table can bring about: other accounts and Regions, and an EC2 that lags.
func TestWhyAProofIsRefused(t *testing.T) {
	t.Parallel()
	foreign := ec2sim.New(ec2sim.Config{Account: "999999999999"})
	t.Cleanup(foreign.Close)
	for name, test := range map[string]struct {
		prepare func(w *world, i ec2sim.Instance) (document string)
		status  int
		says    string
	}{
		"an account that is not swept": {func(w *world, _ ec2sim.Instance) string {
			text, err := foreign.IdentityCertificates()
			if err != nil {
				w.Fatal(err)
			}
			theirs, err := identity.Read(text)
			if err != nil {
				w.Fatal(err)
			}
			w.known["us-east-1"] = append(w.known["us-east-1"], theirs["us-east-1"]...)
			return w.documentOf(foreign, foreign.Create(ec2sim.Instance{}).ID)
		}, http.StatusForbidden, "of an account that is not swept"},
		"a lease in a location that is not swept": {func(w *world, i ec2sim.Instance) string {
			i.Region = "eu-west-1"
			w.bind(i)
			return w.document(i.ID)
		}, http.StatusForbidden, "its lease is in no location that is swept"},
		"a pending time that goes back": {func(w *world, i ec2sim.Instance) string {
			_, _, err := w.store.UpdateEnrolment(w.Context(), i.ID, func(e lease.Enrolment) (lease.Enrolment, error) {
				return e.Enrol(time.Now(), i.LaunchTime.Add(time.Minute), lease.EnrolledKey{SHA256: "before", Proof: lease.ProofLaunch})
			})
			if err != nil {
				w.Fatal(err)
			}
			return w.document(i.ID)
		}, http.StatusForbidden, "of an earlier start than one that was shown before"},
		"an EC2 that does not know it yet": {func(w *world, i ec2sim.Instance) string {
			w.serve(nowhere{})
			return w.document(i.ID)
		}, http.StatusServiceUnavailable, "EC2 does not know it yet"},
		"an EC2 that should know it": {func(w *world, i ec2sim.Instance) string {
			w.serve(nowhere{})
			w.passes(6 * time.Minute)
			return w.document(i.ID)
		}, http.StatusForbidden, "EC2 does not know it"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			i, token := w.launched("web")
			document := test.prepare(w, i)
			calls := w.Sent("DescribeInstances")
			status, _, answer := w.caller(i.PrivateIP).call(http.MethodPost, own(i.ID, "/enrolment"), map[string]string{"document": document, "join_token": token})
			if status != test.status || !strings.Contains(string(answer), test.says) || w.Sent("DescribeInstances") != calls {
				t.Errorf("%d %s, and %d calls to EC2; want %d, %q and none", status, answer, w.Sent("DescribeInstances")-calls, test.status, test.says)
			}
		})
	}
}

// TestOfTwoWithOneInvitationOneIsLetIn spends it while EC2 is asked about the other.
func TestOfTwoWithOneInvitationOneIsLetIn(t *testing.T) {
	t.Parallel()
	s := newSiege(t, newWorld(t))
	i, token := s.invited()
	document := s.document(i.ID)
	s.Sim.Inject(ec2sim.Fault{Action: "DescribeInstances", Times: 1, Hook: func() {
		_, _, err := s.store.UpdateEnrolment(t.Context(), i.ID, func(e lease.Enrolment) (lease.Enrolment, error) {
			return e.Enrol(time.Now(), i.LaunchTime, lease.EnrolledKey{SHA256: "quicker", Proof: lease.ProofInvitation})
		})
		if err != nil {
			t.Error(err)
		}
	}})
	if status, kind := s.mineKey.enrol(i.ID, document, token); status != http.StatusForbidden || kind != "unproved" {
		t.Errorf("%d %s", status, kind)
	}
	if keys := s.enrolment(i.ID).Keys; len(keys) != 1 || keys[0].SHA256 != "quicker" {
		t.Errorf("%+v", keys)
	}
}

// TestOnlyAnOperatorSettlesAContest enrols a new key where the lease is contested, and the enrolment no longer is.
func TestOnlyAnOperatorSettlesAContest(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	i, token := w.launched("web")
	w.bind(i)
	_, _, err := w.store.UpdateLease(t.Context(), i.ID, func(l lease.Lease) (lease.Lease, error) { return l.Contest(time.Now(), lease.By{Actor: "test"}) })
	if err != nil {
		t.Fatal(err)
	}
	c := w.caller(i.PrivateIP)
	if status, kind := c.enrol(i.ID, w.document(i.ID), token); status != http.StatusOK {
		t.Fatalf("%d %s", status, kind)
	}
	w.claims(c, i.ID)
	if w.lease(i.ID).ContestedAt.IsZero() {
		t.Error("settled by the instance itself")
	}
	if status, kind, _ := c.call(http.MethodPost, own(i.ID, "/release"), map[string]string{}); status != http.StatusForbidden || kind != "contested" {
		t.Errorf("released: %d %s", status, kind)
	}
}

// TestAnInstanceThatWasLetInComesBackAfterAReboot has instances that Lapse did not launch: what let them in the first time is gone, by
// time or by use.
func TestAnInstanceThatWasLetInComesBackAfterAReboot(t *testing.T) {
	t.Parallel()
	for name, made := range map[string]func(*siege) (ec2sim.Instance, string){
		"by its address, when it was young": func(s *siege) (ec2sim.Instance, string) {
			return s.Sim.Create(ec2sim.Instance{Tags: map[string]string{lease.TagRegistry: uuid}}), ""
		},
		"by an operator's token": (*siege).invited,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSiege(t, newWorld(t))
			i, token := made(s)
			if status, kind := s.caller(i.PrivateIP).enrol(i.ID, s.document(i.ID), token); status != http.StatusOK {
				t.Fatalf("the first key: %d %s", status, kind)
			}
			s.mu.Lock()
			s.ahead = 2 * time.Hour
			s.mu.Unlock()
			for _, shown := range []string{"", token} { // whether the token's file was left there or not
				if status, kind := s.caller(i.PrivateIP).enrol(i.ID, s.document(i.ID), shown); status != http.StatusOK {
					t.Errorf("after a reboot, with token %q: %d %s", shown, status, kind)
				}
				if status, _ := s.thief.enrol(i.ID, s.document(i.ID), shown); status != http.StatusForbidden {
					t.Errorf("from elsewhere, with token %q: %d", shown, status)
				}
			}
		})
	}
}

// TestAnInstanceOfALaunchIsLetInByItsTokenAlone has one that an operator let in once: its address is not enough from then on.
func TestAnInstanceOfALaunchIsLetInByItsTokenAlone(t *testing.T) {
	t.Parallel()
	s := newSiege(t, newWorld(t))
	_, _, err := s.store.UpdateEnrolment(t.Context(), s.mine.ID, func(e lease.Enrolment) (lease.Enrolment, error) {
		return e.Enrol(time.Now(), e.PendingTime, lease.EnrolledKey{SHA256: "by an operator", Proof: lease.ProofInvitation})
	})
	if err != nil {
		t.Fatal(err)
	}
	if status, kind := s.caller(s.mine.PrivateIP).enrol(s.mine.ID, s.document(s.mine.ID), ""); status != http.StatusForbidden {
		t.Errorf("without its token: %d %s", status, kind)
	}
}
