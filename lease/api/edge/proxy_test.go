package edge_test

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/pires/go-proxyproto"

	"lapse/lease/api/edge"
)

const proxy = "127.0.0.9"

// behindProxies is a configuration that lists one.
func behindProxies(c *edge.Config) { c.ProxyFrom = prefixes("10.0.0.0/8", proxy+"/32") }

// header is a PROXY header about a caller.
func header(tb testing.TB, from string, change func(*proxyproto.Header)) []byte {
	tb.Helper()
	to := "192.0.2.1:443"
	if netip.MustParseAddrPort(from).Addr().Is6() {
		to = "[2001:db8::1]:443"
	}
	h := proxyproto.HeaderProxyFromAddrs(2, net.TCPAddrFromAddrPort(netip.MustParseAddrPort(from)), net.TCPAddrFromAddrPort(netip.MustParseAddrPort(to)))
	if change != nil {
		change(h)
	}
	text, err := h.Format()
	if err != nil {
		tb.Fatal(err)
	}
	return text
}

// raw is a PROXY header as it is written.
func raw(command, family byte, rest []byte) []byte {
	text := append(slices.Clone(proxyproto.SIGV2), command, family)
	return append(binary.BigEndian.AppendUint16(text, uint16(len(rest))), rest...)
}

// mapped is an IPv4 address inside IPv6, as a proxy that listens on both may write it.
func mapped() []byte {
	in6 := netip.MustParseAddr("::ffff:203.0.113.5").As16()
	return raw(0x21, 0x21, slices.Concat(in6[:], in6[:], []byte{1, 2, 3, 4}))
}

func TestAListedProxySaysWhoCalls(t *testing.T) {
	t.Parallel()
	vector := func(n int) func(*proxyproto.Header) {
		return func(h *proxyproto.Header) {
			if err := h.SetTLVs([]proxyproto.TLV{{Type: 0xEA, Value: make([]byte, n)}}); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, test := range map[string]struct {
		sends []byte
		want  string
	}{
		"IPv4":                     {header(t, "203.0.113.5:1234", nil), "203.0.113.5"},
		"IPv6":                     {header(t, "[2001:db8::5]:1234", nil), "2001:db8::5"},
		"IPv4 inside IPv6":         {mapped(), "203.0.113.5"},
		"with a vector":            {header(t, "203.0.113.5:1234", vector(20)), "203.0.113.5"},
		"as large as it may be":    {header(t, "203.0.113.5:1234", vector(4096-12-3)), "203.0.113.5"},
		"a call of its own":        {raw(0x20, 0, nil), proxy},
		"its own, with an address": {raw(0x20, 0x11, []byte{203, 0, 113, 5, 192, 0, 2, 1, 1, 2, 3, 4}), proxy},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := start(t, behindProxies)
			c := r.caller(proxy, test.sends...)
			for _, path := range []string{"/", "/again"} { // on one connection
				status, saw := c.get(path)
				if status != http.StatusOK || saw.Addr != test.want {
					t.Errorf("%d: %+v, want %s", status, saw, test.want)
				}
				if host, _, err := net.SplitHostPort(saw.Remote); err != nil || host != test.want {
					t.Errorf("net/http says %s, want %s", saw.Remote, test.want)
				}
			}
		})
	}
	t.Run("a byte at a time", func(t *testing.T) {
		t.Parallel()
		r := start(t, behindProxies)
		c := r.caller(proxy)
		c.before = nil
		c.http.Transport.(*http.Transport).DialTLSContext = nil
		conn, err := c.dial(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range header(t, "203.0.113.5:1234", nil) {
			if _, err := conn.Write([]byte{b}); err != nil {
				t.Fatal(err)
			}
		}
		c.http.Transport.(*http.Transport).DialTLSContext = over(c, conn)
		if status, saw := c.get("/"); status != http.StatusOK || saw.Addr != "203.0.113.5" {
			t.Errorf("%d: %+v", status, saw)
		}
	})
}

func TestPROXYHeadersThatAreRefused(t *testing.T) {
	t.Parallel()
	good := header(t, "203.0.113.5:1234", nil)
	for name, test := range map[string]struct {
		from  string
		sends []byte
		want  edge.Kind
	}{
		"missing":                      {proxy, nil, edge.KindProxyHeader},
		"version 1":                    {proxy, []byte("PROXY TCP4 203.0.113.5 192.0.2.1 1234 443\r\n"), edge.KindProxyHeader},
		"version 3":                    {proxy, raw(0x31, 0x11, make([]byte, 12)), edge.KindProxyHeader},
		"an unknown command":           {proxy, raw(0x22, 0x11, make([]byte, 12)), edge.KindProxyHeader},
		"UDP":                          {proxy, raw(0x21, 0x12, make([]byte, 12)), edge.KindProxyHeader},
		"a unix socket":                {proxy, raw(0x21, 0x31, make([]byte, 216)), edge.KindProxyHeader},
		"an unknown family":            {proxy, raw(0x21, 0x13, make([]byte, 12)), edge.KindProxyHeader},
		"no family":                    {proxy, raw(0x21, 0, nil), edge.KindProxyHeader},
		"no address":                   {proxy, raw(0x21, 0x11, make([]byte, 12)), edge.KindProxyHeader},
		"too short for its address":    {proxy, raw(0x21, 0x21, make([]byte, 35)), edge.KindProxyHeader},
		"too large":                    {proxy, raw(0x21, 0x11, make([]byte, 4097)), edge.KindProxyHeader},
		"its own, and too large":       {proxy, raw(0x20, 0, make([]byte, 4097)), edge.KindProxyHeader},
		"twice":                        {proxy, slices.Concat(good, good), edge.KindProxyHeader},
		"of a peer that is not listed": {"127.0.0.8", good, edge.KindProxyUnlisted},
		"of a peer that is not listed, version 1":          {"127.0.0.8", []byte("PROXY TCP4 203.0.113.5 192.0.2.1 1234 443\r\n"), edge.KindProxyUnlisted},
		"of a peer that is not listed, for its own health": {"127.0.0.8", raw(0x20, 0, nil), edge.KindProxyUnlisted},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := start(t, behindProxies)
			c := r.caller(test.from, test.sends...)
			if resp, text, err := c.do(http.MethodGet, "/", "", nil); err == nil {
				t.Errorf("answered %s %q", resp.Status, text)
			}
			r.await(test.want, 1)
		})
	}
	t.Run("half of one", func(t *testing.T) {
		t.Parallel()
		r := start(t, func(c *edge.Config) { behindProxies(c); c.Timeouts.Handshake = 100 * time.Millisecond })
		conn, err := r.caller(proxy, good[:20]...).dial(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		r.cut(conn)
		r.only(edge.KindHandshakeTimeout, 1)
	})
}

func TestHealthChecksOfAProxyAreNotRefusals(t *testing.T) {
	t.Parallel()
	r := start(t, behindProxies)
	for _, sends := range [][]byte{nil, raw(0x20, 0, nil)} {
		conn, err := r.caller(proxy, sends...).dial(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		r.cut(conn)
	}
	if got := r.counts.String(); got != "{}" {
		t.Error(got)
	}
}

// FuzzPROXYHeader: what is read is a header and nothing behind it, and says who calls or nothing.
func FuzzPROXYHeader(f *testing.F) {
	f.Add(header(f, "203.0.113.5:1234", nil))
	f.Add(header(f, "[2001:db8::5]:1234", nil))
	f.Add(mapped())
	f.Add(raw(0x20, 0, nil))
	f.Add(raw(0x21, 0x31, make([]byte, 216)))
	f.Add([]byte("PROXY TCP4 203.0.113.5 192.0.2.1 1234 443\r\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		r := bufio.NewReaderSize(bytes.NewReader(text), 512)
		caller, err := edge.ReadProxy(r)
		if err != nil {
			if caller.IsValid() {
				t.Errorf("%s, and %v", caller, err)
			}
			return
		}
		left, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		read := text[:len(text)-len(left)]
		if len(read) < 16 || !bytes.HasPrefix(read, proxyproto.SIGV2) || len(read) != 16+int(binary.BigEndian.Uint16(read[14:])) || len(read) > 16+4096 {
			t.Errorf("%x was read, and %x is left", read, left)
		}
		switch {
		case read[12] == 0x20 && !caller.IsValid():
		case read[12] == 0x21 && caller.IsValid() && !caller.Addr().Is4In6() && caller.Addr().Zone() == "" && !caller.Addr().IsUnspecified():
		default:
			t.Errorf("%x says %s", read, caller)
		}
	})
}
