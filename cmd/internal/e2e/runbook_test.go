//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"go.etcd.io/etcd/api/v3/etcdserverpb"

	"lapse/lease"
	"lapse/lease/ec2/ec2sim"
	"lapse/lease/etcd"
)

const runbookPage = "../../../deploy/runbook.md"

// chapter is one section of the runbook: what goes wrong before somebody opens it, what its commands print, and what is so
// when all of them were given.
type chapter struct {
	title string
	wrong func(*night)
	says  map[string]string // by the beginning of a command: what it prints, or not if it begins with "!"
	after func(*night)
}

// night is a janitor with its own etcd as a service of a machine, a simulated EC2, and somebody who was woken.
type night struct {
	*world
	sim   *ec2sim.Sim
	shell *shell
	// living must live through all of it; ended is what Lapse ended by right, foreign and untracked are not its to end.
	living, ended, foreign, untracked string
	lost                              []string
	registry                          string // its UUID
}

// TestE2ERunbook lets go wrong what deploy/runbook.md is about and does what it says, command by command as it stands there.
// Services are played by scripts, and paths below /var are in the test's directory. No section with commands is left out.
func TestE2ERunbook(t *testing.T) {
	t.Parallel() // it mostly waits
	sections := runbookSections(t)
	n := newNight(t)
	for _, c := range chapters() {
		commands, there := sections[c.title]
		if !there {
			t.Fatalf("the runbook has no commands below %q", c.title)
		}
		delete(sections, c.title)
		t.Logf("## %s", c.title)
		if c.wrong != nil {
			c.wrong(n)
		}
		for _, command := range commands {
			n.follow(c, command)
		}
		for begin := range c.says {
			if !anyStarts(commands, begin) {
				t.Errorf("below %q no command begins with %q", c.title, begin)
			}
		}
		if c.after != nil {
			c.after(n)
		}
		if i, _ := n.sim.Instance(n.living); i.State != ec2sim.Running {
			t.Fatalf("after %q, %s is %s", c.title, n.living, i.State)
		}
	}
	for title := range sections {
		t.Errorf("no test runs what the runbook says below %q", title)
	}
}

// runbookSections are the commands by the heading that they stand below.
func runbookSections(t *testing.T) map[string][]string {
	t.Helper()
	text, err := os.ReadFile(runbookPage)
	if err != nil {
		t.Fatal(err)
	}
	sections := map[string][]string{}
	heads := regexp.MustCompile(`(?m)^##+ (.*)$`).FindAllStringSubmatchIndex(string(text), -1)
	for k, head := range heads {
		end := len(text)
		if k+1 < len(heads) {
			end = heads[k+1][0]
		}
		if commands := consoleCommands(t, runbookPage, string(text[head[1]:end])); len(commands) > 0 {
			sections[string(text[head[2]:head[3]])] = commands
		}
	}
	return sections
}

func anyStarts(commands []string, begin string) bool {
	for _, command := range commands {
		if strings.HasPrefix(command, begin) {
			return true
		}
	}
	return false
}

// chapters are the sections in the order of the page.
func chapters() []chapter {
	return []chapter{
		{title: "First", says: map[string]string{"janitor status": "armed since", "lease doctor": "!fail "}},
		{title: "It terminated X", wrong: (*night).endOne, says: map[string]string{
			"janitor pause": "armed → paused", "janitor status": "nothing is terminated until `janitor resume`", "lease why": "has ended", "lease history": "revoke",
			"grep": `"kind":"terminate"`, "etcdctl get": `"state":"ended"`, "janitor resume": "paused → armed",
		}},
		{title: "It does not terminate X", wrong: (*night).strays, says: map[string]string{"lease list --untracked": "UNTRACKED", "lease list --foreign": "FOREIGN"}},
		{title: "Tags that are late", says: map[string]string{"lease doctor": "as janitor   yes", "lease list": "active"}},
		{title: "heartbeats", wrong: (*night).fallLost, says: map[string]string{
			"janitor status": "brake heartbeats engaged", "janitor release-brake heartbeats": "brake heartbeats released",
		}, after: (*night).lostEnd},
		{title: "rollback and unwatched", wrong: (*night).checkpointSetBack, says: map[string]string{
			"janitor status": "brake rollback engaged (everywhere)", "janitor release-brake rollback": "brake rollback released",
			"janitor release-brake unwatched": "brake unwatched is not engaged",
		}},
		{title: "Backup", says: map[string]string{"etcdutl snapshot status": "REVISION"}, after: (*night).extendOne},
		{title: "Restore", says: map[string]string{"until janitor status | grep": "the registry was set back to an older state"}, after: (*night).setBackInTime},
		{title: "An emptied registry", wrong: (*night).loseData, says: map[string]string{
			"aws": "REGISTRY", "lease recover --dry-run": "LIVING", "lease recover --yes": "LIVING", "janitor arm": "observe → armed",
		}},
		{title: "A full etcd", wrong: (*night).fillEtcd, says: map[string]string{"etcdctl alarm list": "NOSPACE", "etcdctl defrag": "Finished defragmenting"}},
		{title: "A lost janitor", wrong: (*night).killJanitor, says: map[string]string{"journalctl": "elected"}},
		{title: "Upgrade, and who leads", says: map[string]string{"janitor status | grep": " by ", "lease doctor": "!fail "}},
	}
}

// newNight starts the service on an etcd of its own, arms it, and launches what must live.
func newNight(t *testing.T) *night {
	t.Helper()
	n := &night{world: emptyWorld(t), sim: ec2sim.New(ec2sim.Config{})}
	server, err := ec2sim.Serve(n.sim, "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	t.Cleanup(n.sim.Close)
	n.aws = server.URL
	tools := n.machine(t)
	n.shell = n.newShell("AWS_REGION="+region, "AWS_DEFAULT_REGION="+region, "PATH="+tools+":"+etcdTools(t)+":"+n.bin+":"+os.Getenv("PATH"))
	n.shell.do("systemctl start lapse-janitor")
	n.shell.do("export LAPSE_ETCD_ENDPOINTS=" + n.etcd())
	n.shell.do("until janitor status --check; do sleep 1; done")
	n.dial()
	n.shell.do("janitor arm --yes")
	registry, err := n.store.Registry(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	n.registry = registry.UUID
	n.living = n.launch("living", "24h")
	return n
}

// etcd is the socket of the janitor's own.
func (n *night) etcd() string { return "unix://" + filepath.Join(n.dir, "l", "etcd.sock") }

// dial connects the test itself to the etcd of the service.
func (n *night) dial() {
	n.t.Helper()
	client, err := etcd.Dial(n.t.Context(), etcd.Config{Endpoints: []string{n.etcd()}})
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { _ = client.Close() })
	n.store = etcd.New(client, "default", etcd.Options{})
}

// launch starts one instance by the shell.
func (n *night) launch(token, term string, more ...string) string {
	n.t.Helper()
	n.shell.do(strings.Join(append([]string{
		"lease launch --id", token, "--image-id ami-0abc123def4567890 --instance-type t3.micro --term", term,
	}, more...), " "))
	launch, err := n.store.Launch(n.t.Context(), token)
	if err != nil || len(launch.Instances()) == 0 {
		n.t.Fatalf("launch %s: %+v, %v", token, launch, err)
	}
	return launch.Instances()[0]
}

// follow gives the shell a command of the page, with the paths and the instance of this night in it.
func (n *night) follow(c chapter, command string) {
	n.t.Helper()
	here := strings.NewReplacer("/var/lib/lapse", filepath.Join(n.dir, "l"), "/var/log/lapse", n.dir, "/var/backups", n.dir, "/etc/lapse", n.dir,
		"i-0123456789abcdef0", n.ended, "0f8fad5b-d9cb-469f-a165-70867728950e", n.registry).Replace(command)
	said := n.shell.do(here)
	for begin, want := range c.says {
		want, absent := strings.CutPrefix(want, "!")
		want = strings.NewReplacer("REGISTRY", n.registry, "UNTRACKED", n.untracked, "FOREIGN", n.foreign, "LIVING", n.living).Replace(want)
		if strings.HasPrefix(command, begin) && strings.Contains(said, want) == absent {
			n.t.Errorf("below %q, `%s` says\n%swant %q (absent: %t)", c.title, command, said, want, absent)
		}
	}
}

// endOne lets the lease of another instance expire.
func (n *night) endOne() {
	n.ended = n.launch("lapsing", "1h")
	n.shell.do("lease extend lapsing --for 2s --allow-shorten")
	n.shell.do("until lease list --state ended -q | grep " + n.ended + "; do sleep 1; done")
}

// strays are instances that bear tags and that nothing here may end.
func (n *night) strays() {
	n.foreign = n.sim.Create(ec2sim.Instance{Tags: map[string]string{lease.TagRegistry: "00000000-0000-4000-8000-000000000000"}}).ID
	n.untracked = n.sim.Create(ec2sim.Instance{Tags: map[string]string{lease.TagRegistry: n.registry}}).ID
}

// fallLost launches instances that nobody renews.
func (n *night) fallLost() {
	n.launch("silent", "1h", "--count 4 --heartbeat-timeout 5s")
	launch, err := n.store.Launch(n.t.Context(), "silent")
	if err != nil {
		n.t.Fatal(err)
	}
	n.lost = launch.Instances()
	n.shell.do("until janitor status | grep 'brake heartbeats engaged'; do sleep 1; done")
}

// lostEnd waits until those that really are dead are terminated.
func (n *night) lostEnd() {
	n.until("those with lost heartbeats to be terminated", func() bool {
		for _, id := range n.lost {
			if i, _ := n.sim.Instance(id); i.State != ec2sim.Terminated {
				return false
			}
		}
		return true
	})
	n.shell.do("until janitor status --check; do sleep 1; done")
}

// checkpointSetBack puts an older checkpoint in the place of the newest.
func (n *night) checkpointSetBack() {
	n.shell.do("etcdctl get /lapse/default/checkpoint --print-value-only >$HOME/checkpoint")
	n.fiveMoreSweeps()
	n.shell.do("etcdctl put /lapse/default/checkpoint <$HOME/checkpoint")
	n.shell.do("until janitor status | grep 'brake rollback engaged'; do sleep 1; done")
}

// extendOne makes a change that the backup does not know.
func (n *night) extendOne() {
	n.shell.do("lease extend living --for 60h")
	n.fiveMoreSweeps()
}

// setBackInTime checks that what the backup lacks is gone, and that no revision comes twice.
func (n *night) setBackInTime() {
	l, err := n.store.Lease(n.t.Context(), n.living)
	if err != nil {
		n.t.Fatal(err)
	}
	for _, entry := range l.History {
		if entry.Action == "extend" {
			n.t.Errorf("the restored state knows of the later extension: %+v", l.History)
		}
	}
	checkpoint, err := n.store.Checkpoint(n.t.Context())
	if err != nil || checkpoint.Revision <= 1_000_000_000 {
		n.t.Errorf("the checkpoint is of revision %d (%v), which may have been of another record before", checkpoint.Revision, err)
	}
}

// loseData stops the service, takes away its etcd's data, and starts it again: it refuses.
func (n *night) loseData() {
	n.shell.do("systemctl stop lapse-janitor; rm -rf " + filepath.Join(n.dir, "l", "data") + "; systemctl start lapse-janitor")
	n.shell.do("until journalctl -u lapse-janitor -n 30 --no-pager | grep 'restore its backup, give --uuid'; do sleep 1; done")
}

// fillEtcd raises the alarm that etcd raises when it is full.
func (n *night) fillEtcd() {
	n.dial()
	client, err := etcd.Dial(n.t.Context(), etcd.Config{Endpoints: []string{n.etcd()}})
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { _ = client.Close() })
	_, err = etcdserverpb.NewMaintenanceClient(client.ActiveConnection()).Alarm(n.t.Context(), &etcdserverpb.AlarmRequest{
		Action: etcdserverpb.AlarmRequest_ACTIVATE, Alarm: etcdserverpb.AlarmType_NOSPACE,
	})
	if err != nil {
		n.t.Fatal(err)
	}
}

// killJanitor ends the service's process without asking it.
func (n *night) killJanitor() {
	text, err := os.ReadFile(filepath.Join(n.dir, "pid"))
	if err != nil {
		n.t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		n.t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		n.t.Fatal(err)
	}
}

// machine makes scripts that play the machine's services, and returns where they are.
func (n *night) machine(t *testing.T) string {
	t.Helper()
	settings := fmt.Sprintf("AWS_REGION=%s\nLAPSE_AUDIT_LOG=%s/audit.log\nLAPSE_SCHEDULE='@every 1s'\n"+
		"LAPSE_BOOT_GRACE=1s\nLAPSE_MARK_GRACE=2s\nLAPSE_LONE_GRACE=2s\n", region, n.dir)
	if err := os.WriteFile(filepath.Join(n.dir, "janitor.env"), []byte(settings), 0o600); err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(n.dir, "bin")
	if err := os.Mkdir(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, script := range map[string]string{
		"systemctl": `cd $HOME
stop() { test -f pid && kill $(cat pid) 2>/dev/null; while test -f pid && kill -0 $(cat pid) 2>/dev/null; do sleep 0.1; done; rm -f pid; }
start() { set -a; . janitor.env; LAPSE_EMBEDDED_ETCD=$HOME/l LAPSE_STATE_DIR=$HOME/l-janitor nohup janitor run --leader-window 1s >>janitor.log 2>&1 </dev/null & echo $! >pid; }
case $1 in stop) stop;; start) start;; restart) stop; start;; status) cat pid;; esac`,
		"journalctl": `tail -n 30 $HOME/janitor.log`,
		"runuser":    `shift 3; exec "$@"`,
		"chown":      `exit 0`,
	} {
		if err := os.WriteFile(filepath.Join(bin, name), []byte("#!/bin/bash\n"+script+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return bin
}

// etcdTools builds etcdctl and etcdutl of the version of the client, and returns where they are. They are no dependency of
// this module, so they are built in one of their own.
func etcdTools(t *testing.T) string {
	t.Helper()
	version, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Version}}", "go.etcd.io/etcd/client/v3").Output()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	at := "@" + strings.TrimSpace(string(version))
	for _, args := range [][]string{
		{"mod", "init", "tools"},
		{"get", "go.etcd.io/etcd/etcdctl/v3" + at, "go.etcd.io/etcd/etcdutl/v3" + at},
		{"build", "-o", dir, "go.etcd.io/etcd/etcdctl/v3", "go.etcd.io/etcd/etcdutl/v3"},
	} {
		c := exec.CommandContext(t.Context(), "go", args...)
		c.Dir = dir
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	return dir
}
