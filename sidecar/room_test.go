package sidecar

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// fill takes all the room that a user gets.
func fill(r *room, uid int64) (leaves []func()) {
	for {
		leave, ok := r.enter(uid)
		if !ok {
			return leaves
		}
		leaves = append(leaves, leave)
	}
}

func TestAUserGetsHalfOfTheFreeConnections(t *testing.T) {
	t.Parallel()
	r := newRoom()
	for uid, want := range map[int64]int{0: rootRoom, 65534: sharedRoom / 2} {
		if got := len(fill(r, uid)); got != want {
			t.Errorf("user %d gets %d, want %d", uid, got, want)
		}
	}
	for uid, want := range []int{16, 8, 4, 2, 1, 1, 0} {
		if got := len(fill(r, int64(1000+uid))); got != want {
			t.Errorf("user %d after the others gets %d, want %d", 1000+uid, got, want)
		}
	}
}

func TestManyUsersLeaveConnectionsForRoot(t *testing.T) {
	t.Parallel()
	r := newRoom()
	for uid := range int64(1000) {
		fill(r, 100000+uid)
	}
	fill(r, -1) // whom the kernel does not name
	if r.free != 0 {
		t.Fatalf("%d are free", r.free)
	}
	if got := len(fill(r, 0)); got != rootRoom {
		t.Errorf("root gets %d, want %d", got, rootRoom)
	}
}

func TestAConnectionIsReturnedOnce(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		r := newRoom()
		var leaves []func()
		for range rapid.IntRange(0, 300).Draw(t, "steps") {
			if len(leaves) > 0 && rapid.Bool().Draw(t, "leave") {
				rapid.SampledFrom(leaves).Draw(t, "who")() // some for a second time
				continue
			}
			if leave, ok := r.enter(rapid.Int64Range(-1, 4).Draw(t, "uid")); ok {
				leaves = append(leaves, leave)
			}
			if r.free < 0 || r.root > rootRoom {
				t.Fatalf("%d free, %d of root", r.free, r.root)
			}
		}
		for _, leave := range leaves {
			leave()
		}
		if r.free != sharedRoom || r.root != 0 || len(r.held) != 0 {
			t.Fatalf("at last %d are free, root holds %d, others %v", r.free, r.root, r.held)
		}
	})
}

func TestConnectionsBeyondTheLimitAreClosed(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("only root can connect as somebody else")
	}
	l, err := listen(t.Context(), socketPath(t))
	if err != nil {
		t.Fatal(err)
	}
	accepted := make(chan net.Conn)
	go func() {
		defer close(accepted)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			accepted <- conn
		}
	}()
	dial := func(uid uint32) net.Conn {
		conn := dialAs(t, l.Addr().String(), uid)
		t.Cleanup(func() { _ = conn.Close() })
		return conn
	}
	var held []net.Conn
	for range sharedRoom / 2 {
		dial(65534)
		held = append(held, <-accepted)
	}
	if _, err := dial(65534).Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("one too many: %v, want it closed", err)
	}
	for _, uid := range []uint32{0, 1000} {
		dial(uid)
		<-accepted
	}
	_ = held[0].Close()
	_ = held[0].Close() // gives room for one back, not for two
	_ = held[1].Close()
	dial(65534)
	<-accepted
	_ = l.Close()
	<-accepted
}

func TestIdleConnectionsAreClosed(t *testing.T) {
	t.Parallel()
	_, path, _ := serving(t, &registry{}, nil)
	for name, said := range map[string]string{
		"silent": "", "half a request": "GET /v1/status HTTP/1.1\r\nHost: s\r\n",
		"half a body": "POST /v1/extend HTTP/1.1\r\nHost: s\r\nContent-Length: 100\r\n\r\n{",
		"an answer":   "GET /v1/status HTTP/1.1\r\nHost: s\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn, err := new(net.Dialer).DialContext(t.Context(), "unix", path)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := io.WriteString(conn, said); err != nil {
				t.Fatal(err)
			}
			if err := conn.SetReadDeadline(time.Now().Add(2 * requestMax)); err != nil {
				t.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, conn); err != nil {
				t.Errorf("not closed: %v", err)
			}
		})
	}
}
