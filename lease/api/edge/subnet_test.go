package edge_test

import (
	"net/http"
	"testing"

	"lapse/lease/api/edge"
)

// TestNobodyUsesUpTheLimitsOfAnotherInItsSubnet has a hostile caller in the IPv6 subnet of one whose key is proved: in EC2, all instances
// of a subnet share one.
func TestNobodyUsesUpTheLimitsOfAnotherInItsSubnet(t *testing.T) {
	t.Parallel()
	const few = 5
	rare := edge.Rate{PerSecond: 1e-9, Burst: few}
	r := start(t, func(c *edge.Config) {
		behindProxies(c)
		c.Limits.ConnectionRate, c.Limits.UnprovedRate, c.Limits.ConnectionsPerAddress = rare, rare, few
	})
	good := header(t, "[2001:db8::5]:1234", nil)
	neighbour := r.proved(proxy, good...)
	for range 2 * few {
		hostile := r.caller(proxy, header(t, "[2001:db8::6]:1234", nil)...)
		if _, _, err := hostile.do(http.MethodGet, "/", "", nil); err != nil {
			break
		}
	}
	if r.counts.of(edge.KindConnectionRate) == 0 {
		t.Errorf("the hostile caller may go on: %s", r.counts)
	}
	neighbour.http.CloseIdleConnections()
	if status, _ := neighbour.get("/"); status != http.StatusOK {
		t.Errorf("its neighbour is answered %d on its next connection", status)
	}
	if status, _ := r.caller(proxy, good...).get("/"); status != http.StatusOK {
		t.Errorf("its neighbour is answered %d for its next key", status)
	}
}

// TestOneKeyIsAtHomeAtOneAddress has a hostile instance with a key of its own, and as many IPv6 addresses as it likes: all of them count
// as its subnet, but for the last from which it called.
func TestOneKeyIsAtHomeAtOneAddress(t *testing.T) {
	t.Parallel()
	const few = 5
	r := start(t, func(c *edge.Config) {
		behindProxies(c)
		c.Limits.ConnectionRate = edge.Rate{PerSecond: 1e-9, Burst: few}
	})
	first := header(t, "[2001:db8::5]:1234", nil)
	hostile := r.proved(proxy, first...)
	hostile.http.CloseIdleConnections()
	hostile.before = header(t, "[2001:db8::6]:1234", nil)
	if status, _ := hostile.get("/"); status != http.StatusOK {
		t.Fatalf("at its second address: %d", status)
	}
	for range 2 * few { // at the first again: it counts as the subnet
		if _, _, err := r.caller(proxy, first...).do(http.MethodGet, "/", "", nil); err != nil {
			break
		}
	}
	if _, _, err := r.caller(proxy, header(t, "[2001:db8::7]:1234", nil)...).do(http.MethodGet, "/", "", nil); err == nil {
		t.Errorf("the subnet has more connections than its limit: %s", r.counts)
	}
}
