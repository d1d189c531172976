package etcd_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"lapse/lease/etcd"
	"lapse/lease/etcd/embedded"
	"lapse/lease/etcd/internal/certtest"
)

// secured is an etcd that lets in clients with a certificate alone, and a client that stays up while files change.
type secured struct {
	*testing.T
	ca, clientCA, serverCert, serverKey, clientCert, clientKey string // files; the first two are one, at first
	dir, listen                                                string
	server                                                     *embedded.Server
	client                                                     *clientv3.Client
	said                                                       *said
}

// newSecured starts both with files of one authority.
func newSecured(t *testing.T, a certtest.Authority) *secured {
	t.Helper()
	dir, err := os.MkdirTemp("", "l") //nolint:usetesting // t.TempDir is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	file := func(name string) string { return filepath.Join(dir, name) }
	s := &secured{
		T: t, ca: file("ca.pem"), clientCA: file("ca.pem"), serverCert: file("etcd.pem"), serverKey: file("etcd.key"), clientCert: file("vm.pem"), clientKey: file("vm.key"),
		dir: file("data"), listen: freePort(t), said: &said{},
	}
	certtest.Write(t, s.ca, a.PEM)
	a.Issue(t, "etcd", s.serverCert, s.serverKey)
	a.Issue(t, "vm", s.clientCert, s.clientKey)
	s.start()
	t.Cleanup(func() { _ = s.server.Close() })
	s.client, err = etcd.Dial(t.Context(), etcd.Config{
		Endpoints: []string{"https://" + s.listen}, CACert: s.ca, Cert: s.clientCert, Key: s.clientKey,
		Logger: slog.New(slog.NewTextHandler(s.said, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.client.Close() })
	return s
}

func (s *secured) start() {
	s.Helper()
	server, err := embedded.Start(s.Context(), embedded.Config{
		Dir: s.dir, Listen: s.listen, CertFile: s.serverCert, KeyFile: s.serverKey, ClientCAFile: s.clientCA, NoSync: true,
		Logger: slog.New(slog.NewTextHandler(s.said, nil)),
	})
	if err != nil {
		s.Fatal(err)
	}
	s.server = server
}

// restart lets the server read its client authority again, and breaks every connection.
func (s *secured) restart() {
	s.Helper()
	if err := s.server.Close(); err != nil {
		s.Fatal(err)
	}
	s.start()
}

// reaches waits until a call of the client is answered.
func (s *secured) reaches(step string) {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.Context(), time.Minute)
	defer cancel()
	if _, err := s.client.Put(ctx, "step", step); err != nil {
		s.Fatalf("%s: %v; said: %s", step, err, s.said)
	}
}

func TestAClientThatStaysUpFollowsARotationOfTheAuthority(t *testing.T) {
	t.Parallel()
	before, after := certtest.New(t, "old"), certtest.New(t, "new")
	s := newSecured(t, before)
	s.reaches("the old authority")

	certtest.Write(t, s.ca, before.PEM, after.PEM)
	s.restart()
	s.reaches("both authorities")

	after.Issue(t, "etcd", s.serverCert, s.serverKey) // which is served without a restart
	alone := filepath.Join(s.dir, "new.pem")
	certtest.Write(t, alone, after.PEM)
	s.dials(alone)
	s.restart()
	s.reaches("a server certificate of the new authority")

	after.Issue(t, "vm", s.clientCert, s.clientKey)
	certtest.Write(t, s.ca, after.PEM)
	s.restart()
	s.reaches("the new authority alone")
}

// dials lets a client in that is new, and trusts an authority.
func (s *secured) dials(ca string) {
	s.Helper()
	client, err := etcd.Dial(s.Context(), etcd.Config{Endpoints: []string{"https://" + s.listen}, CACert: ca, Cert: s.clientCert, Key: s.clientKey})
	if err != nil {
		s.Fatal(err)
	}
	_ = client.Close()
}

func TestAServerCertificateThatIsBadForAWhileIsReportedAndEndsNoServer(t *testing.T) {
	t.Parallel()
	a := certtest.New(t, "ca")
	s := newSecured(t, a)
	certtest.Write(t, s.serverCert, a.PEM[:100])
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, err := etcd.Dial(ctx, etcd.Config{Endpoints: []string{"https://" + s.listen}, CACert: s.ca}); err == nil {
		t.Fatal("was let in")
	}
	if n := s.said.count(s.serverCert); n != 1 {
		t.Errorf("the server named its certificate %d times, want once: %s", n, s.said)
	}
	a.Issue(t, "etcd", s.serverCert, s.serverKey)
	s.dials(s.ca)
}

func TestFilesThatAreBadForAWhileEndNoClient(t *testing.T) {
	t.Parallel()
	before, after := certtest.New(t, "old"), certtest.New(t, "new")
	for name, c := range map[string]struct {
		spoil func(*secured)
		says  string
	}{
		"an empty CA file":          {func(s *secured) { certtest.Write(s, s.ca) }, "contains no certificate"},
		"a CA file that is gone":    {func(s *secured) { _ = os.Remove(s.ca) }, "no such file"},
		"a CA file half written":    {func(s *secured) { certtest.Write(s, s.ca, before.PEM, after.PEM[:len(after.PEM)/2]) }, "cut off"},
		"a certificate cut off":     {func(s *secured) { certtest.Write(s, s.clientCert, before.PEM[:100]) }, "failed to find"},
		"another certificate's key": {func(s *secured) { after.Issue(s, "vm", s.clientCert, filepath.Join(s.dir, "elsewhere")) }, "does not match"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSecured(t, before)
			s.clientCA = filepath.Join(s.dir, "clients.pem") // the server's own copy stays good
			certtest.Write(t, s.clientCA, before.PEM, after.PEM)
			s.restart()
			c.spoil(s)
			s.restart()
			s.reaches(name)
			if s.said.count(c.says) != 1 {
				t.Errorf("said %d times %q: %s", s.said.count(c.says), c.says, s.said)
			}
			certtest.Write(t, s.ca, before.PEM, after.PEM)
			after.Issue(t, "vm", s.clientCert, s.clientKey)
			after.Issue(t, "etcd", s.serverCert, s.serverKey)
			s.restart()
			s.reaches("good files again")
			if s.said.count("valid again") != 1 {
				t.Errorf("did not say once that the files are valid again: %s", s.said)
			}
		})
	}
}

func TestTheReasonWhyEtcdDoesNotAnswerIsLogged(t *testing.T) {
	t.Parallel()
	before, after := certtest.New(t, "old"), certtest.New(t, "new")
	for name, c := range map[string]struct {
		spoil func(*secured)
		says  string
	}{
		"a server of an authority that the client does not know": {func(s *secured) { after.Issue(s, "etcd", s.serverCert, s.serverKey) }, "unknown authority"},
		"a client of an authority that the server does not know": {func(s *secured) { after.Issue(s, "vm", s.clientCert, s.clientKey) }, "latest balancer error"}, // an alert, or a connection that broke on it
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSecured(t, before)
			c.spoil(s)
			s.restart()
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			if _, err := s.client.Put(ctx, "k", "v"); err == nil {
				t.Fatal("was let in")
			}
			if s.said.count(c.says) != 1 {
				t.Errorf("did not say %q: %s", c.says, s.said)
			}
			before.Issue(t, "etcd", s.serverCert, s.serverKey)
			before.Issue(t, "vm", s.clientCert, s.clientKey)
			s.reaches("the right certificates")
			if s.said.count("answers again") != 1 {
				t.Errorf("did not say that etcd answers again: %s", s.said)
			}
		})
	}
}

func TestEachEndpointHasTLSAsItsSchemeSays(t *testing.T) {
	t.Parallel()
	s := newSecured(t, certtest.New(t, "ca"))
	plain, err := embedded.Start(t.Context(), embedded.Config{Dir: filepath.Join(s.dir, "p"), Listen: freePort(t), NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = plain.Close() })
	for name, endpoints := range map[string][]string{
		"https":                 {"https://" + s.listen},
		"host and port":         {s.listen},
		"http, with files":      plain.Endpoints()[1:],
		"unix, with files":      plain.Endpoints()[:1],
		"unix and https":        {plain.Endpoints()[0], "https://" + s.listen},
		"https and http":        {"https://" + s.listen, plain.Endpoints()[1]},
		"http before host:port": {plain.Endpoints()[1], s.listen},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client, err := etcd.Dial(t.Context(), etcd.Config{Endpoints: endpoints, CACert: s.ca, Cert: s.clientCert, Key: s.clientKey})
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			for _, endpoint := range endpoints {
				if _, err := client.Status(t.Context(), endpoint); err != nil {
					t.Errorf("%s: %v", endpoint, err)
				}
			}
		})
	}
}

func TestDiallingSaysWhatIsWrongWithTheCertificates(t *testing.T) {
	t.Parallel()
	s := newSecured(t, certtest.New(t, "ca"))
	other := filepath.Join(s.dir, "other.pem")
	certtest.Write(t, other, certtest.New(t, "other").PEM)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	_, err := etcd.Dial(ctx, etcd.Config{Endpoints: []string{"https://" + s.listen}, CACert: other})
	var unreachable *etcd.UnreachableError
	if !errors.As(err, &unreachable) || !strings.Contains(err.Error(), "unknown authority") {
		t.Errorf("got %v, want an UnreachableError that says why", err)
	}
}

// said is a log that is written and read side by side.
type said struct {
	mu  sync.Mutex
	log bytes.Buffer
}

func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.Write(p)
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.String()
}

func (s *said) count(words string) int { return strings.Count(s.String(), words) }

// freePort is an address on loopback that was free a moment ago, and that no outgoing connection takes: it is below the
// ports of those (ip(7), ip_local_port_range).
func freePort(tb testing.TB) string {
	tb.Helper()
	for {
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(24000+rand.N(8000))))
		if err == nil {
			_ = l.Close()
			return l.Addr().String()
		}
		if !errors.Is(err, syscall.EADDRINUSE) {
			tb.Fatal(err)
		}
	}
}
