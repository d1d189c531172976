//go:build e2e

package e2e

import (
	"os"
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// TestE2EKeyPair launches on moto, which creates again whatever is sent again, with a key pair for an anima. A launcher that is
// killed before it hears of its instances is resumed, and finds them; what nobody resumes is terminated.
func TestE2EKeyPair(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.run("lease", "init", "--armed")
	w.spawn(w.command(w.aws, "janitor", "run", "--schedule", "@every 1s", "--orphan-grace", "1s", "--launch-window", "30s"), "janitor")
	w.until("a first sweep", func() bool {
		checkpoint, err := w.store.Checkpoint(t.Context())
		return err == nil && checkpoint.Sequence > 0
	})
	request := []string{"--image-id", "ami-12c6146b", "--instance-type", "t3.micro", "--term", "1h", "--count", "2", "--anima", "key-pair", "--consistency", "2s"}

	plain := w.run("lease", append([]string{"launch", "--id", "plain", "-q"}, request...)...)
	w.crash("resumed", request...)
	first := w.run("lease", "launch", "--id", "resumed", "-q")
	for range 2 {
		if again := w.run("lease", "launch", "--id", "resumed", "-q"); again != first {
			t.Errorf("resumed to %q, and then to %q", first, again)
		}
	}
	if n := w.alive(); len(n) != 4 {
		t.Errorf("%d instances of two launches of two: %v", len(n), n)
	}
	w.crash("left", request...)
	if n := w.alive(); len(n) != 6 {
		t.Fatalf("%d instances, want six, of which two are nobody's", len(n))
	}
	w.until("what nobody resumed terminated", func() bool { return len(w.alive()) == 4 })
	w.fiveMoreSweeps()
	for _, id := range w.alive() {
		if l, err := w.store.Lease(t.Context(), id); err != nil || l.KeyName == "" || !slices.Contains([]string{"plain", "resumed"}, l.Launch) {
			t.Errorf("%s runs under lease %+v (%v); plain launched %q", id, l, err, plain)
		}
	}
}

// crash kills a launcher before it hears what RunInstances answered.
func (w *world) crash(token string, request ...string) {
	w.t.Helper()
	launcher := w.command("", "lease", append([]string{"launch", "--id", token}, request...)...)
	victim := make(chan *os.Process, 1)
	launcher.Env = append(launcher.Env, "AWS_ENDPOINT_URL="+w.killAfterDeed(victim).URL)
	if err := launcher.Start(); err != nil {
		w.t.Fatal(err)
	}
	victim <- launcher.Process
	if err := launcher.Wait(); err == nil {
		w.t.Fatal("the launcher was not killed")
	}
}

// alive are the instances that moto runs.
func (w *world) alive() []string {
	w.t.Helper()
	var ids []string
	for id, state := range w.states() {
		if state == types.InstanceStateNameRunning || state == types.InstanceStateNamePending {
			ids = append(ids, id)
		}
	}
	return ids
}
