package edge_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"lapse/lease/api/edge"
)

func TestServeEndsInOrder(t *testing.T) {
	t.Parallel()
	r := start(t, func(c *edge.Config) { behindProxies(c); c.Timeouts.Drain = generous })
	c, other := r.caller("127.0.0.1"), r.caller("127.0.0.1")
	other.ok()
	waiting := []net.Conn{r.caller("127.0.0.1").idle(), r.caller(proxy).idle(), r.caller("127.0.0.1").open()}
	body := other.open()
	if _, err := io.WriteString(body, "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nx"); err != nil {
		t.Fatal(err)
	}
	r.until("its body is being read", func() bool { return r.server.Bodies() == 1 })
	held := c.hold()
	r.stop()
	for _, conn := range waiting {
		r.cut(conn)
	}
	r.until("nobody can connect", func() bool {
		conn, err := r.caller("127.0.0.1").dial(t.Context())
		if err == nil {
			_ = conn.Close()
		}
		return err != nil
	})
	select {
	case err := <-r.ended:
		t.Fatalf("it ended with a request in flight: %v", err)
	default:
	}
	if _, err := io.WriteString(body, "body"); err != nil {
		t.Error(err)
	}
	if saw := read(t, body); saw.Body != "xbody" {
		t.Errorf("%+v", saw)
	}
	close(r.release)
	if status := <-held; status != http.StatusOK {
		t.Errorf("the request in flight is answered %d", status)
	}
	err := <-r.ended
	if err != nil {
		t.Error(err)
	}
	r.ended <- err
}

func TestServeDoesNotWaitForeverForAnAnswer(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	held := r.caller("127.0.0.1").hold()
	r.stop()
	if status := <-held; status != 0 {
		t.Errorf("answered %d", status)
	}
}

func TestServeFailsWhenItCannotAccept(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	broken := &short{Listener: listener, err: syscall.EINVAL}
	broken.fails.Store(1)
	server, err := edge.New(config(t, func(c *edge.Config) { c.Listener = broken }))
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Serve(t.Context(), http.NotFoundHandler()); err == nil || !strings.Contains(err.Error(), "invalid argument") {
		t.Error(err)
	}
	if err := server.Serve(t.Context(), http.NotFoundHandler()); err == nil {
		t.Error("it serves twice")
	}
}

func config(t *testing.T, change func(*edge.Config)) edge.Config {
	t.Helper()
	dir := t.TempDir()
	c := edge.Config{
		Addr: "127.0.0.1:0", CertFile: filepath.Join(dir, "api.pem"), KeyFile: filepath.Join(dir, "api.key"), Logger: slog.New(slog.DiscardHandler),
	}
	issue(t, c.CertFile, c.KeyFile)
	change(&c)
	return c
}

func TestWhatCannotServe(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*edge.Config){
		"no logger":              func(c *edge.Config) { c.Logger = nil },
		"no certificate":         func(c *edge.Config) { c.CertFile = "" },
		"no key":                 func(c *edge.Config) { c.KeyFile = "" },
		"a file that is missing": func(c *edge.Config) { c.CertFile += ".missing" },
		"a key that is missing":  func(c *edge.Config) { c.KeyFile += ".missing" },
		"files the wrong way":    func(c *edge.Config) { c.CertFile, c.KeyFile = c.KeyFile, c.CertFile },
		"an address of nobody":   func(c *edge.Config) { c.Addr = "203.0.113.1:1" },
		"a share over all":       func(c *edge.Config) { c.Limits.UnprovedShare = 1.1 },
		"too few header bytes":   func(c *edge.Config) { c.Limits.HeaderBytes = 4096 },
		"a network that is none": func(c *edge.Config) { c.ProxyFrom = []netip.Prefix{{}} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := edge.New(config(t, change)); err == nil {
				t.Error("accepted")
			}
		})
	}
}

// serial is the certificate that the server shows to a new connection.
func (c *caller) serial() (string, error) {
	conn, err := c.dialTLS(c.Context(), c.config())
	if err != nil {
		return "", err
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0].SerialNumber.String(), nil
}

func TestTheCertificateIsReplacedUnderLoad(t *testing.T) {
	t.Parallel()
	var certFile, keyFile string
	r := start(t, func(c *edge.Config) { certFile, keyFile, c.Timeouts.Reload = c.CertFile, c.KeyFile, time.Nanosecond })
	var next []string
	dir := t.TempDir()
	for range 5 {
		cert := issue(t, filepath.Join(dir, "api.pem"), filepath.Join(dir, "api.key"))
		r.roots.AddCert(cert) // before anybody dials
		next = append(next, cert.SerialNumber.String())
		for _, name := range []string{"api.pem", "api.key"} {
			if err := os.Rename(filepath.Join(dir, name), filepath.Join(dir, next[len(next)-1]+name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	ctx, stop := context.WithCancel(t.Context())
	var load sync.WaitGroup
	var works sync.Map
	for range 4 {
		load.Go(func() {
			for ctx.Err() == nil {
				serial, err := r.caller("127.0.0.1").serial()
				if err != nil {
					t.Errorf("a handshake fails: %v", err)
					return
				}
				works.Store(serial, true)
			}
		})
	}
	for _, serial := range next {
		for _, file := range []string{certFile, keyFile} { // in between, they do not belong together
			if err := os.Rename(filepath.Join(dir, serial+map[string]string{certFile: "api.pem", keyFile: "api.key"}[file]), file); err != nil {
				t.Fatal(err)
			}
		}
		r.until("the new certificate is shown", func() bool { _, ok := works.Load(serial); return ok })
	}
	stop()
	load.Wait()
}

func TestABrokenCertificateIsToldOnce(t *testing.T) {
	t.Parallel()
	var certFile, keyFile string
	r := start(t, func(c *edge.Config) { certFile, keyFile, c.Timeouts.Reload = c.CertFile, c.KeyFile, time.Nanosecond })
	c := r.caller("127.0.0.1")
	first, err := c.serial()
	if err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(certFile)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(certFile, good[:100], 0o600); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		if serial, err := c.serial(); err != nil || serial != first {
			t.Errorf("%s, %v, want the previous certificate", serial, err)
		}
	}
	if got := strings.Count(r.logs.String(), "using the previous certificate"); got != 1 {
		t.Errorf("told %d times: %s", got, r.logs)
	}
	r.roots.AddCert(issue(t, certFile, keyFile))
	if serial, err := c.serial(); err != nil || serial == first {
		t.Errorf("%s, %v, want the new certificate", serial, err)
	}
	if got := strings.Count(r.logs.String(), "valid again"); got != 1 {
		t.Errorf("told %d times: %s", got, r.logs)
	}
}

func TestTheCertificateFilesAreNotReadForEachHandshake(t *testing.T) {
	t.Parallel()
	var certFile string
	r := start(t, func(c *edge.Config) { certFile, c.Timeouts.Reload = c.CertFile, time.Hour })
	if err := os.Remove(certFile); err != nil {
		t.Fatal(err)
	}
	r.caller("127.0.0.1").ok()
	if r.logs.String() != "" {
		t.Error(r.logs)
	}
}

func TestHostileCallersDoNotFillTheLog(t *testing.T) {
	t.Parallel()
	r := start(t, func(c *edge.Config) { c.Limits.UnprovedRate = edge.Rate{PerSecond: 1e-9, Burst: 1} })
	known, c := r.proved("127.0.0.2"), r.caller("127.0.0.1")
	const secret = "a-join-token-of-32-bytes"
	for range 501 {
		resp, _, err := c.do(http.MethodPost, "/enrol?token="+secret, secret, http.Header{"Authorization": {secret}})
		if err != nil || resp.StatusCode == http.StatusOK && r.counts.of(edge.KindUnprovedRate) > 0 {
			t.Fatalf("%v, %v", resp, err)
		}
	}
	r.only(edge.KindUnprovedRate, 500)
	text := r.logs.String()
	if n := strings.Count(text, "refused a caller"); n < 1 || n > 10 {
		t.Errorf("%d lines: %s", n, text)
	}
	for _, fact := range []string{`"kind":"unproved_rate"`, `"address":"127.0.0.1"`, `"key":"` + c.key(), `"proved":false`, `"left_out":0`} {
		if !strings.Contains(text, fact) {
			t.Errorf("no %s in %s", fact, text)
		}
	}
	if strings.Contains(text, secret) {
		t.Errorf("the log has a secret: %s", text)
	}
	if resp, _, err := known.do(http.MethodPost, "/", strings.Repeat("x", 70000), nil); err == nil && resp.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("%v", resp)
	}
	r.until("the refusal of a proved caller is logged, beside a flood of others", func() bool { return strings.Contains(r.logs.String(), `"proved":true`) })
}
