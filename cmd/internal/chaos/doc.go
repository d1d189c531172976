// Package chaos runs the three commands as processes for ten minutes while everything around them fails: three etcd
// members, two janitors, fifty sidecars, launchers and operators, all connected through proxies, and a simulated EC2
// with faults; the wall clocks of janitors and sidecars step while they run. A checker that shares no code with the
// janitor watches etcd itself, EC2's calls and what was done to whom, and fails if anything was ended while its lease
// held, or left behind once all is healed.
//
// Its tests need the build tag chaos, and Linux. Run them with `make chaos`; CHAOS=short is a form of a minute, SEED=
// repeats the choices of a run, though not its timing.
//
//   - main_test.go: the whole run; tally_test.go: what happened in it.
//   - proxy_test.go, member_test.go, cluster_test.go, process_test.go: links, etcd members, processes.
//   - world_test.go, fleet_test.go, launch_test.go, operate_test.go: who is there, and what they do.
//   - deck_test.go, etcd_test.go, process_faults_test.go, cloud_test.go, restore_test.go: the faults.
//   - history_test.go, gate_test.go, diary_test.go: what the checker knows.
//   - judge_test.go, heartbeats_test.go, settle_test.go: what it demands.
//   - linear_test.go, workers_test.go, model_test.go: whether the store is linearizable.
package chaos
