//go:build e2e

package scenario

import (
	"net/http"
	"testing"

	"lapse/lease/ec2/ec2sim"
)

// TestE2EScenarioListing lets EC2 hide what runs: from its listings alone, or also from whoever asks by id.
func TestE2EScenarioListing(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		hint string // of those that are shown
		byID bool   // the others are hidden also from whoever asks by id
		says string
	}{
		"empty, but known by id":         {"none", false, "100 managed; 100 with a lease are missing in EC2's listing, but were found by id"},
		"empty, and nothing known by id": {"none", true, "0 managed; EC2 does not find 100 that have a lease, which run to their expiry (`janitor sweep --dry-run`)"},
		"half, and the rest known by id": {"half", false, "100 managed; 50 with a lease are missing in EC2's listing, but were found by id"},
		"half, and nothing more by id":   {"half", true, "50 managed; EC2 does not find 50 that have a lease, which run to their expiry (`janitor sweep --dry-run`)"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.heartbeat(w.launch(60, kind{heartbeatTimeout: heartbeatTimeout})...)
			w.launch(40, kind{})
			j := w.janitor("--lone-grace", markGrace.String())
			w.says("instances", location+": 100 managed\n")
			w.lies.byID.Store(c.byID)
			w.lies.hint.Store(c.hint)
			w.says("instances", location+": "+c.says+"\n")
			w.longEnough()
			w.nobodyDied()
			w.lies.hint.Store("")
			w.says("instances", location+": 100 managed\n")
			w.moreSweeps(5)
			w.nobodyDied()
			if n := len(j.said(`msg="sweep failed`)); n > 0 {
				t.Errorf("%d sweeps failed", n)
			}
		})
	}
}

// TestE2EScenarioServerErrors lets EC2 answer every listing with a 500.
func TestE2EScenarioServerErrors(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.heartbeat(w.launch(60, kind{heartbeatTimeout: heartbeatTimeout})...)
	w.launch(40, kind{})
	j := w.janitor("--lone-grace", markGrace.String())
	shown := func() string { return j.metrics(w) }
	mend := w.sim.Inject(ec2sim.Fault{Action: "DescribeInstances", Effect: ec2sim.Refuse, Status: http.StatusInternalServerError})
	w.named(&j.journal, shown, "health", location, "listing failed: cannot list instances: AWS answers InternalError")
	w.longEnough()
	w.nobodyDied()
	mend()
	w.lifted(&j.journal, shown, "health", location)
	w.longEnough()
	w.nobodyDied()
}
