// Package script is what the scripts in the testdata of the three commands share: the servers that one script has to
// itself, the exit codes of programs, and programs that somebody else calls.
package script

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"lapse/lease"
	"lapse/lease/ec2/ec2sim"
	"lapse/lease/etcd"
	"lapse/lease/etcd/embedded"
)

// Here is where the scripts' EC2 is.
func Here() lease.Location { return lease.Location{Account: "123456789012", Region: "us-east-1"} }

// Etcd is a server with an empty store in namespace default.
type Etcd struct {
	Dir    string // with a short name: the path of a socket in it has 107 bytes at most
	Server *embedded.Server
	Client etcd.Client
	Store  *etcd.Store
}

// StartEtcd starts an etcd that lives as long as the script, and so does the context. Programs do not hear of it.
func StartEtcd(env *testscript.Env) (context.Context, Etcd, error) {
	ctx, cancel := context.WithCancel(context.Background()) //nolint:forbidigo // the root of all others: a script has none
	env.Defer(cancel)
	for name, value := range map[string]string{"TZ": "UTC", "GORACE": "atexit_sleep_ms=0"} { // a second for each program, otherwise
		env.Setenv(name, value)
	}
	var e Etcd
	var err error
	if e.Dir, err = os.MkdirTemp("", "l"); err != nil {
		return ctx, e, err
	}
	env.Defer(func() { _ = os.RemoveAll(e.Dir) })
	if e.Server, err = embedded.Start(ctx, embedded.Config{Dir: e.Dir}); err != nil {
		return ctx, e, err
	}
	env.Defer(func() { _ = e.Server.Close() })
	client, err := etcd.Dial(ctx, etcd.Config{Endpoints: e.Server.Endpoints()})
	if err != nil {
		return ctx, e, err
	}
	env.Defer(func() { _ = client.Close() })
	e.Client, e.Store = client, etcd.New(client, "default", etcd.Options{})
	return ctx, e, nil
}

// Point points the script's programs at the etcd, and at an EC2 that lives as long as the script.
func (e Etcd) Point(env *testscript.Env, sim *ec2sim.Sim) {
	env.Defer(sim.Close)
	endpoint := httptest.NewServer(sim)
	env.Defer(endpoint.Close)
	none := filepath.Join(e.Dir, "none")
	for name, value := range map[string]string{
		"LAPSE_ETCD_ENDPOINTS": e.Server.Endpoints()[0], "DIR": e.Dir,
		"AWS_ENDPOINT_URL": endpoint.URL, "AWS_REGION": Here().Region, "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "s",
		"AWS_CONFIG_FILE": none, "AWS_SHARED_CREDENTIALS_FILE": none, "AWS_EC2_METADATA_DISABLED": "true",
	} {
		env.Setenv(name, value)
	}
}

// Exits is the command exits [-within DURATION] CODE PROGRAM [ARG]…: runs a program and wants that exit code, soon.
func Exits(ts *testscript.TestScript, neg bool, args []string) {
	within, bounded := time.Minute, []string{}
	if len(args) > 2 && args[0] == "-within" {
		var err error
		within, err = time.ParseDuration(args[1])
		ts.Check(err)
		if tool, err := exec.LookPath("timeout"); err == nil { // one that waits without end would end only with the test
			bounded = []string{tool, "--foreground", fmt.Sprint((2 * within).Seconds())}
		}
		args = args[2:]
	}
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits [-within DURATION] CODE PROGRAM [ARG]…")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	began, command := time.Now(), append(bounded, args[1:]...)
	err = ts.Exec(command[0], command[1:]...)
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

// Overriding are arguments with defaults before them, each a flag and its value, but for those defaults whose flags the
// arguments give themselves: the commands refuse a flag that is given twice.
func Overriding(args []string, defaults ...string) []string {
	var all []string
	for n := 0; n+1 < len(defaults); n += 2 {
		if !slices.Contains(args, defaults[n]) {
			all = append(all, defaults[n], defaults[n+1])
		}
	}
	return append(all, args...)
}
