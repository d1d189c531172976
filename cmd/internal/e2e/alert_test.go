//go:build e2e

package e2e

import (
	"strings"
	"testing"

	"lapse/lease/ec2/ec2sim"
)

// TestE2EAlertFiresWhileABrakeIsEngaged sets the registry back to an older state under a janitor, as a careless restore
// does. The janitor holds everything back, a Prometheus with the rules of deploy sends the alert, and the alert ends
// when a person releases the brake.
func TestE2EAlertFiresWhileABrakeIsEngaged(t *testing.T) {
	t.Parallel()
	const name, held = "LapseBrakeNeedsPerson", `ALERTS{alertname="LapseBrakeNeedsPerson",alertstate="firing"}`
	w := newSimWorld(t, ec2sim.New(ec2sim.Config{}))
	w.run("lease", "init", "--armed")
	listen := w.freePort()
	w.spawn(w.command(w.aws, "janitor", "run", "--schedule", "@every 1s", "--state-dir", w.dir, "--listen", listen), "janitor")
	p := w.startPrometheus(listen)
	w.until("Prometheus seeing a leader that sweeps", func() bool {
		return p.query(`lapse_leader == 1 and on (instance) time() - lapse_last_sweep_timestamp_seconds < 10`) == 1
	})
	older := w.checkpoint()
	w.fiveMoreSweeps()
	if a, sent := p.received(name); sent {
		t.Errorf("an alert although no brake is engaged: %+v", a)
	}

	w.setBack(older)
	w.until("the alert", func() bool { _, sent := p.received(name); return sent })
	a, _ := p.received(name)
	if a.Labels["brake"] != "rollback" || a.Labels["severity"] != "critical" {
		t.Errorf("the alert is %v, want critical, of brake rollback", a.Labels)
	}
	if !strings.Contains(a.Annotations["description"], "janitor release-brake rollback") {
		t.Errorf("the alert does not say what to do: %q", a.Annotations["description"])
	}

	w.run("janitor", "release-brake", "rollback", "--yes")
	w.until("the end of the alert", func() bool { return p.query(held) == 0 })
}

// checkpoint is the record of the last sweep, as it is.
func (w *world) checkpoint() string {
	w.t.Helper()
	answer, err := w.raw().Get(w.t.Context(), prefix+"checkpoint")
	if err != nil || len(answer.Kvs) != 1 {
		w.t.Fatalf("read the checkpoint: %v", err)
	}
	return string(answer.Kvs[0].Value)
}

// setBack puts an older checkpoint in the place of the newer one.
func (w *world) setBack(checkpoint string) {
	w.t.Helper()
	if _, err := w.raw().Put(w.t.Context(), prefix+"checkpoint", checkpoint); err != nil {
		w.t.Fatal(err)
	}
}
