package etcd_test

import (
	"os"
	"path/filepath"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"lapse/lease/etcd"
	"lapse/lease/etcd/embedded"
	"lapse/lease/etcd/internal/certtest"
)

// guarded is an etcd that admits clients by their certificates, whose common names are its users once it asks for them.
type guarded struct {
	*testing.T
	root *clientv3.Client
	dir  string // with a short name: the path of a socket in it has 107 bytes at most
	dial func(user string) *clientv3.Client
}

func newGuarded(t *testing.T) *guarded {
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
	g := &guarded{T: t, dir: dir}
	g.dial = func(user string) *clientv3.Client {
		t.Helper()
		ca.Issue(t, user, file(user+".pem"), file(user+".key"))
		client, err := etcd.Dial(t.Context(), etcd.Config{
			Endpoints: []string{"https://" + listen}, CACert: file("ca.pem"), Cert: file(user + ".pem"), Key: file(user + ".key"),
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = client.Close() })
		return client
	}
	g.root = g.dial(etcd.Root)
	return g
}

// must stops the test at an error.
func (g *guarded) must(_ any, err error) {
	g.Helper()
	if err != nil {
		g.Fatal(err)
	}
}

// user adds a user who may do what the role says.
func (g *guarded) user(name, role string) {
	g.Helper()
	g.must(g.root.UserAddWithOptions(g.Context(), name, "", &clientv3.UserAddOptions{NoPassword: true}))
	g.must(g.root.UserGrantRole(g.Context(), name, role))
}

// createRoles makes the roles of a namespace, as `lease init --rbac` does.
func (g *guarded) createRoles(namespace string) *etcd.Store {
	g.Helper()
	store := etcd.New(g.root, namespace, etcd.Options{})
	for _, state := range store.RoleStates(g.Context()) {
		g.must(nil, store.CreateRole(g.Context(), state))
	}
	return store
}

// enable makes etcd ask who is there.
func (g *guarded) enable() {
	g.Helper()
	g.user(etcd.Root, etcd.Root)
	g.must(g.root.AuthEnable(g.Context()))
}
