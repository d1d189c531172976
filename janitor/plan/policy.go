package plan

import (
	"fmt"
	"time"

	"lapse/lease"
)

// Policy has every figure that a decision uses. The zero value is not usable; start from [DefaultPolicy].
type Policy struct {
	BootGrace time.Duration // from grant and from each start, before a silence is judged that was never broken
	MarkGrace time.Duration // notice between mark and revocation
	LoneGrace time.Duration // the same, without a witness that renewals reach the registry
	// LaunchWindow is published in the checkpoint; a launch keeps the one that it was made with.
	LaunchWindow time.Duration
	OrphanGrace  time.Duration // at least this long between the two looks that make an orphan
	TermGrace    time.Duration // after ExpiresAt
	AbsentFor    time.Duration // a revoked instance that look-ups do not find is gone after this
	RetryMax     time.Duration // longest pause between attempts to end what is stuck
	Retention    time.Duration // of tombstones; a token that somebody chose is kept for ChosenRetention
	MaxSkew      time.Duration // between our clock and EC2's

	ChosenRetention time.Duration

	LostMin          int           // heartbeats brake: more than max(SilentMin, SilentShare) silent holds
	LostShare        float64       //
	LostMemory       time.Duration // silence revocations count for this long
	RateMin          int           // rate brake: more than max(RateMin, RateShare) ends in RateWindow holds
	RateShare        float64       //
	RateWindow       time.Duration //
	BehindMin        int           // brake rollback: more than max(BehindMin, BehindShare) of sidecars that have seen
	BehindShare      float64       // a later change of their lease than the registry holds
	LeadershipMax    int           // more changes of leader than this within LeadershipWindow hold silence
	LeadershipWindow time.Duration

	// CompleteAdoptions sets the registry's tag on adopted instances that lack it. It takes deploy/iam/janitor-adopt.json.
	CompleteAdoptions bool

	DeleteKeptVolumes bool // remove volumes of closed launches of which a lease once held, too

	SkipHeartbeats bool // judge no silence at all: a single pass cannot
}

// DefaultPolicy has the figures of the documentation.
func DefaultPolicy() Policy {
	return Policy{
		BootGrace: 30 * time.Minute, MarkGrace: 5 * time.Minute, LoneGrace: time.Hour,
		LaunchWindow: 15 * time.Minute, OrphanGrace: time.Minute, AbsentFor: time.Hour, RetryMax: time.Hour,
		Retention: 7 * 24 * time.Hour, ChosenRetention: 90 * 24 * time.Hour, MaxSkew: lease.MaxSkew,
		LostMin: 2, LostShare: 0.30, LostMemory: time.Hour,
		RateMin: 5, RateShare: 0.05, RateWindow: 10 * time.Minute,
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
