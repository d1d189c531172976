// Package edge is the front of the instance API: HTTPS for tens of thousands of instances, of which some may be hostile. It knows
// no lease. It says who calls, by key and by address, keeps callers from keeping others out, and leaves every answer to the
// [http.Handler] that it is given.
//
//   - config.go: [Config], its [Limits] and [Timeouts], and what they are unless set.
//   - server.go: [New] and [Server.Serve]: accept, hand over, and the orderly end.
//   - open.go: from a TCP connection to a caller with a key: address, TLS 1.3, certificate.
//   - proxy.go: the PROXY header, from listed proxies alone.
//   - key.go: the caller's key, which is all that counts of its certificate.
//   - certificate.go: the server's own certificate, read again when it changes.
//   - conn.go: one connection, as net/http sees it.
//   - table.go: all connections, and which of them is closed when there are too many.
//   - admit.go: from a request to the handler: rates, body, concurrent requests.
//   - caller.go: what the handler asks and says: [CallerOf], [Vouch], [Disown].
//   - proved.go, addresses.go, slots.go, recent.go: the keys vouched for, the rates of addresses, requests at once; bounded all.
//   - refuse.go: [Kind], [Refusal], [Counters], and the sampled log.
//
// A caller is *proved* once the handler has vouched for its key, and *unproved* until then. Unproved callers share a part of the
// connections and of the concurrent requests. The rest is for proved ones, each of which may have a few.
//
// A connection that waits (for its handshake, its next request, or the rest of one) can be closed to make room, if it has
// waited for [Timeouts.Patience]: of unproved callers first, the longest wait first. So whoever is quick gets in, also when
// somebody holds everything that can be held.
//
// From an address where a proved caller has called lately, a few connections at a time make their handshake beyond the share of
// unproved callers: whoever returns need not win a seat in a crowd. Callers that share their address with hostile ones (NAT, or a
// balancer that is not listed) share its limits with them until their key is known.
//
// The handler sees a request when all of its body is there: a slow body holds a connection, which can be closed, and nothing of the handler.
package edge
