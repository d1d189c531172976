package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	ucli "github.com/urfave/cli/v2"

	"lapse/cmd/internal/cli"
	"lapse/cmd/internal/registry"
	"lapse/lease"
	"lapse/lease/etcd"
)

func listCommand() *ucli.Command {
	return &ucli.Command{
		Name: "list", Usage: "list leases, earliest expiry first",
		Description: "Leaves out leases that have ended, and those of unmanaged instances, unless --state asks for them (--state\n" +
			"all: every one); they come last then. On a terminal the table is fitted to its width; -o wide prints all\n" +
			"columns. Records that cannot be read are named on stderr. The column NOTE says why a lease was revoked, when\n" +
			"the janitor's mark terminates it, what keeps it although it is overdue, or why EC2 refuses. --overdue lists\n" +
			"whatever outlives its lease; `lease why ID` says what to do.\n\n" +
			"   lease list --holder ada --expiring 1h\n" +
			"   lease list --label team=search -q | xargs -r lease extend --for 4h\n" +
			"   lease list --label role=monitor --renewing -o json\n" +
			"   lease list --untracked --region eu-west-1\n\n" +
			"Two flags ask EC2 instead, for instances that have no lease here and that Lapse does not terminate.\n" +
			"--untracked: they bear this registry's tag, but have no record: data was lost, or a tag was\n" +
			"copied; `lease recover` or `lease adopt` gives them leases. --foreign: they bear the tag of another\n" +
			"registry, and their leases are there.",
		Flags: append(append(cli.StoreFlags(), filterFlags()...), cli.OutputFlag(), cli.AccountFlag(),
			&ucli.BoolFlag{Name: "overdue", Usage: "select leases whose instance should be gone and is not"},
			&ucli.BoolFlag{Name: "renewing", Usage: "select leases whose sidecar is renewing"},
			&ucli.BoolFlag{Name: "untracked", Usage: "list instances of this registry that have no record"},
			&ucli.BoolFlag{Name: "foreign", Usage: "list instances of other registries"},
			&ucli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "print only instance ids"}),
		Action: registry.WithStore(readFilter, listLeases),
	}
}

func listLeases(c *ucli.Context, store *etcd.Store, wanted filter) error {
	if c.Bool("untracked") || c.Bool("foreign") {
		return listStrays(c, store)
	}
	snapshot, err := store.Snapshot(c.Context)
	if err != nil {
		return err
	}
	sayBad(c, snapshot.Bad)
	leases, known := []lease.Lease{}, snapshot.Circumstances(time.Now())
	for n, l := range snapshot.Leases {
		overdue := !c.Bool("overdue") || known.Overdue(&snapshot.Leases[n], nil).Reason != ""
		renewing := !c.Bool("renewing") || l.Live() && known.Heartbeats[l.InstanceID].Held
		if overdue && renewing && wanted.has(l, known.Now) {
			leases = append(leases, l)
		}
	}
	byEnd(leases)
	switch {
	case cli.WantsJSON(c):
		return cli.JSON(c, printable(leases, known, snapshot.Heartbeats))
	case c.Bool("quiet"):
		return printIDs(c, leases)
	case len(leases) == 0:
		cli.Say(c, "%s", wanted.none(snapshot.Leases))
		return nil
	}
	return printLeases(c, leases, snapshot.Launches, known)
}

// none says that there are no such leases. If there are none in the requested regions, it names the regions that have
// leases.
func (f filter) none(all []lease.Lease) string {
	if f.holder != "" && !slices.ContainsFunc(all, func(l lease.Lease) bool { return l.Holder == f.holder }) {
		holders := map[string]bool{}
		for _, l := range all {
			if l.Holder != "" {
				holders[l.Holder] = true
			}
		}
		if len(holders) == 0 {
			return "no leases of holder " + f.holder
		}
		return fmt.Sprintf("no leases of holder %s; these holders have leases: %s", f.holder, some(sorted(holders)))
	}
	elsewhere, there := map[string]bool{}, false
	for _, l := range all {
		elsewhere[l.Region] = true
		there = there || slices.Contains(f.regions, l.Region)
	}
	switch {
	case len(all) == 0:
		return "no leases"
	case len(f.regions) == 0 || there:
		return fmt.Sprintf("no lease matches; leases in all: %d", len(all))
	}
	return fmt.Sprintf("no leases in %s; there are leases in %s", strings.Join(f.regions, " or "), strings.Join(sorted(elsewhere), " and "))
}

// sayBad names the records that cannot be read. Their instances are not terminated.
func sayBad(c *ucli.Context, bad []lease.BadRecord) {
	for _, b := range bad {
		cli.Say(c, "lease: %v; its instance is not terminated until the record can be read", registry.Advise(b.Err))
	}
}
