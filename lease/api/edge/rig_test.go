package edge_test

import (
	"bufio"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"lapse/lease/api/edge"
)

// generous is for what takes a moment on an idle machine.
const generous = time.Minute

// rig is a server on loopback, with a handler that vouches for whom it is told to, and that can hold requests.
type rig struct {
	*testing.T

	server *edge.Server
	roots  *x509.CertPool
	counts *counts
	logs   *buffer
	stop   context.CancelFunc
	ended  chan error

	enrolled sync.Map // keys
	entered  chan string
	release  chan struct{}
}

// answer is what the handler saw.
type answer struct {
	Key, Addr, Remote string
	Header            http.Header
	Body              string
	Length            int64
	Deadline          bool
}

func start(t *testing.T, change func(*edge.Config)) *rig {
	t.Helper()
	r := &rig{T: t, counts: newCounts(), logs: new(buffer), ended: make(chan error, 1), entered: make(chan string, 100), release: make(chan struct{})}
	certFile, keyFile := filepath.Join(t.TempDir(), "api.pem"), filepath.Join(t.TempDir(), "api.key")
	r.roots = x509.NewCertPool()
	r.roots.AddCert(issue(t, certFile, keyFile))
	c := edge.Config{
		Addr: "127.0.0.1:0", CertFile: certFile, KeyFile: keyFile, Counters: r.counts, Logger: slog.New(slog.NewJSONHandler(r.logs, nil)),
		Timeouts: edge.Timeouts{Handshake: generous, Header: generous, Body: generous, Idle: generous, Handle: generous, Write: 3 * generous, Drain: 100 * time.Millisecond},
	}
	if change != nil {
		change(&c)
	}
	var err error
	if r.server, err = edge.New(c); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	r.stop = stop
	go func() { r.ended <- r.server.Serve(ctx, r) }()
	t.Cleanup(func() {
		stop()
		select {
		case err := <-r.ended:
			if err != nil {
				t.Errorf("Serve: %v", err)
			}
		case <-time.After(generous):
			t.Error("Serve does not end")
		}
	})
	return r
}

func (r *rig) ServeHTTP(w http.ResponseWriter, hr *http.Request) {
	caller, ok := edge.CallerOf(hr.Context())
	if !ok {
		r.Error("a request of nobody")
	}
	if _, ok := r.enrolled.Load(caller.Key); ok {
		edge.Vouch(hr.Context())
	}
	switch hr.URL.Path {
	case "/hold":
		r.entered <- caller.Key
		select {
		case <-r.release:
		case <-hr.Context().Done():
		}
	case "/panic":
		panic("of the handler")
	}
	body, err := io.ReadAll(hr.Body)
	if err != nil {
		r.Error(err)
	}
	_, deadline := hr.Context().Deadline()
	_ = json.NewEncoder(w).Encode(answer{caller.Key, caller.Addr.String(), hr.RemoteAddr, hr.Header, string(body), hr.ContentLength, deadline})
}

// caller is an instance.
type caller struct {
	*rig

	identity tls.Certificate
	from     string // address of loopback
	before   []byte // what it sends before TLS
	http     *http.Client
}

// caller makes a new one at an address of loopback, which keeps its connection.
func (r *rig) caller(from string, before ...byte) *caller {
	r.Helper()
	c := &caller{rig: r, identity: identity(r, p256(r)), from: from, before: before}
	transport := &http.Transport{
		DialTLSContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			conn, err := c.dialTLS(ctx, c.config())
			if err != nil {
				return nil, err // without a nil *tls.Conn in it
			}
			return conn, nil
		},
	}
	c.http = &http.Client{Transport: transport, Timeout: 2 * generous}
	r.Cleanup(transport.CloseIdleConnections)
	return c
}

// proved makes a caller whom the handler has vouched for.
func (r *rig) proved(from string, before ...byte) *caller {
	r.Helper()
	c := r.caller(from, before...)
	r.enrolled.Store(c.key(), true)
	if status, _ := c.get("/"); status != http.StatusOK {
		r.Fatalf("a caller that is to be proved is answered %d", status)
	}
	return c
}

func (c *caller) key() string {
	leaf, err := x509.ParseCertificate(c.identity.Certificate[0])
	if err != nil {
		c.Fatal(err)
	}
	sum := sha256.Sum256(leaf.RawSubjectPublicKeyInfo)
	return hex.EncodeToString(sum[:])
}

func (c *caller) config() *tls.Config {
	return &tls.Config{RootCAs: c.roots, ServerName: "localhost", Certificates: []tls.Certificate{c.identity}, MinVersion: tls.VersionTLS13}
}

func (c *caller) dial(ctx context.Context) (net.Conn, error) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(c.from)}, Timeout: generous}
	conn, err := d.DialContext(ctx, "tcp", c.server.Addr().String())
	if err != nil {
		return nil, err
	}
	if err := conn.SetDeadline(time.Now().Add(generous)); err != nil {
		return nil, err
	}
	_, err = conn.Write(c.before)
	return conn, err
}

func (c *caller) dialTLS(ctx context.Context, config *tls.Config) (*tls.Conn, error) {
	conn, err := c.dial(ctx)
	if err != nil {
		return nil, err
	}
	secured := tls.Client(conn, config)
	if err := secured.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return secured, nil
}

// open makes a connection of TLS, for requests byte by byte.
func (c *caller) open() *tls.Conn {
	c.Helper()
	conn, err := c.dialTLS(c.Context(), c.config())
	if err != nil {
		c.Fatal(err)
	}
	c.Cleanup(func() { _ = conn.Close() })
	return conn
}

// send sends text on a connection of its own, and returns the answer's status line, or the error.
func (c *caller) send(text string) string {
	c.Helper()
	conn := c.open()
	if _, err := io.WriteString(conn, text); err != nil {
		return err.Error()
	}
	all, err := io.ReadAll(conn)
	if len(all) == 0 {
		return "no answer: " + errors.Join(err, io.EOF).Error()
	}
	line, _, _ := strings.Cut(string(all), "\r\n")
	return line
}

// reply is an answer that is read.
type reply struct {
	Status     string
	StatusCode int
	Header     http.Header
}

func (c *caller) do(method, path, body string, header http.Header) (got reply, text string, err error) {
	req, err := http.NewRequestWithContext(c.Context(), method, "https://localhost"+path, strings.NewReader(body))
	if err != nil {
		return got, "", err
	}
	for name, values := range header {
		req.Header[name] = values
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return got, "", err
	}
	defer resp.Body.Close()
	all, err := io.ReadAll(resp.Body)
	return reply{resp.Status, resp.StatusCode, resp.Header}, string(all), err
}

// get returns the status and what the handler saw.
func (c *caller) get(path string) (int, answer) {
	c.Helper()
	resp, text, err := c.do(http.MethodGet, path, "", nil)
	if err != nil {
		c.Fatal(err)
	}
	var a answer
	if resp.StatusCode == http.StatusOK {
		if err := json.Unmarshal([]byte(text), &a); err != nil {
			c.Fatal(err)
		}
	}
	return resp.StatusCode, a
}

// hold sends a request that the handler holds until release, and returns when the handler has it.
func (c *caller) hold() (status <-chan int) {
	c.Helper()
	answered := make(chan int, 1)
	go func() {
		resp, _, err := c.do(http.MethodGet, "/hold", "", nil)
		if err != nil {
			answered <- 0
			return
		}
		answered <- resp.StatusCode
	}()
	c.awaitHeld()
	return answered
}

func (r *rig) awaitHeld() {
	r.Helper()
	select {
	case <-r.entered:
	case <-time.After(generous):
		r.Fatal("the handler never gets the request")
	}
}

// cut waits until the server has closed a connection.
func (r *rig) cut(conn net.Conn) {
	r.Helper()
	_ = conn.SetReadDeadline(time.Now().Add(generous))
	if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
		r.Error("the server keeps the connection")
	}
}

// until tries until it is so.
func (r *rig) until(what string, is func() bool) {
	r.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(generous); !is(); <-tick.C {
		if time.Now().After(end) {
			r.Fatalf("never: %s; %+v, %s", what, r.server.Load(), r.counts)
		}
	}
}

// over makes TLS over a connection that is there.
func over(c *caller, conn net.Conn) func(context.Context, string, string) (net.Conn, error) {
	return func(context.Context, string, string) (net.Conn, error) { return tls.Client(conn, c.config()), nil }
}

// read reads what the handler saw from an answer on a connection.
func read(tb testing.TB, conn net.Conn) (a answer) {
	tb.Helper()
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		tb.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&a); err != nil {
		tb.Fatalf("%s: %v", resp.Status, err)
	}
	return a
}
