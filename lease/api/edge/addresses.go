package edge

import (
	"net/netip"
	"sync"

	"golang.org/x/time/rate"
)

// addresses are how often addresses have connected and asked.
type addresses struct {
	connections, requests Rate

	mu    sync.Mutex
	known *recent[netip.Prefix, address]
}

type address struct{ connections, requests *rate.Limiter }

func newAddresses(l Limits) *addresses {
	return &addresses{connections: l.ConnectionRate, requests: l.UnprovedRate, known: newRecent[netip.Prefix, address](l.Addresses)}
}

func (a *addresses) of(group netip.Prefix) address {
	a.mu.Lock()
	defer a.mu.Unlock()
	if known := a.known.get(group); known != nil {
		return *known
	}
	return *a.known.add(group, address{a.connections.limiter(), a.requests.limiter()})
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
