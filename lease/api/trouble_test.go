package api_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"lapse/lease"
	"lapse/lease/api"
	"lapse/lease/api/edge"
	"lapse/lease/ec2"
	"lapse/lease/leasetest"
)

// TestAnOldConnectionIsKeptUntilThereIsAnother has a balancer that takes no new ones, or DNS that names a wrong host.
func TestAnOldConnectionIsKeptUntilThereIsAnother(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.replica("127.0.0.2")
	s.dns.Host("api.example", "127.0.0.2")
	var closed atomic.Bool
	dials := atomic.Int64{}
	client := s.client(s.url(), func(cfg *api.ClientConfig) {
		cfg.ConnectionAge = time.Nanosecond
		cfg.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			dials.Add(1)
			if closed.Load() {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return new(net.Dialer).DialContext(ctx, network, address)
		}
	})
	s.renews(client, "127.0.0.2")
	closed.Store(true)
	before := dials.Load()
	if err := s.renew(client); err != nil || dials.Load() == before {
		t.Errorf("a connection that works was given up for its age: %v, after %d attempts at another", err, dials.Load()-before)
	}
	closed.Store(false)
	s.renews(client, "127.0.0.2")
}

// TestAtFirstDNSHasAllOfACall asks a server that says nothing before the one that answers, as the resolver does for half of ten
// seconds.
func TestAtFirstDNSHasAllOfACall(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.replica("127.0.0.2")
	s.dns.Host("api.example", "127.0.0.2")
	live, began := s.dns.Resolver(), time.Now()
	dead, err := new(net.ListenConfig).ListenPacket(t.Context(), "udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = dead.Close() })
	client := s.client(s.url(), func(cfg *api.ClientConfig) {
		cfg.Resolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			if time.Since(began) < 2*time.Second {
				return new(net.Dialer).DialContext(ctx, "udp", dead.LocalAddr().String())
			}
			return live.Dial(ctx, network, address)
		}}
	})
	ctx, cancel := context.WithTimeout(t.Context(), 9*time.Second) // Go's resolver asks the next server after 5 s
	defer cancel()
	if _, err := client.Claim(ctx, lease.Heartbeat{}); err != nil {
		t.Errorf("after %s: %v", time.Since(began), err)
	}
}

// hanging is an EC2 whose packets are lost.
type hanging struct{ api.Cloud }

func (hanging) Describe(ctx context.Context, _ []string) (lease.Listing, error) {
	<-ctx.Done()
	return lease.Listing{}, ctx.Err()
}

// TestWhoCannotBeCheckedInTimeIsVouchedFor has an EC2 that takes all the time of the call.
func TestWhoCannotBeCheckedInTimeIsVouchedFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	i, token := w.launched("web")
	w.bind(i)
	w.serve(hanging{w.Cloud(t, w.AWS(), ec2.Options{})})
	status, kind := w.caller(i.PrivateIP).enrol(i.ID, w.document(i.ID), token)
	if l := w.lease(i.ID); status != http.StatusServiceUnavailable || l.VouchedAt.IsZero() {
		t.Errorf("%d %s, and no sign of life on the lease", status, kind)
	}
}

// TestEnrolmentsWithoutEndAreRefused has one instance enrol one key after the other: each is written, and told in the audit log.
func TestEnrolmentsWithoutEndAreRefused(t *testing.T) {
	t.Parallel()
	s := newSiege(t, newWorld(t))
	document := s.document(s.mine.ID)
	let, refused := 0, 0
	for range 60 {
		c := s.caller(s.mine.PrivateIP)
		switch status, kind := c.enrol(s.mine.ID, document, s.myToken); {
		case status == http.StatusOK:
			let++
		case kind == "too-often":
			refused++
		}
		c.http.CloseIdleConnections()
	}
	if let > 40 || let+refused < 60 || refused == 0 {
		t.Errorf("%d let in, %d refused", let, refused)
	}
	if status, kind, _ := s.mineKey.call(http.MethodPut, own(s.mine.ID, "/heartbeat"), heartbeatOf("boot", false)); status != http.StatusOK {
		t.Errorf("its own key renews no more: %d %s", status, kind)
	}
	if status, kind := s.caller(s.theirs.PrivateIP).enrol(s.theirs.ID, s.document(s.theirs.ID), s.theirToken); status != http.StatusOK {
		t.Errorf("a neighbour cannot enrol: %d %s", status, kind)
	}
}

// talkative is a store whose error says where etcd is.
type talkative struct{ *leasetest.Store }

func (talkative) UpdateLease(context.Context, string, func(lease.Lease) (lease.Lease, error)) (b, a lease.Lease, err error) {
	return b, a, errors.New("put lease: rpc error: code = Unavailable desc = dial tcp 10.9.8.7:2379: connect: connection refused")
}

func TestAnInstanceIsNotToldWhereEtcdIs(t *testing.T) {
	t.Parallel()
	s := newSiege(t, newWorld(t))
	handler := api.New(api.Config{Store: talkative{s.store}, Certificates: s.known, Logger: slog.New(slog.DiscardHandler), Now: time.Now}).Handler()
	e := s.enrolment(s.mine.ID)
	for path, body := range map[string]string{"/extend": `{"by":"1h"}`, "/release": `{}`} {
		ctx := edge.NewContext(t.Context(), edge.Caller{Key: e.Keys[0].SHA256})
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, httptest.NewRequestWithContext(ctx, http.MethodPost, own(s.mine.ID, path), strings.NewReader(body)))
		if answer.Code < 500 || strings.Contains(answer.Body.String(), "10.9.8.7") {
			t.Errorf("%s: %d %s", path, answer.Code, answer.Body)
		}
	}
}

// TestWhatWasNotSentChangedNothing says so where no connection came about, and what to do about a certificate that nobody here
// trusts.
func TestWhatWasNotSentChangedNothing(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*site, *api.ClientConfig)
		says   string
	}{
		"nobody listens": {func(s *site, _ *api.ClientConfig) { s.dns.Host("api.example", "127.0.0.9") }, "the API does not answer: dial tcp"},
		"another CA":     {func(_ *site, cfg *api.ClientConfig) { cfg.CAFile = "" }, "name its CA"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			s.replica("127.0.0.1")
			s.dns.Host("api.example", "127.0.0.1")
			client := s.client(s.url(), func(cfg *api.ClientConfig) { c.change(s, cfg) })
			_, extend := client.Extend(t.Context(), "", lease.ExtendRequest{For: lease.Duration(time.Hour)}, lease.By{})
			_, release := client.Release(t.Context(), "", lease.By{})
			for verb, err := range map[string]error{"extend": extend, "release": release} {
				if unavailable := (*lease.UnavailableError)(nil); !errors.As(err, &unavailable) || !strings.Contains(err.Error(), c.says) {
					t.Errorf("%s: %v, want that nothing was changed, and %q", verb, err, c.says)
				}
			}
		})
	}
}
