package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"lapse/lease"
	"lapse/lease/etcd"
	"lapse/lease/etcd/embedded"
	"lapse/sidecar"
)

// me is the instance that the sidecar of a script runs on.
const me = "i-0123456789abcdef0"

// world is what one script has to itself: an etcd with the lease of an instance, and that instance's sidecar.
type world struct {
	server *embedded.Server
	said   chan string // what the sidecar tells systemd
}

// newWorld starts the servers of a script and points the program at the sidecar.
func newWorld(env *testscript.Env) error {
	ctx, cancel := context.WithCancel(context.Background())
	env.Defer(cancel)
	dir, err := os.MkdirTemp("", "s") // short: a socket's path has 107 bytes at most
	if err != nil {
		return err
	}
	env.Defer(func() { _ = os.RemoveAll(dir) })
	w := &world{said: make(chan string, 1000)}
	if w.server, err = embedded.Start(ctx, embedded.Config{Dir: dir}); err != nil {
		return err
	}
	env.Defer(func() { _ = w.server.Close() })
	client, err := etcd.Dial(ctx, etcd.Config{Endpoints: w.server.Endpoints()})
	if err != nil {
		return err
	}
	env.Defer(func() { _ = client.Close() })
	store := etcd.New(client, "default", etcd.Options{})
	if err := putLease(ctx, store); err != nil {
		return err
	}
	socket := filepath.Join(dir, "s.sock")
	s, err := sidecar.New(sidecar.Config{
		InstanceID: me, BootID: "boot-1", SocketPath: socket, Registry: store, Now: time.Now,
		Logger: slog.New(slog.DiscardHandler), Notify: func(state string) { w.said <- state },
	})
	if err != nil {
		return err
	}
	stopped := make(chan struct{})
	env.Defer(func() { cancel(); <-stopped })
	go func() {
		defer close(stopped)
		_ = s.Run(ctx)
	}()
	env.Values["world"] = w
	for key, value := range map[string]string{
		"LAPSE_SOCKET": socket, "ID": me, "TZ": "UTC", "GORACE": "atexit_sleep_ms=0", // a second for each program, otherwise
	} {
		env.Setenv(key, value)
	}
	return w.wait("holding")
}

func putLease(ctx context.Context, store *etcd.Store) error {
	now, by := time.Now(), lease.By{Actor: "test"}
	place := lease.Place{Account: "123456789012", Region: "us-east-1"}
	if _, err := store.PutRegistry(ctx, lease.NewRegistry(now, "6ba7b810-9dad-11d1-80b4-00c04fd430c8", lease.ModeArmed)); err != nil {
		return err
	}
	l := lease.Adopt(now, lease.Instance{ID: me, Place: place, Zone: "us-east-1a"}, now.Add(time.Hour), time.Date(2098, 1, 1, 0, 0, 0, 0, time.UTC), "ada", nil, by)
	l.TTL = lease.Duration(lease.MinTTL)
	l, err := l.Activate(now, by)
	if err != nil {
		return err
	}
	_, err = store.PutLease(ctx, l)
	return err
}

// wait waits until the sidecar says something that begins so.
func (w *world) wait(words string) error {
	for limit := time.After(time.Minute); ; {
		select {
		case said := <-w.said:
			if strings.HasPrefix(said, "STATUS="+words) {
				return nil
			}
		case <-limit:
			return fmt.Errorf("the sidecar never said %q", words)
		}
	}
}

// worldCommands are what scripts can do beside running programs.
func worldCommands() map[string]func(*testscript.TestScript, bool, []string) {
	return map[string]func(*testscript.TestScript, bool, []string){
		"exits": exits,
		"cut": func(ts *testscript.TestScript, _ bool, _ []string) { // etcd goes away, and the sidecar knows
			w := ts.Value("world").(*world)
			ts.Check(errors.Join(w.server.Close(), w.wait("heartbeat is not acknowledged")))
		},
	}
}

// exits CODE PROGRAM [ARG]…: runs a program and wants that exit code.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM [ARG]…")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	code := 0
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		code = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if code != want {
		ts.Fatalf("exit code %d, want %d", code, want)
	}
}
