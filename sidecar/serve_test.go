package sidecar

import (
	"bufio"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"lapse/lease"
)

// bound is a registry with a lease of today.
func bound() *registry { return &registry{lease: active(today, lease.DefaultHeartbeatTimeout)} }

func TestStatus(t *testing.T) {
	t.Parallel()
	client, _, _ := serving(t, bound(), func(c *Config) { c.Version = "v1.2.3" })
	s, err := client.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if s.InstanceID != instance || s.BootID != "boot-1" || s.Version != "v1.2.3" || s.Phase != PhaseHolding ||
		!s.RenewedAt.Equal(today) || s.Lease == nil || s.Lease.Holder != "ada" {
		t.Errorf("%+v", s)
	}
}

func TestPeers(t *testing.T) {
	t.Parallel()
	r := bound()
	r.lease.Launch = "web"
	client, _, _ := serving(t, r, func(c *Config) { c.Address = "10.0.0.7" })
	peers, err := client.Peers(t.Context())
	if err != nil || len(peers) != 1 || peers[0].InstanceID != instance || peers[0].Address != "10.0.0.7" || peers[0].Launch != "web" || !peers[0].Self {
		t.Errorf("%+v, %v", peers, err)
	}
	// What the registry refuses arrives as it is.
	r.set(func(r *registry) { r.fail = map[string]error{"lease": errAway} })
	if _, err := client.Peers(t.Context()); !as[*lease.UnavailableError](err) {
		t.Errorf("%T %v", err, err)
	}
}

func TestLocalProgramsAskForPeersNoFasterThanTheAPIAnswers(t *testing.T) {
	t.Parallel()
	r := bound()
	client, _, _ := serving(t, r, nil)
	var err error
	for range 2 * peersBurst {
		if _, err = client.Peers(t.Context()); err != nil {
			break
		}
	}
	if e, is := errors.AsType[*lease.TooOftenError](err); !is || e.Does != "asks for its peers" {
		t.Errorf("%T %v", err, err)
	}
	if _, err := client.Extend(t.Context(), lease.ExtendRequest{By: lease.Duration(time.Hour)}); err != nil {
		t.Errorf("an extension is refused for that: %v", err)
	}
}

// TestLocalProgramsLeaveTheHeartbeatRoom has six of them ask while the registry is slow: the API takes four requests of one instance at
// once, and the heartbeat is one of those.
func TestLocalProgramsLeaveTheHeartbeatRoom(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := bound()
		s, err := New(Config{
			InstanceID: instance, BootID: "boot-1", Open: opened(r, time.Now), Now: time.Now, Logger: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			t.Fatal(err)
		}
		r.set(func(r *registry) { r.hang = true })
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		for n := range 6 {
			go func() {
				if n%2 == 0 {
					_, _ = s.peers(ctx)
				} else {
					_, _ = s.extend(ctx, lease.ExtendRequest{By: lease.Duration(time.Hour)})
				}
			}()
		}
		synctest.Wait()
		if calls := len(r.since()); calls != turnsMax {
			t.Errorf("%d calls are under way, want %d", calls, turnsMax)
		}
		<-ctx.Done()
		synctest.Wait()
		r.set(func(r *registry) { r.hang = false })
		if _, err := s.extend(t.Context(), lease.ExtendRequest{By: lease.Duration(time.Hour)}); err != nil {
			t.Errorf("afterwards: %v", err)
		}
	})
}

func TestExtend(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	hours := func(h int) lease.Duration { return lease.Duration(time.Duration(h) * time.Hour) }
	for name, c := range map[string]struct {
		req     lease.ExtendRequest
		policy  time.Duration
		granted time.Duration // from today
		clamped bool
	}{
		"for, from now":                       {req: lease.ExtendRequest{For: hours(30)}, granted: 30 * time.Hour},
		"by, added to the expiry":             {req: lease.ExtendRequest{By: hours(6)}, granted: 30 * time.Hour},
		"until":                               {req: lease.ExtendRequest{Until: today.Add(2 * day)}, granted: 2 * day},
		"until, strictly":                     {req: lease.ExtendRequest{Until: today.Add(7 * day), Strict: true}, granted: 7 * day},
		"to the current expiry":               {req: lease.ExtendRequest{For: hours(24)}, granted: day},
		"clamped to NotAfter":                 {req: lease.ExtendRequest{For: hours(24 * 30)}, granted: 7 * day, clamped: true},
		"clamped to the policy":               {req: lease.ExtendRequest{For: hours(72)}, policy: 2 * day, granted: 2 * day, clamped: true},
		"within the policy":                   {req: lease.ExtendRequest{For: hours(36)}, policy: 2 * day, granted: 36 * time.Hour},
		"clamped by policy, never shortened":  {req: lease.ExtendRequest{For: hours(72)}, policy: time.Hour, granted: day, clamped: true},
		"clamped to NotAfter, not the policy": {req: lease.ExtendRequest{By: hours(1000)}, policy: 30 * day, granted: 7 * day, clamped: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := bound()
			client, _, _ := serving(t, r, func(cfg *Config) { cfg.MaxExtend = c.policy })
			got, err := client.Extend(t.Context(), c.req)
			if err != nil {
				t.Fatal(err)
			}
			if want := today.Add(c.granted); !got.Granted.Equal(want) || !got.Lease.ExpiresAt.Equal(want) || !r.current().ExpiresAt.Equal(want) {
				t.Errorf("granted %s, want %s", got.Granted, want)
			}
			if !got.Before.Equal(today.Add(day)) || got.Clamped != c.clamped {
				t.Errorf("before %s, clamped %t", got.Before, got.Clamped)
			}
			if s, err := client.Status(t.Context()); err != nil || !s.Lease.ExpiresAt.Equal(got.Granted) {
				t.Errorf("status does not show it: %v", err)
			}
		})
	}
}

func TestExtendRecordsTheCallerAndCancelsAMark(t *testing.T) {
	t.Parallel()
	r := bound()
	r.lease, _ = r.lease.WithMark(today, lease.CauseHeartbeatLost, today.Add(time.Hour), lease.By{})
	client, _, _ := serving(t, r, nil)
	if _, err := client.Extend(t.Context(), lease.ExtendRequest{For: lease.Duration(30 * time.Hour), Reason: "build runs on"}); err != nil {
		t.Fatal(err)
	}
	l := r.current()
	last := l.History[len(l.History)-1]
	want := lease.Transition{Time: today, Actor: "instance:" + instance + " uid=" + uid(), Action: "extend", Reason: "build runs on"}
	if last.Time != want.Time || last.Actor != want.Actor || last.Action != want.Action || last.Reason != want.Reason || l.Mark != nil {
		t.Errorf("history %+v, mark %v", last, l.Mark)
	}
}

func uid() string { return strconv.Itoa(os.Getuid()) }

// as makes a check that an error is of type E.
func as[E error](err error) bool {
	var e E
	return errors.As(err, &e)
}

func TestExtendRefusesInOneClearSentence(t *testing.T) {
	t.Parallel()
	yes, hour := as[*lease.LimitError], lease.Duration(time.Hour)
	revoked, _ := active(today, time.Hour).Revoke(today, lease.CauseExpired, lease.By{})
	endless := active(today, time.Hour)
	endless.ExpiresAt = time.Time{}
	for name, c := range map[string]struct {
		req    lease.ExtendRequest
		lease  *lease.Lease
		policy time.Duration
		is     func(error) bool
		says   string
	}{
		"nothing asked":      {is: yes, says: `must have exactly one of "for", "by" and "until"`},
		"two things asked":   {req: lease.ExtendRequest{For: hour, By: hour}, is: yes, says: "exactly one of"},
		"negative":           {req: lease.ExtendRequest{By: -hour}, is: yes, says: "extension -1h0m0s must not be negative"},
		"a novel as reason":  {req: lease.ExtendRequest{For: hour, Reason: strings.Repeat("x", 201)}, is: yes, says: "at most 200 bytes"},
		"too big a request":  {req: lease.ExtendRequest{For: hour, Reason: strings.Repeat("x", 5000)}, is: yes, says: "too large"},
		"past":               {req: lease.ExtendRequest{Until: today.Add(-time.Second)}, is: as[*lease.PastError], says: "not in the future"},
		"shorter":            {req: lease.ExtendRequest{Until: today.Add(time.Hour)}, is: as[*lease.ShortenError], says: "its lease expires at"},
		"no expiry":          {req: lease.ExtendRequest{By: hour}, lease: &endless, is: as[*lease.ShortenError], says: "does not expire"},
		"past the maximum":   {req: lease.ExtendRequest{For: 1000 * hour, Strict: true}, is: as[*lease.ClampedError], says: "maximum expiry is"},
		"past the policy":    {req: lease.ExtendRequest{For: 72 * hour, Strict: true}, policy: 48 * time.Hour, is: as[*lease.ClampedError], says: "2026-03-03T12:00:00Z"},
		"not bound":          {req: lease.ExtendRequest{For: hour}, lease: &lease.Lease{}, is: as[*lease.NotFoundError], says: "no lease for"},
		"revoked in between": {req: lease.ExtendRequest{For: hour}, lease: &revoked, is: as[*lease.StateError], says: "was revoked at"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := bound()
			client, _, _ := serving(t, r, func(cfg *Config) { cfg.MaxExtend = c.policy })
			if c.lease != nil {
				// Not before: the sidecar ends with a lease that is over, and its socket with it.
				r.set(func(r *registry) { r.onUpdate = func(r *registry) { r.lease = *c.lease } })
			}
			_, err := client.Extend(t.Context(), c.req)
			if err == nil || !c.is(err) || !strings.Contains(err.Error(), c.says) {
				t.Fatalf("%T %v\nwant %q", err, err, c.says)
			}
			if strings.Contains(err.Error(), "\n") || strings.Contains(err.Error(), "allow-shorten") {
				t.Errorf("%q", err)
			}
			want := active(today, lease.DefaultHeartbeatTimeout)
			if c.lease != nil {
				want = *c.lease
			}
			if after := r.current(); after.Changes != want.Changes || !after.ExpiresAt.Equal(want.ExpiresAt) {
				t.Error("the lease was changed")
			}
		})
	}
}

func TestRefusalsKeepTheirFacts(t *testing.T) {
	t.Parallel()
	client, _, _ := serving(t, bound(), nil)
	_, err := client.Extend(t.Context(), lease.ExtendRequest{For: lease.Duration(1000 * time.Hour), Strict: true})
	var clamped *lease.ClampedError
	if !errors.As(err, &clamped) || clamped.ID != instance || !clamped.MaxExpiresAt.Equal(today.Add(7*24*time.Hour)) {
		t.Errorf("%+v", clamped)
	}
}

func TestRegistryUnreachable(t *testing.T) {
	t.Parallel()
	t.Run("nothing is changed if it cannot be read", func(t *testing.T) {
		t.Parallel()
		r := bound()
		client, _, _ := serving(t, r, nil)
		r.set(func(r *registry) { r.fail = map[string]error{"lease": errAway} })
		if _, err := client.Extend(t.Context(), lease.ExtendRequest{For: lease.Duration(30 * time.Hour)}); !as[*lease.UnavailableError](err) {
			t.Errorf("%T %v", err, err)
		}
	})
	t.Run("the outcome is unknown if a write is not answered", func(t *testing.T) {
		t.Parallel()
		r := bound()
		client, _, _ := serving(t, r, nil)
		r.set(func(r *registry) { r.fail = map[string]error{"update": errAway} })
		_, err := client.Extend(t.Context(), lease.ExtendRequest{By: lease.Duration(time.Hour)})
		var unknown *lease.OutcomeUnknownError
		if !errors.As(err, &unknown) || !unknown.Until.Equal(today.Add(25*time.Hour)) ||
			!strings.Contains(err.Error(), "it is not known whether the lease was changed") {
			t.Errorf("%T %v", err, err)
		}
		if _, err := client.Release(t.Context(), ""); !errors.As(err, &unknown) || unknown.Verb != "release" {
			t.Errorf("%T %v", err, err)
		}
	})
}

func TestReleaseEndsTheLeaseAndTheSidecar(t *testing.T) {
	t.Parallel()
	r := bound()
	client, path, done := serving(t, r, nil)
	l, err := client.Release(t.Context(), "job done")
	if err != nil || l.State != lease.StateRevoked || l.Cause != lease.CauseRelease {
		t.Fatalf("%+v, %v", l, err)
	}
	if last := l.History[len(l.History)-1]; last.Reason != "job done" || last.Actor != "instance:"+instance+" uid="+uid() {
		t.Errorf("%+v", last)
	}
	if err := <-done; !as[*lease.StateError](err) { // long before the next renewal is due
		t.Errorf("the sidecar ended with %v", err)
	}
	if _, err := NewClient(path).Status(t.Context()); !as[*NotRunningError](err) {
		t.Errorf("%T %v", err, err)
	}
}

func TestReleaseIsForRoot(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("only root can connect as somebody else")
	}
	r := bound()
	_, path, _ := serving(t, r, nil)
	post := func(uid uint32, what, body string) int {
		conn := dialAs(t, path, uid)
		t.Cleanup(func() { _ = conn.Close() })
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://sidecar/v1/"+what, strings.NewReader(body))
		if err := req.Write(conn); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(bufio.NewReader(conn), req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		return resp.StatusCode
	}
	if status := post(1000, "release", "{}"); status != http.StatusForbidden || r.current().State != lease.StateActive {
		t.Errorf("user 1000 released: %d", status)
	}
	if status := post(1000, "extend", `{"for":"30h"}`); status != http.StatusOK {
		t.Errorf("user 1000 may not extend: %d", status)
	}
	if status := post(0, "release", ""); status != http.StatusOK || r.current().State != lease.StateRevoked {
		t.Errorf("root may not release: %d", status)
	}
}

func TestBadRequests(t *testing.T) {
	t.Parallel()
	_, path, _ := serving(t, bound(), nil)
	for name, c := range map[string]struct {
		method, path, body string
		status             int
		says               string
	}{
		"not JSON":         {"POST", "extend", "for=4h", 400, "one JSON object"},
		"a misspelt field": {"POST", "extend", `{"fro":"4h"}`, 400, `unknown field \"fro\"`},
		"a bad duration":   {"POST", "extend", `{"for":"4 hours"}`, 400, "4 hours"},
		"a bad date":       {"POST", "extend", `{"until":"tomorrow"}`, 400, "tomorrow"},
		"two objects":      {"POST", "extend", `{"for":"4h"}{"for":"4h"}`, 400, "more than one object"},
		"wrong method":     {"GET", "extend", "", 405, ""},
		"wrong path":       {"GET", "stauts", "", 404, ""},
		"a query of peers": {"GET", "peers?label=role=monitor", "", 400, "no parameters"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			status, body := raw(t, path, c.method, c.path, c.body)
			if status != c.status || !strings.Contains(body, c.says) {
				t.Errorf("%d %s", status, body)
			}
		})
	}
}

func raw(t *testing.T, socket, method, path, body string) (int, string) {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}}
	req, err := http.NewRequestWithContext(t.Context(), method, "http://sidecar/v1/"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var b strings.Builder
	if _, err := bufio.NewReader(resp.Body).WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, b.String()
}

// TestLocalProgramsCannotExtendWithoutEnd: what they ask for goes the way of the renewals.
func TestLocalProgramsCannotExtendWithoutEnd(t *testing.T) {
	t.Parallel()
	r := bound()
	client, _, _ := serving(t, r, nil)
	refused, granted := 0, 0
	for n := range 3 * extendBurst {
		_, err := client.Extend(t.Context(), lease.ExtendRequest{Until: today.Add(24*time.Hour + time.Duration(n)*time.Minute)})
		switch {
		case as[*lease.TooOftenError](err):
			refused++
		case err != nil:
			t.Fatal(err)
		default:
			granted++
		}
	}
	if granted < extendBurst || refused == 0 {
		t.Errorf("%d granted, %d refused", granted, refused)
	}
}
