//go:build e2e

package scenario

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lapse/lease"
)

// TestE2EScenarioEmptiedEtcd loses all data under a running janitor. Without a registry nothing is terminated, and the
// status says what to do. Created again under its old UUID, the registry holds everything back, and what the tags show
// is recovered.
func TestE2EScenarioEmptiedEtcd(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ids := w.launch(60, kind{heartbeatTimeout: heartbeatTimeout})
	w.launch(40, kind{})
	w.heartbeat(ids...)
	memory := filepath.Join(w.dir, "memory")
	j := w.janitor("--state-dir", memory, "--lone-grace", markGrace.String())
	registry := w.snapshot().Registry.UUID

	w.empty()
	said := ""
	w.until("a status", func() bool {
		_, said, _ = w.exits("janitor", "status")
		return strings.Contains(said, "registry")
	})
	want := "janitor: no registry in namespace \"default\": create it with `lease init`, or if it existed and is lost, see `lease recover --help`\n"
	if said != want {
		t.Errorf("of an etcd without a registry, `janitor status` says %q, want %q", said, want)
	}
	t.Log("emptied: " + strings.TrimSpace(said))
	// A service manager starts it again and again.
	if code := w.leaves(j); code != 3 {
		t.Errorf("the janitor ended with code %d, want 3", code)
	}
	if _, said, code := w.exits("janitor", "run"); code != 3 || said[strings.LastIndex(strings.TrimSpace(said), "\n")+1:] != want {
		t.Errorf("a janitor that is started again ends with code %d and says %q", code, said)
	}
	if _, said, code := w.exits("lease", "recover", "--dry-run"); code != 3 || !strings.Contains(said, registry+" on 100 instances") {
		t.Errorf("`lease recover` says %q (code %d), want the lost UUID", said, code)
	}
	if n := w.sim.CallCounts()["TerminateInstances"]; n > 0 {
		t.Errorf("TerminateInstances was called %d times", n)
	}

	w.run("lease", "init", "--uuid", registry, "--armed")
	j = w.janitor("--state-dir", memory, "--lone-grace", markGrace.String())
	w.named(&j.journal, func() string { return j.metrics(w) }, lease.BrakeRollback, "", "was seen before: the registry was set back to an older state")
	w.says("instances", location, "100 managed, 100 of them untracked (`lease list --untracked`)")
	w.longEnough()

	w.run("lease", append([]string{"recover", "--heartbeat-timeout", heartbeatTimeout.String(), "--yes"}, ids...)...)
	w.run("lease", "recover", "--yes")
	w.run("janitor", "release-brake", lease.BrakeRollback, "--yes")
	w.lifted(&j.journal, func() string { return j.metrics(w) }, lease.BrakeRollback, "")
	w.longEnough()
	w.nobodyDied()
}

// TestE2EScenarioEmptiedEtcdWithoutMemory is the same with a janitor that remembers nothing: the tags of the instances tell
// it.
func TestE2EScenarioEmptiedEtcdWithoutMemory(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ids := w.launch(30, kind{heartbeatTimeout: heartbeatTimeout})
	w.heartbeat(ids...)
	j := w.janitor("--lone-grace", markGrace.String())
	w.until("the tags showing that their leases are active", func() bool {
		for _, id := range ids {
			if i, _ := w.sim.Instance(id); i.Tags[lease.TagLeased] == "" {
				return false
			}
		}
		return true
	})
	registry := w.snapshot().Registry.UUID
	w.empty()
	w.leaves(j)
	w.run("lease", "init", "--uuid", registry, "--armed")
	j = w.janitor("--lone-grace", markGrace.String())
	w.named(&j.journal, func() string { return j.metrics(w) }, lease.BrakeRollback, "", "had a lease by their tag lapse:leased")
	w.says("instances", location, "30 managed, 30 of them untracked")
	w.longEnough()
	if n := w.sim.CallCounts()["TerminateInstances"]; n > 0 {
		t.Errorf("TerminateInstances was called %d times", n)
	}
}

// empty takes away all that etcd holds.
func (w *world) empty() {
	w.t.Helper()
	w.stopEtcd()
	if err := os.RemoveAll(filepath.Join(w.dir, "data")); err != nil {
		w.t.Fatal(err)
	}
	w.startEtcd()
}
