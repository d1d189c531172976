package main

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	ucli "github.com/urfave/cli/v2"

	"lapse/cmd/internal/cli"
	"lapse/cmd/internal/registry"
	"lapse/lease"
	"lapse/lease/etcd"
)

func historyCommand() *ucli.Command {
	return &ucli.Command{
		Name: "history", Usage: "show what was done to a lease, by whom and why", ArgsUsage: "ID",
		Description: "Prints the first and the last changes, oldest first, and how many between them are not kept.\n\n" +
			"   lease history i-0123456789abcdef0\n" +
			"   lease history nightly-2027-01-31 -o json",
		Flags:  append(cli.StoreFlags(), cli.OutputFlag()),
		Action: registry.WithStore(namedOne, history),
	}
}

// event is a transition as printed for programs.
type event struct {
	InstanceID string       `json:"instance_id"`
	Time       time.Time    `json:"time"`
	Actor      string       `json:"actor"`
	Action     lease.Action `json:"action"`
	Reason     string       `json:"reason,omitzero"`
	From       time.Time    `json:"from,omitzero"` // expiry before an extension; absent: none
	To         time.Time    `json:"to,omitzero"`   // expiry after it

	Dropped int64 `json:"dropped,omitzero"` // changes between the previous one and this one that the record does not keep
}

func history(c *ucli.Context, store *etcd.Store, id string) error {
	all, err := targets(c.Context, store, []string{id})
	if err != nil {
		return err
	}
	leases, err := leasesOf(c, store, all)
	if err != nil {
		return err
	}
	events := eventsOf(leases)
	return cli.Show(c, events, func() error { return historySheet(events, len(leases)).Print(c, c.App.Writer) })
}

// historySheet is the history of so many leases. Without room for all columns, dates and reasons are printed below
// their rows, so that who did what, and why, is never cut.
func historySheet(events []event, leases int) cli.Sheet {
	sheet := cli.Sheet{Columns: []cli.Column{
		{Head: "TIME"},
		{Head: "INSTANCE"},
		{Head: "ACTION"},
		{Head: "OLD EXPIRY", Rank: 5},
		{Head: "NEW EXPIRY", Rank: 3, Below: true},
		{Head: "ACTOR", Rank: 1, Below: true},
		{Head: "REASON", Rank: 4, Below: true},
	}}
	if leases == 1 { // which was named
		sheet.Columns[1].Rank = 6
	}
	for _, e := range events {
		if e.Dropped > 0 {
			sheet.Rows = append(sheet.Rows, []string{"-", e.InstanceID, "-", "-", "-", "-", notKept(e.Dropped)})
		}
		before, after := e.expiries()
		sheet.Rows = append(sheet.Rows, []string{e.Time.UTC().Format(time.RFC3339), e.InstanceID, string(e.Action), before, after, e.Actor, dash(e.Reason)})
	}
	return sheet
}

func notKept(n int64) string {
	if n == 1 {
		return "1 change is not kept"
	}
	return fmt.Sprintf("%d changes are not kept", n)
}

// expiries are the expiry, or the maximum, before and after a change that moved it.
func (e event) expiries() (before, after string) {
	if e.To.IsZero() && e.Action != lease.ActionMaxTerm {
		return "-", "-"
	}
	whole := func(t time.Time) string {
		if t.IsZero() {
			return "none"
		}
		return t.UTC().Format(time.RFC3339)
	}
	return whole(e.From), whole(e.To)
}

// eventOf is a transition of a lease. If nobody gave a reason for a revocation, the reason is the cause on record.
func eventOf(l lease.Lease, t lease.Transition) event {
	e := event{InstanceID: l.InstanceID, Time: t.Time, Actor: t.Actor, Action: t.Action, Reason: t.Reason, From: t.From, To: t.To}
	if t.Action == lease.ActionRevoke {
		e.Reason = cmp.Or(e.Reason, string(l.Cause))
	}
	return e
}

// eventsOf are the histories of leases in one list, oldest first.
func eventsOf(leases []lease.Lease) []event {
	events := []event{}
	for _, l := range leases {
		firsts := len(l.History) - len(l.Recent())
		for n, t := range l.History {
			e := eventOf(l, t)
			if n == firsts {
				e.Dropped = l.HistoryDropped
			}
			events = append(events, e)
		}
	}
	slices.SortStableFunc(events, func(a, b event) int { return a.Time.Compare(b.Time) })
	return events
}
