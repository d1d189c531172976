//go:build bench

package bench

import (
	"bufio"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"lapse/lease/ec2/ec2sim"
	"lapse/lease/etcd"
)

const (
	region   = "us-east-1"
	empty    = "eu-west-1" // a region without instances
	generous = 3 * time.Minute
)

// world is an etcd process, a simulated EC2 and the commands.
type world struct {
	t      *testing.T
	dir    string
	sim    *ec2sim.Sim
	aws    string
	server *process // etcd
	client *clientv3.Client
	store  *etcd.Store
}

// newWorld has an EC2 that answers as fast as it can.
func newWorld(t *testing.T) *world {
	t.Helper()
	w := simWorld(t, ec2sim.Config{ShuttingDownFor: 30 * time.Second})
	w.startEtcd()
	return w
}

// simWorld has no etcd.
func simWorld(t *testing.T, c ec2sim.Config) *world {
	t.Helper()
	dir, err := os.MkdirTemp("", "l") //nolint:usetesting // short: paths of unix sockets are
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	sim := ec2sim.New(c)
	server := httptest.NewServer(sim)
	t.Cleanup(server.Close)
	t.Cleanup(sim.Close)
	return &world{t: t, dir: dir, sim: sim, aws: server.URL}
}

func (w *world) startEtcd() {
	w.t.Helper()
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), etcdDir+"="+w.dir)
	w.server = w.spawn(c)
	w.until("etcd", func() bool {
		client, err := etcd.Dial(w.t.Context(), etcd.Config{Endpoints: []string{w.etcd()}})
		if err != nil {
			return false
		}
		w.t.Cleanup(func() { _ = client.Close() })
		w.client, w.store = client, etcd.New(client, "default", etcd.Options{})
		return true
	})
}

func (w *world) etcd() string { return "unix://" + filepath.Join(w.dir, "etcd.sock") }

// command prepares one of the commands that `make build` has made.
func (w *world) command(name string, args ...string) *exec.Cmd {
	w.t.Helper()
	bin, err := filepath.Abs(filepath.Join("..", "..", "..", "bin", name))
	if err != nil {
		w.t.Fatal(err)
	}
	c := exec.Command(bin, args...)
	c.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + w.dir, "AWS_ENDPOINT_URL=" + w.aws, "AWS_REGION=" + region,
		"AWS_ACCESS_KEY_ID=bench", "AWS_SECRET_ACCESS_KEY=bench", "AWS_EC2_METADATA_DISABLED=true", "LAPSE_ETCD_ENDPOINTS=" + w.etcd(),
	}
	return c
}

// process is a running command and what it has logged.
type process struct {
	*exec.Cmd

	mu    sync.Mutex
	lines []string
	at    []time.Time // when each line was read
}

// spawn starts a process that ends with the test, by its own process id.
func (w *world) spawn(c *exec.Cmd) *process {
	w.t.Helper()
	p := &process{Cmd: c}
	stderr, err := c.StderrPipe()
	if err != nil {
		w.t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		w.t.Fatalf("start (make build builds the commands): %v", err)
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			p.mu.Lock()
			p.lines, p.at = append(p.lines, lines.Text()), append(p.at, time.Now())
			p.mu.Unlock()
		}
	}()
	w.t.Cleanup(func() {
		_ = c.Process.Signal(syscall.SIGTERM)
		<-read
		_ = c.Wait()
		if w.t.Failed() {
			p.mu.Lock()
			defer p.mu.Unlock()
			w.t.Logf("%s said:\n%s", c.Args[0], strings.Join(p.lines[max(0, len(p.lines)-40):], "\n"))
		}
	})
	return p
}

// said returns when lines with this text were logged.
func (p *process) said(text string) []time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	var at []time.Time
	for n, line := range p.lines {
		if strings.Contains(line, text) {
			at = append(at, p.at[n])
		}
	}
	return at
}

// sweeps returns when the janitor ended its sweeps.
func (p *process) sweeps() []time.Time { return p.said("msg=swept") }

// janitor runs the janitor over the fleet's region, and waits until it has swept once.
func (w *world) janitor(args ...string) *process {
	w.t.Helper()
	p := w.spawn(w.command("janitor", append([]string{"run"}, args...)...))
	w.until("a first sweep", func() bool { return len(p.sweeps()) > 0 })
	return p
}

// memory returns a figure of /proc/PID/status in MiB, such as VmHWM.
func (p *process) memory(t *testing.T, name string) float64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(name + `:\s+(\d+) kB`).FindSubmatch(text)
	if found == nil {
		t.Fatalf("/proc has no %s", name)
	}
	kib, err := strconv.ParseFloat(string(found[1]), 64)
	if err != nil {
		t.Fatal(err)
	}
	return kib / 1024
}

// cpu is the time that the process has computed, in all its threads.
func (p *process) cpu(t *testing.T) time.Duration {
	t.Helper()
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", p.Process.Pid))
	if err != nil || len(threads) == 0 {
		t.Fatalf("/proc does not show the processor time: %v", err)
	}
	var total time.Duration
	for _, thread := range threads {
		text, err := os.ReadFile(thread)
		if err != nil {
			t.Fatal(err)
		}
		var ns int64
		if _, err := fmt.Sscan(string(text), &ns); err != nil {
			t.Fatal(err)
		}
		total += time.Duration(ns)
	}
	return total
}

// until polls for a condition until a generous deadline.
func (w *world) until(what string, holds func() bool) {
	w.t.Helper()
	for deadline := time.Now().Add(generous); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			w.t.Fatalf("waited %s in vain for: %s", generous, what)
		}
	}
}
