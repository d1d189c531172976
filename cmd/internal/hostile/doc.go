// Package hostile attacks the built commands, as processes, with what the simulator's model leaves out: wall clocks that
// step, everything set back at once, people who think before they answer, files that change under a running process, sinks
// that block, numbers that lie. Each test demands what DESIGN promises of it.
//
// Its tests need the build tag hostile, and Linux. Run them with `make hostile`; HOSTILE=short runs the rows alone.
// HOSTILE_BIN names a directory with commands to attack instead of the present ones: cmd/internal/wallclock/build makes those
// of another commit; other-lease in it is the second version that row 19 needs.
//
// The rows, and how each was seen to fail at d414427:
//
//   - setback_test.go, row 1: a copy of etcd and of the janitor's memory, from before an extension, is put back. The tag was
//     never written; no brake held, and the instance was terminated at its old date.
//   - think_test.go, row 2: a second registry adopts while `lease adopt` asks. The answer yes exited 0, wrote over the other
//     registry's tag, and the instance was terminated by the wrong registry.
//   - rotation_test.go, row 3: etcd's CA is rotated in two steps. Neither janitor nor sidecars reconnected; the next janitor
//     terminated both instances for lost heartbeats.
//   - sink_test.go, row 4: the reader of a sidecar's stderr stops. The sidecar hung in its next log line, its heartbeat
//     lapsed, its instance was terminated, and SIGTERM did not end it.
//   - clock_test.go, row 5: the janitor's clock steps an hour ahead and back, or a year back. No sweep followed, by
//     @every as by cron fields, and what expired ran on.
//   - sink_test.go, row 6: a leader's stderr is not read, or its audit log becomes a FIFO. No sweep followed, nothing
//     that was due ended, and SIGTERM did not end it.
//   - forged_test.go, row 7: heartbeats with "changes": 9223372036854775807. Three held the whole registry past all dates;
//     `janitor release-brake` said released, and it was not; change counters became negative.
//   - facts_test.go, row 8: the janitor's credentials become those of an empty account. 12 of 12 leases were recorded as
//     ended, and their instances ran.
//   - forged_test.go, row 13: a bad heartbeat is written 600 times. Nearly each write cost a read of everything, and its own
//     instance was terminated although an etcd lease held the key, so that somebody renewed.
//   - sink_test.go, row 16: the audit log's disk is full. Leases were revoked and not terminated, `lease extend` exited 4,
//     and readyz said ok.
//   - facts_test.go, row 19: a launcher of another version is killed after its send, and this one resumes. It exited 7, the
//     launch was closed, and its instances were terminated as a failed creation.
//   - facts_test.go, row 20: lapse:exempt is taken off after the expiry. The instance was terminated a second later, without
//     notice, under the same leader and under a new one.
//
// What else is attacked, and what of it failed there:
//
//   - setback_test.go: copies from before five extensions, and from after a shortening. Both instances were terminated.
//   - think_test.go: facts that change while adopt, release, revoke, unmanage, recover or arm asks. Adopt took an instance that
//     EC2 had terminated, and recover one that bore another registry's tag by then; the others held.
//   - forged_test.go: each field of a heartbeat, and its bytes. The greatest change counter alone was believed. Sidecars that
//     claim more while a person lifts a brake: `janitor release-brake` exited 0, and the next sweep engaged it again.
//   - clock_test.go: ten years ahead and back, a clock that jumps all the time: as row 5. Clocks of standby and sidecar: held.
//   - blocked_test.go: stdout, stderr and stdin of lease, janitor and sidecar, and files that block from the start: each hung,
//     and ignored SIGTERM. A tiny disk: as row 16. The memory's file blocking under a running janitor: held.
//   - stop_test.go: signals. At a prompt SIGINT and SIGTERM were ignored; a janitor whose own etcd had nowhere to log hung with
//     it. While etcd is frozen or away, or EC2 hangs, each process ended on SIGTERM.
//
// world_test.go, process_test.go, registry_test.go, authority_test.go, terminal_test.go: EC2, commands with clocks of their
// own, what etcd holds, CAs, terminals.
package hostile
