// Package sidecar keeps the lease of the instance it runs on: it proves the instance alive, and lets local programs see
// the lease and its peers, extend it and give it back. It never binds a lease, and it writes to no other.
//
//   - sidecar.go: [Config], [Registry], which may be away at start, and [Sidecar.Run], the life of the process.
//   - keep.go: claim, renew, claim again; how long each wait is.
//   - view.go: what is known of the lease; what is logged and told to systemd, once per change.
//   - socket.go, peer_linux.go, room.go: the unix socket, one sidecar per socket, who is calling, and how many may.
//   - serve.go, act.go: status, peers, extend and release over it, and what these do.
//   - client.go, reach.go, wire.go: the other end, why it is out of reach, and how refusals cross the socket with their facts.
//
// Nothing is kept on disk. An image made of a running instance therefore holds no state of another instance that would
// have to be recognised and discarded; after a restart everything is asked again, the instance id included.
package sidecar

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"os"
	"strings"
	"time"

	"golang.org/x/time/rate"

	"lapse/lease"
	"lapse/lease/self"
)

// DefaultSocket is where the sidecar serves local programs.
const DefaultSocket = "/run/lapse-sidecar/sidecar.sock"

// Registry is the way to the lease: etcd itself, behind package self, or the API.
type Registry interface {
	// Claim makes the heartbeat's key, or takes it over.
	Claim(ctx context.Context, h lease.Heartbeat) (lease.Claim, error)
	// Renew keeps a claim alive, moves it to h's timeout if that is another, and returns the lease, zero if none is bound yet.
	// A [lease.ClaimLostError] asks for a new claim; a [lease.StateError] says that the lease was revoked, ended or
	// forgotten; a [lease.MalformedError] or [lease.SchemaError] that it cannot be read, but the heartbeat is renewed.
	// The claim returned is the one to keep, also beside an error.
	Renew(ctx context.Context, c lease.Claim, h lease.Heartbeat) (lease.Claim, lease.Lease, error)
	// Extend and Release are those of package self, with its errors.
	Extend(ctx context.Context, id string, req lease.ExtendRequest, by lease.By) (lease.Extended, error)
	Release(ctx context.Context, id string, by lease.By) (lease.Lease, error)
	// Checkpoint reads the checkpoint of the last sweep, which shows a clock that is behind.
	Checkpoint(ctx context.Context) (lease.Checkpoint, error)
	// Peers are the instances of the same launch that live; see package self.
	Peers(ctx context.Context, id string) ([]lease.Peer, error)
}

// Config of a sidecar.
type Config struct {
	InstanceID string // from the instance metadata service
	BootID     string // tells this boot's heartbeat from another's; see [BootID]
	Address    string // of the instance, for people to read
	Version    string // of this program
	SocketPath string // where to serve local programs; empty: nowhere

	MaxExtend time.Duration // how far from now local programs may extend; zero: as far as the maximum expiry

	Open     func(context.Context) (Registry, error) // connects to the registry; by one at a time, until it succeeds
	Logger   *slog.Logger
	Now      func() time.Time   // the wall clock, which may be wrong: for records and terms, never for intervals
	Notify   func(state string) // systemd's notifications; nil: none
	Watchdog time.Duration      // systemd's WATCHDOG_USEC; zero: none
	// Random draws a time from zero on and below the one given, so that sidecars drift apart; math/rand/v2's if nil.
	Random func(below time.Duration) time.Duration
}

// Sidecar keeps one lease.
type Sidecar struct {
	cfg   Config
	lazy  *lazy
	clock *self.Clock
	view  *view
	asked *rate.Limiter // how often local programs may have the lease changed
	sees  *rate.Limiter // how often they may ask for its peers
	wake  chan struct{} // a value asks the loop to renew now
	turns chan struct{} // holds a value for each call of a local program
}

// New returns a sidecar that has not started yet.
//
// Errors: [lease.LimitError].
func New(cfg Config) (*Sidecar, error) {
	switch {
	case !lease.IsInstanceID(cfg.InstanceID):
		return nil, &lease.LimitError{What: "instance id", Why: "must be known; it comes from the instance metadata service"}
	case cfg.BootID == "":
		return nil, &lease.LimitError{What: "boot id", Why: "must be known; it comes from " + bootIDFile}
	case cfg.MaxExtend < 0:
		return nil, &lease.LimitError{What: "max extension " + cfg.MaxExtend.String(), Why: "must not be negative"}
	}
	cfg.Logger = cfg.Logger.With("instance_id", cfg.InstanceID)
	if cfg.Notify == nil {
		cfg.Notify = func(string) {}
	}
	if cfg.Random == nil {
		cfg.Random = rand.N[time.Duration]
	}
	return &Sidecar{
		cfg: cfg, lazy: &lazy{open: cfg.Open, turn: make(chan struct{}, 1)}, clock: self.NewClock(cfg.Now), view: newView(cfg), asked: rate.NewLimiter(extendRate, extendBurst),
		sees: rate.NewLimiter(peersRate, peersBurst), wake: make(chan struct{}, 1), turns: make(chan struct{}, turnsMax),
	}, nil
}

// Run serves the socket and renews until ctx ends or the lease is revoked or ended. It never ends because the registry is away.
//
// It returns nil when ctx ends: the heartbeat's key stays until it expires, so that a restart takes it up and nothing is
// released by a crash or an upgrade. It also returns nil when an operator made the instance unmanaged: there is nothing
// left to do and nothing failed, so nobody should be alarmed or try again.
//
// Errors: [lease.StateError] once the lease is revoked or ended, so that the process exits non-zero; [SocketError] and
// [RunningError] before the first claim.
func (s *Sidecar) Run(ctx context.Context) error {
	stopServing, err := s.serve(ctx)
	if err != nil {
		return err
	}
	defer stopServing()
	// Ready means serving, not claimed: an instance must come up while the registry is away. STATUS tells the rest.
	s.cfg.Notify("READY=1")
	err = newKeeper(s).run(ctx)
	s.cfg.Notify("STOPPING=1")
	var over *lease.StateError
	if errors.As(err, &over) && over.State == lease.StateUnmanaged {
		return nil
	}
	return err
}

// Status is what the sidecar knows at present, without asking the registry.
func (s *Sidecar) Status() Status {
	status := s.view.status()
	status.ClockBehind = lease.Duration(s.clock.Time().Behind)
	return status
}

const bootIDFile = "/proc/sys/kernel/random/boot_id"

// BootID is Linux's id of this boot.
func BootID() (string, error) {
	id, err := os.ReadFile(bootIDFile)
	return strings.TrimSpace(string(id)), err
}

// lazy is a registry that is opened when it is first needed, and again until that succeeds: a sidecar must start, and serve
// its socket, while the registry is away.
type lazy struct {
	open   func(context.Context) (Registry, error)
	turn   chan struct{} // holds a value while somebody uses opened
	opened Registry
}

// registry opens the registry within ctx, unless that was done.
func (l *lazy) registry(ctx context.Context) (Registry, error) {
	select {
	case l.turn <- struct{}{}:
		defer func() { <-l.turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if l.opened != nil {
		return l.opened, nil
	}
	opened, err := l.open(ctx)
	if err != nil {
		return nil, err
	}
	l.opened = opened
	return opened, nil
}
