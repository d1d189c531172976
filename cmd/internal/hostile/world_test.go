//go:build hostile

package hostile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"lapse/cmd/internal/script"

	"lapse/lease/ec2/ec2sim"
	"lapse/lease/etcd/embedded"
)

const (
	region           = "us-east-1"
	account          = "123456789012"
	heartbeatTimeout = 6 * time.Second  // heartbeat timeout of leases that have one
	markGrace        = 4 * time.Second  // notice of a termination
	generous         = 60 * time.Second // deadline of a condition that processes bring about
	stopBound        = 30 * time.Second // from SIGTERM to the end of a process, where nothing that it asks hangs
)

// world is an etcd process, a simulated EC2 over HTTP and the commands.
type world struct {
	t       *testing.T
	dir     string // short, for paths of unix sockets are
	sim     *ec2sim.Sim
	aws     string // URL of what is taken for AWS
	env     []string
	etcd    *process // the server, if it is a process of its own
	reg     *registry
	started int
}

// newWorld has an etcd with an armed registry, and no janitor.
func newWorld(t *testing.T) *world {
	t.Helper()
	w := emptyWorld(t)
	w.startEtcd(embedded.Config{Dir: w.etcdDir()})
	w.run("lease", "init", "--armed")
	return w
}

// emptyWorld has EC2, and no etcd.
func emptyWorld(t *testing.T) *world {
	t.Helper()
	dir, err := os.MkdirTemp("", "h") //nolint:usetesting // short: paths of unix sockets are
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	sim := ec2sim.New(ec2sim.Config{})
	server := httptest.NewServer(sim)
	t.Cleanup(server.Close)
	t.Cleanup(sim.Close)
	w := &world{t: t, dir: dir, sim: sim, aws: server.URL}
	w.reg = &registry{t: t, socket: filepath.Join(w.etcdDir(), "etcd.sock"), namespace: "default"}
	t.Cleanup(w.reg.close)
	return w
}

func (w *world) path(name string) string { return filepath.Join(w.dir, name) }
func (w *world) etcdDir() string         { return w.path("e") }

// startEtcd starts the server in whatever its directory holds, and waits until it answers.
func (w *world) startEtcd(config embedded.Config) {
	w.t.Helper()
	c := exec.Command(os.Args[0])
	var err error
	if c.Env, err = asEtcd(config); err != nil {
		w.t.Fatal(err)
	}
	w.etcd = w.start(c)
	w.until("etcd answering", w.reg.answers)
}

// command prepares one of the commands.
func (w *world) command(name string, args ...string) *exec.Cmd {
	c := exec.Command(filepath.Join(bin, name), args...)
	c.Env = append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + w.dir, "AWS_ENDPOINT_URL=" + w.aws, "AWS_REGION=" + region, "AWS_ACCESS_KEY_ID=hostile",
		"AWS_SECRET_ACCESS_KEY=hostile", "AWS_EC2_METADATA_DISABLED=true", "LAPSE_ETCD_ENDPOINTS=unix://" + w.reg.socket,
	}, w.env...)
	return c
}

// run runs a command to its end and returns what it printed. It must succeed.
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
	if _, failed := errors.AsType[*exec.ExitError](err); err != nil && !failed {
		w.t.Fatal(err)
	}
	return stdout.String(), stderr.String(), c.ProcessState.ExitCode()
}

// janitor starts a janitor with short bounds. What is said later wins.
func (w *world) janitor(args ...string) *process {
	w.t.Helper()
	return w.start(w.command("janitor", janitorArgs(args...)...))
}

func janitorArgs(args ...string) []string {
	return append([]string{"run"}, script.Overriding(args,
		"--schedule", "@every 1s", "--listen", "127.0.0.1:0", "--mark-grace", markGrace.String(), "--lone-grace", markGrace.String(),
		"--boot-grace", "1s", "--orphan-grace", "1s", "--launch-window", "10s", "--absent-for", "3s", "--retry-max", "4s", "--leader-window", "1s",
	)...)
}

// sweeping starts a janitor and waits until it has swept twice.
func (w *world) sweeping(args ...string) *process {
	w.t.Helper()
	from := w.reg.sequence()
	j := w.janitor(args...)
	w.until("two sweeps", func() bool { return w.reg.sequence() >= from+2 })
	return j
}

// sweeps checks that n more sweeps are made within a bound.
func (w *world) sweeps(when string, n int64, bound time.Duration) bool {
	w.t.Helper()
	from, began := w.reg.sequence(), time.Now()
	if !within(bound, func() bool { return w.reg.sequence() >= from+n }) {
		w.t.Errorf("%s: %d sweeps within %s, want %d", when, w.reg.sequence()-from, bound, n)
		return false
	}
	w.t.Logf("%s: %d sweeps within %s", when, n, time.Since(began).Round(time.Millisecond))
	return true
}

// launch launches instances by the command, and returns their ids.
func (w *world) launch(args ...string) []string {
	w.t.Helper()
	return strings.Fields(w.run("lease", append([]string{
		"launch", "--image-id", "ami-0123456789abcdef0", "--instance-type", "t3.micro", "--unattended", "-q",
	}, args...)...))
}

// sidecar starts the sidecar of an instance beside a metadata service that knows it alone.
func (w *world) sidecar(id string, stderr *os.File) *process {
	w.t.Helper()
	metadata := httptest.NewServer(w.sim.IMDS(id))
	w.t.Cleanup(metadata.Close)
	c := w.command("sidecar-direct", "run", "--imds", metadata.URL, "--socket", w.path(id[len(id)-6:]+".sock"))
	if stderr != nil {
		c.Stderr = stderr
	}
	return w.start(c)
}

// running reports, by EC2's own word, whether an instance runs.
func (w *world) running(id string) bool {
	i, there := w.sim.Instance(id)
	return there && i.State == ec2sim.Running
}

// lives checks that an instance runs for so long.
func (w *world) lives(when, id string, long time.Duration) bool {
	w.t.Helper()
	if within(long, func() bool { return !w.running(id) }) {
		w.t.Errorf("%s: %s was terminated: %s", when, id, w.reg.story(id))
		return false
	}
	return true
}

// ended checks that an instance is terminated within a bound, and says how long it took.
func (w *world) ended(when, id string, bound time.Duration) bool {
	w.t.Helper()
	began := time.Now()
	if !within(bound, func() bool { return !w.running(id) }) {
		w.t.Errorf("%s: %s still runs after %s: %s", when, id, bound, w.reg.story(id))
		return false
	}
	w.t.Logf("%s: %s was terminated after %s", when, id, time.Since(began).Round(time.Millisecond))
	return true
}

// tag returns the value of an instance's tag.
func (w *world) tag(id, key string) string {
	i, _ := w.sim.Instance(id)
	return i.Tags[key]
}

// until waits for what the test needs before it can go on.
func (w *world) until(what string, holds func() bool) {
	w.t.Helper()
	if !within(generous, holds) {
		w.t.Fatalf("waited %s in vain for: %s", generous, what)
	}
}

// within polls until a condition holds, and reports whether it did so within a bound.
func within(bound time.Duration, holds func() bool) bool {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for over := time.After(bound); !holds(); {
		select {
		case <-over:
			return holds()
		case <-tick.C:
		}
	}
	return true
}

// passes waits until a time has come, since that is what is tested.
func passes(at time.Time) { within(time.Until(at), func() bool { return false }) }

var listening = regexp.MustCompile(`msg=listening address=(\S+)`)

// readyz asks a janitor whether it is ready, and returns what it says; empty if it says nothing.
func (w *world) readyz(j *process) (status int, text string) {
	w.t.Helper()
	found := listening.FindStringSubmatch(j.said())
	if found == nil {
		return 0, ""
	}
	client := http.Client{Timeout: 3 * time.Second}
	resp, err := client.Get("http://" + found[1] + "/readyz")
	if err != nil {
		return 0, ""
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, ""
	}
	return resp.StatusCode, string(body)
}

// freeze stops a process, and returns what lets it go on, once it has stopped.
func (w *world) freeze(p *process) (resume func()) {
	w.t.Helper()
	p.signal(syscall.SIGSTOP)
	w.until("a process having stopped", func() bool {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
		return err == nil && strings.Contains(string(stat), ") T ")
	})
	return func() { p.signal(syscall.SIGCONT) }
}
