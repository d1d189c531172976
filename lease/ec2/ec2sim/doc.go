// Package ec2sim is EC2 and IMDS over HTTP, with faults to inject: for tests,
// the demo and benchmarks. Clients cannot tell it from the real thing within
// the actions it knows; the SDK for Go and the AWS CLI both work against it.
//
//   - [Sim], made by [New], answers EC2's query protocol (2016-11-15), STS
//     GetCallerIdentity and SSM GetParameter on one endpoint for all regions.
//   - [Config] sets what lasts: how long states take, EC2's token buckets, how
//     old reads are, short pages, and a clock that may run fast ([Fast]).
//   - [Fault] and [Sim.Inject] make calls fail before or after the deed;
//     [Sim.Outage] takes a zone away, [Sim.LetTag] is the caller's policy for
//     tags.
//   - [Accounts] puts several of them behind one endpoint, by access key.
//   - [Sim.Create], [Sim.SetState], [Sim.Protect], [Sim.SetCapacity],
//     [Sim.SetOffered], [Sim.SetStaleFor] and [Sim.AddTemplateVersion] change
//     its world behind the API's back; [Sim.Instances], [Sim.Volumes],
//     [Sim.Interfaces], [Sim.SpotRequests], [Sim.KeyPairs] and [Sim.Calls] look at it.
//   - [IMDS] and [Sim.IMDS] serve IMDSv2 for one instance, truly or by a
//     [Metadata.Script].
//   - [Serve] puts any of these handlers on a loopback port.
//
// A request travels: http.go (who asks what, where) → fault.go (before) →
// buckets.go (not too fast) → actions.go (the deed, one at a time) → fault.go
// (after) → wire.go (the answer). Time passes only when something is read:
// state.go moves what is due, stale.go keeps what was.
//
// Nothing here is authenticated: the region and the key are believed, the
// signature is not looked at. Serve it on loopback only.
//
// Error codes and rules are those of
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html
// and of the pages named beside each action.
package ec2sim
