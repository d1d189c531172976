// Package launch creates EC2 instances that have leases, and loses none of them: whenever a launcher is killed, its launch
// can be found again by its token, and what it made is leased or terminated.
//
// Read it in this order:
//
//   - request.go: [Request], what somebody asks to be launched; skeleton.go, timestamp.go and userdata.go: the JSON form of
//     it, its times and its user-data.
//   - freeze.go: what AWS would resolve anew at every call, resolved once; interfaces.go: what the call creates; ours.go and
//     tags.go: what this version decides of the call, its tags above all, frozen with it.
//   - launcher.go: [Launcher], and what it needs of EC2 ([Cloud]) and of the registry ([Store]). The steps of one launch
//     follow: preflight.go, run.go, send.go, outcome.go, bind.go.
//   - event.go: what is told of a launch; refusal.go: why it may end without instances.
//   - plan.go: [Launcher.DryRun], the first steps without the rest; sample.go: [Sample], for a rehearsal.
package launch
