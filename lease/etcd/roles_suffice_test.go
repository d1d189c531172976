package etcd_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"lapse/lease"
	"lapse/lease/etcd"
	"lapse/lease/leasetest"
	"lapse/lease/self"
	"lapse/sidecar"
)

// TestAJanitorsRoleSufficesForTheSuite runs everything that a store promises with nothing but the role of a janitor: to
// campaign, to write fenced, to list and to watch.
func TestAJanitorsRoleSufficesForTheSuite(t *testing.T) { // not parallel, as the suite says
	const most = 200 // cases of the suite, each in a namespace
	g := newGuarded(t)
	free := make(chan string, most)
	g.must(g.root.UserAddWithOptions(t.Context(), "janitor", "", &clientv3.UserAddOptions{NoPassword: true}))
	for n := range most { // before etcd asks for users: each change would refuse what is under way
		namespace := fmt.Sprintf("suite-%d", n)
		g.must(g.root.UserGrantRole(t.Context(), "janitor", g.createRole(namespace, etcd.RoleJanitor)))
		free <- namespace
	}
	g.enable()
	janitor := g.dial("janitor")
	leasetest.Run(t, func(t *testing.T) leasetest.Stores {
		t.Helper()
		namespace := <-free
		past := &bench{Store: etcd.New(g.root, namespace, etcd.Options{}), client: g.root, namespace: namespace}
		return leasetest.Stores{
			Store: etcd.New(janitor, namespace, etcd.Options{PageSize: 3}), Depose: past.depose, Put: past.putRecord, Get: past.getRecord, Lapse: past.lapse, Compact: past.compact,
		}
	})
}

// createRole makes one role of a namespace, and returns its name.
func (g *guarded) createRole(namespace string, r etcd.Role) string {
	g.Helper()
	store := etcd.New(g.root, namespace, etcd.Options{})
	g.must(nil, store.CreateRole(g.Context(), etcd.RoleState{Name: store.RoleName(r), Missing: store.Wanted(r)}))
	return store.RoleName(r)
}

// work is what somebody does with a registry that has a lease, a launch and a checkpoint.
type work func(ctx context.Context, s *etcd.Store, client *clientv3.Client) error

func works() map[etcd.Role]work {
	return map[etcd.Role]work{etcd.RoleOperator: operate, etcd.RoleJanitor: lead, etcd.RoleSidecar: keep}
}

// operate does what `lease` and `janitor arm` do.
func operate(ctx context.Context, s *etcd.Store, client *clientv3.Client) error {
	_, _, armed := s.UpdateRegistry(ctx, func(r lease.Registry) (lease.Registry, error) {
		other := map[bool]lease.Mode{true: lease.ModeArmed, false: lease.ModePaused}[r.Mode != lease.ModeArmed]
		return r.To(time.Now(), other, lease.By{Actor: "ada"}), nil
	})
	token := fmt.Sprintf("launch-%d", time.Now().UnixNano())
	launch, launched := s.PutLaunch(ctx, openLaunch(token))
	_, bound := s.Bind(ctx, launch, []lease.Lease{activeLease("i-" + token)})
	_, _, closed := s.UpdateLaunch(ctx, token, func(l lease.Launch) (lease.Launch, error) {
		l.State = lease.LaunchDone
		return l, nil
	})
	_, _, extended := s.UpdateLease(ctx, robbed, func(l lease.Lease) (lease.Lease, error) {
		return l.Extend(time.Now(), lease.Extension{Until: l.ExpiresAt.Add(time.Minute)}, lease.By{Actor: "ada"})
	})
	_, swept := s.Checkpoint(ctx)
	snapshot, listed := s.Snapshot(ctx)
	_, enrolled := client.Put(ctx, s.Key("enrolments/"+robbed, ""), "{}")
	if err := errors.Join(armed, launched, bound, closed, extended, swept, listed, enrolled, s.Healthy(ctx)); err != nil {
		return err
	}
	return watches(ctx, s, snapshot)
}

// watches wants a watch to tell a change.
func watches(ctx context.Context, s *etcd.Store, from lease.Snapshot) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	changes := s.Watch(ctx, from)
	_, _, err := s.UpdateLease(ctx, robbed, func(l lease.Lease) (lease.Lease, error) {
		return l.Extend(time.Now(), lease.Extension{Until: l.ExpiresAt.Add(time.Minute)}, lease.By{Actor: "ada"})
	})
	if err != nil {
		return err
	}
	for change := range changes {
		if change.Lease != nil && change.Lease.InstanceID == robbed {
			return nil
		}
	}
	return errors.New("the watch told nothing")
}

// lead does what a janitor does in a sweep.
func lead(ctx context.Context, s *etcd.Store, _ *clientv3.Client) error {
	registry, err := s.Registry(ctx)
	if err != nil {
		return err
	}
	leadership, err := s.Campaign(ctx, "janitor", time.Minute)
	if err != nil {
		return err
	}
	snapshot, listed := leadership.Snapshot(ctx)
	_, swept := leadership.PutCheckpoint(ctx, registry, snapshot.Checkpoint)
	_, closed := leadership.PutLaunch(ctx, registry, openLaunch(fmt.Sprintf("closing-%d", time.Now().UnixNano())))
	planned := leadership.PutPlan(ctx, registry, lease.Plan{Schema: lease.Schema})
	return errors.Join(listed, swept, closed, planned, watches(ctx, s, snapshot), s.Healthy(ctx), leadership.Resign(ctx))
}

// keep does what a sidecar does for its own instance.
func keep(ctx context.Context, s *etcd.Store, _ *clientv3.Client) error {
	_, swept := s.Checkpoint(ctx)
	claim, err := s.Claim(ctx, lease.Heartbeat{InstanceID: robbed, BootID: "boot", HeartbeatTimeout: lease.Duration(time.Minute)})
	if err != nil {
		return err
	}
	_, _, renewed := s.Renew(ctx, claim, claim.Heartbeat)
	claim.Heartbeat.HeartbeatTimeout *= 2
	_, _, moved := s.Renew(ctx, claim, claim.Heartbeat)
	_, _, extended := s.UpdateLease(ctx, robbed, func(l lease.Lease) (lease.Lease, error) {
		return l.Extend(time.Now(), lease.Extension{Until: l.ExpiresAt.Add(time.Minute)}, lease.By{Actor: "sidecar"})
	})
	_, read := s.Lease(ctx, robbed)
	return errors.Join(swept, renewed, moved, extended, read)
}

// furnished is an etcd that asks for users, of which each has one role of a registry with a lease and a checkpoint.
func furnished(t *testing.T) (*guarded, *etcd.Store) {
	t.Helper()
	g := newGuarded(t)
	store := g.createRoles("default")
	g.must(store.PutRegistry(t.Context(), lease.NewRegistry(time.Now(), "uuid", lease.ModeObserve)))
	l := activeLease(robbed)
	l.ExpiresAt = time.Now().Add(time.Hour)
	g.must(store.PutLease(t.Context(), l))
	registry, err := store.Registry(t.Context())
	g.must(nil, err)
	leadership, err := store.Campaign(t.Context(), "before", time.Minute)
	g.must(nil, err)
	g.must(leadership.PutCheckpoint(t.Context(), registry, lease.Checkpoint{Schema: lease.Schema, Sequence: 1, Nonce: "n", Time: time.Now()}))
	g.must(nil, leadership.Resign(t.Context()))
	for _, r := range etcd.Roles() {
		g.user(string(r), store.RoleName(r))
	}
	g.enable()
	return g, store
}

// TestEachRoleSufficesAndHasNothingToSpare does the work of each role with that role alone, and then without each of its
// grants, which etcd must refuse.
func TestEachRoleSufficesAndHasNothingToSpare(t *testing.T) {
	t.Parallel()
	g, store := furnished(t)
	for role, does := range works() {
		t.Run(string(role), func(t *testing.T) {
			client := g.dial(string(role))
			own := etcd.New(client, "default", etcd.Options{})
			if err := does(t.Context(), own, client); err != nil {
				t.Fatalf("cannot do its work: %v", err)
			}
			for _, grant := range store.Wanted(role) {
				g.must(g.root.RoleRevokePermission(t.Context(), store.RoleName(role), grant.Key, grant.End))
				if err := does(t.Context(), own, client); !etcd.Denied(err) {
					t.Errorf("does its work without %s: %v", grant, err)
				}
				for _, state := range store.RoleStates(t.Context()) {
					if state.Role == role && !slices.Equal(state.Missing, []etcd.Grant{grant}) {
						t.Errorf("without %s, %v is missing", grant, state.Missing)
					}
					g.must(nil, store.CreateRole(t.Context(), state))
				}
			}
			if err := does(t.Context(), own, client); err != nil {
				t.Errorf("cannot do its work after all is granted again: %v", err)
			}
		})
	}
}

// TestASidecarRunsWithItsRoleAlone runs the sidecar itself: it claims, renews, sees its peers, extends and releases.
func TestASidecarRunsWithItsRoleAlone(t *testing.T) {
	t.Parallel()
	g, store := furnished(t)
	_, _, err := store.UpdateLease(t.Context(), robbed, func(l lease.Lease) (lease.Lease, error) {
		l.Launch = "web"
		return l, nil
	})
	g.must(nil, err)
	own := etcd.New(g.dial("sidecar"), "default", etcd.Options{})
	direct := self.New(own, time.Now, slog.New(slog.DiscardHandler))
	valid, socket := make(chan string, 1000), filepath.Join(g.dir, "s.sock")
	s, err := sidecar.New(sidecar.Config{
		InstanceID: robbed, BootID: "boot", SocketPath: socket, Now: time.Now, Logger: slog.New(slog.DiscardHandler),
		Open: func(context.Context) (sidecar.Registry, error) { return direct, nil }, Notify: func(state string) { valid <- state },
	})
	g.must(nil, err)
	ended := make(chan error, 1)
	go func() { ended <- s.Run(t.Context()) }()
	for said := range valid {
		if strings.Contains(said, "lease valid") {
			break
		}
	}
	before, err := store.Lease(t.Context(), robbed)
	g.must(nil, err)
	client := sidecar.NewClient(socket)
	extended, err := client.Extend(t.Context(), lease.ExtendRequest{By: lease.Duration(time.Hour)})
	if err != nil || !extended.Granted.After(before.ExpiresAt) {
		t.Errorf("extended to %s: %v", extended.Granted, err)
	}
	if peers, err := client.Peers(t.Context()); err != nil || len(peers) != 1 || !peers[0].Self {
		t.Errorf("peers are %+v: %v", peers, err)
	}
	released, err := client.Release(t.Context(), "done")
	if err != nil || released.State != lease.StateRevoked {
		t.Errorf("released: %s, %v", released.State, err)
	}
	if released.ClaimedAt.IsZero() {
		t.Error("the sidecar did not note its first heartbeat in the lease")
	}
	var over *lease.StateError
	if err := <-ended; !errors.As(err, &over) {
		t.Errorf("after the release, the sidecar ended with %v", err)
	}
}
