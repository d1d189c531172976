package api_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"lapse/lease"
	"lapse/lease/api"
	"lapse/lease/dnstest"
	"lapse/lease/problem"
)

// site is a name under which replicas of the API are found.
type site struct {
	*testing.T
	dns  *dnstest.Server
	ca   string
	tls  tls.Certificate
	port string // of all replicas

	mu     sync.Mutex
	served []string // the replicas that answered, in order
	stuck  map[string]bool
	cutOff map[string]bool // from etcd
}

// newSite makes a certificate that is for a name alone.
func newSite(t *testing.T) *site {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"api.example"}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	s := &site{T: t, dns: dnstest.New(t), ca: filepath.Join(t.TempDir(), "ca.pem"), tls: tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, stuck: map[string]bool{}, cutOff: map[string]bool{}}
	if err := os.WriteFile(s.ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return s
}

// replica serves at an address of the loopback network, on the port of the others.
func (s *site) replica(address string) *httptest.Server {
	s.Helper()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		stuck, cutOff := s.stuck[address], s.cutOff[address]
		if !stuck {
			s.served = append(s.served, address)
		}
		s.mu.Unlock()
		if stuck { // as one whose packets are lost
			_, _ = io.Copy(io.Discard, r.Body) // so that it notices when the caller leaves
			<-r.Context().Done()
			return
		}
		if cutOff {
			problem.Of(&lease.UnavailableError{Why: "etcd gives no answer"}).Write(w)
			return
		}
		_, _ = w.Write([]byte(`{"heartbeat": {"instance_id": "i-0123456789abcdef0"}}`))
	}))
	s.serve(server, address)
	return server
}

// serve starts a server at an address, on the port of the others.
func (s *site) serve(server *httptest.Server, address string) {
	s.Helper()
	listener, err := new(net.ListenConfig).Listen(s.Context(), "tcp", net.JoinHostPort(address, s.port))
	if err != nil {
		s.Fatal(err)
	}
	_ = server.Listener.Close()
	server.Listener = listener
	_, s.port, _ = net.SplitHostPort(listener.Addr().String())
	server.TLS = &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{s.tls}, ClientAuth: tls.RequireAnyClientCert}
	server.StartTLS()
	s.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
}

// hole takes connections at an address and says nothing, as a balancer without a replica does.
func (s *site) hole(address string) {
	s.Helper()
	listener, err := new(net.ListenConfig).Listen(s.Context(), "tcp", net.JoinHostPort(address, s.port))
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { _ = listener.Close() })
}

func (s *site) stick(address string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stuck[address] = true
}

func (s *site) last() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.served) == 0 {
		return ""
	}
	return s.served[len(s.served)-1]
}

func (s *site) client(url string, changes ...func(*api.ClientConfig)) *api.Client {
	s.Helper()
	cfg := api.ClientConfig{
		URL: url, CAFile: s.ca, KeyFile: filepath.Join(s.TempDir(), "key.pem"), InstanceID: "i-0123456789abcdef0", Logger: slog.New(slog.DiscardHandler), Resolver: s.dns.Resolver(),
	}
	for _, change := range changes {
		change(&cfg)
	}
	client, err := api.NewClient(cfg)
	if err != nil {
		s.Fatal(err)
	}
	return client
}

// renew is a call with the bound that a sidecar has for a heartbeat timeout of 10 s.
func (s *site) renew(client *api.Client) error {
	ctx, cancel := context.WithTimeout(s.Context(), 2500*time.Millisecond)
	defer cancel()
	_, _, err := client.Renew(ctx, lease.Claim{}, lease.Heartbeat{})
	return err
}

// renews wants a call to succeed, and to be answered by that replica.
func (s *site) renews(client *api.Client, by string) {
	s.Helper()
	if err := s.renew(client); err != nil || s.last() != by {
		s.Fatalf("answered by %q, %v; want %s", s.last(), err, by)
	}
}

func (s *site) url() string { return "https://api.example:" + s.port }

// TestAReplicaThatIsCutOffIsLeft has one answer that etcd does not, for as long as another may renew.
func TestAReplicaThatIsCutOffIsLeft(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.replica("127.0.0.1")
	s.replica("127.0.0.2")
	s.dns.Host("api.example", "127.0.0.1", "127.0.0.2")
	client := s.client(s.url())
	if err := s.renew(client); err != nil {
		t.Fatal(err)
	}
	cutOff := s.last()
	s.mu.Lock()
	s.cutOff[cutOff] = true
	s.mu.Unlock()
	var unavailable *lease.UnavailableError
	if err := s.renew(client); !errors.As(err, &unavailable) {
		t.Fatalf("%v, want a replica without etcd", err)
	}
	for range 5 {
		if err := s.renew(client); err != nil || s.last() == cutOff {
			t.Errorf("answered by %s, which is cut off: %v", s.last(), err)
		}
	}
}

func TestAnAPIThatMovesIsFoundAgain(t *testing.T) {
	t.Parallel()
	const before, after = "127.0.0.2", "127.0.0.3"
	for name, ends := range map[string]func(*site, *httptest.Server){
		"it closes its connections": func(_ *site, server *httptest.Server) { server.Close() },
		"its packets are lost":      func(s *site, _ *httptest.Server) { s.stick(before) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			server := s.replica(before)
			s.dns.Host("api.example", before)
			client := s.client(s.url())
			s.renews(client, before)
			s.replica(after)
			ends(s, server)
			s.dns.Host("api.example", after)
			if err := s.renew(client); err == nil {
				return // it noticed the end before the call
			}
			s.renews(client, after)
		})
	}
}

func TestADeadAddressCostsOneCallAtMost(t *testing.T) {
	t.Parallel()
	const living, dead = "127.0.0.2", "127.0.0.3"
	for name, kill := range map[string]func(*site){
		"nobody answers its SYN": func(*site) {},
		"nobody speaks TLS":      func(s *site) { s.hole(dead) },
		"nobody answers requests": func(s *site) {
			s.replica(dead)
			s.stick(dead)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			s.replica(living)
			kill(s)
			s.dns.Host("api.example", dead, living)
			for range 6 { // the order is random: in one of them at least, the dead one comes first
				client := s.client(s.url(), func(cfg *api.ClientConfig) { cfg.Dial = lost(dead, name) })
				if err := s.renew(client); err != nil && !errors.Is(err, context.DeadlineExceeded) {
					t.Fatal(err)
				}
				s.renews(client, living)
			}
		})
	}
}

// lost dials as usual, except that packets to one address are lost if nobody listens there.
func lost(dead, name string) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		if strings.HasPrefix(address, dead) && strings.HasSuffix(name, "SYN") {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		return new(net.Dialer).DialContext(ctx, network, address)
	}
}

func srv(priority, weight, port uint16, target string) dnstest.SRV {
	return dnstest.SRV{Priority: priority, Weight: weight, Port: port, Target: target}
}

func TestAnAPIBehindSRVRecords(t *testing.T) {
	t.Parallel()
	const first, second = "127.0.0.2", "127.0.0.3"
	s := newSite(t)
	s.replica(first)
	s.replica(second)
	port := netip.MustParseAddrPort(first + ":" + s.port).Port()
	s.dns.Host("one.example", first)
	s.dns.Host("two.example", second)
	s.dns.Host("dead.example", "127.0.0.4")
	for name, test := range map[string]struct {
		records []dnstest.SRV
		by      string // empty: nobody
	}{
		"the lower priority comes first": {[]dnstest.SRV{srv(2, 9, port, "one.example"), srv(1, 0, port, "two.example")}, second},
		"a dead first target":            {[]dnstest.SRV{srv(1, 0, port, "dead.example"), srv(2, 0, port, "one.example")}, first},
		"a first target without address": {[]dnstest.SRV{srv(1, 0, port, "nobody.example"), srv(2, 0, port, "one.example")}, first},
		"a first target with no port":    {[]dnstest.SRV{srv(1, 0, 1, "one.example"), srv(2, 0, port, "two.example")}, second},
		"no such service":                {[]dnstest.SRV{srv(0, 0, 0, ".")}, ""},
		"no records":                     {nil, ""},
	} {
		s.dns.Service("_lapse._tcp.api.example", test.records...)
		client := s.client("https+srv://api.example")
		switch err := s.renew(client); {
		case test.by == "" && err == nil:
			t.Errorf("%s: %s answered", name, s.last())
		case test.by != "" && (err != nil || s.last() != test.by):
			t.Errorf("%s: answered by %q, %v; want %s", name, s.last(), err, test.by)
		}
	}

	s.dns.Service("_lapse._tcp.api.example", srv(0, 0, port, "one.example"))
	client := s.client("https+srv://api.example", func(cfg *api.ClientConfig) { cfg.ConnectionAge = time.Nanosecond })
	s.renews(client, first)
	s.dns.Service("_lapse._tcp.api.example", srv(0, 0, port, "two.example"))
	s.renews(client, second)
	s.dns.Service("_lapse._tcp.elsewhere.example", srv(0, 0, port, "one.example"))
	if err := s.renew(s.client("https+srv://elsewhere.example")); err == nil || !strings.Contains(err.Error(), "certificate is valid for api.example") {
		t.Errorf("a certificate of another name: %v", err)
	}
}

func TestTargetsOfOnePriorityShareTheLoad(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.replica("127.0.0.2")
	s.replica("127.0.0.3")
	port := netip.MustParseAddrPort("127.0.0.2:" + s.port).Port()
	s.dns.Host("one.example", "127.0.0.2")
	s.dns.Host("two.example", "127.0.0.3")
	s.dns.Service("_lapse._tcp.api.example", srv(1, 9, port, "one.example"), srv(1, 1, port, "two.example"))
	s.dns.Host("api.example", "127.0.0.2", "127.0.0.3")
	for url, least := range map[string]int{"https+srv://api.example": 150, s.url(): 70} { // of 200, of which 180 and 100 are to be expected
		client := s.client(url, func(cfg *api.ClientConfig) { cfg.ConnectionAge = time.Nanosecond })
		count := map[string]int{}
		for range 200 {
			if err := s.renew(client); err != nil {
				t.Fatal(err)
			}
			count[s.last()]++
		}
		if count["127.0.0.2"] < least || count["127.0.0.3"] == 0 {
			t.Errorf("%s: %v", url, count)
		}
	}
}

func TestAConnectionIsUsedAgainUntilItIsOld(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.replica("127.0.0.2")
	s.dns.Host("api.example", "127.0.0.2")
	for name, test := range map[string]struct {
		age  time.Duration
		many bool
	}{"young": {0, false}, "old": {time.Nanosecond, true}} {
		before := s.dns.Questions()
		client := s.client(s.url(), func(cfg *api.ClientConfig) { cfg.ConnectionAge = test.age })
		for range 10 {
			s.renews(client, "127.0.0.2")
		}
		if asked := s.dns.Questions() - before; (asked >= 10) != test.many || asked == 0 {
			t.Errorf("%s: %d questions", name, asked)
		}
	}
}

func TestWithoutDNSTheLastAddressesServe(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.replica("127.0.0.2")
	s.dns.Host("api.example", "127.0.0.2")
	client := s.client(s.url(), func(cfg *api.ClientConfig) { cfg.ConnectionAge = time.Nanosecond })
	s.renews(client, "127.0.0.2")
	s.dns.Mute(true)
	s.renews(client, "127.0.0.2")
	if err := s.renew(s.client(s.url())); err == nil {
		t.Error("one that never knew an address renews")
	}
}
