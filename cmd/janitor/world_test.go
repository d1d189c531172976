package main

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"lapse/lease"
	"lapse/lease/ec2/ec2sim"
	"lapse/lease/etcd"
	"lapse/lease/etcd/embedded"
)

// here is what scripts sweep.
var here = lease.Place{Account: "123456789012", Region: "us-east-1"}

// world is what one script has to itself: an etcd with a registry, and an EC2.
type world struct {
	ctx    context.Context
	store  *etcd.Store
	sim    *ec2sim.Sim
	office *etcd.Office // of another janitor
}

// newWorld starts the servers of a script and points the program at them.
func newWorld(env *testscript.Env) error {
	ctx, cancel := context.WithCancel(context.Background())
	env.Defer(cancel)
	dir, err := os.MkdirTemp("", "j") // short: a socket's path has 107 bytes at most
	if err != nil {
		return err
	}
	env.Defer(func() { _ = os.RemoveAll(dir) })
	server, err := embedded.Start(ctx, embedded.Config{Dir: dir})
	if err != nil {
		return err
	}
	env.Defer(func() { _ = server.Close() })
	client, err := etcd.Dial(ctx, etcd.Config{Endpoints: server.Endpoints()})
	if err != nil {
		return err
	}
	env.Defer(func() { _ = client.Close() })
	w := &world{ctx: ctx, store: etcd.New(client, "default", etcd.Options{}), sim: ec2sim.New(ec2sim.Config{Now: time.Now})}
	env.Defer(w.sim.Close)
	endpoint := httptest.NewServer(w.sim)
	env.Defer(endpoint.Close)
	env.Values["world"] = w
	for key, value := range map[string]string{
		"LAPSE_ETCD_ENDPOINTS": server.Endpoints()[0], "LAPSE_LOG_LEVEL": "error", "TZ": "UTC", "DIR": dir,
		"AWS_ENDPOINT_URL": endpoint.URL, "AWS_REGION": here.Region, "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "s",
		"AWS_CONFIG_FILE": filepath.Join(dir, "none"), "AWS_SHARED_CREDENTIALS_FILE": filepath.Join(dir, "none"),
		"AWS_EC2_METADATA_DISABLED": "true", "GORACE": "atexit_sleep_ms=0", // a second for each program, otherwise
	} {
		env.Setenv(key, value)
	}
	_, err = w.store.PutRegistry(ctx, lease.NewRegistry(time.Now(), "6ba7b810-9dad-11d1-80b4-00c04fd430c8", lease.ModeObserve))
	return err
}

// worldCommands are what scripts can do beside running programs.
func worldCommands() map[string]func(*testscript.TestScript, bool, []string) {
	commands := map[string]func(*testscript.TestScript, bool, []string){"exits": exits, "asks": asks, "port": port}
	for name, do := range map[string]func(*world, *testscript.TestScript, []string) error{
		"create": createInstance, "leased": leaseInstance, "elect": elect, "stamp": stampSweep, "resign": resign,
	} {
		commands[name] = func(ts *testscript.TestScript, _ bool, args []string) {
			ts.Check(do(ts.Value("world").(*world), ts, args))
		}
	}
	return commands
}

// create TAG=VALUE…: an instance that nobody launched.
func createInstance(w *world, _ *testscript.TestScript, args []string) error {
	tags := map[string]string{}
	for _, arg := range args {
		key, value, _ := strings.Cut(arg, "=")
		tags[key] = value
	}
	w.sim.Create(ec2sim.Instance{Tags: tags})
	return nil
}

// leased VARIABLE TERM: an instance with an active lease, whose term may have passed.
func leaseInstance(w *world, ts *testscript.TestScript, args []string) error {
	registry, err := w.store.Registry(w.ctx)
	if err != nil {
		return err
	}
	term, err := time.ParseDuration(args[1])
	if err != nil {
		return err
	}
	i := w.sim.Create(ec2sim.Instance{Tags: map[string]string{lease.TagRegistry: registry.UUID}})
	now, by := time.Now(), lease.By{Actor: "test"}
	l := lease.Adopt(now.Add(-time.Hour), lease.Instance{ID: i.ID, Place: here, Zone: i.Zone, ZoneID: i.ZoneID}, now.Add(term), time.Time{}, "ada", nil, by)
	if l, err = l.Activate(now, by); err != nil {
		return err
	}
	ts.Setenv(args[0], i.ID)
	_, err = w.store.PutLease(w.ctx, l)
	return err
}

// elect: another janitor leads from now on.
func elect(w *world, _ *testscript.TestScript, _ []string) (err error) {
	w.office, err = w.store.Campaign(w.ctx, "other", time.Minute)
	return err
}

// resign: the other janitor leads no more.
func resign(w *world, _ *testscript.TestScript, _ []string) error { return w.office.Resign(w.ctx) }

// stamp AGE [REGION]…: the other janitor swept.
func stampSweep(w *world, _ *testscript.TestScript, args []string) error {
	age, err := time.ParseDuration(args[0])
	if err != nil {
		return err
	}
	registry, err := w.store.Registry(w.ctx)
	if err != nil {
		return err
	}
	last, err := w.store.Sweep(w.ctx)
	if _, none := errors.AsType[*lease.NotFoundError](err); err != nil && !none {
		return err
	}
	sweep := lease.Sweep{
		Schema: lease.Schema, Sequence: last.Sequence + 1, Nonce: "n", Time: time.Now().Add(-age), Interval: lease.Duration(time.Minute),
		Leader: "other", Revision: last.Revision, Brakes: []lease.Brake{{Name: "rate", Reason: "too many ends"}},
	}
	for _, region := range args[1:] {
		sweep.Places = append(sweep.Places, lease.Place{Account: here.Account, Region: region})
	}
	_, err = w.office.PutSweep(w.ctx, registry, sweep)
	return err
}

// exits [-within DURATION] CODE PROGRAM [ARG]…: runs a program and wants that exit code, soon.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	within := time.Minute
	if len(args) > 2 && args[0] == "-within" {
		var err error
		within, err = time.ParseDuration(args[1])
		ts.Check(err)
		args = args[2:]
	}
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits [-within DURATION] CODE PROGRAM [ARG]…")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	began := time.Now()
	err = ts.Exec(args[1], args[2:]...)
	code := 0
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		code = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if took := time.Since(began); took > within {
		ts.Fatalf("took %s", took)
	}
	if code != want {
		ts.Fatalf("exit code %d, want %d", code, want)
	}
}

// port VARIABLE [busy]: a port of loopback that was free just now, or is taken until the script ends.
func port(ts *testscript.TestScript, _ bool, args []string) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	_, number, err := net.SplitHostPort(listener.Addr().String())
	ts.Check(err)
	ts.Setenv(args[0], number)
	if len(args) > 1 {
		ts.Defer(func() { _ = listener.Close() })
		return
	}
	ts.Check(listener.Close())
}

// asks STATUS URL PATTERN: waits until the answer is that, for a while.
func asks(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: asks STATUS URL PATTERN")
	}
	pattern, err := regexp.Compile(args[2])
	ts.Check(err)
	var got string
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		resp, err := http.Get(args[1])
		if err != nil {
			got = err.Error()
			continue
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		ts.Check(err)
		got = strings.TrimSpace(string(body))
		if strconv.Itoa(resp.StatusCode) == args[0] && pattern.MatchString(got) {
			return
		}
		got = resp.Status + ": " + got
	}
	ts.Fatalf("%s", got)
}
