package leasetest

import (
	"context"
	"fmt"
	"sync"
	"time"

	"lapse/lease"
)

func snapshotCases() map[string]func(*fixture) {
	return map[string]func(*fixture){
		"a snapshot has every record once":                     snapshotHasAll,
		"a snapshot is of one revision while others write":     snapshotOfOneRevision,
		"a snapshot names what cannot be read":                 snapshotNamesBad,
		"a snapshot without a registry is refused":             snapshotWithoutRegistry,
		"a snapshot of a registry for newer programs refused":  snapshotOfNewer,
		"a snapshot of a registry that cannot be read refused": snapshotOfMalformed,
		"a snapshot tells a held heartbeat from a ghost":       snapshotTellsGhosts,
	}
}

func (t *fixture) snapshot() lease.Snapshot {
	t.Helper()
	return must[lease.Snapshot](t)(t.Store.Snapshot(t.Context()))
}

func snapshotHasAll(t *fixture) {
	registry := t.registry()
	const n = 10
	for i := range n {
		t.lease(fmt.Sprintf("i-%d", i))
		t.launch(fmt.Sprintf("launch-%d", i))
		must[lease.Claim](t)(t.Store.Claim(t.Context(), heartbeatOf(fmt.Sprintf("i-%d", i), "boot")))
	}
	checkpoint := must[lease.Checkpoint](t)(t.leadership("a").PutCheckpoint(t.Context(), registry, lease.Checkpoint{Schema: lease.Schema, Sequence: 7}))
	snapshot := t.snapshot()
	wantSame(t, snapshot.Registry, registry)
	wantSame(t, snapshot.Checkpoint.Sequence, 7)
	wantSame(t, snapshot.Checkpoint.Revision, checkpoint.Revision)
	if len(snapshot.Leases) != n || len(snapshot.Launches) != n || len(snapshot.Heartbeats) != n || len(snapshot.Bad) != 0 {
		t.Fatalf("%d leases, %d launches, %d heartbeats, bad %v", len(snapshot.Leases), len(snapshot.Launches), len(snapshot.Heartbeats), snapshot.Bad)
	}
	if snapshot.Revision < checkpoint.Revision || snapshot.Term == 0 {
		t.Errorf("revision %d, term %d", snapshot.Revision, snapshot.Term)
	}
	for i := range n {
		wantSame(t, snapshot.Leases[i].InstanceID, fmt.Sprintf("i-%d", i))
		wantSame(t, snapshot.Launches[i].Token, fmt.Sprintf("launch-%d", i))
		wantSame(t, snapshot.Leases[i], must[lease.Lease](t)(t.Store.Lease(t.Context(), snapshot.Leases[i].InstanceID)))
	}
}

// Two leases are written in turns, the first first. In every snapshot the first is as far as the second, or one ahead.
func snapshotOfOneRevision(t *fixture) {
	t.registry()
	first, last := t.lease("i-a"), t.lease("i-z")
	for i := range 8 { // so that the two are pages apart
		t.lease(fmt.Sprintf("i-m%d", i))
	}
	ctx, stop := context.WithCancel(t.Context())
	var writer sync.WaitGroup
	writer.Go(func() {
		for ctx.Err() == nil {
			for _, l := range []*lease.Lease{&first, &last} {
				l.Changes++
				next, err := t.Store.PutLease(t.Context(), *l)
				if err != nil {
					t.Error(err)
					return
				}
				*l = next
			}
		}
	})
	for range 20 {
		snapshot := t.snapshot()
		if len(snapshot.Leases) != 10 {
			t.Errorf("%d leases", len(snapshot.Leases))
			continue
		}
		ahead := snapshot.Leases[0].Changes - snapshot.Leases[9].Changes
		if ahead != 0 && ahead != 1 {
			t.Errorf("the first is %d ahead of the last", ahead)
		}
	}
	stop()
	writer.Wait()
}

func snapshotNamesBad(t *fixture) {
	t.registry()
	good := t.lease(someID)
	t.Put(t, "lease", "i-0bad", []byte(`{not JSON`))
	t.Put(t, "lease", "i-0new", []byte(`{"schema":9}`))
	t.Put(t, "launch", "bad", []byte(`7`))
	t.Put(t, "heartbeat", "i-0beat", []byte(`{}`))
	t.Put(t, "heartbeat", "i-0huge", []byte(`{"schema":3,"instance_id":"i-0huge","boot_id":"b","changes":9223372036854775807,"heartbeat_timeout":"1m0s"}`))
	t.Put(t, "checkpoint", "", []byte(`[]`))
	snapshot := t.snapshot()
	bad := map[string]error{}
	for _, b := range snapshot.Bad {
		bad[b.Kind+" "+b.ID] = b.Err
	}
	if len(snapshot.Bad) != 6 || len(snapshot.Leases) != 1 || snapshot.Leases[0].Revision != good.Revision {
		t.Fatalf("bad %v, leases %v", bad, snapshot.Leases)
	}
	wantError[*lease.MalformedError](t, bad["lease i-0bad"])
	wantError[*lease.SchemaError](t, bad["lease i-0new"])
	wantError[*lease.MalformedError](t, bad["launch bad"])
	wantError[*lease.MalformedError](t, bad["heartbeat i-0beat"])
	wantError[*lease.MalformedError](t, bad["heartbeat i-0huge"])
}

func snapshotWithoutRegistry(t *fixture) {
	t.lease(someID)
	_, err := t.Store.Snapshot(t.Context())
	wantNotFound(t, err, "registry")
}

func snapshotOfNewer(t *fixture) {
	t.Put(t, "registry", "", []byte(`{"schema":3,"min_schema":9,"uuid":"u","mode":"armed"}`))
	_, err := t.Store.Snapshot(t.Context())
	wantSame(t, errorOf[*lease.SchemaError](t, err).Schema, 9)
	t.Put(t, "registry", "", []byte(`{"schema":8}`))
	_, err = t.Store.Snapshot(t.Context())
	wantSame(t, errorOf[*lease.SchemaError](t, err).Schema, 8)
}

func snapshotOfMalformed(t *fixture) {
	t.Put(t, "registry", "", []byte(`{"schema":3,"uuid":"u","mode":"sideways"}`))
	_, err := t.Store.Snapshot(t.Context())
	wantError[*lease.MalformedError](t, err)
}

func snapshotTellsGhosts(t *fixture) {
	t.registry()
	claim := must[lease.Claim](t)(t.Store.Claim(t.Context(), heartbeatOf(someID, "boot-1")))
	t.Put(t, "heartbeat", "i-0ghost", []byte(`{"schema":3,"instance_id":"i-0ghost","boot_id":"b","heartbeat_timeout":"1m0s"}`))
	snapshot := t.snapshot()
	held, ghost := snapshot.Heartbeats[someID], snapshot.Heartbeats["i-0ghost"]
	if !held.Held || held.Created != claim.Revision || held.BootID != "boot-1" || held.HeartbeatTimeout != lease.Duration(time.Minute) {
		t.Errorf("held: %+v", held)
	}
	if ghost.Held || ghost.BootID != "b" {
		t.Errorf("ghost: %+v", ghost)
	}
}
