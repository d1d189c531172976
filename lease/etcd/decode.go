package etcd

import (
	"strings"

	"go.etcd.io/etcd/api/v3/mvccpb"

	"lapse/lease"
)

// page is what some keys of a listing say.
type page struct {
	registry   *lease.Registry
	sweep      *lease.Checkpoint
	planned    bool
	leases     []lease.Lease
	launches   []lease.Launch
	heartbeats []lease.Heartbeat
	bad        []lease.BadRecord
}

// decodePage reads records and sorts out what cannot be read. Keys that are none of ours, and those of the election,
// are passed over.
func (s *Store) decodePage(kvs []*mvccpb.KeyValue) page {
	var p page
	for _, kv := range kvs {
		change, kind, name, err := s.decode(kv)
		switch {
		case err != nil:
			p.bad = append(p.bad, lease.BadRecord{Kind: kind, ID: name, Err: err, Revision: kv.ModRevision})
		case change.Lease != nil:
			p.leases = with(p.leases, *change.Lease, len(kvs))
		case change.Launch != nil:
			p.launches = append(p.launches, *change.Launch)
		case change.Heartbeat != nil:
			p.heartbeats = with(p.heartbeats, *change.Heartbeat, len(kvs))
		case change.Registry != nil:
			p.registry = change.Registry
		case change.checkpoint != nil:
			p.sweep = change.checkpoint
		case kind == "plan":
			p.planned = true
		}
	}
	return p
}

// with appends to a list that makes room for a whole page at once: most pages hold one kind of record.
func with[R any](list []R, r R, page int) []R {
	if list == nil {
		list = make([]R, 0, page)
	}
	return append(list, r)
}

// decoded is one record; at most one field is set.
type decoded struct {
	lease.Change
	checkpoint *lease.Checkpoint
}

// decode reads one key. Without an error, nothing is set for a key that is no record, nor for the plan: nobody decides by it.
func (s *Store) decode(kv *mvccpb.KeyValue) (d decoded, kind, name string, err error) {
	kind, name = s.parse(string(kv.GetKey()))
	switch kind {
	case "lease":
		d.Lease, err = pointer(s.leases.read(name, kv))
	case "launch":
		d.Launch, err = pointer(s.launches.read(name, kv))
	case "heartbeat":
		d.Heartbeat, err = pointer(readHeartbeat(name, kv))
	case "enrolment":
		d.Enrolment, err = pointer(s.enrolled.read(name, kv))
	case "registry":
		d.Registry, err = pointer(s.registry.read(name, kv))
	case "checkpoint":
		d.checkpoint, err = pointer(s.sweep.read(name, kv))
	}
	return d, kind, name, err
}

// parse returns what a key stands for; an empty kind for none of ours.
func (s *Store) parse(key string) (kind, name string) {
	rest, ours := strings.CutPrefix(key, s.root)
	if !ours {
		return "", ""
	}
	if rest == "registry" || rest == "checkpoint" || rest == "plan" {
		return rest, s.namespace
	}
	if name, found := strings.CutPrefix(rest, dirLeases); found {
		return "lease", name
	}
	if name, found := strings.CutPrefix(rest, dirHeartbeats); found {
		return "heartbeat", name
	}
	if name, found := strings.CutPrefix(rest, dirLaunches); found {
		return "launch", name
	}
	if name, found := strings.CutPrefix(rest, dirEnrolments); found {
		return "enrolment", name
	}
	return "", ""
}

func pointer[R any](r R, err error) (*R, error) { return &r, err }
