package metrics

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"
)

// counting is a listener that counts the connections that are open, and remembers the most.
type counting struct {
	net.Listener
	open, most atomic.Int64
}

func (l *counting) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err == nil {
		l.most.Store(max(l.most.Load(), l.open.Add(1)))
	}
	return &counted{Conn: conn, open: &l.open}, err
}

type counted struct {
	net.Conn
	open *atomic.Int64
	gone atomic.Bool
}

func (c *counted) Close() error {
	if !c.gone.Swap(true) {
		c.open.Add(-1)
	}
	return c.Conn.Close()
}

// TestAFloodOfConnectionsIsBounded asks for health behind more idle connections than are accepted: those are dropped
// soon.
func TestAFloodOfConnectionsIsBounded(t *testing.T) {
	t.Parallel()
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listener := &counting{Listener: tcp}
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- New("v1", time.Now).Serve(ctx, listener, slog.New(slog.DiscardHandler)) }()
	var lost []net.Conn
	for range connsMax + 50 {
		conn, err := net.Dial("tcp", tcp.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		lost = append(lost, conn)
	}
	client := http.Client{Timeout: 2 * headerMax}
	resp, err := client.Get("http://" + tcp.Addr().String() + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if most := listener.most.Load(); most > connsMax {
		t.Errorf("%d connections were open at once", most)
	}
	for _, conn := range lost {
		_ = conn.Close()
	}
	stop()
	if err := <-served; err != nil {
		t.Error(err)
	}
}
