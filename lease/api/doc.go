// Package api is the way of an instance to its own lease that needs neither AWS credentials nor etcd: a service in front of the
// registry, and its client. openapi.yaml describes it. A stolen instance can change its own lease and no other, and see
// the peers of its launch.
//
//   - server.go: [New], the routes, bodies and answers, over a [Store] and a [Cloud] for each location.
//   - own.go: what an enrolled instance does with its lease: renew, show, extend, release; and the peers that it sees.
//   - restraint.go: what one instance may have written, read and believed, at most.
//   - enrol.go: what makes a key that of an instance. prove.go: what the proof must say. describe.go: what EC2 says
//     of those who enrol, within a share of its limits.
//   - client.go: [Client], for the sidecar; answer.go: what the answers, or none, mean; key.go: its key.
//
// Package edge is its front, package identity verifies identity documents, package wire is generated.
package api
