package plan

import (
	"fmt"
	"time"

	"lapse/lease"
)

// Policy has every figure that a decision uses. The zero value is not usable; start from [DefaultPolicy].
//
// Those of the first part are settings: each account has its own boot times, its own notice to give, its own budgets. The
// others are constants, each for the reason beside it; only tests and simulations give them other values.
type Policy struct {
	BootGrace   time.Duration // from grant and from each start, before an instance is judged for having no heartbeat
	MarkGrace   time.Duration // notice between mark and revocation
	LoneGrace   time.Duration // the same, without a witness that renewals reach the registry
	OrphanGrace time.Duration // at least this long between the two sightings that make an orphan
	TermGrace   time.Duration // after ExpiresAt
	Retention   time.Duration // of tombstones; a token that somebody chose is kept for ChosenRetention

	LostShare float64 // heartbeats brake: engages when more than max(LostMin, LostShare) are lost
	RateShare float64 // rate brake: engages above max(RateMin, RateShare) terminations in RateWindow

	// CompleteAdoptions is whether to set the registry's tag on adopted instances that lack it, and on what a launch with
	// [lease.AnimaKeyPair] left without. It takes deploy/iam/janitor-adopt.json.
	CompleteAdoptions bool
	DeleteKeptVolumes bool // also remove volumes of closed launches that once had an active lease

	// LaunchWindow is published in the checkpoint; a launch keeps the one that it was made with. Launchers of all versions
	// send within it, so that it is no one janitor's to shorten.
	LaunchWindow time.Duration
	// AbsentFor is how long look-ups do not find a revoked instance before it is gone. EC2 shows a terminated instance for
	// about an hour: what is absent for longer has been terminated, or was never there.
	AbsentFor time.Duration
	// RetryMax is the longest pause between attempts to end what is stuck. What keeps it is what a person does in EC2, and
	// one call an hour costs nothing.
	RetryMax time.Duration
	// MaxSkew is between our clock and EC2's. Launchers and the checkpoint's date go by the same figure, [lease.MaxSkew].
	MaxSkew time.Duration
	// ChosenRetention outlasts Retention: whoever chose a token may repeat it, in a nightly or a quarterly job, and must
	// meet its record.
	ChosenRetention time.Duration

	// Figures of brakes. What is more than chance for a small fleet is a count, not a share; a person who wants another
	// sensitivity turns the share.
	LostMin     int           // two dead instances in a zone are normal
	LostMemory  time.Duration // revocations for lost heartbeats count for this long, so that many small steps cannot get around the brake
	RateMin     int           // five failures in RateWindow are normal
	RateWindow  time.Duration // a person who is woken has checked within it
	BehindMin   int           // brake rollback: more than max(BehindMin, BehindShare) of sidecars that have seen
	BehindShare float64       // a later change of their lease than the registry holds; a set-back shows it on most
	// More changes of leader than LeadershipMax within LeadershipWindow hold terminations for lost heartbeats back: an
	// upgrade of three replicas makes three, and a new leader has not watched the heartbeats for long.
	LeadershipMax    int
	LeadershipWindow time.Duration

	SkipHeartbeats bool // judge no heartbeats: a single pass cannot
}

// DefaultPolicy has the figures of the documentation.
func DefaultPolicy() Policy {
	return Policy{
		BootGrace: 30 * time.Minute, MarkGrace: 5 * time.Minute, LoneGrace: time.Hour, OrphanGrace: time.Minute,
		Retention: 30 * 24 * time.Hour, LostShare: 0.30, RateShare: 0.05,

		LaunchWindow: 15 * time.Minute, AbsentFor: time.Hour, RetryMax: time.Hour, MaxSkew: lease.MaxSkew,
		ChosenRetention: 90 * 24 * time.Hour,
		LostMin:         2, LostMemory: time.Hour,
		RateMin: 5, RateWindow: 10 * time.Minute,
		BehindMin: 2, BehindShare: 0.05,
		LeadershipMax: 3, LeadershipWindow: time.Hour,
	}
}

// Check refuses figures that make no sense, above all those that would make the janitor hasty.
func (p Policy) Check() error {
	for _, d := range []struct {
		name  string
		value time.Duration
		least time.Duration
	}{
		{"boot-grace", p.BootGrace, 0},
		{"mark-grace", p.MarkGrace, time.Second},
		{"lone-grace", p.LoneGrace, p.MarkGrace},
		{"launch-window", p.LaunchWindow, time.Second},
		{"orphan-grace", p.OrphanGrace, time.Second},
		{"term-grace", p.TermGrace, 0},
		{"absent-for", p.AbsentFor, 0},
		{"retry-max", p.RetryMax, time.Second},
		{"max-skew", p.MaxSkew, time.Second},
		{"heartbeats-memory", p.LostMemory, time.Second},
		{"rate-window", p.RateWindow, time.Second},
		{"leader-window", p.LeadershipWindow, time.Second},
		{"retention", p.Retention, time.Hour},
		{"retention of chosen tokens", p.ChosenRetention, p.Retention},
	} {
		if d.value < d.least {
			return &lease.LimitError{What: d.name + " " + d.value.String(), Why: "must be at least " + d.least.String()}
		}
	}
	for name, share := range map[string]float64{"heartbeats-share": p.LostShare, "rate-share": p.RateShare, "rollback-share": p.BehindShare} {
		if !(share >= 0 && share < 1) { // also refuses NaN
			return &lease.LimitError{What: fmt.Sprintf("%s %g", name, share), Why: "must be at least 0 and below 1"}
		}
	}
	return nil
}
