package main

import (
	"slices"
	"strings"
	"time"

	ucli "github.com/urfave/cli/v2"

	"lapse/cmd/internal/cli"
	"lapse/lease"
)

type filter struct {
	holder  string   // empty: any
	regions []string // none: any
	labels  map[string]string
	states  []lease.State
	within  time.Duration // of leases that expire so soon; zero: any
	stuck   bool
}

func readFilter(c *ucli.Context) (filter, error) {
	f := filter{holder: c.String("holder"), regions: c.StringSlice("region"), stuck: c.Bool("stuck")}
	var err error
	if f.labels, err = cli.Pairs("label", c.StringSlice("label")); err != nil {
		return f, err
	}
	if f.states, err = readStates(c.StringSlice("state")); err != nil {
		return f, err
	}
	if text := c.String("expiring"); text != "" {
		if f.within, err = cli.DurationOrNone("expiring", text); err != nil {
			return f, err
		}
	}
	return f, nil
}

func filterFlags() []ucli.Flag {
	return []ucli.Flag{
		&ucli.StringFlag{Name: "holder", Usage: "select leases of `WHO`"},
		&ucli.StringSliceFlag{Name: "region", Usage: "select leases in `REGION`; several are alternatives"},
		&ucli.StringSliceFlag{Name: "label", Usage: "select leases with the label `KEY=VALUE`; several must all match"},
		&ucli.StringSliceFlag{Name: "state", Usage: "select `STATE`: adopting, active, revoked, ended, unmanaged or all"},
		&ucli.StringFlag{Name: "expiring", Usage: "select valid leases that expire within `DURATION`"},
		&ucli.BoolFlag{Name: "stuck", Usage: "select leases whose instance cannot be terminated"},
	}
}

// chooses reports whether the filter leaves anything out other than by state.
func (f filter) chooses() bool {
	return f.holder != "" || len(f.regions) > 0 || len(f.labels) > 0 || f.within > 0 || f.stuck
}

// readStates reads the requested states; without any, those in which the instance exists and is managed.
func readStates(names []string) ([]lease.State, error) {
	over := []lease.State{lease.StateEnded, lease.StateUnmanaged}
	chosen := []lease.State{lease.StateAdopting, lease.StateActive, lease.StateRevoked}
	all := append(slices.Clone(chosen), over...)
	if len(names) == 0 {
		return chosen, nil
	}
	chosen = nil
	for _, name := range names {
		switch state := lease.State(name); {
		case name == "all":
			return all, nil
		case slices.Contains(all, state):
			chosen = append(chosen, state)
		default:
			return nil, wrongState(name)
		}
	}
	return chosen, nil
}

func (f filter) has(l lease.Lease, now time.Time) bool {
	for key, value := range f.labels {
		if have, labelled := l.Labels[key]; !labelled || have != value {
			return false
		}
	}
	if len(f.regions) > 0 && !slices.Contains(f.regions, l.Region) {
		return false
	}
	expiring := f.within == 0 || l.Live() && !l.ExpiresAt.IsZero() && l.ExpiresAt.Before(now.Add(f.within))
	return expiring && slices.Contains(f.states, l.State) && (f.holder == "" || f.holder == l.Holder) && (!f.stuck || l.Stuck != "")
}

// wrongState lists the states, and names the one that an everyday word means.
func wrongState(name string) error {
	const choose = "choose adopting, active, revoked, ended, unmanaged or all"
	meant := map[string]string{
		"expired":    "an expired lease is revoked, and ended once EC2 has terminated the instance",
		"released":   "a released lease is revoked, and ended once EC2 has terminated the instance",
		"terminated": "the lease of a terminated instance is ended", "deleted": "the lease of a deleted instance is ended",
		"stopped": "a stopped instance keeps its lease, which is active",
		"running": "the lease of a running instance is active, or revoked while EC2 terminates it",
		"pending": "the lease of a pending instance is active", "live": "a live lease is active", "valid": "a valid lease is active",
		"marked": "a marked lease is still active", "expiring": "for active leases that expire soon, use --expiring 1h",
		"stuck":         "for revoked leases whose instance EC2 will not terminate, use --stuck",
		"shutting-down": "while EC2 terminates an instance, its lease is revoked",
	}[strings.ToLower(name)]
	if meant == "" {
		return cli.Usage("--state %q: %s", name, choose)
	}
	return cli.Usage("--state %q: %s; %s", name, meant, choose)
}
