//go:build e2e

package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net/http/httptest"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"lapse/lease"
	"lapse/lease/ec2/ec2sim"
)

// TestE2EPage does what deploy/README.md tells a newcomer to do, command by command as it stands there, up to an instance that
// renews and extends itself: EC2 is simulated, and so is IAM, by moto.
func TestE2EPage(t *testing.T) {
	t.Parallel() // it mostly waits
	commands := pageCommands(t, "../../../deploy/README.md", "## From an empty account to the first ended lease")
	sim := ec2sim.New(ec2sim.Config{
		Parameters: map[string]string{"/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64": "ami-0abc123def4567890"},
	})
	server, err := ec2sim.Serve(sim, "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	t.Cleanup(sim.Close)
	w := emptyWorld(t)
	w.startMoto()
	iam := w.aws
	w.aws = server.URL

	shell := w.newShell("AWS_ENDPOINT_URL_IAM=" + iam)
	var said []string
	for _, command := range commands {
		said = append(said, shell.do(command))
	}
	instances := sim.Instances()
	if len(instances) != 1 || instances[0].State != ec2sim.Terminated {
		t.Fatalf("in EC2 is %+v, want one instance, terminated", instances)
	}
	id := instances[0].ID
	last := said[len(said)-2] // the one before the clean-up asks EC2
	if !strings.Contains(last, id+"\tterminated") {
		t.Errorf("at the end the page's reader sees %q, want %s terminated", last, id)
	}
	if instances[0].Tags[lease.TagRegistry] == "" {
		t.Error("the instance does not bear the registry's tag")
	}
	w.keepItself(shell, sim)
}

// onInstance begins a command that is given on the instance.
const onInstance = "[instance]$ "

// keepItself goes on with the section after the walk, of which some commands are given on the instance.
func (w *world) keepItself(shell *shell, sim *ec2sim.Sim) {
	certificates, err := sim.IdentityCertificates()
	if err == nil {
		err = os.WriteFile(w.path("ec2.pem"), certificates, 0o600)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	shell.do("export LAPSE_IDENTITY_CERTIFICATES=" + w.path("ec2.pem") + " API=" + w.freeAddress()) // of a simulated EC2, on loopback
	said := map[string]string{}
	for _, command := range pageCommands(w.t, "../../../deploy/README.md", "## An instance that keeps its own lease") {
		on, machine := strings.CutPrefix(command, onInstance)
		if machine && w.machineShell == nil {
			w.machineShell = w.logIn(sim)
		}
		if words := strings.Fields(on); machine {
			said[strings.Join(words[:2], " ")] = w.machineShell.do(on)
		} else {
			said[strings.Join(words[:2], " ")] = shell.do(command)
		}
	}
	running, ended := w.fates(sim)
	if len(running) > 0 || len(ended) != 2 {
		w.t.Errorf("%q run, and %q are terminated; want two terminated", running, ended)
	}
	if text := said["lease list"] + said["lease history"]; !strings.Contains(said["sidecar extend"], "→") || !strings.Contains(text, "the build runs on") {
		w.t.Errorf("extended with\n%s\nand seen with\n%s", said["sidecar extend"], text)
	}
}

// logIn is a shell on the one instance that runs, which has no credentials, no etcd, and the two files that were copied there.
func (w *world) logIn(sim *ec2sim.Sim) *shell {
	w.t.Helper()
	running, _ := w.fates(sim)
	if len(running) != 1 {
		w.t.Fatalf("%q run, want one", running)
	}
	metadata := httptest.NewServer(sim.IMDS(running[0]))
	w.t.Cleanup(metadata.Close)
	run := w.path("run")
	if err := os.Mkdir(run, 0o700); err != nil {
		w.t.Fatal(err)
	}
	machine := w.newShell("AWS_ENDPOINT_URL=", "AWS_ACCESS_KEY_ID=", "AWS_SECRET_ACCESS_KEY=", "AWS_EC2_METADATA_DISABLED=false",
		"AWS_EC2_METADATA_SERVICE_ENDPOINT="+metadata.URL, "XDG_RUNTIME_DIR="+run)
	machine.do("export PATH=$PWD/bin:$PATH && mkdir $HOME/instance && cd $HOME/instance && cp $HOME/lapse/api.pem .")
	return machine
}

// fates are the instances that run, and those that are terminated.
func (w *world) fates(sim *ec2sim.Sim) (running, ended []string) {
	for _, i := range sim.Instances() {
		switch i.State {
		case ec2sim.Running:
			running = append(running, i.ID)
		case ec2sim.Terminated, ec2sim.ShuttingDown:
			ended = append(ended, i.ID)
		default:
			w.t.Errorf("%s is %s", i.ID, i.State)
		}
	}
	return running, ended
}

// pageCommands are the commands in a section of a page: what follows "$ " in its console blocks.
func pageCommands(t *testing.T, page, section string) []string {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(text), "\n"+section+"\n")
	if !found {
		t.Fatalf("%s has no section %q", page, section)
	}
	body, _, _ := strings.Cut(rest, "\n## ")
	commands := consoleCommands(t, page, body)
	if len(commands) < 10 {
		t.Fatalf("%s has only %d commands below %q", page, len(commands), section)
	}
	return commands
}

// consoleCommands are the commands in a text of a page; those on the instance begin with [onInstance].
func consoleCommands(t *testing.T, page, text string) []string {
	t.Helper()
	var commands []string
	for _, block := range regexp.MustCompile("(?ms)^```console\n(.*?)^```$").FindAllStringSubmatch(text, -1) {
		for line := range strings.Lines(block[1]) {
			line = strings.TrimSpace(line)
			command, is := strings.CutPrefix(line, "$ ")
			if !is && !strings.HasPrefix(line, onInstance) {
				t.Fatalf("%s: %q in a console block is no command", page, line)
			}
			commands = append(commands, command)
		}
	}
	return commands
}

// shell is one bash, to which commands are given as a person would.
type shell struct {
	t      *testing.T
	stdin  io.Writer
	reader *os.File
	lines  *bufio.Reader
}

// newShell starts one in the repository's root and at home in the world's directory, with settings beside those of AWS.
func (w *world) newShell(settings ...string) *shell {
	w.t.Helper()
	c := exec.CommandContext(w.t.Context(), "bash", "--norc")
	c.Dir = "../../.."
	caches, err := exec.CommandContext(w.t.Context(), "go", "env", "GOCACHE", "GOMODCACHE").Output()
	if err != nil {
		w.t.Fatal(err)
	}
	build, modules, _ := strings.Cut(strings.TrimSpace(string(caches)), "\n") // the home is a new one
	c.Env = append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + w.dir, "GOCACHE=" + build, "GOMODCACHE=" + modules, "AWS_ENDPOINT_URL=" + w.aws, "AWS_PAGER=",
		"AWS_ACCESS_KEY_ID=e2e", "AWS_SECRET_ACCESS_KEY=e2e", "AWS_EC2_METADATA_DISABLED=true",
	}, settings...)
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // with all that it starts it can be ended by one id
	c.Cancel = func() error { return syscall.Kill(-c.Process.Pid, syscall.SIGKILL) }
	stdin, err := c.StdinPipe()
	if err != nil {
		w.t.Fatal(err)
	}
	reader, writer, err := os.Pipe()
	if err != nil {
		w.t.Fatal(err)
	}
	c.Stdout, c.Stderr = writer, writer
	if err := c.Start(); err != nil {
		w.t.Fatal(err)
	}
	_ = writer.Close()
	w.t.Cleanup(func() {
		_ = syscall.Kill(-c.Process.Pid, syscall.SIGTERM)
		_ = stdin.Close()
		_ = c.Wait()
		_ = reader.Close()
	})
	return &shell{t: w.t, stdin: stdin, reader: reader, lines: bufio.NewReader(reader)}
}

// do gives the shell one command and returns what it printed. A command that fails fails the test.
func (s *shell) do(command string) string {
	s.t.Helper()
	s.t.Logf("$ %s", command)
	_ = s.reader.SetReadDeadline(time.Now().Add(2 * generous))
	const done = "--done--"
	if _, err := fmt.Fprintf(s.stdin, "%s\necho %s $?\n", command, done); err != nil {
		s.t.Fatalf("%s: %v", command, err)
	}
	var said strings.Builder
	for {
		line, err := s.lines.ReadString('\n')
		if before, status, is := strings.Cut(line, done+" "); is {
			said.WriteString(before)
			if strings.TrimSpace(status) != "0" {
				s.t.Fatalf("$ %s\n%sexit code %s", command, &said, status)
			}
			s.t.Logf("%s", &said)
			return said.String()
		}
		said.WriteString(line)
		if err != nil {
			s.t.Fatalf("$ %s\n%s%v", command, &said, err)
		}
	}
}
