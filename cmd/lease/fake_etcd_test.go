package main

import (
	"context"
	"net"
	"os"
	"path/filepath"

	"github.com/rogpeppe/go-internal/testscript"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
)

// fakeEtcd passes calls on to a real etcd, and lies about some things.
type fakeEtcd struct {
	pb.UnimplementedMaintenanceServer
	pb.UnimplementedKVServer

	kv          pb.KVClient
	maintenance pb.MaintenanceClient
	version     string // empty: the real one
	loses       bool   // the answers to writes get lost, after the deed
}

// fake-etcd version=V|loses=answers: the program talks to etcd through a fake from here on.
func startFake(w *world, ts *testscript.TestScript, args []string) error {
	conn, err := grpc.NewClient(ts.Getenv("LAPSE_ETCD_ENDPOINTS"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	ts.Defer(func() { _ = conn.Close() })
	given := settings(args)
	fake := &fakeEtcd{
		kv: pb.NewKVClient(conn), maintenance: pb.NewMaintenanceClient(conn),
		version: given["version"], loses: given["loses"] != "",
	}
	dir, err := os.MkdirTemp("", "f") // short: a socket's path has 107 bytes at most
	if err != nil {
		return err
	}
	ts.Defer(func() { _ = os.RemoveAll(dir) })
	socket := filepath.Join(dir, "s")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	server := grpc.NewServer()
	pb.RegisterKVServer(server, fake)
	pb.RegisterMaintenanceServer(server, fake)
	go func() { _ = server.Serve(listener) }()
	ts.Defer(server.Stop)
	ts.Setenv("LAPSE_ETCD_ENDPOINTS", "unix://"+socket)
	return nil
}

func (f *fakeEtcd) Status(ctx context.Context, r *pb.StatusRequest) (*pb.StatusResponse, error) {
	resp, err := f.maintenance.Status(ctx, r)
	if err == nil && f.version != "" {
		resp.Version = f.version
	}
	return resp, err
}

func (f *fakeEtcd) Range(ctx context.Context, r *pb.RangeRequest) (*pb.RangeResponse, error) {
	return f.kv.Range(ctx, r)
}

func (f *fakeEtcd) Txn(ctx context.Context, r *pb.TxnRequest) (*pb.TxnResponse, error) {
	resp, err := f.kv.Txn(ctx, r)
	if err == nil && f.loses {
		return nil, status.Error(codes.Unavailable, "the answer got lost")
	}
	return resp, err
}
