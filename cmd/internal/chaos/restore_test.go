//go:build chaos

package chaos

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/etcd/etcdutl/v3/snapshot"
	"go.uber.org/zap"
)

// backup is a snapshot of etcd.
type backup struct {
	file     string
	at       time.Time
	sequence int64 // of the last checkpoint then
}

// backup saves one while nobody launches anything: a launch that went on after the backup could not be told from one
// that failed, and the rest of the registry is as busy as ever.
func (w *world) backup() backup {
	defer w.crowd.hush()()
	b := backup{file: filepath.Join(w.dir, "snapshot.db"), at: time.Now()}
	within(w.t, "a snapshot of etcd", func() bool {
		ctx, cancel := context.WithTimeout(w.t.Context(), 20*time.Second)
		defer cancel()
		reader, err := w.cluster.client.Snapshot(ctx)
		if err != nil {
			return false
		}
		defer reader.Close()
		file, err := os.Create(b.file)
		if err != nil {
			w.t.Fatal(err)
		}
		_, err = io.Copy(file, reader)
		return file.Close() == nil && err == nil
	})
	b.sequence = w.history.checkpoint().Sequence
	return b
}

// restore puts the whole cluster back to an older state, as an operator does: people are told to wait, etcd is cut off,
// so that the checker's history of it is complete, replaced, and served again. From then on everything must be held,
// until the operator has looked, and says so.
func (w *world) restore(b backup) {
	w.t.Logf("%s: restore of a backup that is %s old", time.Now().UTC().Format("15:04:05"), time.Since(b.at).Round(time.Second))
	resume := w.crowd.hush()
	defer resume()
	goOn := w.linear.hush()
	defer goOn()
	end := w.diary.trouble("etcd", "a restore of all of etcd")
	w.cutAll(trouble{cut: true})
	var revision int64
	within(w.t, "etcd's last revision", func() (ok bool) {
		var err error
		revision, err = w.cluster.answers(2 * time.Second)
		return err == nil
	})
	w.history.caughtUp(w.t, revision)
	for _, p := range w.cluster.runs {
		p.kill()
	}
	for n := range members {
		if err := w.cluster.replace(n, b.file); err != nil {
			w.t.Fatal(err)
		}
	}
	within(w.t, "the restored etcd serving", func() bool { return w.cluster.learnIDs() == nil })
	w.cluster.whole()
	w.history.begin(w.t)
	r := &rollback{up: time.Now()}
	w.diary.mu.Lock()
	w.diary.restores = append(w.diary.restores, r)
	w.diary.mu.Unlock()
	w.cutAll(trouble{})
	w.tally.add("fault: restore all of etcd from an older snapshot", 1)
	within(w.t, "brake rollback to be engaged", func() bool { return w.history.braked("rollback", nothing) })
	w.diary.mu.Lock()
	r.noticed = time.Now()
	w.diary.mu.Unlock()
	w.tally.add("brake rollback engaged", 1)
	if m, ok := choose(w.random, w.lasting()); ok { // what would end at once now, and must not
		w.diary.wished(m.id, "release")
		w.must("lease", "release", m.id, "--yes")
		w.tally.add("released while everything was held back", 1)
	}
	time.Sleep(4 * time.Second) // leases expire, heartbeats are lost, and nothing is terminated: the judge checks that
	w.operatorLooks(r)
	end()
}

// cutAll makes trouble on every link of every client.
func (w *world) cutAll(t trouble) {
	for _, links := range w.links {
		for _, l := range links {
			l.set("", t)
		}
	}
}

// replace gives a member the data of a snapshot, and starts it.
func (c *cluster) replace(n int, file string) error {
	s := &c.seats[n]
	if err := os.RemoveAll(s.Dir); err != nil {
		return err
	}
	s.Joins = false
	err := snapshot.NewV3(zap.NewNop()).Restore(snapshot.RestoreConfig{
		SnapshotPath: file, Name: s.Name, OutputDataDir: s.Dir, PeerURLs: []string{"http://" + s.AdvertisePeer},
		InitialCluster: s.Cluster, InitialClusterToken: clusterToken,
	})
	if err == nil {
		c.start(n)
	}
	return err
}

// operatorLooks does what a person does before lifting the brake: lost leases are rebuilt, and what had been extended
// since the backup is extended again.
func (w *world) operatorLooks(r *rollback) {
	w.recover()
	again := map[string]time.Time{}
	w.diary.mu.Lock()
	for _, g := range w.diary.grants {
		if g.until.After(time.Now()) && g.until.After(again[g.id]) {
			again[g.id] = g.until
		}
	}
	w.diary.mu.Unlock()
	for id, until := range again {
		if l, ok := w.history.leaseOf(id); ok && l.State == "active" && !l.ExpiresAt.IsZero() && l.ExpiresAt.Before(until) {
			w.must("lease", "extend", id, "--until", until.Format(time.RFC3339Nano), "--at-least")
			w.tally.add("extensions repeated after a restore", 1)
		}
	}
	w.diary.mu.Lock()
	r.resumed = time.Now()
	w.diary.mu.Unlock()
	w.liftBrakes()
	w.diary.mu.Lock()
	r.lifted = time.Now()
	w.diary.mu.Unlock()
}

// liftBrakes releases the brakes that only a person can release, until none of them is engaged.
func (w *world) liftBrakes() {
	within(w.t, "no standing brake to be engaged", func() bool {
		for _, name := range []string{"rollback", "unwatched"} {
			if w.history.braked(name, w.isExempt) {
				w.recover()
				w.must("janitor", "release-brake", name, "--yes")
				w.tally.add("brake "+name+" released by the operator", 1)
				time.Sleep(2 * interval)
				return false
			}
		}
		return true
	})
}

func nothing(string) bool { return false }

// isExempt reports whether an instance bears the tag that spares it. If its lease is lost, `lease recover` leaves it alone,
// and the brake for it alone is held for good.
func (w *world) isExempt(id string) bool {
	_, exempt := w.diary.exemptSince(id)
	return exempt
}

// recover rebuilds the leases of the people's own instances that no record speaks of any more.
func (w *world) recover() {
	var lost []string
	for _, m := range w.fleet.living() {
		if _, ok := w.history.leaseOf(m.id); !ok {
			lost = append(lost, m.id)
		}
	}
	if len(lost) == 0 {
		return
	}
	args := append([]string{"recover", "--heartbeat-timeout", heartbeatTimeout.String(), "--yes"}, lost...)
	within(w.t, "lost leases to be recovered", func() bool {
		p := mustStart(w.t, w.command("people", "lease", args...), filepath.Join(w.dir, "must.log"))
		<-p.done
		return p.code() == 0 || p.code() == 4 || p.code() == 6 // of some, another record tells what becomes of them
	})
	w.tally.add("leases recovered", len(lost))
}
