//go:build bench

package bench

import (
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"lapse/lease/ec2/ec2sim"
)

// measureStart starts janitors with an etcd of their own, each in a new directory, until they have swept.
func measureStart(t *testing.T, figures *table, size sizes) {
	t.Helper()
	w := simWorld(t, ec2sim.Config{})
	var worst time.Duration
	for range size.starts {
		dir := t.TempDir()
		began := time.Now()
		j := w.janitor("--embedded-etcd", filepath.Join(dir, "e"))
		worst = max(worst, j.sweeps()[0].Sub(began))
		if err := j.Process.Kill(); err != nil {
			t.Fatal(err)
		}
	}
	figures.atMost("janitor run --embedded-etcd: start → swept (the longest)", seconds, 2, worst.Seconds(), "")
}

// measureSidecar watches one sidecar that renews at a timeout of 5 minutes.
func measureSidecar(t *testing.T, figures *table, size sizes) {
	t.Helper()
	w := newWorld(t)
	f := w.newFleet(1, never)
	id := f.instances[0].ID
	metadata := httptest.NewServer(ec2sim.IMDS(ec2sim.Instance{ID: id, Region: region, Zone: region + "a"}))
	t.Cleanup(metadata.Close)
	s := w.spawn(w.command("sidecar", "run", "--imds", metadata.URL, "--socket", filepath.Join(w.dir, "s.sock")))
	w.until("a heartbeat with the lease's timeout", func() bool {
		snapshot, err := w.store.Snapshot(t.Context())
		return err == nil && time.Duration(snapshot.Heartbeats[id].HeartbeatTimeout) == heartbeatTimeout
	})
	time.Sleep(time.Second) // what it does once
	began, before := time.Now(), s.cpu(t)
	time.Sleep(size.sidecar)
	busy, whole := s.cpu(t)-before, time.Since(began)
	figures.atMost("sidecar, direct: resident memory", mib, 18, s.memory(t, "VmRSS"), "")
	figures.atMost("sidecar, direct: of it anonymous", mib, 4, s.memory(t, "RssAnon"), "")
	figures.atMost("sidecar, direct: share of a core", percent, 0.02, 100*busy.Seconds()/whole.Seconds(), "")
}
