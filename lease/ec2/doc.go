// Package ec2 launches, lists and terminates EC2 instances. It is the only package that knows the AWS SDK.
//
// Read it in this order:
//
//   - config.go and reload.go: [Load] takes the SDK's own settings; cloud.go: [Open] makes a [Cloud], one region of one account;
//     proof.go: nothing is signed with credentials of another.
//   - errors.go: what AWS answers, told apart by code and never by sentence; observed.go: each attempt of a call, told.
//   - list.go and clock.go: [Cloud.List] and [Cloud.Describe], complete or an error, with EC2's own clock.
//   - terminate.go: [Cloud.Terminate], where one bad id spares nobody else, by halve.go; pace.go: its share of EC2's token
//     buckets.
//   - leftover.go and remove.go: [Cloud.Leftovers] and [Cloud.Remove], for what outlived a failed creation.
//   - tag.go: [Cloud.Tag], which answers for each resource as Terminate does, and [Cloud.Untag], which names values.
//   - role.go and rehearse.go: what each [Role] needs, and [Cloud.Rehearse], which asks EC2 for it and does nothing.
//   - request.go and skeleton.go: [Request], what somebody asks to be launched, and the JSON form of it; timestamp.go: its times.
//   - freeze.go: what AWS would resolve anew at every call, resolved once. ours.go: what this version decides of the call,
//   - freeze.go: what AWS would resolve anew at every call, resolved once. interfaces.go: what the call creates. ours.go: what
//     this version decides of the call, its tags above all, frozen with it.
//   - launcher.go: [Launcher], a creation that cannot be lost. The steps of one launch follow: preflight.go, run.go,
//     send.go, outcome.go, bind.go; plan.go does the first of them without the rest. event.go: what is told of it;
//     refusal.go: why it may end without instances.
package ec2
