package leasetest

import (
	"context"

	"lapse/lease"
)

// Bind creates the leases of instances that launch made; those that are there already are returned as they stand.
func (s *Store) Bind(ctx context.Context, launch lease.Launch, wanted []lease.Lease) ([]lease.Lease, error) {
	bound := make([]lease.Lease, 0, len(wanted))
	if err := s.begin(ctx, "Bind"); err != nil {
		return bound, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if launch.Revision == 0 {
		return bound, &lease.NotFoundError{Kind: "launch", ID: launch.Token}
	}
	for _, l := range wanted {
		if _, found := s.entries[key{"lease", l.InstanceID}]; found {
			there, err := get(s, leases(), l.InstanceID)
			if err != nil {
				return bound, err
			}
			bound = append(bound, there)
			continue
		}
		if err := s.open(launch.Token); err != nil {
			return bound, err
		}
		l.Revision = 0
		created, err := put(s, leases(), l)
		if err != nil {
			return bound, err
		}
		bound = append(bound, created)
	}
	return bound, nil
}

// open refuses a launch to which nothing more may be bound. s.mu is held.
func (s *Store) open(token string) error {
	launch, err := get(s, launches(), token)
	if err != nil {
		return err
	}
	if launch.State != lease.LaunchOpen {
		return &lease.LaunchStateError{
			Token: token, Verb: "bind instances of", State: launch.State, Since: launch.SettledAt, Reason: launch.Reason,
		}
	}
	return nil
}
