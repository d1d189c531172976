//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"lapse/lease"
	"lapse/lease/ec2/ec2sim"
)

// killedRuns is how many launchers are killed, each at a random time of its life.
const killedRuns = 50

// TestE2EKilledLaunchers kills launchers at random times. Some are resumed, and then answer the same however often they
// are asked; the others are left to the janitor. In the end no instance is without a lease, and no launch made more
// than it was asked for.
func TestE2EKilledLaunchers(t *testing.T) {
	t.Parallel()
	sim := ec2sim.New(ec2sim.Config{Latency: 15 * time.Millisecond})
	w := newSimWorld(t, sim)
	w.run("lease", "init", "--armed")
	w.spawn(w.command(w.aws, "janitor", "run", "--schedule", "@every 1s", "--mark-grace", "1s", "--orphan-grace", "1s",
		"--launch-window", "10s", "--rate-window", "1s"), "janitor")
	w.until("a first sweep", func() bool {
		checkpoint, err := w.store.Checkpoint(t.Context())
		return err == nil && checkpoint.Sequence > 0
	})
	began := time.Now()
	w.run("lease", killedLaunch("measure", 3)...)
	life := time.Since(began)

	seed := uint64(time.Now().UnixNano())
	random := rand.New(rand.NewPCG(seed, 0))
	landed := map[string]int{}
	for n := range killedRuns {
		token, count := fmt.Sprintf("killed-%d", n), 1+random.IntN(5)
		launcher := w.command(w.aws, "lease", killedLaunch(token, count)...)
		if err := launcher.Start(); err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(time.Duration((0.4+0.7*random.Float64())*float64(life)), func() { _ = launcher.Process.Kill() })
		_ = launcher.Wait()
		landed[w.howFar(sim, token)]++
		if n%2 == 0 {
			w.resumesTheSame(token, count)
		}
	}
	t.Logf("seed %d; a launch takes %s; the kill landed: %v", seed, life.Round(time.Millisecond), landed)
	if len(landed) < 3 {
		t.Errorf("the kills landed in too few locations to show anything: %v", landed)
	}
	w.until("every running instance having a lease, and every launch settled", func() bool {
		snapshot, err := w.store.Snapshot(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		open := slices.ContainsFunc(snapshot.Launches, func(l lease.Launch) bool { return l.State == lease.LaunchOpen })
		return !open && len(unleased(sim, snapshot)) == 0
	})
	made := map[string]int{}
	for _, i := range sim.Instances() {
		token, _, _ := strings.Cut(i.ClientToken, ".")
		made[token]++
	}
	snapshot, err := w.store.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range snapshot.Launches {
		if made[l.Token] > l.Count {
			t.Errorf("launch %s of %d launched %d instances", l.Token, l.Count, made[l.Token])
		}
		delete(made, l.Token)
	}
	if len(made) > 0 {
		t.Errorf("instances of launches without a record: %v", made)
	}
}

func killedLaunch(token string, count int) []string {
	return []string{
		"launch", "--id", token, "--count", fmt.Sprint(count), "--image-id", "ami-0123456789abcdef0", "--instance-type", "t3.micro",
		"--term", "1h", "-o", "json",
	}
}

// howFar says how far a killed launch came.
func (w *world) howFar(sim *ec2sim.Sim, token string) string {
	w.t.Helper()
	launch, err := w.store.Launch(w.t.Context(), token)
	made := slices.ContainsFunc(sim.Instances(), func(i ec2sim.Instance) bool { return strings.HasPrefix(i.ClientToken, token+".") })
	switch {
	case err != nil:
		return "before its record"
	case launch.State == lease.LaunchDone:
		return "after its end"
	case launch.Last().Outcome != "":
		return "before its end"
	case made:
		return "before the answer"
	}
	return "before the action"
}

// resumesTheSame runs the same command three times and compares the instances of its answers.
func (w *world) resumesTheSame(token string, count int) {
	w.t.Helper()
	var first []string
	for n := range 3 {
		var answer struct {
			Leases []lease.Lease `json:"leases"`
		}
		if err := json.Unmarshal([]byte(w.run("lease", killedLaunch(token, count)...)), &answer); err != nil {
			w.t.Fatal(err)
		}
		var ids []string
		for _, l := range answer.Leases {
			if l.State != lease.StateActive {
				w.t.Errorf("resumed %s: the lease of %s is %s", token, l.InstanceID, l.State)
			}
			ids = append(ids, l.InstanceID)
		}
		switch {
		case len(ids) != count:
			w.t.Errorf("resumed %s has %d instances, want %d", token, len(ids), count)
		case n == 0:
			first = ids
		case !slices.Equal(ids, first):
			w.t.Errorf("resumed %s answers %v, before that %v", token, ids, first)
		}
	}
}

// unleased are the instances that live without a lease that holds.
func unleased(sim *ec2sim.Sim, s lease.Snapshot) []string {
	holds := map[string]bool{}
	for _, l := range s.Leases {
		holds[l.InstanceID] = l.State == lease.StateActive
	}
	var ids []string
	for _, i := range sim.Instances() {
		if i.State != "terminated" && i.State != "shutting-down" && !holds[i.ID] {
			ids = append(ids, i.ID)
		}
	}
	return ids
}
