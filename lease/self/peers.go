package self

import (
	"context"
	"slices"
	"sync"
	"time"

	"lapse/lease"
)

// PeersAge is how old what [Service.Peers] answers may be, beside the time that reading takes: whoever asks for the same launch
// shares one reading.
const PeersAge = time.Second

// rostersMax is of how many launches the last answer is kept. Then all are forgotten.
const rostersMax = 1000

// Peers are the instances of the same launch whose leases are valid and whose sidecars renew, in the order of their ids, with the one
// that asks among them.
//
// Errors: [lease.NotFoundError] while no lease is bound, [lease.StateError] once it is over, [lease.LimitError] if the registry is too
// large to search for them, [lease.UnavailableError].
func (s *Service) Peers(ctx context.Context, id string) ([]lease.Peer, error) {
	peers, err := s.PeersAmong(ctx, id, s.Members)
	if err != nil {
		return nil, unread(err)
	}
	return peers, nil
}

// PeersAmong is Peers for those who know the members of a launch by themselves. Its errors are also those of the store.
func (s *Service) PeersAmong(ctx context.Context, id string, members func(ctx context.Context, launch string) ([]string, error)) ([]lease.Peer, error) {
	own, err := s.Lease(ctx, id)
	if err != nil {
		return nil, err
	}
	if err := own.Renewable("list the peers of"); err != nil {
		return nil, err
	}
	if own.Launch == "" { // it was adopted, and has no peer but itself
		peers, err := s.renewing(ctx, own, func(context.Context, string) ([]string, error) { return []string{id}, nil })
		return marking(peers, id), err
	}
	roster := s.rosters.of(own.Launch)
	select {
	case roster.turn <- struct{}{}:
		defer func() { <-roster.turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if began := time.Now(); began.Sub(roster.began) > PeersAge {
		peers, err := s.renewing(ctx, own, members)
		if err != nil {
			return nil, err
		}
		roster.began, roster.peers = began, peers
	}
	return marking(roster.peers, id), nil
}

// renewing reads who of the members is a peer to others.
func (s *Service) renewing(ctx context.Context, own lease.Lease, members func(ctx context.Context, launch string) ([]string, error)) ([]lease.Peer, error) {
	ids, err := members(ctx, own.Launch)
	if err != nil {
		return nil, err
	}
	slices.Sort(ids)
	leases, heartbeats, err := s.Renewals(ctx, ids)
	if err != nil {
		return nil, err
	}
	peers := []lease.Peer{}
	for _, l := range leases {
		if peer, is := l.Peer(heartbeats[l.InstanceID]); is && l.Launch == own.Launch {
			peers = append(peers, peer)
		}
	}
	return peers, nil
}

// marking says which of the peers asks.
func marking(peers []lease.Peer, id string) []lease.Peer {
	peers = slices.Clone(peers) // they are others' answer, too
	for n := range peers {
		peers[n].Self = peers[n].InstanceID == id
	}
	return peers
}

// rosters are the last answers, by launch.
type rosters struct {
	mu  sync.Mutex
	all map[string]*roster
}

// roster is the last answer for one launch.
type roster struct {
	turn  chan struct{} // holds a value while somebody reads or takes it
	began time.Time     // when that reading began
	peers []lease.Peer
}

func (r *rosters) of(launch string) *roster {
	r.mu.Lock()
	defer r.mu.Unlock()
	if known := r.all[launch]; known != nil {
		return known
	}
	if len(r.all) >= rostersMax {
		clear(r.all)
	}
	if r.all == nil {
		r.all = map[string]*roster{}
	}
	made := &roster{turn: make(chan struct{}, 1)}
	r.all[launch] = made
	return made
}
