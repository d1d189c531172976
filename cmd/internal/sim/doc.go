// Package sim runs the real launcher, sidecar, janitor and store on a simulated
// clock, over an etcd and an EC2 in memory, through random schedules of faults,
// and judges from outside what came of it. There is nothing here but tests:
// `make sim`.
//
//   - dice_test.go: all that chance decides, by one seed; trace_test.go: what
//     happened.
//   - process_test.go: a program on a machine, which can be killed, stopped and
//     cut off, and whose clock may be wrong.
//   - fleet_test.go, calls_test.go, leftovers_test.go, keypairs_test.go: EC2 in memory, which the
//     real SDK calls through transport_test.go. etcd is lease/etcd/etcdsim.
//   - world_test.go: one schedule: who runs, and for how long.
//     actors_test.go: janitors, sidecars, launchers. people_test.go, keeper_test.go:
//     people, of this registry and of another. faults_test.go, tags_test.go,
//     thief_test.go: what goes wrong, and when. rest_test.go, rewind_test.go:
//     nobody watches; everything is set back.
//   - api_test.go, line_test.go, signing_test.go: the API, how instances reach it, and
//     what they prove themselves by. contest_test.go: who else calls in their name, what
//     goes wrong there, and what operators do about it.
//   - truth_test.go, check_*_test.go: the checker. It reads the trace and shares
//     no code with what it judges: it knows the records by their JSON alone.
//   - sim_test.go, report_test.go: many schedules, and the table at the end.
//     bugs_test.go: bugs planted by testdata/bugs, each of which must be caught.
package sim
