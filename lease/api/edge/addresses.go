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

// connect says whether somebody at an address may connect once more, as what its connections count, and whether a proved caller has
// called from that very address lately.
func (a *addresses) connect(at netip.Addr, now time.Time) (ok bool, from netip.Prefix, familiar bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	from, familiar = a.from(at, now)
	return a.of(from).connections.AllowN(now, 1), from, familiar
}

// ask is the rate of requests of unproved callers at an address.
func (a *addresses) ask(at netip.Addr, now time.Time) *rate.Limiter {
	a.mu.Lock()
	defer a.mu.Unlock()
	from, _ := a.from(at, now)
	return a.of(from).requests
}

// vouch says that a proved caller calls from an address, and before from another or none. Of a subnet's addresses it is at home at one
// alone: it may have all of them, and each would have limits of its own.
func (a *addresses) vouch(at, before netip.Addr, now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if before.Is6() && before != at {
		a.known.remove(whole(before))
	}
	a.of(whole(at)).proved = now.Add(a.last)
}

// from is as what an address counts. Where a proved caller is at home it counts by itself, so that no other of its subnet uses up
// its limits.
func (a *addresses) from(at netip.Addr, now time.Time) (from netip.Prefix, familiar bool) {
	if known := a.known.get(whole(at)); known != nil && now.Before(known.proved) {
		return whole(at), true
	}
	return group(at), false
}

func (a *addresses) of(from netip.Prefix) *address {
	if known := a.known.get(from); known != nil {
		return known
	}
	crowd := a.crowd(from)
	return a.known.add(from, address{connections: a.connections.limiter(crowd), requests: a.requests.limiter(crowd)})
}

// group is what counts as one address: of IPv6, one subnet, since a host can have all of its addresses.
func group(addr netip.Addr) netip.Prefix {
	if addr.Is6() {
		p, _ := addr.Prefix(64) // no error: the bits fit
		return p
	}
	return whole(addr)
}

// whole is one address and no other.
func whole(addr netip.Addr) netip.Prefix { return netip.PrefixFrom(addr, addr.BitLen()) }
