// Package launch creates EC2 instances that have leases, and loses none of them: a launcher can be killed at any time, and its
// launch can still be found by its token, and what it created is leased or terminated.
//
// Read it in this order:
//
//   - request.go: [Request], what to launch; skeleton.go, timestamp.go and userdata.go: the JSON form of
//     it, its times and its user-data.
//   - join.go: the join token, beside the user-data.
//   - freeze.go: resolves once what AWS would resolve again at every call; interfaces.go: what the call creates; ours.go and
//     tags.go: what this version decides of the call, its tags above all, frozen with it.
//   - launcher.go: [Launcher], and what it needs from EC2 ([Cloud]) and from the registry ([Store]). The steps of one launch
//     follow: preflight.go, run.go, send.go, outcome.go, bind.go.
//   - anima.go: what is otherwise where client tokens are ignored.
//   - event.go: the events of a launch; refusal.go: why it may end without instances.
//   - plan.go: [Launcher.DryRun], the first steps without the rest; sample.go: [Sample], for a rehearsal.
//
// Two things can tie instances to the attempt that creates them, in the call that creates them ([lease.Anima]), and each has
// a state machine of its own. The state is in the record: whoever goes on with a launch begins at it.
//
//	client token (EC2 creates once for it)        key pair (where client tokens are ignored)
//
//	        recorded                                      recorded
//	            |                                             |  import a key pair of the attempt's own
//	            |  send  <----------+                      key made
//	            v                   |                         |  send, once
//	          sent                  |                         v
//	          |   \                 |                       sent
//	          |    unknown ---------+                       |   //	          |       same call again                       |    unknown
//	          v                                             |       |  search, until the answer has been the same
//	       answered                                         v       |  for longer than the endpoint is inconsistent
//	          |   \                                      answered   |
//	          |    refused, or fewer                        |   \   +--> found ------+
//	          |       |                                     |    \  |                |
//	          |       +--> recorded, the next attempt       |     refused, or none   |
//	          v                                             |       |                |
//	    bound, and done                                     |       +--> recorded, the next attempt
//	                                                        v                        |
//	                                                  bound, and done <--------------+
//
// Of both, the janitor closes what nobody ends within the launch window, and terminates what is not bound by then.
package launch
