package etcd_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"lapse/lease"
	"lapse/lease/etcd"
	"lapse/lease/etcd/embedded"
	"lapse/lease/etcd/internal/certtest"
)

// heist is an etcd, and a thief who took the certificate of a sidecar from an instance.
type heist struct {
	*testing.T
	root  *clientv3.Client
	store *etcd.Store // the root's
	thief *clientv3.Client
	loot  *etcd.Store // the thief's
	held  clientv3.LeaseID
	now   context.Context // of one act
	dial  func(user string) (*clientv3.Client, *etcd.Store)
}

const (
	robbed = "i-0000000000000aaaa" // whose certificate it is
	victim = "i-0000000000000bbbb"
)

func heistKey(rest string) string { return "/lapse/default/" + rest }

// access is a way to let sidecars reach etcd.
type access struct {
	name  string
	user  string // the CN of a sidecar's certificate; empty: etcd asks for no user
	grant []clientv3.Op
}

// reach are keys that a role may read and write.
func reach(key string, o ...clientv3.OpOption) clientv3.Op {
	return clientv3.OpGet(heistKey(key), o...)
}

func accesses() []access {
	return []access{
		{"mutual TLS alone", "", nil},
		{"one role for all sidecars", "sidecar", []clientv3.Op{
			reach("leases/", clientv3.WithPrefix()), reach("heartbeats/", clientv3.WithPrefix()),
		}},
		{"a user for each instance", robbed, []clientv3.Op{reach("leases/" + robbed), reach("heartbeats/" + robbed)}},
	}
}

// act is something that a thief may try to do to others.
type act struct {
	what, so string // so: what comes of it
	try      func(h *heist) error
}

func acts() []act {
	put := func(key, value string) func(*heist) error {
		return func(h *heist) error { _, err := h.thief.Put(h.now, heistKey(key), value); return err }
	}
	remove := func(key string, o ...clientv3.OpOption) func(*heist) error {
		return func(h *heist) error { _, err := h.thief.Delete(h.now, heistKey(key), o...); return err }
	}
	get := func(key string) func(*heist) error {
		return func(h *heist) error {
			_, err := h.thief.Get(h.now, key, clientv3.WithPrefix(), clientv3.WithLimit(1))
			return err
		}
	}
	return []act{
		{"revoke another's lease", "its instance is terminated", func(h *heist) error {
			_, _, err := h.loot.UpdateLease(h.now, victim, func(l lease.Lease) (lease.Lease, error) {
				return l.Revoke(time.Now(), lease.CauseRelease, lease.By{Actor: "thief"})
			})
			return err
		}},
		{"delete another's lease", "its instance is untracked: reported, never terminated", remove("leases/" + victim)},
		{"delete another's heartbeat", "its heartbeat is lost: the instance is terminated unless a brake holds that back", remove("heartbeats/" + victim)},
		{"revoke the etcd lease of another's heartbeat", "the same", func(h *heist) error { _, err := h.thief.Revoke(h.now, h.held); return err }},
		{"write another's heartbeat", "a dead instance looks alive until its lease expires", put("heartbeats/"+victim, `{}`)},
		{"prolong the etcd lease of another's heartbeat", "the same", func(h *heist) error { _, err := h.thief.KeepAliveOnce(h.now, h.held); return err }},
		{"read the leases of others", "reveals holders and labels", get(heistKey("leases/"))},
		{"read launches", "reveals the user-data and the join tokens of those under way", get(heistKey("launches/"))},
		{"change a launch", "instances that it has not bound yet are terminated as orphans", put("launches/nightly", `{}`)},
		{"arm, pause or delete the registry", "nothing is terminated any more, or a registry that only observed terminates", put("registry", `{}`)},
		{"write the checkpoint", "brakes engage, terminations stop", put("checkpoint", `{}`)},
		{"depose the leader, or lead", "terminations stop", remove("election/janitor/", clientv3.WithPrefix())},
		{"read other keys of the same etcd", "reveals them", get("/")},
		{"write large values to its own keys", "etcd fills up and refuses writes", func(h *heist) error {
			_, err := h.thief.Put(h.now, heistKey("heartbeats/"+robbed), strings.Repeat("x", 1<<20))
			return err
		}},
		{"grant any number of etcd leases", "etcd runs out of memory", func(h *heist) error {
			for range 1000 {
				if _, err := h.thief.Grant(h.now, 3600); err != nil {
					return err
				}
			}
			return nil
		}},
		{"list all etcd leases", "reveals their ids", func(h *heist) error { _, err := h.thief.Leases(h.now); return err }},
		{"compact etcd's history", "watches break, and list again", func(h *heist) error { _, err := h.thief.Compact(h.now, 2); return err }},
		{"copy the whole database", "reveals everything", func(h *heist) error {
			stream, err := h.thief.Snapshot(h.now)
			if err != nil {
				return err
			}
			defer stream.Close()
			_, err = stream.Read(make([]byte, 1))
			return err
		}},
		{"defragment a member", "etcd stalls, heartbeats are lost", func(h *heist) error { _, err := h.thief.Defragment(h.now, h.thief.Endpoints()[0]); return err }},
		{"add a member to the cluster", "the cluster loses its quorum", func(h *heist) error {
			_, err := h.thief.MemberAddAsLearner(h.now, []string{"http://127.0.0.1:1"})
			return err
		}},
		{"raise an alarm", "etcd refuses writes", func(h *heist) error {
			_, err := pb.NewMaintenanceClient(h.thief.ActiveConnection()).Alarm(h.now, &pb.AlarmRequest{
				Action: pb.AlarmRequest_ACTIVATE, Alarm: pb.AlarmType_NOSPACE,
			})
			return err
		}},
		{"add users and roles", "locks everybody out", func(h *heist) error {
			_, err := h.thief.RoleAdd(h.now, "thieves")
			return err
		}},
	}
}

// stage starts an etcd with an access, and what the thief finds in it.
func stage(t *testing.T, a access) *heist {
	t.Helper()
	dir, err := os.MkdirTemp("", "l") //nolint:usetesting // t.TempDir is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	ca, listen, file := certtest.New(t, "ca"), freePort(t), func(name string) string { return filepath.Join(dir, name) }
	certtest.Write(t, file("ca.pem"), ca.PEM)
	ca.Issue(t, "etcd", file("etcd.pem"), file("etcd.key"))
	server, err := embedded.Start(t.Context(), embedded.Config{
		Dir: file("data"), Listen: listen, CertFile: file("etcd.pem"), KeyFile: file("etcd.key"), ClientCAFile: file("ca.pem"), NoSync: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	h := &heist{T: t}
	h.dial = func(user string) (*clientv3.Client, *etcd.Store) {
		t.Helper()
		ca.Issue(t, user, file(user+".pem"), file(user+".key"))
		client, err := etcd.Dial(t.Context(), etcd.Config{
			Endpoints: []string{"https://" + listen}, CACert: file("ca.pem"), Cert: file(user + ".pem"), Key: file(user + ".key"),
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = client.Close() })
		return client, etcd.New(client, "default", etcd.Options{})
	}
	h.root, h.store = h.dial("root")
	if a.user != "" {
		h.enableUsers(a)
	}
	user := a.user
	if user == "" {
		user = robbed
	}
	h.thief, h.loot = h.dial(user)
	h.furnish()
	return h
}

// enableUsers makes etcd ask who is there, by the CN of certificates.
func (h *heist) enableUsers(a access) {
	h.Helper()
	ctx := h.Context()
	must := func(_ any, err error) {
		h.Helper()
		if err != nil {
			h.Fatal(err)
		}
	}
	add := func(user, role string) {
		must(h.root.UserAddWithOptions(ctx, user, "", &clientv3.UserAddOptions{NoPassword: true}))
		must(h.root.RoleAdd(ctx, role))
		must(h.root.UserGrantRole(ctx, user, role))
	}
	add("root", "root")
	grant := func(role string, keys clientv3.Op) {
		may := clientv3.PermissionType(clientv3.PermReadWrite)
		must(h.root.RoleGrantPermission(ctx, role, string(keys.KeyBytes()), string(keys.RangeBytes()), may))
	}
	add(a.user, "lapse-sidecar")
	for _, keys := range a.grant {
		grant("lapse-sidecar", keys)
	}
	add("janitor", "lapse-janitor")
	grant("lapse-janitor", reach("", clientv3.WithPrefix()))
	must(h.root.AuthEnable(ctx))
}

// furnish writes what there is to steal, again for each attack.
func (h *heist) furnish() {
	h.Helper()
	ctx := h.Context()
	put := func(key, value string) {
		h.Helper()
		if _, err := h.root.Put(ctx, heistKey(key), value); err != nil {
			h.Fatal(err)
		}
	}
	h.clear("")
	for _, id := range []string{robbed, victim} {
		if _, err := h.store.PutLease(ctx, activeLease(id)); err != nil {
			h.Fatal(err)
		}
	}
	claim, err := h.store.Claim(ctx, lease.Heartbeat{InstanceID: victim, BootID: "boot", HeartbeatTimeout: lease.Duration(time.Minute)})
	if err != nil {
		h.Fatal(err)
	}
	h.held = clientv3.LeaseID(claim.Handle)
	put("launches/nightly", "{}")
	put("election/janitor/1", "leader")
}

func (h *heist) clear(prefix string) {
	h.Helper()
	if _, err := h.root.Delete(h.Context(), heistKey(prefix), clientv3.WithPrefix()); err != nil {
		h.Fatal(err)
	}
}

// honest does what a sidecar does for its own instance.
func (h *heist) honest() error {
	ctx := h.Context()
	hb := lease.Heartbeat{InstanceID: robbed, BootID: "boot", HeartbeatTimeout: lease.Duration(time.Minute)}
	claim, err := h.loot.Claim(ctx, hb)
	if err != nil {
		return err
	}
	if _, _, err := h.loot.Renew(ctx, claim, claim.Heartbeat); err != nil {
		return err
	}
	_, _, err = h.loot.UpdateLease(ctx, robbed, func(l lease.Lease) (lease.Lease, error) {
		return l.Claimed(time.Now(), lease.By{Actor: "sidecar"})
	})
	return err
}

// lead does what a janitor does, as a user that may not administer etcd.
func (h *heist) lead() error {
	ctx := h.Context()
	_, store := h.dial("janitor")
	registry, err := store.PutRegistry(ctx, lease.NewRegistry(start, "uuid", lease.ModeArmed))
	if err != nil {
		return err
	}
	if _, err := store.Snapshot(ctx); err != nil {
		return err
	}
	leadership, err := store.Campaign(ctx, "janitor", time.Minute)
	if err != nil {
		return err
	}
	_, err = leadership.PutLaunch(ctx, registry, openLaunch("closing"))
	return errors.Join(err, store.Healthy(ctx), leadership.Resign(ctx))
}

// TestTheTableOfAStolenCertificateIsTrue tries each act, and wants the table in SECURITY.md to say the same.
func TestTheTableOfAStolenCertificateIsTrue(t *testing.T) {
	t.Parallel()
	cells := map[string][]string{}
	for _, a := range accesses() {
		h := stage(t, a)
		if err := h.honest(); err != nil {
			t.Errorf("%s: a sidecar cannot do its work: %v", a.name, err)
		}
		h.clear("election/")
		if err := h.lead(); err != nil {
			t.Errorf("%s: a janitor cannot do its work: %v", a.name, err)
		}
		for _, act := range acts() {
			h.furnish()
			now, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			h.now = now
			err := act.try(h)
			cancel()
			cell := "yes"
			if refused(err) {
				cell = "no"
			} else if err != nil {
				t.Errorf("%s: %s: %v", a.name, act.what, err)
			}
			cells[act.what] = append(cells[act.what], cell)
			h.calm()
		}
	}
	var table strings.Builder
	head := []string{"with a stolen certificate", "effect"}
	for _, a := range accesses() {
		head = append(head, a.name)
	}
	fmt.Fprintf(&table, "| %s |\n|%s\n", strings.Join(head, " | "), strings.Repeat("---|", len(head)))
	for _, act := range acts() {
		fmt.Fprintf(&table, "| %s | %s | %s |\n", act.what, act.so, strings.Join(cells[act.what], " | "))
	}
	page, err := os.ReadFile("../../SECURITY.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, keys := range accesses()[1].grant {
		if command := "etcdctl role grant-permission lapse-sidecar --prefix=true readwrite " + string(keys.KeyBytes()) + "\n"; !strings.Contains(string(page), command) {
			t.Errorf("SECURITY.md does not say %q, which was measured", command)
		}
	}
	if !strings.Contains(string(page), table.String()) {
		t.Errorf("SECURITY.md does not have this table, which was measured:\n%s", table.String())
	}
}

// refused reports whether etcd said that the user may not.
func refused(err error) bool {
	return slices.ContainsFunc([]error{rpctypes.ErrPermissionDenied, rpctypes.ErrGRPCPermissionDenied}, func(denied error) bool {
		return errors.Is(err, denied) || err != nil && rpctypes.ErrorDesc(err) == rpctypes.ErrorDesc(denied)
	})
}

// calm takes back what would spoil the next act.
func (h *heist) calm() {
	h.Helper()
	ctx := context.WithoutCancel(h.Context())
	if _, err := h.root.AlarmDisarm(ctx, &clientv3.AlarmMember{}); err != nil {
		h.Error(err)
	}
	members, err := h.root.MemberList(ctx)
	if err != nil {
		h.Fatal(err)
	}
	for _, m := range members.Members {
		if m.GetIsLearner() {
			if _, err := h.root.MemberRemove(ctx, m.GetID()); err != nil {
				h.Error(err)
			}
		}
	}
}
