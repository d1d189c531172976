package story

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"lapse/cmd/internal/authority"
	"lapse/cmd/internal/script"
	"lapse/lease"
	"lapse/lease/ec2/ec2sim"
	"lapse/sidecar"
)

const (
	root     = "../../.." // of the module
	generous = 60 * time.Second
)

// bin is where the commands are.
var bin string

func TestMain(m *testing.M) { os.Exit(run(m)) }

// run builds the commands once, as the Makefile does.
func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "s")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	bin = dir
	for _, name := range []string{"lease", "janitor", "sidecar"} {
		build := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-o", filepath.Join(dir, name), "./cmd/"+name)
		build.Dir, build.Env = root, append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "build %s: %v\n%s", name, err, out)
			return 1
		}
	}
	return m.Run()
}

// world is where it all happens: a directory, and an EC2.
type world struct {
	*testing.T
	dir string
	sim *ec2sim.Sim
	env []string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	sim := ec2sim.New(ec2sim.Config{})
	server := httptest.NewServer(sim)
	t.Cleanup(server.Close)
	t.Cleanup(sim.Close)
	w := &world{T: t, dir: script.ShortDir(t), sim: sim}
	w.env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + w.dir, "AWS_ENDPOINT_URL=" + server.URL, "AWS_REGION=us-east-1", "AWS_ACCESS_KEY_ID=story",
		"AWS_SECRET_ACCESS_KEY=story", "AWS_EC2_METADATA_DISABLED=true",
	}
	if err := os.Mkdir(w.path("home"), 0o700); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) path(name string) string { return filepath.Join(w.dir, name) }

func (w *world) command(name string, args ...string) *exec.Cmd {
	c := exec.Command(filepath.Join(bin, name), args...)
	c.Env = w.env
	if home := w.path("home"); name == "sidecar" { // which is on the instance, and knows of no etcd
		c.Dir, c.Env = home, append(c.Env, "HOME="+home, "TMPDIR="+home, "STATE_DIRECTORY="+home)
	} else {
		c.Env = append(c.Env, "LAPSE_ETCD_ENDPOINTS=unix://"+w.path("etcd/etcd.sock"))
	}
	return c
}

// do runs a command, which must succeed, and returns what it printed.
func (w *world) do(name string, args ...string) string {
	w.Helper()
	var said bytes.Buffer
	c := w.command(name, args...)
	c.Stderr = &said
	out, err := c.Output()
	if err != nil {
		w.Fatalf("%s %s: %v\n%s%s", name, strings.Join(args, " "), err, out, said.String())
	}
	return string(out)
}

// process is a command that goes on.
type process struct {
	*world
	cmd  *exec.Cmd
	log  string
	done chan struct{}
}

func (w *world) start(name string, args ...string) *process {
	w.Helper()
	p := &process{world: w, cmd: w.command(name, args...), log: w.path(fmt.Sprintf("%s-%d.log", name, time.Now().UnixNano())), done: make(chan struct{})}
	file, err := os.Create(p.log)
	if err != nil {
		w.Fatal(err)
	}
	defer file.Close()
	p.cmd.Stdout, p.cmd.Stderr = file, file
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		w.Fatal(err)
	}
	go func() {
		_ = p.cmd.Wait()
		close(p.done)
	}()
	w.Cleanup(func() {
		p.stop(syscall.SIGKILL)
		if w.Failed() {
			w.Logf("%s said:\n%s", name, p.said())
		}
	})
	return p
}

func (p *process) stop(signal syscall.Signal) {
	_ = p.cmd.Process.Signal(signal)
	<-p.done
}

func (p *process) said() string {
	text, err := os.ReadFile(p.log)
	if err != nil {
		p.Error(err)
	}
	return string(text)
}

// until waits for a condition that processes bring about.
func (w *world) until(what string, is func() bool) {
	w.Helper()
	for end := time.Now().Add(generous); !is(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			w.Fatalf("waited in vain: %s", what)
		}
	}
}

// api waits until a log names the address of the API.
func (p *process) api() string {
	p.Helper()
	var address string
	p.until("the API is served", func() bool {
		if found := regexp.MustCompile(`serving the instance API.*address"?[=:]"?([0-9.]+:\d+)`).FindStringSubmatch(p.said()); found != nil {
			address = found[1]
		}
		return address != ""
	})
	return address
}

func (w *world) status(socket string) (s sidecar.Status) {
	w.Helper()
	out, err := w.command("sidecar", "status", "--socket", socket, "-o", "json").Output()
	if err == nil {
		err = json.Unmarshal(out, &s)
	}
	if err != nil {
		return sidecar.Status{}
	}
	return s
}

func (w *world) lease(id string) (l lease.Lease) {
	w.Helper()
	if err := json.Unmarshal([]byte(w.do("lease", "show", id, "-o", "json")), &l); err != nil {
		w.Fatal(err)
	}
	return l
}

// TestAnInstanceKeepsItsOwnLeaseThroughTheAPI is the way of a new user.
func TestAnInstanceKeepsItsOwnLeaseThroughTheAPI(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	certificates, err := w.sim.IdentityCertificates()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(w.path("ec2.pem"), certificates, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(w.path("user-data"), []byte("#!/bin/sh\necho hello\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	authority, err := authority.New(w.path("ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	if err := authority.Issue("api", w.path("api.pem"), w.path("api.key")); err != nil {
		t.Fatal(err)
	}
	w.env = append(w.env, "LAPSE_API_CERT="+w.path("api.pem"), "LAPSE_API_KEY="+w.path("api.key"), "LAPSE_IDENTITY_CERTIFICATES="+w.path("ec2.pem"),
		"LAPSE_API_CACERT="+w.path("ca.pem")) // as the files beside the units give them
	janitor := w.start("janitor", "run", "--embedded-etcd", w.path("etcd"), "--arm", "--schedule", "@every 1s", "--api-listen", "127.0.0.1:0",
		"--audit-log", w.path("audit.log"))
	url := "https://" + janitor.api()
	w.do("lease", "init", "--api", url)
	w.until("a sweep", func() bool { return w.command("janitor", "status").Run() == nil })
	launched := w.do("lease", "launch", "--id", "first", "--image-id", "ami-00000000000000001", "--instance-type", "t3.micro",
		"--term", "1h", "--max-term", "8h", "--heartbeat-timeout", "10s", "--user-data", w.path("user-data"), "-o", "json")
	id := regexp.MustCompile(`\bi-[0-9a-f]{17}`).FindString(launched)
	if id == "" {
		t.Fatalf("no instance in %s", launched)
	}
	token := w.joinToken(id)

	metadata := httptest.NewServer(w.sim.IMDS(id))
	t.Cleanup(metadata.Close)
	socket := w.path("run/s.sock")
	for range 2 { // a restart goes on with the same key
		machine := w.start("sidecar", "run", "--imds", metadata.URL, "--socket", socket)
		w.until("the sidecar holds the lease", func() bool { return w.status(socket).Phase == sidecar.PhaseHolding })
		machine.stop(syscall.SIGTERM)
	}
	machine := w.start("sidecar", "run", "--imds", metadata.URL, "--socket", socket)
	w.until("the sidecar holds the lease", func() bool { return w.status(socket).Phase == sidecar.PhaseHolding })
	if info, err := os.Stat(w.path("run/key.pem")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key: %v, %v", info, err)
	}

	before := w.lease(id)
	w.do("sidecar", "extend", "--socket", socket, "--by", "2h", "--reason", "the build runs on")
	after := w.lease(id)
	last := after.History[len(after.History)-1]
	if moved := after.ExpiresAt.Sub(before.ExpiresAt); moved != 2*time.Hour || !strings.HasPrefix(last.Actor, "instance:"+id+" uid=") || last.Reason != "the build runs on" {
		t.Errorf("moved by %s, signed %+v", moved, last)
	}
	if out := w.do("lease", "list", "--renewing"); !strings.Contains(out, id) {
		t.Errorf("it is not among those that renew:\n%s", out)
	}
	if out, _ := w.command("lease", "doctor").Output(); !strings.Contains(string(out), url+" answers") {
		t.Errorf("doctor says\n%s", out)
	}
	w.until("the launch is settled", func() bool { return !strings.Contains(w.everything(), token) })
	audit, err := os.ReadFile(w.path("audit.log"))
	if err != nil || strings.Count(string(audit), `"kind":"enrol","instance_id":"`+id+`"`) != 1 {
		t.Errorf("the audit log has not one enrolment: %v\n%s", err, audit)
	}
	if left, err := os.ReadDir(w.path("home")); err != nil || len(left) > 0 { // or an image would have it
		t.Errorf("the sidecar keeps %v on its disk (%v)", left, err)
	}
	for what, text := range map[string]string{
		"the audit log": string(audit), "lease show": w.do("lease", "show", "first", "-o", "json") + w.do("lease", "show", id, "-o", "json"), "the janitor's log": janitor.said(), "the sidecar's log": machine.said(),
		"lease launch": launched, "lease history": w.do("lease", "history", id, "-o", "json"),
	} {
		if strings.Contains(text, "nothing reads it") { // one file may serve all programs
			t.Errorf("%s warns of another program's settings:\n%s", what, text)
		}
		if strings.Contains(text, token) || strings.Contains(text, "echo hello") {
			t.Errorf("%s tells a secret:\n%s", what, text)
		}
	}

	w.do("sidecar", "release", "--socket", socket, "--reason", "done", "--yes")
	<-machine.done
	w.until("the instance is terminated", func() bool {
		i, known := w.sim.Instance(id)
		return !known || i.State == ec2sim.ShuttingDown || i.State == ec2sim.Terminated
	})
	if l := w.lease(id); l.Cause != lease.CauseRelease {
		t.Errorf("its lease was %s for %s", l.State, l.Cause)
	}
	janitor.stop(syscall.SIGTERM)
}

// joinToken is what the instance's user-data has for it alone.
func (w *world) joinToken(id string) string {
	w.Helper()
	i, _ := w.sim.Instance(id)
	data, err := base64.StdEncoding.DecodeString(i.UserData)
	if err != nil {
		w.Fatal(err)
	}
	join, found := lease.JoinFrom(data)
	if !found || !strings.Contains(string(data), "#!/bin/sh\necho hello\n") {
		w.Fatalf("the user-data is\n%s", data)
	}
	return join.Token
}

// everything is all that the registry holds.
func (w *world) everything() string {
	w.Helper()
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{"unix://" + w.path("etcd/etcd.sock")}, DialTimeout: generous, Logger: zap.NewNop()})
	if err != nil {
		w.Fatal(err)
	}
	defer client.Close()
	all, err := client.Get(w.Context(), "/lapse/", clientv3.WithPrefix())
	if err != nil {
		w.Fatal(err)
	}
	return fmt.Sprint(all.Kvs)
}
