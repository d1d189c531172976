package etcd_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"lapse/lease/etcd"
)

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
