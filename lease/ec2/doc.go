// Package ec2 lists, describes, tags and terminates EC2 instances in one location. It is the only package that knows the
// AWS SDK; what launches is in package launch, on top of it.
//
// Read it in this order:
//
//   - config.go, code.go and reload.go: [Load] takes the SDK's own settings; cloud.go: [Open] makes a [Cloud], one region of
//     one account; proof.go: nothing is signed with credentials of another account.
//   - errors.go: AWS's answers, told apart by code and never by sentence; answer.go: answers that are not from AWS;
//     observed.go: reports each attempt of a call.
//   - list.go and clock.go: [Cloud.List] and [Cloud.Describe], complete or an error, with EC2's own clock.
//   - terminate.go: [Cloud.Terminate], where one bad id spares nobody else, by halve.go; pace.go: its share of EC2's token
//     buckets.
//   - leftover.go and remove.go: [Cloud.Leftovers] and [Cloud.Remove], for what outlives a failed creation.
//   - tag.go: [Cloud.Tag], which answers for each resource as Terminate does, and [Cloud.Untag], which names values.
//   - replace.go: [Cloud.Replacers], what starts a new instance when one is terminated.
//   - role.go and rehearse.go: what each [Role] needs, and [Cloud.Rehearse], which asks EC2 for it and does nothing.
//   - run.go: the calls that package launch makes, [Cloud.RunInstances] above all, which is sent once.
package ec2
