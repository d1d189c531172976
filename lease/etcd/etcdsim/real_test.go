package etcdsim_test

import (
	"os"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"lapse/lease/etcd"
	"lapse/lease/etcd/embedded"
)

// shortDir is a directory whose path leaves room for a socket's name.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "l") //nolint:usetesting // t.TempDir is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// start runs a real etcd in a directory until the test ends, or it is closed before.
func start(t *testing.T, dir string) *embedded.Server {
	t.Helper()
	server, err := embedded.Start(t.Context(), embedded.Config{Dir: dir, NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	return server
}

// dial connects to a real etcd until the test ends.
func dial(t *testing.T, server *embedded.Server) *clientv3.Client {
	t.Helper()
	client, err := etcd.Dial(t.Context(), etcd.Config{Endpoints: server.Endpoints()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := client.Close(); err != nil {
			t.Error(err)
		}
	})
	return client
}

// alarm raises NOSPACE in a real etcd, or ends it.
func alarm(tb interface {
	Helper()
	Fatal(args ...any)
}, client *clientv3.Client, on bool,
) {
	tb.Helper()
	ctx := client.Ctx()
	status, err := client.Get(ctx, "any", clientv3.WithCountOnly())
	if err != nil {
		tb.Fatal(err)
	}
	action := pb.AlarmRequest_DEACTIVATE
	if on {
		action = pb.AlarmRequest_ACTIVATE
	}
	request := &pb.AlarmRequest{Action: action, MemberID: status.Header.MemberId, Alarm: pb.AlarmType_NOSPACE}
	if _, err := pb.NewMaintenanceClient(client.ActiveConnection()).Alarm(ctx, request); err != nil {
		tb.Fatal(err)
	}
}
