package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"lapse/cmd/internal/script"
	"lapse/lease"
	"lapse/lease/etcd"
	"lapse/lease/etcd/embedded"
	"lapse/lease/self"
	"lapse/sidecar"
)

// me is the instance that the sidecar of a script runs on.
const me = "i-0123456789abcdef0"

// world is what one script has to itself: an etcd with the lease of an instance, and that instance's sidecar.
type world struct {
	server *embedded.Server
	store  *etcd.Store
	client etcd.Client
	ctx    context.Context // of the script
	said   chan string     // what the sidecar tells systemd
}

// newWorld starts the servers of a script and points the program at the sidecar.
func newWorld(env *testscript.Env) error {
	ctx, own, err := script.StartEtcd(env)
	if err != nil {
		return err
	}
	if err := putLease(ctx, own.Store); err != nil {
		return err
	}
	w := &world{server: own.Server, store: own.Store, client: own.Client, ctx: ctx, said: make(chan string, 1000)}
	socket := filepath.Join(own.Dir, "s.sock")
	s, err := sidecar.New(sidecar.Config{
		InstanceID: me, BootID: "boot-1", Address: "10.0.0.1", SocketPath: socket, Now: time.Now,
		Open: func(context.Context) (sidecar.Registry, error) {
			return self.New(own.Store, time.Now, slog.New(slog.DiscardHandler)), nil
		},
		Logger: slog.New(slog.DiscardHandler), Notify: func(state string) { w.said <- state },
	})
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	stopped := make(chan struct{})
	env.Defer(func() { stop(); <-stopped })
	go func() {
		defer close(stopped)
		_ = s.Run(ctx)
	}()
	env.Values["world"] = w
	env.Setenv("LAPSE_SOCKET", socket)
	env.Setenv("ID", me)
	return w.wait("lease valid")
}

func putLease(ctx context.Context, store *etcd.Store) error {
	now, by := time.Now(), lease.By{Actor: "test"}
	location := lease.Location{Account: "123456789012", Region: "us-east-1"}
	if _, err := store.PutRegistry(ctx, lease.NewRegistry(now, "6ba7b810-9dad-11d1-80b4-00c04fd430c8", lease.ModeArmed)); err != nil {
		return err
	}
	l := lease.Adopt(now, lease.Instance{ID: me, Location: location, Zone: "us-east-1a"}, now.Add(time.Hour), time.Date(2098, 1, 1, 0, 0, 0, 0, time.UTC), "ada", nil, by)
	l.HeartbeatTimeout = lease.Duration(lease.MinHeartbeatTimeout)
	l, err := l.Activate(now, by)
	if err != nil {
		return err
	}
	_, err = store.PutLease(ctx, l)
	return err
}

// wait waits until the sidecar logs something that begins so.
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

// peer makes an instance one of launch nightly, and lets it renew from an address, if there is one.
func (w *world) peer(id string, address ...string) error {
	l, err := w.store.Lease(w.ctx, id)
	if err != nil {
		if l, err = w.store.Lease(w.ctx, me); err != nil {
			return err
		}
		l.InstanceID, l.Revision = id, 0
	}
	l.Launch, l.Labels = "nightly", map[string]string{"role": "monitor"}
	if _, err := w.store.PutLease(w.ctx, l); err != nil || len(address) == 0 {
		return err
	}
	_, err = w.store.Claim(w.ctx, lease.Heartbeat{InstanceID: id, BootID: "boot-2", Address: address[0], HeartbeatTimeout: lease.Duration(time.Hour)})
	return err
}

// gone waits until an instance is no peer any more.
func (w *world) gone(socket, id string) error {
	ticker, late := time.NewTicker(2*time.Second), time.After(time.Minute)
	defer ticker.Stop()
	for {
		peers, err := sidecar.NewClient(socket).Peers(w.ctx)
		if err != nil || !slices.ContainsFunc(peers, func(p lease.Peer) bool { return p.InstanceID == id }) {
			return err
		}
		select {
		case <-ticker.C:
		case <-late:
			return fmt.Errorf("%s is still a peer", id)
		}
	}
}

// worldCommands are the commands of scripts, besides running programs.
func worldCommands() map[string]func(*testscript.TestScript, bool, []string) {
	return map[string]func(*testscript.TestScript, bool, []string){
		"exits": script.Exits,
		"checkpoint": func(ts *testscript.TestScript, _ bool, args []string) { // checkpoint AGE: a janitor swept so long ago
			age, err := time.ParseDuration(args[0])
			ts.Check(err)
			at := time.Now().Add(-age).UTC()
			data, err := json.Marshal(lease.Checkpoint{Schema: lease.Schema, Sequence: 1, Nonce: "n", Time: at, NextSweep: at.Add(time.Minute)})
			ts.Check(err)
			w := ts.Value("world").(*world)
			_, err = w.client.Put(w.ctx, "/lapse/default/checkpoint", string(data))
			ts.Check(err)
		},
		"peer": func(ts *testscript.TestScript, _ bool, args []string) { // peer ID [ADDRESS]: of launch nightly; with an address, it renews
			ts.Check(ts.Value("world").(*world).peer(args[0], args[1:]...))
		},
		"vanish": func(ts *testscript.TestScript, _ bool, args []string) { // vanish ID: its heartbeat expires
			w := ts.Value("world").(*world)
			_, err := w.client.Delete(w.ctx, w.store.Key("heartbeat", args[0]))
			ts.Check(err)
		},
		"gone": func(ts *testscript.TestScript, _ bool, args []string) { // gone ID: sooner or later, the sidecar no longer names it
			ts.Check(ts.Value("world").(*world).gone(ts.Getenv("LAPSE_SOCKET"), args[0]))
		},
		"cut": func(ts *testscript.TestScript, _ bool, _ []string) { // etcd is unreachable, and the sidecar knows
			w := ts.Value("world").(*world)
			ts.Check(errors.Join(w.server.Close(), w.wait("heartbeat is not acknowledged")))
		},
	}
}
