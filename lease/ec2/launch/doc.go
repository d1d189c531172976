// Package launch creates EC2 instances that have leases, and loses none of them: a launcher can be killed at any time, and its
// launch can still be found by its token, and what it created is leased or terminated.
//
// Read it in this order:
//
//   - request.go: [Request], what to launch; skeleton.go, timestamp.go and userdata.go: the JSON form of
//     it, its times and its user-data.
//   - freeze.go: resolves once what AWS would resolve again at every call; interfaces.go: what the call creates; ours.go and
//     tags.go: what this version decides of the call, its tags above all, frozen with it.
//   - launcher.go: [Launcher], and what it needs from EC2 ([Cloud]) and from the registry ([Store]). The steps of one launch
//     follow: preflight.go, run.go, send.go, outcome.go, bind.go.
//   - event.go: the events of a launch; refusal.go: why it may end without instances.
//   - plan.go: [Launcher.DryRun], the first steps without the rest; sample.go: [Sample], for a rehearsal.
package launch
