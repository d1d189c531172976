// Package self is what an instance may do with its own lease: renew it, see it, extend it and give it back; and see who
// else of its launch renews. A sidecar that reaches etcd does all this by itself; through the API, the API does it for the instance.
// It touches no other lease, and binds none.
//
//   - service.go: [Service], over a [Store].
//   - peers.go: [Service.Peers], the others of the launch.
//   - clock.go: [Clock], for a machine whose own clock may be behind.
package self
