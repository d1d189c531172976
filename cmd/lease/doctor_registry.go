package main

import (
	"cmp"
	"context"
	"strings"
	"time"

	ucli "github.com/urfave/cli/v2"

	"lapse/cmd/internal/cli"
	"lapse/cmd/internal/registry"
	"lapse/lease"
	"lapse/lease/etcd"
)

// examineRegistry checks etcd and the registry in it. It returns an error only for a mistake in the flags.
func (e *examination) examineRegistry(c *ucli.Context) error {
	store, closeStore, err := registry.Store(c, nil)
	if cli.Is[*cli.UsageError](err) { // which no examination mends
		return err
	}
	if err != nil {
		e.add("etcd", levelFail, "%v", registry.Advise(err))
		return nil
	}
	defer closeStore()
	e.examineServers(c.Context, store)
	e.examineUsers(c, store)
	snapshot, err := store.Snapshot(c.Context)
	if err != nil {
		e.add("registry", levelFail, "%v", registry.Advise(err))
		return nil
	}
	e.registry, e.sweep, e.leases = snapshot.Registry, snapshot.Checkpoint, snapshot.Leases
	e.add("registry", levelOK, "%s in namespace %s, schema %d", e.registry.UUID, c.String("namespace"), e.registry.Schema)
	for _, bad := range snapshot.Bad {
		e.add("registry", levelWarn, "%v; its instance is not terminated until the record can be read", registry.Advise(bad.Err))
	}
	if until := cli.UntilArmed(e.registry); until != "" {
		since := cli.When(e.registry.ModeSince, time.Now())
		if e.registry.Mode == lease.ModePaused {
			since = strings.TrimSpace(since + " " + cli.WhoSet(e.registry))
		}
		e.add("mode", levelWarn, "%s since %s: nothing is terminated until %s", e.registry.Mode, since, until)
	} else {
		e.add("mode", levelOK, "armed since %s", cli.When(e.registry.ModeSince, time.Now()))
	}
	e.examineSweep(time.Now())
	return nil
}

func (e *examination) examineServers(ctx context.Context, store *etcd.Store) {
	for _, server := range store.Servers(ctx) {
		switch {
		case server.Err != nil && server.Version == "":
			e.add("etcd", levelWarn, "%s does not answer (%v), but another endpoint does", server.Endpoint, server.Err)
		default:
			e.judge("etcd", server.Err, "version %s at %s", server.Version, server.Endpoint)
		}
	}
	e.judge("etcd alarms", store.Healthy(ctx), "none")
}

// examineSweep checks whether a janitor sweeps, and what holds it back.
func (e *examination) examineSweep(now time.Time) {
	s := e.sweep
	if s.Time.IsZero() {
		e.add("janitor", levelFail, "none has swept yet, so nothing is terminated and `lease launch` refuses: start `janitor run`")
		return
	}
	var locations []string
	for _, p := range s.Locations {
		locations = append(locations, p.String())
	}
	switch ahead := s.Time.Sub(now); {
	case ahead > lease.MaxSkew:
		e.add("janitor", levelFail, "its last sweep is dated %s, in the future: correct the clock here, or where %s runs", cli.When(s.Time, now), s.Leader)
	case !s.Fresh(now):
		e.add("janitor", levelFail, "the last sweep was %s, by %s, and the next was due %s: check that `janitor run` is running", cli.When(s.Time, now), s.Leader, cli.When(s.Due(), now))
	default:
		e.add("janitor", levelOK, "the last sweep was %s, by %s, in %s", cli.Away(-now.Sub(s.Time)), s.Leader, cmp.Or(strings.Join(locations, ", "), "no location"))
	}
	if len(s.Locations) == 0 {
		e.add("janitor", levelWarn, "it could not list any location: see its log")
	}
	for _, b := range s.Brakes {
		if b.Starting {
			e.add("brake", levelOK, "none: the janitor has just started, and judges heartbeats after its next sweep")
			continue
		}
		e.add("brake", levelWarn, "%s has been engaged (%s) since %s: %s", b.Name, cmp.Or(b.Scope, "everywhere"), cli.When(b.Since, now), b.Reason)
	}
	if n := len(s.Behind); n > 0 {
		e.add("brake", levelWarn, "rollback holds back %s that sidecars have seen in a later state: see `janitor status`", count(n, "lease"))
	}
}
