package leasetest

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"lapse/lease"
	"lapse/lease/etcd"
)

// Stores is a store under test, and what a test must be able to do behind its back.
type Stores struct {
	Store *etcd.Store // empty, without a registry
	// Depose takes the leadership away from its holder, as an expiry does.
	Depose func(tb testing.TB)
	// Put writes bytes past the store, and Get reads them, by the store's key.
	Put func(tb testing.TB, kind, id string, data []byte)
	Get func(tb testing.TB, kind, id string) []byte
	// Lapse makes a heartbeat expire.
	Lapse func(tb testing.TB, id string)
	// Compact forgets the history.
	Compact func(tb testing.TB)
}

// Run tests that the stores which open makes, each on another etcd or in another namespace, keep what a store promises. Each case has a new one. The cases run in
// parallel, after the one that compacts: stores may share a server, and compaction is of all that it keeps. So do not
// run the suite itself in parallel.
func Run(t *testing.T, open func(t *testing.T) Stores) {
	t.Helper()
	RunIn(t, open, func(t *testing.T, test func(t *testing.T)) {
		t.Helper()
		test(t)
	})
}

// RunIn is [Run] with each case run by in, as synctest.Test does for stores without real sockets.
func RunIn(t *testing.T, open func(t *testing.T) Stores, in func(t *testing.T, test func(t *testing.T))) {
	t.Helper()
	t.Run("a watch from a forgotten revision lists again", func(t *testing.T) {
		in(t, withStores(open, watchCompacted))
	})
	for _, cases := range []map[string]func(*fixture){
		recordCases(), bindCases(), snapshotCases(), watchCases(), heartbeatCases(), peerCases(), enrolmentCases(), leadershipCases(),
	} {
		for name, test := range cases {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				in(t, withStores(open, test))
			})
		}
	}
}

func withStores(open func(t *testing.T) Stores, test func(*fixture)) func(t *testing.T) {
	return func(t *testing.T) {
		t.Helper()
		test(&fixture{T: t, Stores: open(t)})
	}
}

// fixture is a test and its store, with records to put into it.
type fixture struct {
	*testing.T
	Stores
}

const (
	someID    = "i-0aaa"
	someToken = "launch-a"
)

func now() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC) }

func by() lease.By { return lease.By{Actor: "test", Reason: "because"} }

func activeLease(id string) lease.Lease {
	return lease.Lease{
		Schema: lease.Schema, InstanceID: id, State: lease.StateActive, Holder: "ada",
		Labels: map[string]string{"team": "a"}, GrantedAt: now(), ExpiresAt: now().Add(time.Hour), ExpiresNumber: 1,
		History: []lease.Transition{},
	}
}

func openLaunch(token string) lease.Launch {
	return lease.Launch{
		Schema: lease.Schema, Token: token, State: lease.LaunchOpen, Count: 1, CreatedAt: now(),
		Window: lease.Duration(15 * time.Minute), Request: []byte(`{"ImageId":"ami-1"}`),
		Attempts: []lease.Attempt{{ClientToken: lease.ClientToken(token, 1), Min: 1, Max: 1}},
	}
}

func heartbeatOf(id, boot string) lease.Heartbeat {
	return lease.Heartbeat{InstanceID: id, BootID: boot, HeartbeatTimeout: lease.Duration(time.Minute), Since: now()}
}

// must stops the test at an error.
func must[R any](tb testing.TB) func(r R, err error) R {
	tb.Helper()
	return func(r R, err error) R {
		tb.Helper()
		if err != nil {
			tb.Fatal(err)
		}
		return r
	}
}

func (t *fixture) registry() lease.Registry {
	t.Helper()
	return must[lease.Registry](t)(t.Store.PutRegistry(t.Context(), lease.NewRegistry(now(), "uuid", lease.ModeArmed)))
}

func (t *fixture) lease(id string) lease.Lease {
	t.Helper()
	return must[lease.Lease](t)(t.Store.PutLease(t.Context(), activeLease(id)))
}

func (t *fixture) launch(token string) lease.Launch {
	t.Helper()
	return must[lease.Launch](t)(t.Store.PutLaunch(t.Context(), openLaunch(token)))
}

// campaign is the store's, with a leadership that ends with the test: else its session would be waited for.
func (t *fixture) campaign(name string) (*etcd.Leadership, error) {
	t.Helper()
	leadership, err := t.Store.Campaign(t.Context(), name, 10*time.Second)
	if err == nil {
		t.Cleanup(func() { _ = leadership.Resign(context.WithoutCancel(t.Context())) })
	}
	return leadership, err
}

func (t *fixture) leadership(name string) *etcd.Leadership {
	t.Helper()
	return must[*etcd.Leadership](t)(t.campaign(name))
}

// wantError wants an error of type E.
func wantError[E error](tb testing.TB, err error) {
	tb.Helper()
	_ = errorOf[E](tb, err)
}

// errorOf wants an error of type E, and returns it.
func errorOf[E error](tb testing.TB, err error) E {
	tb.Helper()
	var want E
	if !errors.As(err, &want) {
		tb.Fatalf("got error %v, want a %T", err, want)
	}
	return want
}

func wantConflict(tb testing.TB, err error, kind, id string) {
	tb.Helper()
	if conflict := errorOf[*lease.ConflictError](tb, err); conflict.Kind != kind || conflict.ID != id {
		tb.Fatalf("conflict of %s %s, want %s %s", conflict.Kind, conflict.ID, kind, id)
	}
}

func wantNotFound(tb testing.TB, err error, kind string) {
	tb.Helper()
	if missing := errorOf[*lease.NotFoundError](tb, err); missing.Kind != kind {
		tb.Fatalf("missing %s, want %s", missing.Kind, kind)
	}
}

func wantSame[R any](tb testing.TB, got, want R) {
	tb.Helper()
	if !reflect.DeepEqual(got, want) {
		tb.Fatalf("got  %+v\nwant %+v", got, want)
	}
}

// wantParts wants every part in data.
func wantParts(tb testing.TB, data []byte, parts ...string) {
	tb.Helper()
	for _, part := range parts {
		if !strings.Contains(string(data), part) {
			tb.Errorf("%s is not in %s", part, data)
		}
	}
}
