package leasetest

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"lapse/lease"
)

func recordCases() map[string]func(*fixture) {
	return map[string]func(*fixture){
		"a record is read as it was written":                    readAsWritten,
		"revision 0 only creates":                               revisionZeroOnlyCreates,
		"a write from an old revision conflicts":                oldRevisionConflicts,
		"a missing record is not found":                         missingIsNotFound,
		"a record of a newer schema is refused":                 newerSchemaRefused,
		"a record of a lower schema is refused":                 lowerSchemaRefused,
		"a record that is not JSON is malformed":                notJSONIsMalformed,
		"a record under another's key is malformed":             misplacedIsMalformed,
		"the revision is not stored in the record":              revisionNotStored,
		"fields of a newer version survive a rewrite":           unknownFieldsSurvive,
		"an update returns what was and what is":                updateReturnsBoth,
		"an update that changes nothing writes nothing":         updateOfNothing,
		"an update's refusal is returned and nothing written":   updateRefused,
		"an update of a missing record is not found":            updateOfMissing,
		"an update starts again when somebody else was quicker": updateStartsAgain,
		"no update is lost among many":                          noUpdateIsLost,
		"an ended context ends every call":                      endedContext,
		"a store that answers is healthy":                       healthy,
	}
}

func healthy(t *fixture) {
	if err := t.Store.Healthy(t.Context()); err != nil {
		t.Error(err)
	}
}

func readAsWritten(t *fixture) {
	ctx := t.Context()
	registry, written, launch := t.registry(), t.lease(someID), t.launch(someToken)
	if registry.Revision == 0 || written.Revision <= registry.Revision || launch.Revision <= written.Revision {
		t.Errorf("revisions %d, %d, %d do not grow", registry.Revision, written.Revision, launch.Revision)
	}
	wantSame(t, must[lease.Registry](t)(t.Store.Registry(ctx)), registry)
	wantSame(t, must[lease.Lease](t)(t.Store.Lease(ctx, someID)), written)
	wantSame(t, must[lease.Launch](t)(t.Store.Launch(ctx, someToken)), launch)
	want := activeLease(someID)
	want.Revision = written.Revision
	wantSame(t, written, want)
}

func revisionZeroOnlyCreates(t *fixture) {
	ctx := t.Context()
	t.registry()
	t.lease(someID)
	t.launch(someToken)
	_, err := t.Store.PutLease(ctx, activeLease(someID))
	wantConflict(t, err, "lease", someID)
	_, err = t.Store.PutLaunch(ctx, openLaunch(someToken))
	wantConflict(t, err, "launch", someToken)
	_, err = t.Store.PutRegistry(ctx, lease.NewRegistry(now(), "other", lease.ModeArmed))
	wantError[*lease.ConflictError](t, err)
}

func oldRevisionConflicts(t *fixture) {
	ctx := t.Context()
	old := t.lease(someID)
	extended, err := old.Extend(now(), lease.Extension{Until: now().Add(2 * time.Hour)}, by())
	if err != nil {
		t.Fatal(err)
	}
	current := must[lease.Lease](t)(t.Store.PutLease(ctx, extended))
	revoked, err := old.Revoke(now(), lease.CauseExpired, by())
	if err != nil {
		t.Fatal(err)
	}
	_, err = t.Store.PutLease(ctx, revoked)
	wantConflict(t, err, "lease", someID)
	wantSame(t, must[lease.Lease](t)(t.Store.Lease(ctx, someID)), current)
}

func missingIsNotFound(t *fixture) {
	for kind, err := range readEach(t.Context(), t) {
		wantNotFound(t, err, kind)
	}
}

// readEach reads one record of every kind and returns the errors by kind.
func readEach(ctx context.Context, t *fixture) map[string]error {
	_, registry := t.Store.Registry(ctx)
	_, sweep := t.Store.Checkpoint(ctx)
	_, one := t.Store.Lease(ctx, someID)
	_, launch := t.Store.Launch(ctx, someToken)
	return map[string]error{"registry": registry, "checkpoint": sweep, "lease": one, "launch": launch}
}

func (t *fixture) putEach(data string) {
	t.Helper()
	for kind, id := range map[string]string{"registry": "", "checkpoint": "", "lease": someID, "launch": someToken} {
		t.Put(t, kind, id, []byte(data))
	}
}

func newerSchemaRefused(t *fixture) {
	t.putEach(`{"schema":9,"state":"unheard-of"}`)
	t.wantSchemaOfEach(9)
}

// lowerSchemaRefused: whoever reads any of them is told, and reads no zero where a later version has a number.
func lowerSchemaRefused(t *fixture) {
	t.Put(t, "registry", "", []byte(`{"schema":1,"min_schema":1,"uuid":"u","mode":"armed"}`))
	t.Put(t, "checkpoint", "", []byte(`{"schema":1,"sequence":7}`))
	t.Put(t, "lease", someID, []byte(`{"schema":1,"instance_id":"`+someID+`","state":"active","changes":1,"history":[]}`))
	t.Put(t, "launch", someToken, []byte(`{"schema":1,"token":"`+someToken+`","state":"open","attempts":[{}]}`))
	t.wantSchemaOfEach(1)
	_, _, err := t.Store.UpdateLease(t.Context(), someID, func(l lease.Lease) (lease.Lease, error) { return l.Unmark(now(), by()) })
	wantSame(t, errorOf[*lease.SchemaError](t, err).Schema, 1)
}

func (t *fixture) wantSchemaOfEach(schema int) {
	t.Helper()
	for kind, err := range readEach(t.Context(), t) {
		if other := errorOf[*lease.SchemaError](t, err); other.Schema != schema || other.Kind != kind {
			t.Errorf("%s: %v", kind, other)
		}
	}
}

func notJSONIsMalformed(t *fixture) {
	t.putEach(`{not JSON`)
	for kind, err := range readEach(t.Context(), t) {
		if malformed := errorOf[*lease.MalformedError](t, err); malformed.Kind != kind {
			t.Errorf("%s: %v", kind, malformed)
		}
	}
}

func misplacedIsMalformed(t *fixture) {
	ctx := t.Context()
	t.lease(someID)
	t.launch(someToken)
	t.Put(t, "lease", "i-0other", t.Get(t, "lease", someID))
	t.Put(t, "launch", "other", t.Get(t, "launch", someToken))
	_, err := t.Store.Lease(ctx, "i-0other")
	wantError[*lease.MalformedError](t, err)
	_, err = t.Store.Launch(ctx, "other")
	wantError[*lease.MalformedError](t, err)
}

func revisionNotStored(t *fixture) {
	l := t.lease(someID)
	must[lease.Lease](t)(t.Store.PutLease(t.Context(), l))
	if data := string(t.Get(t, "lease", someID)); data == "" || strings.Contains(data, `"revision"`) {
		t.Errorf("stored: %s", data)
	}
}

func unknownFieldsSurvive(t *fixture) {
	ctx := t.Context()
	t.Put(t, "lease", someID, []byte(`{"schema":3,"instance_id":"`+someID+`","state":"active","expires_number":1,"granted_at":"2026-01-02T03:04:05Z",
		"top":1,"mark":{"cause":"heartbeat-lost","since":"2026-01-02T03:04:05Z","deadline":"2026-01-02T03:09:05Z","in_mark":2},
		"changes":1,"history":[{"time":"2026-01-02T03:04:05Z","actor":"a","action":"b","in_history":3}]}`))
	t.Put(t, "launch", someToken, []byte(`{"schema":3,"token":"`+someToken+`","state":"open","request":{},"created_at":"2026-01-02T03:04:05Z",
		"top":4,"attempts":[{"client_token":"`+someToken+`.1","min":1,"max":1,"sends":0,"in_attempt":5}]}`))
	t.Put(t, "registry", "", []byte(`{"schema":3,"min_schema":2,"uuid":"u","mode":"armed","top":6}`))
	rename := func(l lease.Lease) (lease.Lease, error) { l.Holder = "eve"; l.Changes++; return l, nil }
	if _, _, err := t.Store.UpdateLease(ctx, someID, rename); err != nil {
		t.Fatal(err)
	}
	send := func(l lease.Launch) (lease.Launch, error) {
		l.Window = lease.Duration(time.Hour)
		return l.Sending(now())
	}
	if _, _, err := t.Store.UpdateLaunch(ctx, someToken, send); err != nil {
		t.Fatal(err)
	}
	pause := func(r lease.Registry) (lease.Registry, error) { return r.To(now(), lease.ModePaused, lease.By{}), nil }
	if _, _, err := t.Store.UpdateRegistry(ctx, pause); err != nil {
		t.Fatal(err)
	}
	wantParts(t, t.Get(t, "lease", someID), `"top":1`, `"in_mark":2`, `"in_history":3`, `"eve"`)
	wantParts(t, t.Get(t, "launch", someToken), `"top":4`, `"in_attempt":5`, `"sends":1`)
	wantParts(t, t.Get(t, "registry", ""), `"top":6`, `"paused"`)
}

func updateReturnsBoth(t *fixture) {
	ctx := t.Context()
	was := t.lease(someID)
	before, after, err := t.Store.UpdateLease(ctx, someID, func(l lease.Lease) (lease.Lease, error) { return l.Unmark(now(), by()) })
	if err != nil {
		t.Fatal(err)
	}
	if before.Revision != was.Revision || after.Revision <= before.Revision || after.Changes != before.Changes+1 {
		t.Errorf("before %+v, after %+v", before, after)
	}
	wantSame(t, must[lease.Lease](t)(t.Store.Lease(ctx, someID)), after)
}

func updateOfNothing(t *fixture) {
	was := t.lease(someID)
	_, after, err := t.Store.UpdateLease(t.Context(), someID, func(l lease.Lease) (lease.Lease, error) { return l, nil })
	if err != nil || after.Revision != was.Revision {
		t.Errorf("wrote revision %d over %d, %v", after.Revision, was.Revision, err)
	}
}

func updateRefused(t *fixture) {
	was := t.lease(someID)
	refusal := errors.New("no")
	_, after, err := t.Store.UpdateLease(t.Context(), someID, func(l lease.Lease) (lease.Lease, error) {
		l.Holder = "eve"
		return l, refusal
	})
	if !errors.Is(err, refusal) || after.Holder != was.Holder {
		t.Errorf("got %v, %v", after, err)
	}
	wantSame(t, must[lease.Lease](t)(t.Store.Lease(t.Context(), someID)).Revision, was.Revision)
}

func updateOfMissing(t *fixture) {
	ctx := t.Context()
	_, _, err := t.Store.UpdateLease(ctx, someID, func(l lease.Lease) (lease.Lease, error) { return l, nil })
	wantNotFound(t, err, "lease")
	_, _, err = t.Store.UpdateLaunch(ctx, someToken, func(l lease.Launch) (lease.Launch, error) { return l, nil })
	wantNotFound(t, err, "launch")
	_, _, err = t.Store.UpdateRegistry(ctx, func(r lease.Registry) (lease.Registry, error) { return r, nil })
	wantNotFound(t, err, "registry")
}

func updateStartsAgain(t *fixture) {
	ctx := t.Context()
	t.lease(someID)
	calls := 0
	_, after, err := t.Store.UpdateLease(ctx, someID, func(l lease.Lease) (lease.Lease, error) {
		if calls++; calls == 1 {
			quicker, err := l.Unmark(now(), by())
			if err == nil {
				_, err = t.Store.PutLease(ctx, quicker)
			}
			if err != nil {
				return l, err
			}
		}
		return l.Unmark(now(), by())
	})
	if err != nil || calls != 2 || after.Changes != 2 {
		t.Errorf("after %d calls: %d changes, %v", calls, after.Changes, err)
	}
}

func noUpdateIsLost(t *fixture) {
	const writers, each = 4, 10
	t.lease(someID)
	var group sync.WaitGroup
	for range writers {
		group.Go(func() {
			for range each {
				_, _, err := t.Store.UpdateLease(t.Context(), someID, func(l lease.Lease) (lease.Lease, error) { return l.Unmark(now(), by()) })
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	if l := must[lease.Lease](t)(t.Store.Lease(t.Context(), someID)); l.Changes != writers*each {
		t.Errorf("%d changes, want %d", l.Changes, writers*each)
	}
}

func endedContext(t *fixture) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for kind, err := range readEach(ctx, t) {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v, want context.Canceled", kind, err)
		}
	}
	if _, err := t.Store.PutLease(ctx, activeLease(someID)); !errors.Is(err, context.Canceled) {
		t.Errorf("put: %v, want context.Canceled", err)
	}
}
