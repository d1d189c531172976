package main

import (
	"fmt"
	"strings"
	"time"

	ucli "github.com/urfave/cli/v2"

	"lapse/cmd/internal/cli"
	"lapse/cmd/internal/registry"
	"lapse/lease"
	"lapse/lease/etcd"
)

func showCommand() *ucli.Command {
	return &ucli.Command{
		Name: "show", Usage: "show a lease, or a launch and its leases", ArgsUsage: "ID",
		Description: "   lease show i-0123456789abcdef0\n" +
			"   lease show nightly -o json | jq -r '.leases[].instance_id'",
		Flags:  append(cli.StoreFlags(), cli.OutputFlag()),
		Action: registry.WithStore(namedOne, show),
	}
}

func show(c *ucli.Context, store *etcd.Store, id string) error {
	if !lease.IsInstanceID(id) {
		return showLaunch(c, store, id)
	}
	l, err := store.Lease(c.Context, id)
	if err != nil {
		return err
	}
	known, err := circumstances(c, store, l)
	if err != nil {
		return err
	}
	return cli.Show(c, printable([]lease.Lease{l}, known, nil)[0], func() error { return cli.Table(c.App.Writer, facts(l, known, time.Now())) })
}

// facts are the fields of a record that are set.
func facts(l lease.Lease, known lease.Circumstances, now time.Time) [][]string {
	rows := [][]string{{"instance", l.InstanceID}, {"state", string(l.State)}}
	add := func(name, value string) {
		if value != "" {
			rows = append(rows, []string{name, value})
		}
	}
	when := func(name string, t time.Time) {
		if !t.IsZero() {
			add(name, cli.When(t, now))
		}
	}
	add("cause", string(l.Cause))
	add("stuck", l.Stuck)
	add("holder", l.Holder)
	add("labels", labels(l.Labels))
	add("launch", l.Launch)
	add("location", strings.TrimSpace(l.Location().String()+" "+l.Zone))
	when("granted", l.GrantedAt)
	if l.Live() { // the dates of a lease that is not valid terminate nothing
		add("expires", cli.When(l.ExpiresAt, now))
		add("number", fmt.Sprintf("%d (of its expiry)", l.ExpiresNumber))
		add("not after", cli.When(l.MaxExpiresAt, now))
		add("self-extend", cli.SelfExtend(l.SelfExtend))
	}
	add("timeout", orNone(l.HeartbeatTimeout))
	when("claimed", l.ClaimedAt)
	if !l.ContestedAt.IsZero() {
		add("contested", fmt.Sprintf("since %s: more than one claims to be the instance; `lease settle %s`", cli.When(l.ContestedAt, now), l.InstanceID))
	}
	if !l.VouchedAt.IsZero() {
		add("vouched", fmt.Sprintf("since %s: it runs and cannot enrol with the API, so its heartbeat is not judged", cli.When(l.VouchedAt, now)))
	}
	if l.Mark != nil {
		add("marked", markFact(l, timeWords{now: now}))
	}
	if l.State == lease.StateActive && !l.KeptSince.IsZero() {
		add("kept", fmt.Sprintf("since %s by %s", cli.When(l.KeptSince, now), keptWords(l.KeptReason)))
	}
	if o := known.Overdue(&l, nil); o.Reason != "" {
		why := string(o.Reason)
		if o.Brake != "" {
			why += " by " + o.Brake
		}
		add("overdue", fmt.Sprintf("%s; `lease why %s` says what to do", why, l.InstanceID))
		when("due", o.Since)
	}
	when("revoked", l.RevokedAt)
	if l.TagNumber > 0 {
		add("tag", fmt.Sprintf("newer than the record: number %d, and the record's is %d; `lease revoke %s` terminates it", l.TagNumber, l.ExpiresNumber, l.InstanceID))
	}
	if l.State == lease.StateActive && l.ExpiresNumber > lease.MaxTagNumber {
		add("tag", fmt.Sprintf("cannot hold number %d, so the instance is not terminated for its expiry; `lease revoke %s` terminates it", l.ExpiresNumber, l.InstanceID))
	}
	when("ended", l.EndedAt)
	if l.HistoryDropped > 0 {
		add("history", fmt.Sprintf("%d of its changes are not kept; `lease history %s` has the first and the last", l.HistoryDropped, l.InstanceID))
	}
	add("revision", fmt.Sprint(l.Revision))
	return rows
}

func showLaunch(c *ucli.Context, store *etcd.Store, token string) error {
	l, err := launchOf(c.Context, store, token)
	if err != nil {
		return err
	}
	leases, err := leasesOf(c, store, ofLaunch(l))
	if err != nil {
		return err
	}
	if cli.WantsJSON(c) {
		return cli.JSON(c, shown(l, leases))
	}
	known, err := circumstances(c, store, leases...)
	if err != nil {
		return err
	}
	if err := cli.Table(c.App.Writer, launchFacts(l, time.Now())); err != nil || len(leases) == 0 {
		return err
	}
	fmt.Fprintln(c.App.Writer)
	byEnd(leases)
	return printLeases(c, leases, []lease.Launch{l}, known)
}

func launchFacts(l lease.Launch, now time.Time) [][]string {
	rows := [][]string{
		{"launch", l.Token},
		{"state", strings.TrimSpace(string(l.State) + " " + l.Reason)},
		{"location", l.Location().String()},
		{"created", cli.When(l.CreatedAt, now)},
		{"instances", fmt.Sprintf("%d of %d", len(l.Instances()), l.Count)},
	}
	if l.State == lease.LaunchOpen {
		rows = append(rows, []string{"window", "ends " + cli.When(l.LastSend().Add(time.Duration(l.Window)), now)})
	}
	for _, a := range l.Attempts {
		rows = append(rows, []string{"attempt", attempt(a, now)})
	}
	return rows
}

func attempt(a lease.Attempt, now time.Time) string {
	outcome := "outcome unknown"
	switch {
	case a.Outcome == lease.OutcomeLaunched:
		outcome = fmt.Sprintf("launched %d", len(a.Instances))
	case a.Outcome == lease.OutcomeRefused:
		outcome = "refused: " + a.Code
	case a.Sends == 0:
		return a.ClientToken + ", not sent"
	case a.Outcome == lease.OutcomeNone:
		outcome = "searched for, and nothing was found"
	}
	where := strings.TrimSpace(a.InstanceType + " " + a.Subnet)
	if where != "" {
		where = ", " + where
	}
	return fmt.Sprintf("%s%s, sent %s, last %s, %s", a.ClientToken, where, times(a.Sends), cli.When(a.LastSend, now), outcome)
}
