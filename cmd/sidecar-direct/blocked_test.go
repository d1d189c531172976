package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"lapse/cmd/internal/script"
	"lapse/lease/ec2/ec2sim"
	"lapse/lease/etcd"
	"lapse/lease/etcd/embedded"
)

// process is a sidecar in a process of its own, and its servers.
type process struct {
	*testing.T
	dir    string
	client *clientv3.Client
	cmd    *exec.Cmd
	exited chan error
}

// newProcess starts only the servers.
func newProcess(t *testing.T) *process {
	t.Helper()
	dir := script.ShortDir(t)
	server, err := embedded.Start(t.Context(), embedded.Config{Dir: dir, NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	client, err := etcd.Dial(t.Context(), etcd.Config{Endpoints: server.Endpoints()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	if err := putLease(t.Context(), etcd.New(client, "default", etcd.Options{})); err != nil {
		t.Fatal(err)
	}
	metadata, err := ec2sim.Serve(ec2sim.IMDS(ec2sim.Instance{ID: me, Region: "us-east-1", Zone: "us-east-1a"}), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = metadata.Close() })
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{T: t, dir: dir, client: client, exited: make(chan error, 1)}
	p.cmd = &exec.Cmd{Path: program, Args: []string{
		"sidecar", "run", "--log-level", "debug", "--etcd-endpoints", server.Endpoints()[0], "--imds", metadata.URL, "--socket", p.socket(),
	}}
	p.cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0")
	return p
}

func (p *process) socket() string { return filepath.Join(p.dir, "s.sock") }

func (p *process) start() {
	p.Helper()
	if err := p.cmd.Start(); err != nil {
		p.Fatal(err)
	}
	p.Cleanup(func() { _ = p.cmd.Process.Kill() })
	go func() { p.exited <- p.cmd.Wait() }()
}

// heartbeats waits for the heartbeat, deletes it, and waits until the sidecar has claimed it again: its loop runs.
func (p *process) heartbeats(when string) {
	p.Helper()
	ctx, cancel := context.WithTimeout(p.Context(), 20*time.Second)
	defer cancel()
	held := p.heartbeat(ctx, when, clientv3.NoLease)
	_, err := p.client.Revoke(ctx, held)
	for errors.Is(err, rpctypes.ErrLeaseNotFound) { // once it knows its timeout, it takes another etcd lease by itself
		held = p.heartbeat(ctx, when, clientv3.NoLease)
		_, err = p.client.Revoke(ctx, held)
	}
	if err != nil {
		p.Fatal(err)
	}
	p.heartbeat(ctx, when, held)
}

// heartbeat waits until the key is held by another etcd lease than that.
func (p *process) heartbeat(ctx context.Context, when string, than clientv3.LeaseID) clientv3.LeaseID {
	p.Helper()
	const key = "/lapse/default/heartbeats/" + me
	for tick := time.NewTicker(20 * time.Millisecond); ; {
		resp, err := p.client.Get(ctx, key)
		if err == nil && len(resp.Kvs) == 1 && clientv3.LeaseID(resp.Kvs[0].GetLease()) != than {
			return clientv3.LeaseID(resp.Kvs[0].GetLease())
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			p.Fatalf("%s: there is no heartbeat", when)
		case err := <-p.exited:
			p.Fatalf("%s: the sidecar ended: %v", when, err)
		}
	}
}

// ends asks it to stop, and requires that it stops within a time.
func (p *process) ends(within time.Duration) {
	p.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.Fatal(err)
	}
	select {
	case err := <-p.exited:
		if err != nil {
			p.Errorf("ended with %v", err)
		}
	case <-time.After(within):
		p.Error("does not end")
	}
}

func TestABlockedStderrDelaysNoHeartbeat(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	unread, stderr := script.Pipe(t)
	filled := script.Fill(t, stderr)
	p.cmd.Stderr = stderr
	p.start()
	p.heartbeats("with a full pipe from the start")
	if _, err := io.CopyN(io.Discard, unread, int64(filled)); err != nil { // somebody reads again
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(unread); lines.Scan(); {
		if strings.Contains(lines.Text(), "heartbeat lost; claiming again") {
			break // what was logged before is reported
		}
	}
	script.Fill(t, stderr)
	p.heartbeats("with a pipe that filled up while it ran")
	p.ends(10 * time.Second)
}

func TestAClosedStderrStopsNoSidecar(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	unread, stderr := script.Pipe(t)
	p.cmd.Stderr = stderr
	if err := unread.Close(); err != nil {
		t.Fatal(err)
	}
	p.start()
	p.heartbeats("with a broken pipe")
	p.heartbeats("and again")
	p.ends(10 * time.Second)
}

func TestAServiceManagerThatDoesNotReadDelaysNoHeartbeat(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	address := &net.UnixAddr{Name: filepath.Join(p.dir, "notify"), Net: "unixgram"}
	manager, err := net.ListenUnixgram("unixgram", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = manager.Close() })
	filled := fillSocket(t, address)
	p.cmd.Env = append(p.cmd.Env, "NOTIFY_SOCKET="+address.Name, "WATCHDOG_USEC=2000000")
	p.start()
	p.heartbeats("with a full socket")
	var told []string
	for ready := false; !ready; { // what was not taken is told late
		text := make([]byte, 4096)
		if err := manager.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
		n, err := manager.Read(text)
		if err != nil {
			t.Fatalf("never notified that it is ready, but %q: %v", told[min(filled, len(told)):], err)
		}
		told = append(told, string(text[:n]))
		ready = string(text[:n]) == "READY=1"
	}
	p.ends(10 * time.Second)
}

func TestLocalProgramsThatNeverReadDelayNoHeartbeat(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	p.start()
	p.heartbeats("alone")
	for range 100 {
		conn, err := new(net.Dialer).DialContext(t.Context(), "unix", p.socket())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		ask := strings.Repeat("GET /v1/status HTTP/1.1\r\nHost: sidecar\r\n\r\n", 1000)
		ask += "POST /v1/extend HTTP/1.1\r\nHost: sidecar\r\nContent-Length: 13\r\n\r\n" + `{"for":"1h1m"}`
		if err := conn.SetWriteDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(conn, ask) // until it has filled the buffers of both ends
	}
	p.heartbeats("with a hundred programs that ask and do not read")
	p.ends(10 * time.Second)
}

// fillSocket sends datagrams until no more are accepted, and returns how many were.
func fillSocket(t *testing.T, to *net.UnixAddr) (filled int) {
	t.Helper()
	conn, err := net.DialUnix("unixgram", nil, to)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for {
		if err := conn.SetWriteDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		if _, err := fmt.Fprint(conn, "X=1"); err != nil {
			if filled == 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatal(err)
			}
			return filled
		}
		filled++
	}
}
