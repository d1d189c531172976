//go:build chaos

package chaos

import (
	"bytes"
	"net"
	"sync"
	"testing"
	"time"
)

// trouble is what a link does to what goes over it.
type trouble struct {
	cut      bool          // connections end, and new ones end at once
	holdUp   bool          // half-open: what the client says is kept back, and goes on when this is over
	holdDown bool          // the same for what the server says
	delay    time.Duration // of everything, both ways
}

func (a trouble) and(b trouble) trouble {
	return trouble{a.cut || b.cut, a.holdUp || b.holdUp, a.holdDown || b.holdDown, max(a.delay, b.delay)}
}

// link is a TCP proxy before one address. Trouble can be made for all connections or for those of one source.
type link struct {
	listener net.Listener
	target   string
	source   func(first []byte) string // who connects, by the first bytes that it says; nil: nobody cares

	mu      sync.Mutex
	changed *sync.Cond
	closed  bool
	all     trouble
	of      map[string]trouble // by source
	ends    map[*pipe]bool
}

// pipe is one connection through a link.
type pipe struct {
	link           *link
	source         string
	client, server net.Conn
}

// newLink listens on a free port of the loopback interface.
func newLink(t *testing.T, target string, source func([]byte) string) *link {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &link{listener: listener, target: target, source: source, of: map[string]trouble{}, ends: map[*pipe]bool{}}
	l.changed = sync.NewCond(&l.mu)
	go l.accept()
	t.Cleanup(func() {
		_ = listener.Close()
		l.mu.Lock()
		l.closed, l.all = true, trouble{cut: true}
		l.mu.Unlock()
		l.apply()
	})
	return l
}

func (l *link) address() string { return l.listener.Addr().String() }

// set makes trouble for one source, or for all if it is empty. The zero trouble heals.
func (l *link) set(source string, t trouble) {
	l.mu.Lock()
	if source == "" {
		l.all = t
	} else {
		l.of[source] = t
	}
	l.mu.Unlock()
	l.apply()
}

// apply ends what is cut, and wakes what was kept back.
func (l *link) apply() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.changed.Broadcast()
	for p := range l.ends {
		if l.of[p.source].and(l.all).cut {
			p.close()
		}
	}
}

func (l *link) accept() {
	for {
		client, err := l.listener.Accept()
		if err != nil {
			return
		}
		go l.serve(client)
	}
}

func (l *link) serve(client net.Conn) {
	p := &pipe{link: l, client: client}
	defer p.close()
	var first []byte
	if l.source != nil {
		buf := make([]byte, 4096)
		for !bytes.Contains(first, []byte("\r\n\r\n")) && len(first) < cap(buf) {
			n, err := client.Read(buf[len(first):])
			if err != nil {
				return
			}
			first = buf[:len(first)+n]
		}
		p.source = l.source(first)
	}
	if p.trouble().cut {
		return
	}
	server, err := net.DialTimeout("tcp", l.target, 5*time.Second)
	if err != nil {
		return
	}
	p.server = server
	l.mu.Lock()
	l.ends[p] = true
	l.mu.Unlock()
	l.apply()
	defer func() {
		l.mu.Lock()
		delete(l.ends, p)
		l.mu.Unlock()
	}()
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.pump(server, client, func(t trouble) bool { return t.holdDown }, nil)
	}()
	p.pump(client, server, func(t trouble) bool { return t.holdUp }, first)
	<-done
}

func (p *pipe) trouble() trouble {
	p.link.mu.Lock()
	defer p.link.mu.Unlock()
	return p.link.of[p.source].and(p.link.all)
}

// close resets both ends, as a network does that forgot the connection.
func (p *pipe) close() {
	for _, c := range []net.Conn{p.client, p.server} {
		if tcp, ok := c.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
			_ = tcp.Close()
		}
	}
}

// chunk is some bytes, and when they are due at the other end.
type chunk struct {
	data []byte
	due  time.Time
}

// pump carries bytes one way until either end closes, and then closes both.
func (p *pipe) pump(from, to net.Conn, held func(trouble) bool, first []byte) {
	queue := make(chan chunk, 64)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer p.close()
		for c := range queue {
			time.Sleep(time.Until(c.due))
			if !p.release(held) {
				continue
			}
			if _, err := to.Write(c.data); err != nil {
				return
			}
		}
	}()
	defer func() {
		close(queue)
		<-done
	}()
	if len(first) > 0 {
		queue <- chunk{data: bytes.Clone(first)}
	}
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			select {
			case queue <- chunk{bytes.Clone(buf[:n]), time.Now().Add(p.trouble().delay)}:
			case <-done:
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// release waits until the bytes may go on, and reports whether they may.
func (p *pipe) release(held func(trouble) bool) bool {
	l := p.link
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		switch now := l.of[p.source].and(l.all); {
		case now.cut || l.closed:
			return false
		case !held(now):
			return true
		}
		l.changed.Wait()
	}
}
