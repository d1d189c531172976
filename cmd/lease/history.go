package main

import (
	"cmp"
	"slices"
	"time"

	ucli "github.com/urfave/cli/v2"

	"lapse/cmd/internal/cli"
	"lapse/lease"
)

func historyCommand() *ucli.Command {
	return &ucli.Command{
		Name: "history", Usage: "show what was done to a lease, by whom and why", ArgsUsage: "ID",
		Description: "The last changes, oldest first; a record keeps a bounded number of them.\n\n" +
			"   lease history i-0123456789abcdef0\n" +
			"   lease history nightly-2027-01-31 -o json",
		Flags:  append(cli.StoreFlags(), cli.OutputFlag()),
		Action: history,
	}
}

// event is a transition as printed for programs.
type event struct {
	InstanceID string    `json:"instance_id"`
	Time       time.Time `json:"time"`
	Actor      string    `json:"actor"`
	Action     string    `json:"action"`
	Reason     string    `json:"reason,omitzero"`
	From       time.Time `json:"from,omitzero"` // term before an extension; absent: none
	To         time.Time `json:"to,omitzero"`   // term after it
}

func history(c *ucli.Context) error {
	id, err := namedOne(c)
	if err != nil {
		return err
	}
	store, closeStore, err := cli.Store(c, nil)
	if err != nil {
		return err
	}
	defer closeStore()
	all, err := targets(c.Context, store, []string{id})
	if err != nil {
		return err
	}
	leases, err := leasesOf(c, store, all)
	if err != nil {
		return err
	}
	events := eventsOf(leases)
	if cli.WantsJSON(c) {
		return cli.JSON(c, events)
	}
	rows := [][]string{{"TIME", "INSTANCE", "ACTION", "FROM → TO", "ACTOR", "REASON"}}
	for _, e := range events {
		rows = append(rows, []string{e.Time.UTC().Format(time.RFC3339), e.InstanceID, e.Action, e.terms(), e.Actor, dash(e.Reason)})
	}
	return cli.Table(c.App.Writer, rows)
}

// terms are the dates between which the term was moved.
func (e event) terms() string {
	switch {
	case e.To.IsZero():
		return "-"
	case e.From.IsZero():
		return "none → " + e.To.UTC().Format(time.RFC3339)
	}
	return e.From.UTC().Format(time.RFC3339) + " → " + e.To.UTC().Format(time.RFC3339)
}

// eventOf is a transition of a lease. Where nobody gave a reason for taking it away, that is the cause on record.
func eventOf(l lease.Lease, t lease.Transition) event {
	e := event{l.InstanceID, t.Time, t.Actor, t.Action, t.Reason, t.From, t.To}
	if t.Action == "revoke" {
		e.Reason = cmp.Or(e.Reason, string(l.Cause))
	}
	return e
}

// eventsOf are the histories of leases as one, oldest first.
func eventsOf(leases []lease.Lease) []event {
	events := []event{}
	for _, l := range leases {
		for _, t := range l.History {
			events = append(events, eventOf(l, t))
		}
	}
	slices.SortStableFunc(events, func(a, b event) int { return a.Time.Compare(b.Time) })
	return events
}
