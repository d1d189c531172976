package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"lapse/cmd/internal/authority"
	"lapse/cmd/internal/cli"
	"lapse/lease"
	"lapse/lease/ec2/ec2sim"
	"lapse/lease/etcd"
)

const region = "us-east-1"

// stage is the processes and servers of the demo.
type stage struct {
	Options
	began    time.Time
	dir      string
	sim      *ec2sim.Sim
	ec2      *ec2sim.Server
	api      string // where the janitor serves it
	store    *etcd.Store
	hangUp   func()
	janitor  *exec.Cmd
	sidecars map[string]*exec.Cmd
	metadata *ec2sim.Server // of every instance, below its id
}

// open prepares a directory with a short name, since the paths of unix sockets are short, and a simulated EC2.
func open(ctx context.Context, o Options) (*stage, error) {
	for _, name := range []string{"lease", "janitor", "sidecar"} {
		if _, err := os.Stat(filepath.Join(o.Binaries, name)); err != nil {
			return nil, fmt.Errorf("the demo runs %s, but it is not in %s: build them all with `make build`", name, o.Binaries)
		}
	}
	dir, err := os.MkdirTemp("", "lapse")
	if err != nil {
		return nil, err
	}
	sim := ec2sim.New(ec2sim.Config{PendingFor: time.Second, ShuttingDownFor: time.Second})
	server, err := ec2sim.Serve(sim, "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	machines, err := ec2sim.Serve(&metadata{sim: sim}, "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &stage{
		Options: o, began: time.Now(), dir: dir, sim: sim, ec2: server, metadata: machines, hangUp: func() {}, sidecars: map[string]*exec.Cmd{},
	}
	return s, errors.Join(s.certify(), ctx.Err())
}

// close ends every process that the stage started, by its own id.
func (s *stage) close() {
	s.hangUp()
	for id := range s.sidecars {
		_ = s.killSidecar(id)
	}
	if s.janitor != nil {
		_ = s.stopJanitor()
	}
	_ = s.metadata.Close()
	s.sim.Close()
	_ = s.ec2.Close()
	_ = os.RemoveAll(s.dir)
}

func (s *stage) say(format string, args ...any) {
	_, _ = fmt.Fprintf(s.Out, "%5.1fs  %s\n", time.Since(s.began).Seconds(), fmt.Sprintf(format, args...))
}

func (s *stage) etcdDir() string         { return filepath.Join(s.dir, "e") }
func (s *stage) etcd() string            { return "unix://" + filepath.Join(s.etcdDir(), "etcd.sock") }
func (s *stage) path(name string) string { return filepath.Join(s.dir, name) }

// socket is that of an instance's sidecar, which keeps its key beside it.
func (s *stage) socket(id string) string { return filepath.Join(s.dir, id[len(id)-6:], "s") }

// command prepares one of the three, with EC2 and etcd of this stage and none of the user's own settings.
func (s *stage) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, filepath.Join(s.Binaries, name), args...)
	c.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + s.dir}, s.settings()...)
	return c
}

// settings connect a command, or the AWS CLI, to this stage and to no real account.
func (s *stage) settings() []string {
	return []string{
		"LAPSE_ETCD_ENDPOINTS=" + s.etcd(), "AWS_ENDPOINT_URL=" + s.ec2.URL,
		"AWS_REGION=" + region, "AWS_DEFAULT_REGION=" + region, // some versions of the AWS CLI read only the latter
		"AWS_ACCESS_KEY_ID=demo", "AWS_SECRET_ACCESS_KEY=demo", "AWS_EC2_METADATA_DISABLED=true",
	}
}

// run runs a command to its end. Its output is shown only if it fails.
func (s *stage) run(ctx context.Context, name string, args ...string) error {
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	out, err := s.command(ctx, name, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, bytes.TrimSpace(out))
	}
	return nil
}

func (s *stage) lease(ctx context.Context, args ...string) error { return s.run(ctx, "lease", args...) }

// start runs a command beside the story, with its output in a file.
func (s *stage) start(c *exec.Cmd, log string) error {
	file, err := os.OpenFile(filepath.Join(s.dir, log+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer file.Close()
	c.Stdout, c.Stderr = file, file
	return c.Start()
}

// certify signs a certificate for the API, keeps those by which the simulated EC2 signs identity documents, and finds the API a
// port.
func (s *stage) certify() error {
	ca, err := authority.New(s.path("ca.pem"))
	if err != nil {
		return err
	}
	if err := ca.Issue("api", s.path("api.pem"), s.path("api.key")); err != nil {
		return err
	}
	certificates, err := s.sim.IdentityCertificates()
	if err != nil {
		return err
	}
	if err := os.WriteFile(s.path("ec2.pem"), certificates, 0o600); err != nil {
		return err
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s.api = free.Addr().String()
	return free.Close()
}

// startJanitor starts a janitor whose graces are seconds, with the API for instances, and waits for its first sweep.
func (s *stage) startJanitor(ctx context.Context, args ...string) error {
	args = append([]string{
		"run", "--embedded-etcd", s.etcdDir(), "--schedule", "@every 1s", "--boot-grace", "1s", "--mark-grace", "3s",
		"--orphan-grace", "1s", "--launch-window", "4s", "--api-listen", s.api, "--api-cert", s.path("api.pem"), "--api-key", s.path("api.key"),
		"--identity-certificates", s.path("ec2.pem"),
	}, args...)
	s.janitor = s.command(context.WithoutCancel(ctx), "janitor", args...) // close stops it with the same grace
	if err := s.start(s.janitor, "janitor"); err != nil {
		return err
	}
	s.hangUp()
	var client interface{ Close() error }
	if err := s.until(ctx, "etcd inside the janitor", func() (bool, error) {
		c, err := etcd.Dial(ctx, etcd.Config{
			Endpoints: []string{s.etcd()}, Logger: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			return false, nil //nolint:nilerr // not up yet
		}
		client, s.store = c, etcd.New(c, "default", etcd.Options{})
		return true, nil
	}); err != nil {
		return err
	}
	s.hangUp = func() { _ = client.Close() }
	return s.sweeps(ctx, 1)
}

func (s *stage) stopJanitor() error {
	c := s.janitor
	s.janitor = nil
	if err := c.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	return c.Wait()
}

func (s *stage) sweeps(ctx context.Context, n int64) error {
	return s.until(ctx, fmt.Sprintf("%d sweeps", n), func() (bool, error) {
		checkpoint, err := s.store.Checkpoint(ctx)
		return err == nil && checkpoint.Sequence >= n, nil
	})
}

// metadata serves the metadata of each instance below its id, since here all of them share a machine.
type metadata struct {
	sim       *ec2sim.Sim
	instances sync.Map // of *ec2sim.Metadata, by id
}

func (m *metadata) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	of, _ := m.instances.LoadOrStore(id, m.sim.IMDS(id))
	http.StripPrefix("/"+id, of.(*ec2sim.Metadata)).ServeHTTP(w, r)
}

// startSidecar starts the sidecar of one instance.
func (s *stage) startSidecar(ctx context.Context, id string) error {
	c := exec.CommandContext(context.WithoutCancel(ctx), filepath.Join(s.Binaries, "sidecar"), "run", "--socket", s.socket(id), "--imds", s.metadata.URL+"/"+id,
		"--api-cacert", s.path("ca.pem"))
	c.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + s.dir} // no etcd, and no credentials
	s.sidecars[id] = c
	return s.start(c, id)
}

func (s *stage) killSidecar(id string) error {
	c := s.sidecars[id]
	delete(s.sidecars, id)
	if err := c.Process.Kill(); err != nil {
		return err
	}
	_ = c.Wait() // says that it was killed
	return nil
}

// until waits, without output, for an event in other processes.
func (s *stage) until(ctx context.Context, what string, holds func() (bool, error)) error {
	var last error
	held, _ := cli.Poll(ctx, 50*time.Millisecond, deadline, func() (bool, error) {
		held, err := holds()
		last = err
		return held && err == nil, nil
	})
	if held {
		return nil
	}
	return errors.Join(failure("%s", what), last)
}

func (s *stage) spared(ids ...string) error {
	for _, id := range ids {
		if state := s.state(id); state != "running" {
			return failure("%s to be running, but it is %s", id, state)
		}
	}
	return nil
}

// state is the state in EC2.
func (s *stage) state(id string) string {
	i, ok := s.sim.Instance(id)
	if !ok {
		return "gone"
	}
	return string(i.State)
}

func (s *stage) instancesOf(token string) []string {
	var ids []string
	for _, i := range s.sim.Instances() {
		if strings.HasPrefix(i.ClientToken, token+".") {
			ids = append(ids, i.ID)
		}
	}
	return ids
}

func (s *stage) volumesOf(token string) int {
	n := 0
	for _, v := range s.sim.Volumes() {
		if strings.HasPrefix(v.Tags[lease.TagLaunch], token+".") {
			n++
		}
	}
	return n
}

func (s *stage) showLogs() {
	if log, err := os.ReadFile(filepath.Join(s.dir, "janitor.log")); err == nil {
		_, _ = fmt.Fprintf(s.Out, "\nthe janitor's log:\n%s", log)
	}
}
