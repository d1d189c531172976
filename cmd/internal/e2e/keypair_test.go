//go:build e2e

package e2e

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// TestE2EMotoIsRecognised launches on moto, which ignores client tokens: without another anima that is refused, and the examination
// says so.
func TestE2EMotoIsRecognised(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.run("lease", "init", "--armed")
	launcher := w.command(w.aws, "lease", "launch", "--unattended", "--image-id", "ami-12c6146b", "--instance-type", "t3.micro", "--term", "1h")
	var said bytes.Buffer
	launcher.Stderr = &said
	var exit *exec.ExitError
	if err := launcher.Run(); !errors.As(err, &exit) || exit.ExitCode() != 4 || !strings.Contains(said.String(), "ignores client tokens (it is moto)") {
		t.Errorf("launched with %v, and said %q", err, said.String())
	}
	if states := w.states(); len(states) > 0 {
		t.Errorf("moto has %v", states)
	}
	doctor := w.command(w.aws, "lease", "doctor")
	found, _ := doctor.Output() // which fails, for there is no janitor
	if !strings.Contains(string(found), "it is moto") || !strings.Contains(string(found), "--anima key-pair") {
		t.Errorf("the examination found\n%s", found)
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

// keyPairs are the names of the key pairs that are there.
func (w *world) keyPairs() []string {
	w.t.Helper()
	out, err := w.ec2.DescribeKeyPairs(w.t.Context(), &ec2.DescribeKeyPairsInput{})
	if err != nil {
		w.t.Fatalf("ask for key pairs: %v", err)
	}
	var names []string
	for _, k := range out.KeyPairs {
		names = append(names, aws.ToString(k.KeyName))
	}
	slices.Sort(names)
	return names
}
