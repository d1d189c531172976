package janitor

import (
	"context"
	"time"

	"lapse/lease"

	"lapse/janitor/plan"
)

// sought is a launch whose leftovers are to be looked for.
type sought struct {
	location lease.Location
	token    string
	clients  []string // client tokens of its attempts
}

func soughtOf(l *lease.Launch) sought {
	s := sought{location: l.Location(), token: l.Token}
	for _, a := range l.Attempts {
		s.clients = append(s.clients, a.ClientToken)
	}
	return s
}

// lookForLeftovers lists what launches left. It is no part of what else a sweep rests on: where it fails, leftovers stay
// for now, and nothing else is held. Where instances could not be listed, it is not tried.
func (s sight) lookForLeftovers(ctx context.Context, clouds []Cloud, launches []sought) {
	if len(launches) == 0 {
		return
	}
	sideBySide(clouds, func(n int, cloud Cloud) {
		p := &s.locations[n]
		var tokens []string
		for _, l := range launches {
			if l.location == p.Location && p.Listed() {
				p.Sought, tokens = append(p.Sought, l.token), append(tokens, l.clients...)
			}
		}
		if len(tokens) == 0 {
			return
		}
		listing, err := cloud.Leftovers(ctx, tokens)
		if err != nil {
			p.LeftoverErr = err.Error()
			return
		}
		p.Leftovers = listing.Leftovers
	})
}

// closedLaunches are all launches that can have left anything.
func closedLaunches(s lease.Snapshot) []sought {
	var closed []sought
	for i := range s.Launches {
		if s.Launches[i].State == lease.LaunchClosed {
			closed = append(closed, soughtOf(&s.Launches[i]))
		}
	}
	return closed
}

// seek returns the launches whose leftovers are due to be looked for. There are none in a quiet registry, so its sweeps
// cost no more calls for it.
func (t *term) seek(s lease.Snapshot) []sought {
	var due []sought
	for _, l := range plan.DueLeftovers(s, t.Now(), t.Policy, t.lookedAgo) {
		due = append(due, soughtOf(l))
	}
	return due
}

// lookedAgo is how long ago the leftovers of a launch were looked for.
func (t *term) lookedAgo(token string) time.Duration {
	if last, looked := t.looked[token]; looked {
		return time.Since(last)
	}
	return t.Policy.RetryMax
}

// sought remembers what was just looked for.
func (t *term) sought(locations []plan.LocationView) {
	for _, p := range locations {
		if p.LeftoverErr != "" {
			t.Log.Warn("leftovers not listed", "location", p.Location.String(), "launches", len(p.Sought), "error", p.LeftoverErr)
		}
		for _, token := range p.Sought {
			t.looked[token] = time.Now()
		}
	}
}
