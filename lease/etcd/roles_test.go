package etcd_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
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

// TestASidecarRunsWithItsRoleAlone runs the sidecar itself: it claims, renews, extends and releases.
func TestASidecarRunsWithItsRoleAlone(t *testing.T) {
	t.Parallel()
	g, store := furnished(t)
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

// TestRolesAreCreatedOnceAndNeverNarrowed looks at roles that exist already, in part or with more than is wanted.
func TestRolesAreCreatedOnceAndNeverNarrowed(t *testing.T) {
	t.Parallel()
	const role = etcd.RoleSidecar
	at := func(namespace string, a etcd.Access, rest string, end ...string) etcd.Grant {
		return etcd.Grant{Access: a, Key: "/lapse/" + namespace + "/" + rest, End: strings.Join(end, "")}
	}
	under := func(namespace string, a etcd.Access, dir string) etcd.Grant {
		return at(namespace, a, dir+"/", "/lapse/"+namespace+"/"+dir+"0")
	}
	for name, c := range map[string]struct {
		has            func(ns string) []etcd.Grant // nil: there is no such role
		missing, wider func(ns string) []etcd.Grant
	}{
		"there is none": {missing: func(ns string) []etcd.Grant {
			return []etcd.Grant{at(ns, etcd.AccessRead, "checkpoint"), under(ns, etcd.AccessReadWrite, "heartbeats"), under(ns, etcd.AccessReadWrite, "leases")}
		}},
		"it is empty": {
			has: func(string) []etcd.Grant { return []etcd.Grant{} },
			missing: func(ns string) []etcd.Grant {
				return []etcd.Grant{at(ns, etcd.AccessRead, "checkpoint"), under(ns, etcd.AccessReadWrite, "heartbeats"), under(ns, etcd.AccessReadWrite, "leases")}
			},
		},
		"it lacks the checkpoint": {
			has: func(ns string) []etcd.Grant {
				return []etcd.Grant{under(ns, etcd.AccessReadWrite, "heartbeats"), under(ns, etcd.AccessReadWrite, "leases")}
			},
			missing: func(ns string) []etcd.Grant { return []etcd.Grant{at(ns, etcd.AccessRead, "checkpoint")} },
		},
		"it only reads leases, and may read launches": {
			has: func(ns string) []etcd.Grant {
				return []etcd.Grant{
					at(ns, etcd.AccessRead, "checkpoint"), under(ns, etcd.AccessReadWrite, "heartbeats"),
					under(ns, etcd.AccessRead, "launches"), under(ns, etcd.AccessRead, "leases"),
				}
			},
			missing: func(ns string) []etcd.Grant { return []etcd.Grant{under(ns, etcd.AccessReadWrite, "leases")} },
			wider:   func(ns string) []etcd.Grant { return []etcd.Grant{under(ns, etcd.AccessRead, "launches")} },
		},
		"it only writes the checkpoint": {
			has: func(ns string) []etcd.Grant {
				return []etcd.Grant{
					at(ns, etcd.AccessWrite, "checkpoint"), under(ns, etcd.AccessReadWrite, "heartbeats"), under(ns, etcd.AccessReadWrite, "leases"),
				}
			},
			missing: func(ns string) []etcd.Grant { return []etcd.Grant{at(ns, etcd.AccessRead, "checkpoint")} },
			wider:   func(ns string) []etcd.Grant { return []etcd.Grant{at(ns, etcd.AccessWrite, "checkpoint")} },
		},
		"it may do everything": {
			has: func(string) []etcd.Grant {
				return []etcd.Grant{{Access: etcd.AccessReadWrite, Key: "\x00", End: "\x00"}}
			},
			wider: func(string) []etcd.Grant {
				return []etcd.Grant{{Access: etcd.AccessReadWrite, Key: "\x00", End: "\x00"}}
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, etcd.Options{})
			of := func(grants func(string) []etcd.Grant) []etcd.Grant {
				if grants == nil {
					return nil
				}
				return grants(b.namespace)
			}
			if c.has != nil {
				must(t)(b.client.RoleAdd(t.Context(), b.RoleName(role)))
				for _, g := range of(c.has) {
					must(t)(b.client.RoleGrantPermission(t.Context(), b.RoleName(role), g.Key, g.End, map[etcd.Access]clientv3.PermissionType{
						etcd.AccessRead: clientv3.PermissionType(clientv3.PermRead), etcd.AccessWrite: clientv3.PermissionType(clientv3.PermWrite),
						etcd.AccessReadWrite: clientv3.PermissionType(clientv3.PermReadWrite),
					}[g.Access]))
				}
			}
			state := b.state(t, role)
			if state.Exists != (c.has != nil) || !slices.Equal(state.Missing, of(c.missing)) || !slices.Equal(state.Wider, of(c.wider)) {
				t.Errorf("found %+v, want missing %v and wider %v", state, of(c.missing), of(c.wider))
			}
			for range 2 { // the second time, everything is there although it was not seen
				must(t)(nil, b.CreateRole(t.Context(), state))
			}
			after := b.state(t, role)
			if !after.Exists || len(after.Missing) > 0 {
				t.Errorf("created %+v, which lacks %v", after, after.Missing)
			}
			for _, g := range of(c.has) {
				if !slices.ContainsFunc(after.Granted, func(x etcd.Grant) bool {
					return x.Key == g.Key && x.End == g.End && (x.Access == g.Access || x.Access == etcd.AccessReadWrite)
				}) {
					t.Errorf("%s was taken away: %v is left", g, after.Granted)
				}
			}
		})
	}
}

// TestSecurityShowsWhatEachRoleMay compares the table of roles in SECURITY.md with what is wanted.
func TestSecurityShowsWhatEachRoleMay(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../SECURITY.md")
	if err != nil {
		t.Fatal(err)
	}
	store := etcd.New(nil, "default", etcd.Options{})
	for _, r := range etcd.Roles() {
		cells := map[bool][]string{}
		for _, g := range store.Wanted(r) {
			name := "`" + strings.TrimPrefix(g.Key, heistKey("")) + "`"
			if g.Key == heistKey("") {
				name = "everything below `" + g.Key + "`"
			}
			cells[g.Access == etcd.AccessReadWrite] = append(cells[g.Access == etcd.AccessReadWrite], name)
		}
		row := fmt.Sprintf("| `%s` | %s | %s |", store.RoleName(r), strings.Join(cells[false], ", "), strings.Join(cells[true], ", "))
		if row = strings.ReplaceAll(row, "|  |", "| |"); !strings.Contains(string(page), row+"\n") {
			t.Errorf("SECURITY.md does not have this row:\n%s", row)
		}
	}
}

func must(t *testing.T) func(any, error) {
	t.Helper()
	return func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
}

func (b *bench) state(t *testing.T, r etcd.Role) etcd.RoleState {
	t.Helper()
	for _, state := range b.RoleStates(t.Context()) {
		if state.Role == r && state.Unknown == nil {
			return state
		}
	}
	t.Fatalf("no state of role %s", r)
	return etcd.RoleState{}
}

// TestEtcdTellsAClientWhoItIs asks etcd before and after it asks for users.
func TestEtcdTellsAClientWhoItIs(t *testing.T) {
	t.Parallel()
	g := newGuarded(t)
	store := g.createRoles("default")
	g.user("ada", store.RoleName(etcd.RoleOperator))
	g.user("bob", store.RoleName(etcd.RoleSidecar))
	ada, bob, eve := etcd.New(g.dial("ada"), "default", etcd.Options{}), etcd.New(g.dial("bob"), "default", etcd.Options{}), etcd.New(g.dial("eve"), "default", etcd.Options{})
	if me, err := ada.Identity(t.Context(), "ada"); me.Enabled || err != nil {
		t.Errorf("before: %+v, %v", me, err)
	}
	g.enable()
	for name, c := range map[string]struct {
		store *etcd.Store
		user  string
		roles []string // none: etcd refuses
	}{
		"a user":                          {ada, "ada", []string{"lapse-default-operator"}},
		"another":                         {bob, "bob", []string{"lapse-default-sidecar"}},
		"root":                            {store, "root", []string{"root"}},
		"root, about a user":              {store, "bob", []string{"lapse-default-sidecar"}},
		"a user, about another":           {bob, "ada", nil},
		"a certificate that is no user's": {eve, "eve", nil},
	} {
		me, err := c.store.Identity(t.Context(), c.user)
		if err != nil || !me.Enabled || !slices.Equal(me.Roles, c.roles) || (c.roles == nil) != etcd.Denied(me.Err) {
			t.Errorf("%s: %+v, %v", name, me, err)
		}
	}
	// So the runbook says: whoever has a certificate can do so much, be it no user's.
	unknown := g.dial("eve")
	if _, err := unknown.Grant(t.Context(), 60); err != nil {
		t.Errorf("a certificate that is no user's grants no etcd lease: %v", err)
	}
	if _, err := unknown.Get(t.Context(), heistKey("checkpoint")); !etcd.Denied(err) {
		t.Errorf("a certificate that is no user's reads: %v", err)
	}
	for _, state := range ada.RoleStates(t.Context()) {
		switch own := state.Role == etcd.RoleOperator; {
		case own && (!state.Exists || state.Unknown != nil || len(state.Missing)+len(state.Wider) > 0):
			t.Errorf("ada's own role: %+v", state)
		case !own && !etcd.Denied(state.Unknown):
			t.Errorf("a role that is not ada's: %+v", state)
		}
		if err := ada.CreateRole(t.Context(), etcd.RoleState{Name: state.Name, Missing: ada.Wanted(state.Role)}); !etcd.Denied(err) {
			t.Errorf("an operator changes roles: %v", err)
		}
	}
	if _, err := etcd.Dial(t.Context(), etcd.Config{Endpoints: []string{"unix://" + filepath.Join(g.dir, "data", "etcd.sock")}}); !etcd.Denied(err) ||
		!strings.Contains(err.Error(), "refuses this client") {
		t.Errorf("a client without a certificate: %v", err)
	}
}
