//go:build bench

package bench

import (
	"context"
	"io"
	"net"
	"sync/atomic"

	"github.com/pires/go-proxyproto"
)

// balancer passes TCP on to replicas by turns. One that refuses a connection is passed over.
type balancer struct {
	replicas []string
	proxy    bool // say in a PROXY header who calls
	turn     atomic.Int64
}

// newBalancer listens on loopback until ctx ends.
func newBalancer(ctx context.Context, replicas []string, proxy bool) (address string, err error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	context.AfterFunc(ctx, func() { _ = listener.Close() })
	b := &balancer{replicas: replicas, proxy: proxy}
	go func() {
		for {
			from, err := listener.Accept()
			if err != nil {
				return
			}
			go b.pass(ctx, from.(*net.TCPConn))
		}
	}()
	return listener.Addr().String(), nil
}

func (b *balancer) pass(ctx context.Context, from *net.TCPConn) {
	defer from.Close()
	_ = from.SetLinger(0) // leave no port behind in TIME_WAIT: there are more connections than ports
	first := int(b.turn.Add(1))
	for n := range b.replicas {
		to, err := new(net.Dialer).DialContext(ctx, "tcp", b.replicas[(first+n)%len(b.replicas)])
		if err != nil {
			continue
		}
		defer to.Close()
		if b.proxy {
			if _, err := proxyproto.HeaderProxyFromAddrs(2, from.RemoteAddr(), to.RemoteAddr()).WriteTo(to); err != nil {
				return
			}
		}
		go func() {
			_, _ = io.Copy(to, from)
			_ = to.Close()
		}()
		_, _ = io.Copy(from, to)
		return
	}
}
