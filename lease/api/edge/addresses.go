package edge

import (
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// addresses are how often addresses have connected and asked, and where proved callers are at home.
type addresses struct {
	connections, requests Rate
	last                  time.Duration // how long an address is at home
	crowd                 func(netip.Prefix) int

	mu    sync.Mutex
	known *recent[netip.Prefix, address]
}

type address struct {
	connections, requests *rate.Limiter
	proved                time.Time // a caller here is, until then
}

func newAddresses(c Config) *addresses {
	return &addresses{
		connections: c.Limits.ConnectionRate, requests: c.Limits.UnprovedRate, last: c.Timeouts.Vouched, crowd: c.crowd,
		known: newRecent[netip.Prefix, address](c.Limits.Addresses),
	}
}

// connect says whether an address may connect once more, and whether a proved caller has called from it lately.
func (a *addresses) connect(from netip.Prefix, now time.Time) (ok, familiar bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	known := a.of(from)
	return known.connections.AllowN(now, 1), now.Before(known.proved)
}

// ask is the rate of requests of unproved callers at an address.
func (a *addresses) ask(from netip.Prefix) *rate.Limiter {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.of(from).requests
}

// vouch says that a proved caller calls from an address.
func (a *addresses) vouch(from netip.Prefix, now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.of(from).proved = now.Add(a.last)
}

func (a *addresses) of(from netip.Prefix) *address {
	if known := a.known.get(from); known != nil {
		return known
	}
	crowd := a.crowd(from)
	return a.known.add(from, address{connections: a.connections.limiter(crowd), requests: a.requests.limiter(crowd)})
}

// group is what counts as one address: of IPv6, one subnet, since an instance can have all of its addresses.
func group(addr netip.Addr) netip.Prefix {
	bits := 32
	if addr.Is6() {
		bits = 64
	}
	p, _ := addr.Prefix(bits) // no error: the bits fit; none of no address
	return p
}
