//go:build e2e

package e2e

import (
	"bytes"
	"io"
	"maps"
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"lapse/lease"
)

func readCloser(b []byte) io.ReadCloser { return io.NopCloser(bytes.NewReader(b)) }

// TestE2EFleet launches twenty in one call and lets some of their leases end in every way, beside instances that Lapse
// does not manage. By moto's own report, exactly the right ones are terminated.
// Their sidecars reach the registry in either way, with TLS.
func TestE2EFleet(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]func(*world) wayIn{"direct": direct, "API": throughAPI} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := emptyWorld(t)
			w.startMoto()
			open(w).fleet()
		})
	}
}

func (w wayIn) fleet() {
	t := w.t
	fleet := w.launchFleet()
	renewing, quiet := fleet[:10], fleet[10:]
	for _, id := range renewing {
		w.sidecar(w.world, id)
	}
	w.until("ten sidecars renewing within their timeout", func() bool { return w.renewingAt(lease.Duration(lease.MinHeartbeatTimeout)) == 10 })

	extended, lost, over := renewing[:3], renewing[3:6], quiet[:4]
	for _, id := range extended {
		w.run("sidecar-direct", "extend", "--socket", w.socket(id), "--for", "3h")
	}
	for _, id := range lost {
		if err := w.sidecars[id].Process.Kill(); err != nil {
			t.Fatal(err)
		}
	}
	for _, id := range over {
		w.run("lease", "extend", id, "--for", "3s", "--allow-shorten")
	}
	orphan := w.crashLauncher()
	bystanders := w.bystanders(fleet[0])

	want := map[string]types.InstanceStateName{}
	for _, id := range slices.Concat(fleet, bystanders) {
		want[id] = types.InstanceStateNameRunning
	}
	for _, id := range slices.Concat(lost, over, []string{orphan}) {
		want[id] = types.InstanceStateNameTerminated
	}
	w.until("three with lost heartbeats, four expired and one orphan terminated", func() bool {
		states := w.states()
		return !slices.ContainsFunc(slices.Concat(lost, over, []string{orphan}), func(id string) bool {
			return states[id] != types.InstanceStateNameTerminated
		})
	})
	w.fiveMoreSweeps()
	if got := w.states(); !maps.Equal(got, want) {
		for id, state := range want {
			if got[id] != state {
				t.Errorf("%s is %q, want %q", id, got[id], state)
			}
		}
		t.Errorf("moto has %d instances, want %d", len(got), len(want))
	}
	w.records(extended, lost, over, orphan)
}

// launchFleet launches twenty with one command and returns them as moto knows them.
func (w *world) launchFleet() []string {
	w.t.Helper()
	w.run("lease", "launch", "--id", "fleet", "--count", "20", "--image-id", "ami-12c6146b", "--instance-type", "t3.micro",
		"--term", "1h", "--max-term", "4h", "--heartbeat-timeout", "5s", "--holder", "e2e")
	launch, err := w.store.Launch(w.t.Context(), "fleet")
	if err != nil {
		w.t.Fatal(err)
	}
	ids := launch.Instances()
	if len(ids) != 20 || len(w.states()) != 20 || len(launch.Attempts) != 1 {
		w.t.Fatalf("the launch has %d instances in %d attempts, moto has %d; want 20 in 1", len(ids), len(launch.Attempts), len(w.states()))
	}
	return ids
}

// renewingAt counts the heartbeats of one timeout.
func (w *world) renewingAt(timeout lease.Duration) int {
	snapshot, err := w.store.Snapshot(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	n := 0
	for _, hb := range snapshot.Heartbeats {
		if hb.HeartbeatTimeout == timeout {
			n++
		}
	}
	return n
}

// crashLauncher kills a launcher before it hears what RunInstances answered, and returns what was made.
func (w *world) crashLauncher() string {
	w.t.Helper()
	before := w.states()
	w.crash("doomed", "--image-id", "ami-12c6146b", "--instance-type", "t3.micro")
	for id := range w.states() {
		if _, known := before[id]; !known {
			return id
		}
	}
	w.t.Fatal("the killed launcher launched nothing")
	return ""
}

// bystanders are instances that are not ours to end: copied tags, another registry's, none at all.
func (w *world) bystanders(like string) []string {
	w.t.Helper()
	registry, err := w.store.Registry(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	copied := map[string]string{lease.TagRegistry: registry.UUID, lease.TagLaunch: "fleet.1", "like": like}
	foreign := map[string]string{lease.TagRegistry: "00000000-0000-4000-8000-000000000000", lease.TagLaunch: "fleet.1"}
	return []string{w.create("console-1", copied), w.create("fleet.1", foreign), w.create("console-2", nil)}
}

// fiveMoreSweeps gives a janitor that would do too much the time to do it.
func (w *world) fiveMoreSweeps() {
	w.t.Helper()
	now, err := w.store.Checkpoint(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	w.until("five more sweeps", func() bool {
		checkpoint, err := w.store.Checkpoint(w.t.Context())
		return err == nil && checkpoint.Sequence >= now.Sequence+5
	})
}

// records checks that the registry tells the same story, with its reasons.
func (w *world) records(extended, lost, over []string, orphan string) {
	w.t.Helper()
	want := map[string]lease.Cause{orphan: lease.CauseFailedCreation}
	for _, id := range extended {
		want[id] = ""
	}
	for _, id := range lost {
		want[id] = lease.CauseHeartbeatLost
	}
	for _, id := range over {
		want[id] = lease.CauseExpired
	}
	for id, cause := range want {
		l, err := w.store.Lease(w.t.Context(), id)
		state := lease.StateEnded
		if cause == "" {
			state = lease.StateActive
		}
		if err != nil || l.Cause != cause || l.State != state {
			w.t.Errorf("lease of %s: %s for %q, want %s for %q (%v)", id, l.State, l.Cause, state, cause, err)
		}
	}
}
