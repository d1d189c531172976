//go:build e2e

package e2e

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestE2EDemoStays pastes what `janitor demo --stay` prints into another shell, and finds the demo with every command
// and with the AWS CLI, whatever that shell was set to before. Asked to stop, it leaves nothing behind.
func TestE2EDemoStays(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("aws"); err != nil {
		t.Fatal("the AWS CLI is not installed: pip install awscli")
	}
	dir, err := os.MkdirTemp("", "l") //nolint:usetesting // short: paths of unix sockets are
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	demo := exec.Command(filepath.Join(bin, "janitor"), "demo", "--stay")
	demo.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "TMPDIR=" + dir}
	var complaints strings.Builder
	demo.Stderr = &complaints
	stdout, err := demo.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := demo.Start(); err != nil {
		t.Fatal(err)
	}
	patience := time.AfterFunc(generous, func() { _ = demo.Process.Kill() })
	defer patience.Stop()

	said, settings := readUntilItStays(stdout)
	tryDemo(t, shellOf(t, dir, settings), said)

	if err := demo.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, stdout)
	if err := demo.Wait(); err != nil || complaints.Len() > 0 {
		t.Errorf("interrupted, the demo ends with %v and complains:\n%s\nafter it printed:\n%s", err, &complaints, said)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("the demo left behind: %v (%v)", left, err)
	}
}

// TestE2EDemoStopsWhatItStartedWhenNobodyReads has its reader gone after three lines, as `janitor demo | head -3` has.
func TestE2EDemoStopsWhatItStartedWhenNobodyReads(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "l") //nolint:usetesting // short: paths of unix sockets are
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	demo := exec.Command(filepath.Join(bin, "janitor"), "demo")
	demo.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "TMPDIR=" + dir}
	ours, theirs, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	demo.Stdout = theirs
	if err := demo.Start(); err != nil {
		t.Fatal(err)
	}
	patience := time.AfterFunc(generous, func() { _ = demo.Process.Kill() })
	defer patience.Stop()
	_ = theirs.Close()
	lines := bufio.NewScanner(ours)
	for range 3 {
		if !lines.Scan() {
			t.Fatal("the demo printed less than three lines")
		}
	}
	_ = ours.Close()
	if err := demo.Wait(); demo.ProcessState.ExitCode() != 1 {
		t.Errorf("the demo ends with %v", err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("the demo left behind: %v (%v)", left, err)
	}
}

// readUntilItStays returns all that the demo says before it waits, and the lines of it that are for a shell.
func readUntilItStays(stdout io.Reader) (said, settings string) {
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		line := lines.Text()
		said += line + "\n"
		if strings.HasPrefix(line, "export ") || strings.HasPrefix(line, "unset ") {
			settings += line + "\n"
		}
		if strings.HasPrefix(line, "The notice before a termination") {
			break
		}
	}
	return said, settings
}

// shellOf runs scripts in a shell that was set to something else before the settings were pasted.
func shellOf(t *testing.T, home, settings string) func(script string) string {
	t.Helper()
	return func(script string) string {
		t.Helper()
		sh := exec.Command("sh", "-euc", settings+script)
		sh.Env = []string{
			"PATH=" + os.Getenv("PATH"), "HOME=" + home, "AWS_PROFILE=mine", "AWS_ENDPOINT_URL_EC2=http://127.0.0.1:1",
			"AWS_REGION=eu-west-1", "LAPSE_NAMESPACE=mine", "LAPSE_ETCD_ENDPOINTS=127.0.0.1:1", "AWS_PAGER=",
		}
		var stderr strings.Builder
		sh.Stderr = &stderr
		out, err := sh.Output()
		if err != nil {
			t.Errorf("%s: %v\n%s%s\nwith the settings\n%s", script, err, out, &stderr, settings)
		}
		return string(out)
	}
}

// tryDemo uses the demo as somebody in another terminal would.
func tryDemo(t *testing.T, shell func(script string) string, said string) {
	t.Helper()
	list := func() []string { return strings.Fields(shell("lease list -q")) }
	before := list()
	if len(before) == 0 {
		t.Error("nothing is leased")
	}
	shell("lease launch --id mine --image-id ami-0123456789abcdef0 --instance-type t3.micro --term 1h")
	launched := slices.DeleteFunc(list(), func(id string) bool { return slices.Contains(before, id) })
	if len(launched) != 1 {
		t.Fatalf("lease list shows %v more after a launch of one", launched)
	}
	if status := shell("janitor status"); !strings.Contains(status, "armed") {
		t.Errorf("janitor status says:\n%s", status)
	}
	if all := shell("aws ec2 describe-instances --output text"); !strings.Contains(all, launched[0]) {
		t.Errorf("the AWS CLI does not see %s in\n%s", launched[0], all)
	}
	// Every example that it gives works as it stands.
	said, own, _ := strings.Cut(said, "\nAn instance of your own")
	examples := regexp.MustCompile(`(?m)^  ((?:lease|janitor|sidecar|aws) .+)$`).FindAllStringSubmatch(said, -1)
	if len(examples) < 5 {
		t.Errorf("the demo gives %d examples", len(examples))
	}
	for _, example := range examples {
		shell(example[1])
	}
	shell("lease release --yes " + launched[0])

	steps := regexp.MustCompile(`(?m)^  (.+)$`).FindAllStringSubmatch(own, -1)
	if len(steps) != 3 {
		t.Fatalf("an instance of one's own takes %d commands:\n%s", len(steps), own)
	}
	socket := regexp.MustCompile(`--socket \S+`).FindString(own)
	script := strings.Join([]string{
		steps[0][1], steps[1][1], "trap 'kill $!' EXIT", "timeout 60 sh -c 'until sidecar status " + socket + " | grep -q holder; do sleep .2; done'", // as a person waits
		steps[2][1], "lease history $id",
	}, "\n")
	if history := shell(script); !strings.Contains(history, "extend") || !strings.Contains(history, "instance:") {
		t.Errorf("the history of an instance that extended itself:\n%s", history)
	}
}
