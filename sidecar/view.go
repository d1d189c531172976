package sidecar

import (
	"fmt"
	"sync"
	"time"

	"lapse/lease"
)

// Status is what a sidecar knows, without asking the registry.
type Status struct {
	InstanceID       string         `json:"instance_id"`
	BootID           string         `json:"boot_id"`
	Version          string         `json:"version,omitzero"`
	Phase            Phase          `json:"phase"`
	Since            time.Time      `json:"since"`                // when it came to this phase
	HeartbeatTimeout lease.Duration `json:"heartbeat_timeout"`    // of the heartbeat
	RenewedAt        time.Time      `json:"renewed_at,omitzero"`  // last renewal that the registry acknowledged
	FailingFor       lease.Duration `json:"failing_for,omitzero"` // how long no renewal was acknowledged though tried; zero: all is well
	Failure          string         `json:"failure,omitzero"`     // the last error
	Lease            *lease.Lease   `json:"lease,omitempty"`      // as last seen; nil: none is bound
	// ClockBehind is how far this machine's clock, by which Since and RenewedAt are dated, is surely behind the registry's last
	// sweep; absent up to 3 min.
	ClockBehind lease.Duration `json:"clock_behind,omitzero"`
}

// Phase of a sidecar.
type Phase string

// Phases of a sidecar.
const (
	PhaseClaiming Phase = "claiming" // no heartbeat of ours is in the registry
	PhaseWaiting  Phase = "waiting"  // renewing; no lease is bound to the instance yet
	PhaseHolding  Phase = "holding"  // renewing a lease
	PhaseOver     Phase = "over"     // the lease is revoked, ended or forgotten; the sidecar stops
)

// view is what is known of the lease, for the loop that learns it and the socket that tells it. Everything worth a log
// line or a word to systemd goes through it, so that it is said once.
type view struct {
	cfg Config

	mu           sync.Mutex
	now          Status
	changes      int64     // the highest change counter seen
	failingSince time.Time // with a monotonic reading; zero: all is well
	warned       lease.Mark
	misread      bool   // the lease cannot be read
	behind       bool   // this machine's clock is, which was logged
	told         string // last STATUS
}

func newView(cfg Config) *view {
	return &view{cfg: cfg, now: Status{
		InstanceID: cfg.InstanceID, BootID: cfg.BootID, Version: cfg.Version,
		Phase: PhaseClaiming, Since: cfg.Now().UTC(), HeartbeatTimeout: lease.Duration(lease.DefaultHeartbeatTimeout),
	}}
}

func (v *view) start() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.tell()
}

func (v *view) status() Status {
	v.mu.Lock()
	defer v.mu.Unlock()
	s := v.now
	if !v.failingSince.IsZero() {
		s.FailingFor = lease.Duration(time.Since(v.failingSince).Round(time.Second))
	}
	return s
}

// changeCounter is the highest change counter seen. It never goes back, even if the registry does: a registry restored
// from an old snapshot is recognised by that.
func (v *view) changeCounter() int64 {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.changes
}

func (v *view) claimed(timeout time.Duration) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.renewed(timeout)
	if v.now.Phase == PhaseClaiming {
		v.cfg.Logger.Info("claimed", "heartbeat_timeout", timeout)
		v.enter(PhaseWaiting)
	}
	v.tell()
}

// heartbeat notes a renewal that the registry acknowledged, and the lease that came with it.
func (v *view) heartbeat(timeout time.Duration, l lease.Lease) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.renewed(timeout)
	v.misread = false
	switch {
	case l.InstanceID == "" && v.now.Lease != nil:
		v.cfg.Logger.Warn("lease is gone from the registry; still renewing")
		v.now.Lease = nil
		v.enter(PhaseWaiting)
	case l.InstanceID == "":
		v.enter(PhaseWaiting)
	default:
		v.learn(l)
	}
	v.tell()
}

// unreadable notes a renewal that the registry acknowledged, beside a lease that cannot be read.
func (v *view) unreadable(timeout time.Duration, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.renewed(timeout)
	if !v.misread {
		v.misread = true
		v.cfg.Logger.Warn("lease cannot be read; still renewing", "error", err)
	}
	v.tell()
}

// saw notes a lease that was read or written for somebody on the socket.
func (v *view) saw(l lease.Lease) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.now.Phase == PhaseOver {
		return
	}
	v.learn(l)
	v.tell()
}

// learn keeps the lease and warns once of each mark.
func (v *view) learn(l lease.Lease) {
	if v.now.Lease == nil {
		v.cfg.Logger.Info("lease found", "holder", l.Holder, "expires_at", l.ExpiresAt, "heartbeat_timeout", l.HeartbeatTimeout.String())
	}
	marked := v.now.Lease != nil && v.now.Lease.Mark != nil
	v.now.Lease, v.changes = &l, min(max(v.changes, l.Changes), lease.MaxHeartbeatChanges)
	if v.now.Phase != PhaseClaiming {
		v.enter(PhaseHolding)
	}
	switch {
	case l.Mark != nil && (l.Mark.Cause != v.warned.Cause || !l.Mark.Since.Equal(v.warned.Since)):
		v.warned = *l.Mark
		v.cfg.Logger.Warn("lease is marked: the instance will be terminated unless the lease is renewed, extended or unmarked",
			"cause", l.Mark.Cause, "deadline", l.Mark.Deadline)
	case l.Mark == nil && marked:
		v.cfg.Logger.Info("mark was removed", "cause", v.warned.Cause)
	}
}

// clockIs notes what is known of this machine's clock, and warns once while it is behind.
func (v *view) clockIs(r lease.Reckoning) {
	v.mu.Lock()
	defer v.mu.Unlock()
	switch behind := r.Behind > 0; {
	case behind && !v.behind:
		v.cfg.Logger.Warn("this machine's clock is behind the registry's last sweep; durations are counted from that", "behind", r.Behind)
	case !behind && v.behind:
		v.cfg.Logger.Info("this machine's clock is no longer behind")
	}
	v.behind = r.Behind > 0
}

// lost notes that the heartbeat is no longer ours.
func (v *view) lost(err *lease.ClaimLostError) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.answered()
	v.cfg.Logger.Warn("heartbeat lost; claiming again", "by", err.By)
	v.enter(PhaseClaiming)
	v.tell()
}

// failed notes a claim or renewal that was not acknowledged. Only the first of an outage is a warning.
func (v *view) failed(err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.now.Failure = err.Error()
	if v.failingSince.IsZero() {
		v.failingSince = time.Now()
		v.cfg.Logger.Warn("heartbeat is not acknowledged; retrying", "error", err)
	} else {
		v.cfg.Logger.Debug("heartbeat is still not acknowledged", "error", err)
	}
	v.tell()
}

// over notes why the sidecar stops.
func (v *view) over(err *lease.StateError) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.answered()
	v.enter(PhaseOver)
	if err.State == lease.StateUnmanaged {
		v.cfg.Logger.Info("instance is unmanaged; nothing left to do", "since", err.Since)
	} else {
		v.cfg.Logger.Error("lease is no longer valid; stopping", "state", err.State, "cause", err.Cause, "since", err.Since)
	}
	v.say(fmt.Sprintf("%s since %s: %s", err.State, err.Since.Format(time.RFC3339), err.Cause))
}

// answered ends an outage.
func (v *view) answered() {
	if v.failingSince.IsZero() {
		return
	}
	v.cfg.Logger.Info("heartbeat is acknowledged again", "away", time.Since(v.failingSince).Round(time.Second))
	v.failingSince, v.now.Failure = time.Time{}, ""
}

func (v *view) renewed(timeout time.Duration) {
	v.answered()
	v.now.HeartbeatTimeout, v.now.RenewedAt = lease.Duration(timeout), v.cfg.Now().UTC()
}

func (v *view) enter(p Phase) {
	if v.now.Phase != p {
		v.now.Phase, v.now.Since = p, v.cfg.Now().UTC()
	}
}

// tell gives systemd one line on the present state.
func (v *view) tell() {
	l := v.now.Lease
	switch {
	case !v.failingSince.IsZero():
		v.say("heartbeat is not acknowledged, retrying: " + v.now.Failure)
	case v.now.Phase == PhaseClaiming:
		v.say("claiming " + v.cfg.InstanceID)
	case l == nil:
		v.say("renewing for " + v.cfg.InstanceID + ", no lease is bound to it yet")
	case l.Mark != nil:
		v.say(fmt.Sprintf("marked (%s), to be terminated after %s", l.Mark.Cause, l.Mark.Deadline.Format(time.RFC3339)))
	case l.ExpiresAt.IsZero():
		v.say("lease valid, without expiry")
	default:
		v.say("lease valid until " + l.ExpiresAt.Format(time.RFC3339))
	}
}

func (v *view) say(status string) {
	if status != v.told {
		v.told = status
		v.cfg.Notify("STATUS=" + status)
	}
}
