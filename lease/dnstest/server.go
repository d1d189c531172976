// Package dnstest is a DNS server for tests: its records change while it serves, over UDP on the loopback address.
package dnstest

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// SRV is one record of a service.
type SRV struct {
	Priority, Weight, Port uint16
	Target                 string
}

// Server answers for the names that it was given, and says of others that they do not exist.
type Server struct {
	conn net.PacketConn

	mu        sync.Mutex
	mute      bool
	questions int
	hosts     map[string][]netip.Addr
	services  map[string][]SRV
}

// New serves until the test ends.
func New(tb testing.TB) *Server {
	tb.Helper()
	conn, err := new(net.ListenConfig).ListenPacket(tb.Context(), "udp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	s := &Server{conn: conn, hosts: map[string][]netip.Addr{}, services: map[string][]SRV{}}
	var serving sync.WaitGroup
	serving.Go(s.serve)
	tb.Cleanup(func() {
		_ = conn.Close()
		serving.Wait()
	})
	return s
}

// Resolver asks this server alone.
func (s *Server) Resolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", s.conn.LocalAddr().String())
	}}
}

// Host gives a name these addresses, in place of those that it had.
func (s *Server) Host(name string, addresses ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hosts[name] = nil
	for _, address := range addresses {
		s.hosts[name] = append(s.hosts[name], netip.MustParseAddr(address))
	}
}

// Service gives a name, such as _lapse._tcp.example.com, these records in place of those that it had.
func (s *Server) Service(name string, records ...SRV) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.services[name] = records
}

// Mute lets the server give no answers, or give them again.
func (s *Server) Mute(mute bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mute = mute
}

// Questions is how many were asked.
func (s *Server) Questions() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.questions
}

func (s *Server) serve() {
	packet := make([]byte, 4096)
	for {
		n, from, err := s.conn.ReadFrom(packet)
		if err != nil {
			return
		}
		var asked dnsmessage.Message
		if asked.Unpack(packet[:n]) != nil || len(asked.Questions) != 1 {
			continue
		}
		answer, ok := s.answer(asked)
		if !ok {
			continue
		}
		if text, err := answer.Pack(); err == nil {
			_, _ = s.conn.WriteTo(text, from)
		}
	}
}

// answer is that to a question; false if there is to be none.
func (s *Server) answer(asked dnsmessage.Message) (dnsmessage.Message, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.questions++
	q := asked.Questions[0]
	name := strings.TrimSuffix(q.Name.String(), ".")
	answer := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: asked.ID, Response: true, Authoritative: true, RecursionAvailable: true},
		Questions: asked.Questions,
	}
	addresses, services := s.hosts[name], s.services[name]
	if addresses == nil && services == nil {
		answer.RCode = dnsmessage.RCodeNameError
	}
	header := dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 1}
	for _, address := range addresses {
		switch {
		case q.Type == dnsmessage.TypeA && address.Is4():
			answer.Answers = append(answer.Answers, dnsmessage.Resource{Header: header, Body: &dnsmessage.AResource{A: address.As4()}})
		case q.Type == dnsmessage.TypeAAAA && address.Is6():
			answer.Answers = append(answer.Answers, dnsmessage.Resource{Header: header, Body: &dnsmessage.AAAAResource{AAAA: address.As16()}})
		}
	}
	for _, r := range services {
		if target, err := dnsmessage.NewName(strings.TrimSuffix(r.Target, ".") + "."); err == nil && q.Type == dnsmessage.TypeSRV {
			body := &dnsmessage.SRVResource{Priority: r.Priority, Weight: r.Weight, Port: r.Port, Target: target}
			answer.Answers = append(answer.Answers, dnsmessage.Resource{Header: header, Body: body})
		}
	}
	return answer, !s.mute
}
