//go:build e2e

package scenario

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"lapse/lease"
)

// tooOld is how long the terms last that a snapshot knows: until after it was restored.
const tooOld = 30 * time.Second

// restoring is one way to come upon a registry that was set back.
type restoring struct {
	heartbeats bool          // sidecars run
	lost       bool          // the extensions have not reached the tags: nobody wrote them
	launches   bool          // something is launched that the snapshot does not know
	memory     bool          // the janitor has a --state-dir
	restart    bool          // it is killed, and another one is started after the restore
	aged       time.Duration // by so much the snapshot is older than it takes to test this
	brake      string
	why        string
}

// TestE2EScenarioRollback sets etcd back to a state that knows nothing of the extensions since, and in which all
// terms pass. Everything is held until a person has looked. What the tags say lives on by it; where nobody had written them,
// what was not extended again ends, after its notice.
func TestE2EScenarioRollback(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]restoring{
		"under the same janitor": {brake: lease.BrakeRollback, why: "was seen before: the registry was set back to an older state"},
		"found by a janitor that was restarted, with its memory": {
			memory: true, restart: true, brake: lease.BrakeRollback, why: "was seen before: the registry was set back to an older state",
		},
		"old, found by a new janitor": {
			lost: true, restart: true, aged: time.Hour, brake: lease.BrakeUnwatched, why: "and this janitor remembers nothing of the registry; it may have been set back since then",
		},
		"old, found by a janitor that was stopped for an hour, with its memory": {
			memory: true, lost: true, restart: true, aged: time.Hour, brake: lease.BrakeUnwatched, why: "and no janitor has watched the registry since; it may have been set back since then",
		},
		"new, found by a new janitor, but sidecars run": {
			heartbeats: true, restart: true, brake: lease.BrakeRollback, why: "records were older than the tags of their instances",
		},
		"new, found by a new janitor, but something was launched since": {
			launches: true, restart: true, brake: lease.BrakeRollback, why: "is newer than the last checkpoint, but has no record",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.test(t)
		})
	}
}

func (c restoring) test(t *testing.T) {
	t.Helper()
	w := newWorld(t)
	k, args := kind{}, []string(nil)
	if c.heartbeats {
		k.heartbeatTimeout = heartbeatTimeout
	}
	if c.memory {
		args = append(args, "--state-dir", filepath.Join(w.dir, "memory"))
	}
	ids := w.launch(30, k)
	if c.heartbeats {
		w.heartbeat(ids...)
	}
	j := w.janitor(args...)
	over := time.Now().Add(tooOld)
	w.shorten(over, ids...)
	if c.aged > 0 {
		w.tagged(over, ids...)
		j.end(syscall.SIGTERM)
		w.age(c.aged)
	}
	restore := w.backup()
	w.extend(time.Hour, ids...)
	if !c.lost {
		w.tagged(time.Now().Add(30*time.Minute), ids...)
	}
	if c.launches {
		time.Sleep(lease.MaxSkew) // clocks may be so far apart
		w.run("lease", "launch", "--image-id", "ami-0123456789abcdef0", "--instance-type", "t3.micro")
	}
	if c.aged == 0 {
		w.moreSweeps(3)
	}
	if c.heartbeats {
		w.until("the sidecars having seen the extension", func() bool { return w.renewing(ids) == len(ids) })
	}
	if c.restart {
		j.end(syscall.SIGKILL)
	}
	restore()
	if c.heartbeats {
		w.until("the sidecars having reported what they have seen", func() bool { return w.behind() == len(ids) })
	}
	if time.Now().After(over) {
		t.Fatal("the leases had expired before the registry was set back")
	}
	if c.restart {
		j = w.candidate(args...)
	}
	w.named(&j.journal, func() string { return j.metrics(w) }, c.brake, "", c.why)
	time.Sleep(time.Until(over)) // the terms pass as they are in the snapshot
	w.longEnough()
	w.nobodyDied()

	if c.lost {
		w.extend(2*time.Hour, ids[1:]...)
	}
	resumed := time.Now() // the command waits for the next sweep
	w.run("janitor", "release-brake", c.brake, "--yes")
	w.lifted(&j.journal, func() string { return j.metrics(w) }, c.brake, "")
	if !c.lost {
		w.longEnough()
		w.nobodyDied()
		w.shorten(time.Now().Add(time.Second), ids[0])
		w.until("shortened leases' instances terminated", func() bool { return len(w.asked()) > 0 })
		w.onlyDied(ids[:1])
		return
	}
	w.until("instances that were not extended terminated", func() bool { return len(w.asked()) > 0 })
	took := w.asked()[ids[0]].Sub(resumed)
	t.Logf("an instance that nobody extended was terminated %s after the brake was released, of which %s are its notice", took.Round(time.Millisecond), markGrace)
	if took < markGrace {
		t.Errorf("that is less than its notice of %s", markGrace)
	}
	w.longEnough()
	w.onlyDied(ids[:1])
}

// TestE2EScenarioOneLeaseBehind sets etcd back to where one lease was not extended yet: that one lives on by its tag, and the
// others end by their terms. Sidecars may be late by seconds on a busy machine: nothing is marked for it here, for a notice is
// a change, too, of which a registry that was set back knows nothing.
func TestE2EScenarioOneLeaseBehind(t *testing.T) {
	t.Parallel()
	const patient = 4 * heartbeatTimeout
	w := newWorld(t)
	ids := w.launch(10, kind{heartbeatTimeout: patient})
	w.heartbeat(ids...)
	j := w.janitor()
	over := time.Now().Add(2 * tooOld)
	w.shorten(over, ids...)
	restore := w.backup()
	w.extend(time.Hour, ids[0])
	w.tagged(time.Now().Add(30*time.Minute), ids[0])
	w.tagged(over, ids[1:]...)
	w.until("its sidecar having seen the extension", func() bool { return w.renewing(ids[:1]) == 1 })
	j.end(syscall.SIGKILL)
	restore()
	w.until("its sidecar having reported what it has seen", func() bool { return w.behind() == 1 })
	if time.Now().After(over) {
		t.Fatal("the leases had expired before the registry was set back")
	}
	w.candidate()
	w.until("the others terminated", func() bool { return len(w.asked()) >= len(ids)-1 })
	w.longEnough()
	w.onlyDied(ids[1:])
}

// tagged waits until the tags of instances say a date that is not before this one, to the second, by the janitor's hand.
func (w *world) tagged(date time.Time, ids ...string) {
	w.t.Helper()
	w.until("the tags having the date", func() bool {
		for _, id := range ids {
			i, _ := w.sim.Instance(id)
			if tag := lease.ParseExpiry(i.Tags[lease.TagExpires]); tag.Number < 2 || tag.At.Before(date.Truncate(time.Second)) {
				return false
			}
		}
		return true
	})
}

// backup keeps what etcd holds, and returns what sets it back to that.
func (w *world) backup() (restore func()) {
	w.t.Helper()
	data, kept := filepath.Join(w.dir, "data"), filepath.Join(w.dir, "backup")
	put := func(from, to string) {
		w.t.Helper()
		w.stopEtcd()
		if err := os.RemoveAll(to); err != nil {
			w.t.Fatal(err)
		}
		if err := os.CopyFS(to, os.DirFS(from)); err != nil {
			w.t.Fatal(err)
		}
		w.startEtcd()
		w.until("etcd again", func() bool { return w.store.Healthy(w.t.Context()) == nil })
	}
	put(data, kept)
	return func() { put(kept, data) }
}

// age makes the last checkpoint older, as it is in a snapshot that is not restored within seconds.
func (w *world) age(by time.Duration) {
	w.t.Helper()
	leadership, err := w.store.Campaign(w.t.Context(), "clock", time.Minute)
	if err != nil {
		w.t.Fatal(err)
	}
	s := w.snapshot()
	checkpoint := s.Checkpoint
	checkpoint.Time, checkpoint.NextSweep = checkpoint.Time.Add(-by), checkpoint.NextSweep.Add(-by)
	if _, err := leadership.PutCheckpoint(w.t.Context(), s.Registry, checkpoint); err != nil {
		w.t.Fatal(err)
	}
	if err := leadership.Resign(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
}

// behind counts the leases of which a sidecar has seen a later change than etcd holds.
func (w *world) behind() int {
	n, s := 0, w.snapshot()
	for _, l := range s.Leases {
		if s.Heartbeats[l.InstanceID].Changes > l.Changes {
			n++
		}
	}
	return n
}
