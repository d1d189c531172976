package api_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/pires/go-proxyproto"

	"lapse/lease"
	"lapse/lease/api"
	"lapse/lease/api/edge"
	"lapse/lease/api/identity"
	"lapse/lease/ec2"
	"lapse/lease/ec2/ec2sim"
	"lapse/lease/ec2/ec2test"
	"lapse/lease/leasetest"
	"lapse/lease/problem"
	"lapse/sidecar/imds"
)

const uuid = "0b4f3c1e-5a3d-4a3b-9c50-5f0a4f0c9d11"

// world is the API over real TLS, a registry in memory, and an EC2 over HTTP. Callers may say where they call from, as a proxy
// would.
type world struct {
	*testing.T
	ec2test.World
	store   *leasetest.Store
	known   identity.Certificates
	url, ca string
	handler http.Handler
	front   *edge.Server
	made    int // launches
	pool    *x509.CertPool

	mu      sync.Mutex
	refused map[string]int
	proved  int           // requests that were answered to proved callers
	ahead   time.Duration // of the server's clock
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{T: t, World: ec2test.Open(ec2sim.Config{}), store: leasetest.NewStore(), refused: map[string]int{}}
	t.Cleanup(w.Close)
	t.Cleanup(w.store.Close)
	if _, err := w.store.PutRegistry(t.Context(), lease.NewRegistry(time.Now(), uuid, lease.ModeArmed)); err != nil {
		t.Fatal(err)
	}
	text, err := w.Sim.IdentityCertificates()
	if err != nil {
		t.Fatal(err)
	}
	if w.known, err = identity.Read(text); err != nil {
		t.Fatal(err)
	}
	w.serve(w.Cloud(t, w.AWS(), ec2.Options{}))
	return w
}

// serve runs the API until the test ends.
func (w *world) serve(cloud api.Cloud) {
	w.Helper()
	server := api.New(api.Config{
		Describes: 1000, Store: w.store, Clouds: []api.Cloud{cloud}, Certificates: w.known, Logger: slog.New(slog.DiscardHandler),
		Now: func() time.Time {
			w.mu.Lock()
			defer w.mu.Unlock()
			return time.Now().Add(w.ahead)
		},
		Refused: func(kind string) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.refused[kind]++
		},
	})
	handler := server.Handler()
	w.handler = handler
	cert, key := w.certificate()
	front, err := edge.New(edge.Config{
		Addr: "127.0.0.1:0", CertFile: cert, KeyFile: key, Logger: slog.New(slog.DiscardHandler),
		ProxyFrom: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}, Counters: counters{w},
	})
	if err != nil {
		w.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(w.Context()))
	done := make(chan error, 1)
	go func() { done <- front.Serve(ctx, handler) }()
	w.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			w.Error(err)
		}
	})
	w.front = front
	w.url, w.ca = "https://"+front.Addr().String(), cert
}

// counters count what the front refuses, too.
type counters struct{ *world }

func (c counters) Refused(kind edge.Kind, _ bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refused["edge "+string(kind)]++
}

func (c counters) Handled(proved bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if proved {
		c.proved++
	}
}

// certificate is one for the loopback address, which signs itself.
func (w *world) certificate() (certFile, keyFile string) {
	w.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		w.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		w.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		w.Fatal(err)
	}
	dir := w.TempDir()
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for file, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			w.Fatal(err)
		}
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		w.Fatal(err)
	}
	w.pool = x509.NewCertPool()
	w.pool.AddCert(certificate)
	return certFile, keyFile
}

// launched makes an instance of a launch of its own, with a join token.
func (w *world) launched(launch string, changes ...func(*ec2sim.Instance)) (ec2sim.Instance, string) {
	w.Helper()
	token, err := lease.NewJoinToken(nil)
	if err != nil {
		w.Fatal(err)
	}
	client := lease.ClientToken(launch, 1)
	record := lease.Launch{
		Schema: lease.Schema, Token: launch, State: lease.LaunchOpen, Account: ec2test.Account, Region: ec2test.Region, Count: 1, CreatedAt: time.Now(),
		Window: lease.Duration(15 * time.Minute), Request: []byte(`{"ImageId":"ami-1"}`), Attempts: []lease.Attempt{{ClientToken: client, Min: 1, Max: 1}},
	}
	if _, err := w.store.PutLaunch(w.Context(), record.WithJoinToken(token)); err != nil {
		w.Fatal(err)
	}
	i := ec2sim.Instance{ClientToken: client, Tags: map[string]string{lease.TagRegistry: uuid, lease.TagLaunch: client}}
	for _, change := range changes {
		change(&i)
	}
	return w.Sim.Create(i), token
}

// document is what the instance's metadata service says.
func (w *world) document(id string) string {
	w.Helper()
	return w.documentOf(w.Sim, id)
}

func (w *world) documentOf(sim *ec2sim.Sim, id string) string {
	w.Helper()
	server := httptest.NewServer(sim.IMDS(id))
	defer server.Close()
	signed, err := imds.New(server.URL, slog.New(slog.DiscardHandler)).SignedDocument(w.Context())
	if err != nil {
		w.Fatal(err)
	}
	return string(signed)
}

// caller is somebody with a key, at an address.
type caller struct {
	w      *world
	http   *http.Client
	forged string // address that it says to call from
}

// dial connects as a proxy does for somebody at that address.
func (w *world) dial(from string) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		source := &net.TCPAddr{IP: net.ParseIP(from), Port: 40000}
		header := proxyproto.HeaderProxyFromAddrs(2, source, conn.RemoteAddr())
		if _, err := header.WriteTo(conn); err != nil {
			return nil, err
		}
		return conn, nil
	}
}

func (w *world) caller(from string) *caller {
	w.Helper()
	certificate, err := api.Key(filepath.Join(w.TempDir(), "key.pem"), slog.New(slog.DiscardHandler))
	if err != nil {
		w.Fatal(err)
	}
	transport := &http.Transport{
		DialContext:     w.dial(from),
		TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: w.pool, Certificates: []tls.Certificate{certificate}},
	}
	w.Cleanup(transport.CloseIdleConnections)
	return &caller{w: w, http: &http.Client{Transport: transport}}
}

// call sends a body, or none, and returns the status and the kind of problem.
func (c *caller) call(method, path string, body any) (status int, kind string, answer []byte) {
	c.w.Helper()
	text, isText := body.(string)
	if !isText && body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			c.w.Fatal(err)
		}
		text = string(data)
	}
	req, err := http.NewRequestWithContext(c.w.Context(), method, c.w.url+path, bytes.NewReader([]byte(text)))
	if err != nil {
		c.w.Fatal(err)
	}
	if c.forged != "" {
		req.Header.Set("X-Forwarded-For", c.forged)
		req.Header.Set("Forwarded", "for="+c.forged)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return 0, err.Error(), nil
	}
	defer resp.Body.Close()
	answer, err = io.ReadAll(resp.Body)
	if err != nil {
		c.w.Fatal(err)
	}
	var p problem.Details
	if resp.StatusCode != http.StatusOK {
		if err := json.Unmarshal(answer, &p); err != nil {
			c.w.Fatalf("%s: %q is no problem", resp.Status, answer)
		}
		kind = p.Kind()
	}
	return resp.StatusCode, kind, answer
}

// enrol shows a document and a token.
func (c *caller) enrol(id, document, token string) (status int, kind string) {
	c.w.Helper()
	status, kind, _ = c.call(http.MethodPost, "/v1/instances/"+id+"/enrolment", map[string]string{"document": document, "join_token": token})
	return status, kind
}

// client is the sidecar's client, which enrols by itself.
func (w *world) client(i ec2sim.Instance, token string) *api.Client {
	w.Helper()
	client, err := api.NewClient(api.ClientConfig{
		URL: w.url, CAFile: w.ca, KeyFile: filepath.Join(w.TempDir(), "key.pem"), InstanceID: i.ID, Logger: slog.New(slog.DiscardHandler),
		Prove: func(context.Context) (string, string, error) { return w.document(i.ID), token, nil },
		Dial:  w.dial(i.PrivateIP),
	})
	if err != nil {
		w.Fatal(err)
	}
	return client
}

func (w *world) lease(id string) lease.Lease {
	w.Helper()
	l, err := w.store.Lease(w.Context(), id)
	if err != nil {
		w.Fatal(err)
	}
	return l
}

// bind gives an instance its lease.
func (w *world) bind(i ec2sim.Instance) lease.Lease {
	w.Helper()
	l, err := w.store.PutLease(w.Context(), lease.Lease{
		Schema: lease.Schema, InstanceID: i.ID, State: lease.StateActive, ClientToken: i.ClientToken, Account: ec2test.Account, Region: i.Region, GrantedAt: time.Now(),
		ExpiresAt: time.Now().Add(24 * time.Hour), ExpiresNumber: 1, MaxExpiresAt: time.Now().Add(7 * 24 * time.Hour), HeartbeatTimeout: lease.Duration(time.Minute),
	})
	if err != nil {
		w.Fatal(err)
	}
	return l
}

func (w *world) enrolment(id string) lease.Enrolment {
	w.Helper()
	e, err := w.store.Enrolment(w.Context(), id)
	if err != nil {
		w.Fatal(err)
	}
	return e
}

func heartbeatOf(boot string, claim bool) map[string]any {
	return map[string]any{"claim": claim, "boot_id": boot, "heartbeat_timeout": "1m0s", "since": time.Now().UTC().Format(time.RFC3339)}
}

func own(id, path string) string { return fmt.Sprintf("/v1/instances/%s%s", id, path) }

// name makes the name of a launch its own.
func (w *world) name(launch string) string {
	w.made++
	return fmt.Sprint(launch, "-", w.made)
}
