package main

import (
	"slices"
	"time"

	ucli "github.com/urfave/cli/v2"

	"lapse/cmd/internal/cli"
	"lapse/lease"
)

// filter chooses leases.
type filter struct {
	holder string // empty: any
	labels map[string]string
	states []lease.State
	before time.Time // terms that end before this; zero: any
	stuck  bool
}

func readFilter(c *ucli.Context) (filter, error) {
	f := filter{holder: c.String("holder"), stuck: c.Bool("stuck")}
	var err error
	if f.labels, err = cli.Pairs("label", c.StringSlice("label")); err != nil {
		return f, err
	}
	if f.states, err = readStates(c.StringSlice("state")); err != nil {
		return f, err
	}
	if text := c.String("expiring"); text != "" {
		within, err := cli.Duration("expiring", text)
		if err != nil {
			return f, err
		}
		f.before = time.Now().Add(within)
	}
	return f, nil
}

// readStates reads the states asked for; without any, those in which an instance of ours is still there.
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
			return nil, cli.Usage("--state %q: choose adopting, active, revoked, ended, unmanaged or all", name)
		}
	}
	return chosen, nil
}

func (f filter) has(l lease.Lease) bool {
	for key, value := range f.labels {
		if have, labelled := l.Labels[key]; !labelled || have != value {
			return false
		}
	}
	expiring := f.before.IsZero() || l.Live() && !l.ExpiresAt.IsZero() && l.ExpiresAt.Before(f.before)
	return expiring && slices.Contains(f.states, l.State) && (f.holder == "" || f.holder == l.Holder) && (!f.stuck || l.Stuck != "")
}
