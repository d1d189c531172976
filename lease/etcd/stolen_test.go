package etcd_test

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"lapse/lease"
	"lapse/lease/etcd"
)

// heist is an etcd, and a thief who took the certificate of a sidecar from an instance.
type heist struct {
	*guarded
	store  *etcd.Store // the root's
	thief  *clientv3.Client
	loot   *etcd.Store // the thief's
	now    context.Context
	held   clientv3.LeaseID // of the victim's heartbeat
	leads  clientv3.LeaseID // of the leader's key
	before lease.Lease      // the victim's
	asks   bool             // etcd asked for users before the act
}

const (
	robbed = "i-0000000000000aaaa" // whose certificate it is
	victim = "i-0000000000000bbbb"
)

func heistKey(rest string) string { return "/lapse/default/" + rest }

// access is a way to let sidecars reach etcd.
type access struct {
	name string
	user string                          // the common name of the stolen certificate
	lets func(h *heist) (sidecar string) // makes the role of the sidecar; nil: etcd asks for no user
}

func accesses() []access {
	return []access{
		{"mutual TLS alone", robbed, nil},
		{"the roles of `lease init --rbac`", "sidecar", func(h *heist) string { return h.store.RoleName(etcd.RoleSidecar) }},
		{"a user and a role for each instance", robbed, func(h *heist) string {
			const role = "own"
			h.must(h.root.RoleAdd(h.Context(), role))
			for key, may := range map[string]clientv3.PermissionType{
				"leases/" + robbed: clientv3.PermissionType(clientv3.PermReadWrite), "heartbeats/" + robbed: clientv3.PermissionType(clientv3.PermReadWrite),
				"checkpoint": clientv3.PermissionType(clientv3.PermRead),
			} {
				h.must(h.root.RoleGrantPermission(h.Context(), role, heistKey(key), "", may))
			}
			return role
		}},
	}
}

// stage starts an etcd with an access, and what the thief finds in it.
func stage(t *testing.T, a access) *heist {
	t.Helper()
	h := &heist{guarded: newGuarded(t)}
	h.store = h.createRoles("default")
	if a.lets != nil {
		h.user(a.user, a.lets(h))
		h.user("janitor", h.store.RoleName(etcd.RoleJanitor))
		h.enable()
	}
	h.thief = h.dial(a.user)
	h.loot = etcd.New(h.thief, "default", etcd.Options{})
	h.furnish()
	return h
}

// furnish writes what there is to steal, again for each attack.
func (h *heist) furnish() {
	h.Helper()
	ctx := h.Context()
	h.must(h.root.Delete(ctx, heistKey(""), clientv3.WithPrefix()))
	for _, id := range []string{robbed, victim} {
		l := activeLease(id)
		l.GrantedAt, l.ExpiresAt, l.MaxExpiresAt = time.Now(), time.Now().Add(4*time.Hour), time.Now().Add(100*time.Hour)
		stored, err := h.store.PutLease(ctx, l)
		h.must(nil, err)
		h.before = stored
	}
	claim, err := h.store.Claim(ctx, lease.Heartbeat{InstanceID: victim, BootID: "boot", HeartbeatTimeout: lease.Duration(time.Minute)})
	h.must(nil, err)
	h.held = clientv3.LeaseID(claim.Handle)
	term, err := h.root.Grant(ctx, 60)
	h.must(nil, err)
	h.leads = term.ID
	h.must(h.root.Put(ctx, heistKey("election/janitor/1"), "leader", clientv3.WithLease(h.leads)))
	for _, key := range []string{"launches/nightly", "enrolments/" + victim, "registry", "checkpoint", "plan"} {
		h.must(h.root.Put(ctx, heistKey(key), "{}"))
	}
	h.must(h.root.Put(ctx, "/others/key", "secret"))
}

// calm takes back what would spoil the next act.
func (h *heist) calm() {
	h.Helper()
	ctx := context.WithoutCancel(h.Context())
	h.must(h.root.AlarmDisarm(ctx, &clientv3.AlarmMember{}))
	members, err := h.root.MemberList(ctx)
	h.must(nil, err)
	for _, m := range members.Members {
		if m.GetIsLearner() {
			h.must(h.root.MemberRemove(ctx, m.GetID()))
		}
	}
}

// TestTheTableOfAStolenCertificateIsTrue tries each act in each way to let sidecars reach etcd, looks as root whether it came
// about, and wants the table in SECURITY.md to say the same.
func TestTheTableOfAStolenCertificateIsTrue(t *testing.T) {
	t.Parallel()
	table := readTable(t)
	if table.rows() != len(acts()) {
		t.Errorf("SECURITY.md has %d rows, and %d acts are tried", table.rows(), len(acts()))
	}
	for _, a := range accesses() {
		t.Run(a.name, func(t *testing.T) {
			t.Parallel()
			h := stage(t, a)
			for _, act := range acts() {
				t.Run(act.what, func(t *testing.T) {
					if said := table.cell(act.what, "effect"); said != act.so {
						t.Errorf("SECURITY.md says that the effect is %q, want %q", said, act.so)
					}
					h.furnish()
					defer h.calm()
					if got, said := h.attempt(t, act), table.cell(act.what, a.name); got != said {
						t.Errorf("etcd lets the thief: %s; SECURITY.md says %q", got, said)
					}
				})
			}
		})
	}
}

// attempt tries an act and returns "yes" if it came about, "no" if etcd refused it and nothing happened.
func (h *heist) attempt(t *testing.T, act act) string {
	t.Helper()
	now, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	h.now = now
	err := act.try(h)
	if err != nil && !etcd.Denied(err) && rpctypes.ErrorDesc(err) != rpctypes.ErrorDesc(rpctypes.ErrGRPCPermissionDenied) {
		t.Fatalf("it failed for another reason: %v", err)
	}
	happened := err == nil
	if act.happened != nil {
		if happened = act.happened(h); happened != (err == nil) {
			t.Errorf("it answered %v, and root sees that it happened: %t", err, happened)
		}
	}
	if happened {
		return "yes"
	}
	return "no"
}

// table is a Markdown table, its head first.
type table [][]string

// readTable reads the table of a stolen certificate from SECURITY.md.
func readTable(t *testing.T) table {
	t.Helper()
	page, err := os.ReadFile("../../SECURITY.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(page), "| with a stolen certificate |")
	if !found {
		t.Fatal("SECURITY.md has no table of what a stolen certificate can do")
	}
	text, _, _ := strings.Cut("| with a stolen certificate |"+rest, "\n\n")
	var all table
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "|---") {
			all = append(all, strings.Split(strings.Trim(line, "| \n"), " | "))
		}
	}
	return all
}

func (t table) rows() int { return len(t) - 1 }

// cell is empty if the table has no such row or column.
func (t table) cell(row, column string) string {
	n := slices.Index(t[0], column)
	for _, cells := range t[1:] {
		if cells[0] == row && n >= 0 && n < len(cells) {
			return cells[n]
		}
	}
	return ""
}
