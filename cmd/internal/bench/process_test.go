//go:build bench

package bench

import (
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
