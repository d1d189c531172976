//go:build e2e

package scenario

import (
	"maps"
	"os"
	"slices"
	"testing"
	"time"

	"lapse/lease"
	"lapse/lease/ec2/ec2sim"
)

// TestE2EScenarioFailedLaunch kills a launcher when EC2 has made its 500 instances: its answer is lost, or has nobody to
// reach. All of them end, once, and nothing else does.
func TestE2EScenarioFailedLaunch(t *testing.T) {
	t.Parallel()
	const window = 4 * time.Second
	for name, effect := range map[string]ec2sim.Effect{"answer lost": ec2sim.Drop, "answered to nobody": ec2sim.Pass} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.launch(50, kind{})
			w.janitor("--launch-window", window.String())
			launcher := w.command("lease", "launch", "--id", "big", "--count", "500", "--image-id", "ami-0123456789abcdef0",
				"--instance-type", "t3.micro", "--term", "1h")
			victim := make(chan *os.Process, 1)
			w.sim.Inject(ec2sim.Fault{Action: "RunInstances", Times: 1, Stage: ec2sim.AfterDeed, Effect: effect, Hook: func() { _ = (<-victim).Kill() }})
			if err := launcher.Start(); err != nil {
				t.Fatal(err)
			}
			victim <- launcher.Process
			if err := launcher.Wait(); err == nil {
				t.Fatal("the launcher was not killed")
			}
			launch, err := w.store.Launch(t.Context(), "big")
			if err != nil {
				t.Fatal(err)
			}
			var made []string
			for _, i := range w.sim.Instances() {
				if i.ClientToken == "big.1" {
					made = append(made, i.ID)
				}
			}
			if len(made) != 500 {
				t.Fatalf("the killed launcher launched %d instances", len(made))
			}
			w.until("EC2 asked to terminate all 500", func() bool { return len(w.asked()) >= len(made) })
			asked := slices.SortedFunc(maps.Values(w.asked()), time.Time.Compare)
			sent, stated := launch.LastSend(), window+4*time.Second // four sweeps
			first, last := asked[0].Sub(sent), asked[len(asked)-1].Sub(sent)
			t.Logf("a failed launch of 500: from its last send, the first was terminated after %s, the last after %s; stated %s",
				first.Round(time.Millisecond), last.Round(time.Millisecond), stated)
			if least := window + orphanGrace; first < least || last > stated+slow {
				t.Errorf("the first was terminated after %s, the last after %s; stated are at least %s, at most %s", first, last, least, stated)
			}
			w.until("500 ended in the records", func() bool {
				n := 0
				for _, l := range w.snapshot().Leases {
					if l.State == lease.StateEnded && l.Cause == lease.CauseFailedCreation {
						n++
					}
				}
				return n == len(made)
			})
			w.moreSweeps(5)
			w.onlyDied(made)
			if n := len(w.asked()); n != len(made) {
				t.Errorf("EC2 was asked to terminate %d, want 500", n)
			}
		})
	}
}
