package leasetest

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"lapse/lease"
)

func recordCases() map[string]func(*testing.T, *fixture) {
	return map[string]func(*testing.T, *fixture){
		"a record is read as it was written":                    readAsWritten,
		"revision 0 only creates":                               revisionZeroOnlyCreates,
		"a write from an old revision conflicts":                oldRevisionConflicts,
		"a missing record is not found":                         missingIsNotFound,
		"a record of a newer schema is refused":                 newerSchemaRefused,
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

func healthy(t *testing.T, f *fixture) {
	if err := f.Store.Healthy(t.Context()); err != nil {
		t.Error(err)
	}
}

func readAsWritten(t *testing.T, f *fixture) {
	ctx := t.Context()
	registry, written, launch := f.registry(t), f.lease(t, someID), f.launch(t, someToken)
	if registry.Revision == 0 || written.Revision <= registry.Revision || launch.Revision <= written.Revision {
		t.Errorf("revisions %d, %d, %d do not grow", registry.Revision, written.Revision, launch.Revision)
	}
	wantSame(t, must[lease.Registry](t)(f.Store.Registry(ctx)), registry)
	wantSame(t, must[lease.Lease](t)(f.Store.Lease(ctx, someID)), written)
	wantSame(t, must[lease.Launch](t)(f.Store.Launch(ctx, someToken)), launch)
	want := activeLease(someID)
	want.Revision = written.Revision
	wantSame(t, written, want)
}

func revisionZeroOnlyCreates(t *testing.T, f *fixture) {
	ctx := t.Context()
	f.registry(t)
	f.lease(t, someID)
	f.launch(t, someToken)
	_, err := f.Store.PutLease(ctx, activeLease(someID))
	wantConflict(t, err, "lease", someID)
	_, err = f.Store.PutLaunch(ctx, openLaunch(someToken))
	wantConflict(t, err, "launch", someToken)
	_, err = f.Store.PutRegistry(ctx, lease.NewRegistry(now(), "other", lease.ModeArmed))
	wantError[*lease.ConflictError](t, err)
}

func oldRevisionConflicts(t *testing.T, f *fixture) {
	ctx := t.Context()
	old := f.lease(t, someID)
	extended, err := old.Extend(now(), lease.Extension{Until: now().Add(2 * time.Hour)}, by())
	if err != nil {
		t.Fatal(err)
	}
	current := must[lease.Lease](t)(f.Store.PutLease(ctx, extended))
	revoked, err := old.Revoke(now(), lease.CauseTerm, by())
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.Store.PutLease(ctx, revoked)
	wantConflict(t, err, "lease", someID)
	wantSame(t, must[lease.Lease](t)(f.Store.Lease(ctx, someID)), current)
}

func missingIsNotFound(t *testing.T, f *fixture) {
	ctx := t.Context()
	_, err := f.Store.Registry(ctx)
	wantNotFound(t, err, "registry")
	_, err = f.Store.Sweep(ctx)
	wantNotFound(t, err, "sweep")
	_, err = f.Store.Lease(ctx, someID)
	wantNotFound(t, err, "lease")
	_, err = f.Store.Launch(ctx, someToken)
	wantNotFound(t, err, "launch")
}

// readEach reads one record of every kind and returns the errors by kind.
func readEach(ctx context.Context, f *fixture) map[string]error {
	_, registry := f.Store.Registry(ctx)
	_, sweep := f.Store.Sweep(ctx)
	_, one := f.Store.Lease(ctx, someID)
	_, launch := f.Store.Launch(ctx, someToken)
	return map[string]error{"registry": registry, "sweep": sweep, "lease": one, "launch": launch}
}

func (f *fixture) putEach(t *testing.T, data string) {
	t.Helper()
	for kind, id := range map[string]string{"registry": "", "sweep": "", "lease": someID, "launch": someToken} {
		f.Put(t, kind, id, []byte(data))
	}
}

func newerSchemaRefused(t *testing.T, f *fixture) {
	f.putEach(t, `{"schema":9,"state":"unheard-of"}`)
	for kind, err := range readEach(t.Context(), f) {
		if newer := wantError[*lease.SchemaError](t, err); newer.Schema != 9 || newer.Kind != kind {
			t.Errorf("%s: %v", kind, newer)
		}
	}
}

func notJSONIsMalformed(t *testing.T, f *fixture) {
	f.putEach(t, `{not JSON`)
	for kind, err := range readEach(t.Context(), f) {
		if malformed := wantError[*lease.MalformedError](t, err); malformed.Kind != kind {
			t.Errorf("%s: %v", kind, malformed)
		}
	}
}

func misplacedIsMalformed(t *testing.T, f *fixture) {
	ctx := t.Context()
	f.lease(t, someID)
	f.launch(t, someToken)
	f.Put(t, "lease", "i-0other", f.Get(t, "lease", someID))
	f.Put(t, "launch", "other", f.Get(t, "launch", someToken))
	_, err := f.Store.Lease(ctx, "i-0other")
	wantError[*lease.MalformedError](t, err)
	_, err = f.Store.Launch(ctx, "other")
	wantError[*lease.MalformedError](t, err)
}

func revisionNotStored(t *testing.T, f *fixture) {
	l := f.lease(t, someID)
	must[lease.Lease](t)(f.Store.PutLease(t.Context(), l))
	if data := string(f.Get(t, "lease", someID)); data == "" || strings.Contains(data, `"revision"`) {
		t.Errorf("stored: %s", data)
	}
}

func unknownFieldsSurvive(t *testing.T, f *fixture) {
	ctx := t.Context()
	f.Put(t, "lease", someID, []byte(`{"schema":1,"instance_id":"`+someID+`","state":"active","granted_at":"2026-01-02T03:04:05Z",
		"top":1,"mark":{"cause":"silence","since":"2026-01-02T03:04:05Z","deadline":"2026-01-02T03:09:05Z","in_mark":2},
		"changes":1,"history":[{"time":"2026-01-02T03:04:05Z","actor":"a","action":"b","in_history":3}]}`))
	f.Put(t, "launch", someToken, []byte(`{"schema":1,"token":"`+someToken+`","state":"open","request":{},"created_at":"2026-01-02T03:04:05Z",
		"top":4,"attempts":[{"client_token":"`+someToken+`.1","min":1,"max":1,"sends":0,"in_attempt":5}]}`))
	f.Put(t, "registry", "", []byte(`{"schema":1,"min_schema":1,"uuid":"u","mode":"armed","top":6}`))
	rename := func(l lease.Lease) (lease.Lease, error) { l.Holder = "eve"; l.Changes++; return l, nil }
	if _, _, err := f.Store.UpdateLease(ctx, someID, rename); err != nil {
		t.Fatal(err)
	}
	send := func(l lease.Launch) (lease.Launch, error) {
		l.Window = lease.Duration(time.Hour)
		return l.Sending(now())
	}
	if _, _, err := f.Store.UpdateLaunch(ctx, someToken, send); err != nil {
		t.Fatal(err)
	}
	pause := func(r lease.Registry) (lease.Registry, error) { return r.To(now(), lease.ModePaused), nil }
	if _, _, err := f.Store.UpdateRegistry(ctx, pause); err != nil {
		t.Fatal(err)
	}
	wantParts(t, f.Get(t, "lease", someID), `"top":1`, `"in_mark":2`, `"in_history":3`, `"eve"`)
	wantParts(t, f.Get(t, "launch", someToken), `"top":4`, `"in_attempt":5`, `"sends":1`)
	wantParts(t, f.Get(t, "registry", ""), `"top":6`, `"paused"`)
}

func updateReturnsBoth(t *testing.T, f *fixture) {
	ctx := t.Context()
	was := f.lease(t, someID)
	before, after, err := f.Store.UpdateLease(ctx, someID, func(l lease.Lease) (lease.Lease, error) { return l.Pardon(now(), by()) })
	if err != nil {
		t.Fatal(err)
	}
	if before.Revision != was.Revision || after.Revision <= before.Revision || after.Changes != before.Changes+1 {
		t.Errorf("before %+v, after %+v", before, after)
	}
	wantSame(t, must[lease.Lease](t)(f.Store.Lease(ctx, someID)), after)
}

func updateOfNothing(t *testing.T, f *fixture) {
	was := f.lease(t, someID)
	_, after, err := f.Store.UpdateLease(t.Context(), someID, func(l lease.Lease) (lease.Lease, error) { return l, nil })
	if err != nil || after.Revision != was.Revision {
		t.Errorf("wrote revision %d over %d, %v", after.Revision, was.Revision, err)
	}
}

func updateRefused(t *testing.T, f *fixture) {
	was := f.lease(t, someID)
	refusal := errors.New("no")
	_, after, err := f.Store.UpdateLease(t.Context(), someID, func(l lease.Lease) (lease.Lease, error) {
		l.Holder = "eve"
		return l, refusal
	})
	if !errors.Is(err, refusal) || after.Holder != was.Holder {
		t.Errorf("got %v, %v", after, err)
	}
	wantSame(t, must[lease.Lease](t)(f.Store.Lease(t.Context(), someID)).Revision, was.Revision)
}

func updateOfMissing(t *testing.T, f *fixture) {
	ctx := t.Context()
	_, _, err := f.Store.UpdateLease(ctx, someID, func(l lease.Lease) (lease.Lease, error) { return l, nil })
	wantNotFound(t, err, "lease")
	_, _, err = f.Store.UpdateLaunch(ctx, someToken, func(l lease.Launch) (lease.Launch, error) { return l, nil })
	wantNotFound(t, err, "launch")
	_, _, err = f.Store.UpdateRegistry(ctx, func(r lease.Registry) (lease.Registry, error) { return r, nil })
	wantNotFound(t, err, "registry")
}

func updateStartsAgain(t *testing.T, f *fixture) {
	ctx := t.Context()
	f.lease(t, someID)
	calls := 0
	_, after, err := f.Store.UpdateLease(ctx, someID, func(l lease.Lease) (lease.Lease, error) {
		if calls++; calls == 1 {
			quicker, err := l.Pardon(now(), by())
			if err == nil {
				_, err = f.Store.PutLease(ctx, quicker)
			}
			if err != nil {
				return l, err
			}
		}
		return l.Pardon(now(), by())
	})
	if err != nil || calls != 2 || after.Changes != 2 {
		t.Errorf("after %d calls: %d changes, %v", calls, after.Changes, err)
	}
}

func noUpdateIsLost(t *testing.T, f *fixture) {
	const writers, each = 4, 10
	f.lease(t, someID)
	var group sync.WaitGroup
	for range writers {
		group.Go(func() {
			for range each {
				_, _, err := f.Store.UpdateLease(t.Context(), someID, func(l lease.Lease) (lease.Lease, error) { return l.Pardon(now(), by()) })
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	if l := must[lease.Lease](t)(f.Store.Lease(t.Context(), someID)); l.Changes != writers*each {
		t.Errorf("%d changes, want %d", l.Changes, writers*each)
	}
}

func endedContext(t *testing.T, f *fixture) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for kind, err := range readEach(ctx, f) {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v, want context.Canceled", kind, err)
		}
	}
	if _, err := f.Store.PutLease(ctx, activeLease(someID)); !errors.Is(err, context.Canceled) {
		t.Errorf("put: %v, want context.Canceled", err)
	}
}
