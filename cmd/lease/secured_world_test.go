package main

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
	clientv3 "go.etcd.io/etcd/client/v3"

	"lapse/cmd/internal/authority"
	"lapse/lease/etcd"
	"lapse/lease/etcd/embedded"
)

// secure NAME…: from here on, programs and commands use an etcd that admits clients by certificates. The certificate of
// each common name is NAME.pem, with NAME.key; the commands use that of root.
func secureEtcd(w *world, ts *testscript.TestScript, names []string) error {
	file := ts.MkAbs
	ca, err := authority.New(file("ca.pem"))
	if err != nil {
		return err
	}
	for _, name := range append([]string{"etcd", etcd.Root}, names...) {
		if err := ca.Issue(name, file(name+".pem"), file(name+".key")); err != nil {
			return err
		}
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	listen := free.Addr().String()
	if err := free.Close(); err != nil {
		return err
	}
	w.server, err = embedded.Start(w.ctx, embedded.Config{
		Dir: filepath.Join(ts.Getenv("DIR"), "s"), Listen: listen, CertFile: file("etcd.pem"), KeyFile: file("etcd.key"), ClientCAFile: file("ca.pem"), NoSync: true,
	})
	if err != nil {
		return err
	}
	ts.Defer(func() { _ = w.server.Close() })
	client, err := etcd.Dial(w.ctx, etcd.Config{
		Endpoints: []string{"https://" + listen}, CACert: file("ca.pem"), Cert: file(etcd.Root + ".pem"), Key: file(etcd.Root + ".key"),
	})
	if err != nil {
		return err
	}
	ts.Defer(func() { _ = client.Close() })
	w.client, w.store = client, etcd.New(client, "default", etcd.Options{})
	ts.Setenv("SOCKET", w.server.Endpoints()[0])
	ts.Setenv("LAPSE_ETCD_ENDPOINTS", "https://"+listen)
	ts.Setenv("LAPSE_ETCD_CACERT", file("ca.pem"))
	return nil
}

// as NAME: programs have the certificate of that common name from here on.
func asUser(_ *world, ts *testscript.TestScript, args []string) error {
	ts.Setenv("LAPSE_ETCD_CERT", ts.MkAbs(args[0]+".pem"))
	ts.Setenv("LAPSE_ETCD_KEY", ts.MkAbs(args[0]+".key"))
	return nil
}

// printed-etcdctl: runs each line of stderr that is a command of etcdctl, of which there must be some.
func runPrinted(w *world, ts *testscript.TestScript, _ []string) error {
	ran := 0
	for line := range strings.Lines(ts.ReadFile("stderr")) {
		if command, is := strings.CutPrefix(strings.TrimSpace(line), "etcdctl "); is {
			if err := etcdctl(w, ts, strings.Fields(command)); err != nil {
				return fmt.Errorf("%s: %w", line, err)
			}
			ran++
		}
	}
	if ran == 0 {
		return errors.New("no command was printed")
	}
	return nil
}

// etcdctl ARGUMENT…: does what etcdctl does about users and roles, as root.
func etcdctl(w *world, _ *testscript.TestScript, args []string) error {
	auth, is := w.client.(clientv3.Auth)
	if !is {
		return errors.New("the client has no users")
	}
	var err error
	command := strings.Join(args[:2], " ")
	switch rest := args[2:]; {
	case command == "auth enable" && len(rest) == 0:
		_, err = auth.AuthEnable(w.ctx)
	case command == "user add" && len(rest) == 2 && rest[1] == "--no-password":
		_, err = auth.UserAddWithOptions(w.ctx, rest[0], "", &clientv3.UserAddOptions{NoPassword: true})
	case command == "user grant-role" && len(rest) == 2:
		_, err = auth.UserGrantRole(w.ctx, rest[0], rest[1])
	case command == "role revoke-permission" && len(rest) == 2:
		_, err = auth.RoleRevokePermission(w.ctx, rest[0], rest[1], "")
	case command == "role revoke-permission" && len(rest) == 3:
		_, err = auth.RoleRevokePermission(w.ctx, rest[0], rest[1], rest[2])
	case command == "role grant-permission" && len(rest) == 4 && rest[1] == "readwrite":
		_, err = auth.RoleGrantPermission(w.ctx, rest[0], rest[2], rest[3], clientv3.PermissionType(clientv3.PermReadWrite))
	default:
		return fmt.Errorf("etcdctl has no command %q", args)
	}
	return err
}
