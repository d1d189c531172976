package etcd_test

import (
	"context"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"lapse/lease/dnstest"
	"lapse/lease/etcd"
)

// forward passes TCP on to the etcd of the tests. It ends with all its connections.
func forward(t *testing.T, address string) (port string, end func()) {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var passing sync.WaitGroup
	passing.Go(func() {
		for {
			from, err := listener.Accept()
			if err != nil {
				return
			}
			to, err := new(net.Dialer).DialContext(ctx, "unix", strings.TrimPrefix(server.Endpoints()[0], "unix://"))
			if err != nil {
				_ = from.Close()
				continue
			}
			context.AfterFunc(ctx, func() { _, _ = from.Close(), to.Close() })
			passing.Go(func() { _, _ = io.Copy(to, from) })
			passing.Go(func() { _, _ = io.Copy(from, to) })
		}
	})
	end = func() {
		_ = listener.Close()
		cancel()
		passing.Wait()
	}
	t.Cleanup(end)
	_, port, _ = net.SplitHostPort(listener.Addr().String())
	return port, end
}

// dns answers the look-ups of this process, once a test has set it.
var dns atomic.Pointer[dnstest.Server]

// resolver stands in for the process's own, which gRPC asks.
func resolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		if server := dns.Load(); server != nil {
			return server.Resolver().Dial(ctx, network, address)
		}
		return new(net.Dialer).DialContext(ctx, network, address)
	}}
}

func TestAnEtcdThatMovesIsFoundAgain(t *testing.T) {
	t.Parallel()
	names := dnstest.New(t)
	dns.Store(names)
	port, end := forward(t, "127.0.0.2:0")
	names.Host("etcd.example", "127.0.0.2")
	client, err := etcd.Dial(t.Context(), etcd.Config{Endpoints: []string{"etcd.example:" + port}})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := client.Get(t.Context(), "/"); err != nil {
		t.Fatal(err)
	}
	end()
	forward(t, "127.0.0.3:"+port)
	names.Host("etcd.example", "127.0.0.3")
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, err := client.Get(ctx, "/"); err != nil {
		t.Errorf("after it moved: %v", err)
	}
}
