//go:build e2e

package scenario

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"lapse/lease"
	"lapse/lease/ec2/ec2sim"
	"lapse/lease/etcd"
)

const (
	region   = "us-east-1"
	account  = "123456789012"
	location = account + "/" + region
	generous = 90 * time.Second // deadline of a condition that processes bring about
)

// world is an etcd process, a simulated EC2 and the commands.
type world struct {
	t      *testing.T
	dir    string
	server *process // etcd
	sim    *ec2sim.Sim
	lies   *liar
	aws    string // URL of what is taken for AWS
	store  *etcd.Store
	fleet  []lease.Instance
}

// newWorld has an etcd with a registry that is armed.
func newWorld(t *testing.T) *world {
	t.Helper()
	w := emptyWorld(t)
	w.startEtcd()
	w.connect()
	w.run("lease", "init", "--armed")
	return w
}

// emptyWorld has no etcd yet.
func emptyWorld(t *testing.T) *world {
	t.Helper()
	dir, err := os.MkdirTemp("", "l") //nolint:usetesting // short: paths of unix sockets are
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	sim := ec2sim.New(ec2sim.Config{})
	w := &world{t: t, dir: dir, sim: sim, lies: &liar{sim: sim}}
	server := httptest.NewServer(w.lies)
	t.Cleanup(server.Close)
	t.Cleanup(sim.Close)
	w.aws = server.URL
	return w
}

func (w *world) etcd() string { return "unix://" + filepath.Join(w.dir, "etcd.sock") }

// startEtcd starts the server in whatever its directory holds.
func (w *world) startEtcd() {
	w.t.Helper()
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), etcdDir+"="+w.dir)
	w.server = w.spawn(c)
}

// stopEtcd ends the server, so that its directory can be changed.
func (w *world) stopEtcd() {
	w.t.Helper()
	w.server.end(syscall.SIGTERM)
}

// connect opens the registry for the test itself.
func (w *world) connect() {
	w.t.Helper()
	w.until("etcd", func() bool {
		client, err := etcd.Dial(w.t.Context(), etcd.Config{Endpoints: []string{w.etcd()}})
		if err != nil {
			return false
		}
		w.t.Cleanup(func() { _ = client.Close() })
		w.store = etcd.New(client, "default", etcd.Options{})
		return true
	})
}

// command prepares one of the commands.
func (w *world) command(name string, args ...string) *exec.Cmd {
	c := exec.Command(filepath.Join(bin, name), args...)
	c.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + w.dir, "AWS_ENDPOINT_URL=" + w.aws, "AWS_REGION=" + region, "AWS_ACCESS_KEY_ID=e2e",
		"AWS_SECRET_ACCESS_KEY=e2e", "AWS_EC2_METADATA_DISABLED=true", "LAPSE_ETCD_ENDPOINTS=" + w.etcd(),
	}
	return c
}

// run runs a command to its end and returns what it printed.
func (w *world) run(name string, args ...string) string {
	w.t.Helper()
	out, said, code := w.exits(name, args...)
	if code != 0 {
		w.t.Fatalf("%s %s: exit code %d\n%s%s", name, strings.Join(args, " "), code, out, said)
	}
	return out
}

// exits runs a command to its end and returns what it printed, what it said on stderr, and its exit code.
func (w *world) exits(name string, args ...string) (out, said string, code int) {
	w.t.Helper()
	var stdout, stderr bytes.Buffer
	c := w.command(name, args...)
	c.Stdout, c.Stderr = &stdout, &stderr
	err := c.Run()
	var failed *exec.ExitError
	if err != nil && !errors.As(err, &failed) {
		w.t.Fatal(err)
	}
	return stdout.String(), stderr.String(), c.ProcessState.ExitCode()
}

// until polls for a condition until a generous deadline.
func (w *world) until(what string, holds func() bool) {
	w.t.Helper()
	for deadline := time.Now().Add(generous); !holds(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			w.t.Fatalf("waited %s in vain for: %s", generous, what)
		}
	}
}

// snapshot is what the registry holds.
func (w *world) snapshot() lease.Snapshot {
	w.t.Helper()
	s, err := w.store.Snapshot(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// longEnough waits until a hasty janitor would have terminated the instances that it takes for lost or expired.
func (w *world) longEnough() {
	w.t.Helper()
	time.Sleep(heartbeatTimeout + markGrace + 3*time.Second)
	w.moreSweeps(2)
}

// moreSweeps waits for so many sweeps more, which is the time that a janitor would have to do too much.
func (w *world) moreSweeps(n int64) {
	w.t.Helper()
	from := w.snapshot().Checkpoint.Sequence
	w.until(strconv.FormatInt(n, 10)+" more sweeps", func() bool {
		checkpoint, err := w.store.Checkpoint(w.t.Context())
		return err == nil && checkpoint.Sequence >= from+n
	})
}

// liar stands before EC2, and can hide instances: with a hint, only those whose tag hint is so are ever listed, and with
// byID neither does any other answer to its id.
type liar struct {
	sim  *ec2sim.Sim
	hint atomic.Value // string
	byID atomic.Bool
}

func (l *liar) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	hint, _ := l.hint.Load().(string)
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	if form, err := url.ParseQuery(string(body)); err == nil && form.Get("Action") == "DescribeInstances" && hint != "" &&
		(l.byID.Load() || form.Get("Filter.1.Name") != "instance-id") {
		form.Set("Filter.2.Name", "tag:hint")
		form.Set("Filter.2.Value.1", hint)
		body = []byte(form.Encode())
	}
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	l.sim.ServeHTTP(rw, r)
}
