package edge

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"math/big"
	"net"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// scripted is a connection on which this has come, and then nothing, until it is closed.
type scripted struct {
	net.Conn
	come   []byte
	step   int // bytes of a read; 0: all that fit
	wrote  func([]byte)
	closed chan struct{}
}

func (s *scripted) Read(b []byte) (int, error) {
	if len(s.come) == 0 {
		<-s.closed
		return 0, net.ErrClosed
	}
	if s.step > 0 {
		b = b[:s.step]
	}
	n := copy(b, s.come)
	s.come = s.come[n:]
	return n, nil
}

func (s *scripted) Write(b []byte) (int, error) {
	s.wrote(b)
	return len(b), nil
}

func (s *scripted) Close() error { return nil }

// hello is a hello of TLS 1.3 with a key for one group.
func hello(t *testing.T) (text []byte) {
	t.Helper()
	c := &scripted{wrote: func(b []byte) { text = slices.Concat(text, b) }, closed: make(chan struct{})}
	close(c.closed)
	err := tls.Client(c, &tls.Config{ServerName: "localhost", MinVersion: tls.VersionTLS13, CurvePreferences: []tls.CurveID{tls.X25519}}).HandshakeContext(t.Context())
	if !errors.Is(err, net.ErrClosed) {
		t.Fatal(err)
	}
	return text
}

// keyless takes the key out of a hello, so that the server asks for it.
func keyless(t *testing.T, hello []byte) []byte {
	t.Helper()
	b, at := slices.Clone(hello), 5+4+2+32
	at += 1 + int(b[at])
	at += 2 + int(binary.BigEndian.Uint16(b[at:]))
	at += 1 + int(b[at])
	all := at
	for at += 2; at < len(b); at += 4 + int(binary.BigEndian.Uint16(b[at+2:])) {
		if binary.BigEndian.Uint16(b[at:]) != 51 { // key_share
			continue
		}
		gone := int(binary.BigEndian.Uint16(b[at+2:])) - 2
		b = slices.Delete(b, at+6, at+6+gone)
		for _, length := range []int{3, 7, all, at + 2} { // of the record, of the message (its lower two bytes), of extensions, of this one
			binary.BigEndian.PutUint16(b[length:], binary.BigEndian.Uint16(b[length:])-uint16(gone))
		}
		binary.BigEndian.PutUint16(b[at+4:], 0)
		return b
	}
	t.Fatal("the hello has no key")
	return nil
}

// TestWhatCameInAdvanceHasNoTurn sends, with a hello that has no key, at once the one that the server will ask for.
func TestWhatCameInAdvanceHasNoTurn(t *testing.T) {
	t.Parallel()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	config := &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{cert}, PrivateKey: key}}, MinVersion: tls.VersionTLS13}
	synctest.Test(t, func(t *testing.T) {
		with := hello(t)
		second := slices.Clone(with)
		second[2] = 3 // version of the record, by then
		g, sent := newGate(Limits{Handshakes: 1}), 0
		c := &scripted{come: slices.Concat(keyless(t, with), second), closed: make(chan struct{})}
		c.wrote = func(b []byte) {
			if sent += len(b); sent == len(b) { // it asks for the key: somebody else has the turn from now on
				if err := g.enter(rankNew, time.Now(), nil); err != nil {
					t.Error(err)
				}
			}
		}
		o := &opening{Conn: c, gate: g, rank: rankNew, end: time.Now().Add(time.Hour)}
		var all sync.WaitGroup
		all.Go(func() {
			defer o.leave()
			_ = tls.Server(o, config).HandshakeContext(t.Context())
		})
		synctest.Wait()
		if sent == 0 || sent > 200 {
			t.Errorf("%d bytes are sent with no turn, want those that ask for the key", sent)
		}
		g.leave()
		synctest.Wait()
		if sent < 500 {
			t.Errorf("%d bytes are sent with a turn", sent)
		}
		close(c.closed)
		all.Wait()
		if g.free != 1 {
			t.Errorf("%d turns are free", g.free)
		}
	})
}

// TestWhoeverDribblesKeepsNobodyOut has two whose hellos come byte by byte: each asks for a turn while the other has one.
func TestWhoeverDribblesKeepsNobodyOut(t *testing.T) {
	t.Parallel()
	for _, rank := range []int{rankReturning, rankNew} {
		const enough = 100_000
		g, end := newGate(Limits{Handshakes: 1}), time.Now().Add(time.Minute)
		var reads atomic.Int32
		var all sync.WaitGroup
		begun := make(chan struct{}, 2*enough)
		for range 2 {
			all.Go(func() {
				o := &opening{Conn: &scripted{come: make([]byte, 2*enough), step: 1}, gate: g, rank: rankNew, end: end}
				defer o.leave()
				for b := make([]byte, 1); reads.Add(1) < enough; {
					if _, err := o.Read(b); err != nil {
						t.Error(err)
						return
					}
					runtime.Gosched() // in its turn
					begun <- struct{}{}
				}
			})
		}
		for range 100 {
			<-begun
		}
		before := reads.Load()
		if err := g.enter(rank, end, nil); err != nil {
			t.Fatal(err)
		}
		if n := reads.Swap(enough) - before; n > 1000 {
			t.Errorf("it gets in after %d reads of others", n)
		}
		g.leave()
		all.Wait()
	}
}
