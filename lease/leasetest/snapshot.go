package leasetest

import (
	"context"
	"maps"
	"slices"
	"strings"

	"lapse/lease"
)

// Snapshot reads everything at one revision.
func (s *Store) Snapshot(ctx context.Context) (lease.Snapshot, error) {
	if err := s.begin(ctx, "Snapshot"); err != nil {
		return lease.Snapshot{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	registry, err := s.understood()
	if err != nil {
		return lease.Snapshot{}, err
	}
	snapshot := lease.Snapshot{
		Registry: registry, Leases: []lease.Lease{}, Launches: []lease.Launch{},
		Heartbeats: map[string]lease.Heartbeat{}, Revision: s.revision, Term: 1,
	}
	keys := slices.SortedFunc(maps.Keys(s.entries), func(a, b key) int { return strings.Compare(a.id, b.id) })
	for _, k := range keys {
		change, sweep, err := read(k, s.entries[k])
		switch {
		case err != nil:
			snapshot.Bad = append(snapshot.Bad, lease.BadRecord{Kind: k.kind, ID: orNamespace(k.id), Err: err, Revision: s.entries[k].modified})
		case change.Lease != nil:
			snapshot.Leases = append(snapshot.Leases, *change.Lease)
		case change.Launch != nil:
			snapshot.Launches = append(snapshot.Launches, *change.Launch)
		case change.Heartbeat != nil:
			snapshot.Heartbeats[k.id] = *change.Heartbeat
		case sweep != nil:
			snapshot.Checkpoint = *sweep
		case k.kind == "plan":
			snapshot.Planned = true
		}
	}
	return snapshot, nil
}

// understood reads the registry and refuses one that asks for a newer version. s.mu is held.
func (s *Store) understood() (lease.Registry, error) {
	registry, err := get(s, registries(), "")
	if err == nil && registry.MinSchema > lease.Schema {
		err = &lease.SchemaError{Kind: "registry", ID: Namespace, Schema: registry.MinSchema}
	}
	return registry, err
}

// read decodes an entry of any kind but the plan, by which nobody decides.
func read(k key, e entry) (change lease.Change, sweep *lease.Checkpoint, err error) {
	switch k.kind {
	case "lease":
		change.Lease, err = pointer(decode(k, e, leases()))
	case "launch":
		change.Launch, err = pointer(decode(k, e, launches()))
	case "registry":
		change.Registry, err = pointer(decode(k, e, registries()))
	case "heartbeat":
		change.Heartbeat, err = pointer(readHeartbeat(k.id, e))
	case "checkpoint":
		sweep, err = pointer(decode(k, e, sweeps()))
	}
	return change, sweep, err
}

func pointer[R any](r R, err error) (*R, error) { return &r, err }

func orNamespace(id string) string {
	if id == "" {
		return Namespace
	}
	return id
}
