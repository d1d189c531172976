//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"lapse/lease/ec2/ec2sim"
)

// TestE2EAnotherSchemaIsRefused runs the programs of the schema before this one and the present ones over a registry of
// the other. Each refuses it whole, in a sentence, and writes nothing: in records of schema 2 fields have other names, and
// zeros in their place would say that nothing was agreed on. No janitor campaigns, so none can end anything.
func TestE2EAnotherSchemaIsRefused(t *testing.T) {
	t.Parallel()
	sim := ec2sim.New(ec2sim.Config{})
	young := newSimWorld(t, sim)
	old, client := *young, young.raw()
	old.bin = before(t, theSchema).bin

	t.Log("a registry of schema 2, and the present programs")
	old.run("lease", "init", "--armed")
	leader := old.spawn(old.command(old.aws, "janitor", "run", "--schedule", "@every 1s"), "janitor-old")
	old.until("the old janitor sweeps", func() bool {
		_, checkpointed := old.keys(client)["sweep"]
		return checkpointed
	})
	id := strings.TrimSpace(old.run("lease", "launch", "--id", "old", "--image-id", "ami-0123456789abcdef0", "--instance-type", "t3.micro", "--term", "1h", "-q"))
	endJanitor(t, leader)
	was := old.written(client)
	for _, args := range [][]string{
		{"lease", "list"},
		{"lease", "show", id},
		{"lease", "why", id},
		{"lease", "extend", id, "--for", "2h"},
		{"lease", "release", id, "--yes"},
		{"lease", "revoke", id, "--yes"},
		{"lease", "unmanage", id, "--yes"},
		{"lease", "launch", "--id", "old"},
		{"lease", "launch", "--image-id", "ami-0123456789abcdef0", "--instance-type", "t3.micro", "--unattended"},
		{"lease", "recover", "--yes"},
		{"lease", "init"},
		{"janitor", "run", "--schedule", "@every 1s"},
		{"janitor", "sweep"},
		{"janitor", "arm", "--yes"},
		{"janitor", "pause"},
		{"janitor", "status"},
	} {
		young.refused("has schema 2, which this version does not read (it reads 3): use the version that wrote it", args...)
	}
	young.sidecar(id)
	young.until("the sidecar says that it cannot read its lease", func() bool {
		said, _ := os.ReadFile(filepath.Join(young.dir, id+".log"))
		return strings.Contains(string(said), "has schema 2, which")
	})
	young.refused("has schema 2, which", "sidecar-direct", "extend", "--socket", young.socket(id), "--for", "2h")
	old.same(client, was)

	t.Log("a registry of schema 3, and the programs before it")
	old.wipe(client)
	young.run("lease", "init", "--armed")
	was = young.written(client)
	for _, args := range [][]string{
		{"lease", "list"},
		{"lease", "launch", "--image-id", "ami-0123456789abcdef0", "--instance-type", "t3.micro", "--unattended"},
		{"lease", "recover", "--yes"},
		{"janitor", "run", "--schedule", "@every 1s"},
		{"janitor", "sweep"},
	} {
		old.refused("registry default has schema 3, this version knows 2: upgrade this program", args...)
	}
	young.same(client, was)
	if i, _ := sim.Instance(id); i.State != "running" || len(sim.Instances()) != 1 {
		t.Errorf("%s is %s, of %d instances; want it running, and alone", id, i.State, len(sim.Instances()))
	}
}

// refused runs a command, which has to end by itself, refuse and say why.
func (w *world) refused(why string, args ...string) {
	w.t.Helper()
	c := w.command(w.aws, args[0], args[1:]...)
	done := time.AfterFunc(generous, func() { _ = c.Process.Kill() })
	defer done.Stop()
	out, err := c.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() < 1 || !strings.Contains(string(out), why) {
		w.t.Errorf("%s: %v, and says\n%s", strings.Join(args, " "), err, out)
	}
}

// endJanitor stops a janitor as its service manager does.
func endJanitor(t *testing.T, c *exec.Cmd) {
	t.Helper()
	if err := c.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	_ = c.Wait()
}

// keys are those below the registry's prefix, with their revisions.
func (w *world) keys(client *clientv3.Client) map[string]int64 {
	w.t.Helper()
	resp, err := client.Get(w.t.Context(), prefix, clientv3.WithPrefix())
	if err != nil {
		w.t.Fatal(err)
	}
	keys := map[string]int64{}
	for _, kv := range resp.Kvs {
		keys[strings.TrimPrefix(string(kv.GetKey()), prefix)] = kv.GetModRevision()
	}
	return keys
}

// written are the keys of the registry but those of heartbeats, which a sidecar writes whatever its lease looks like.
func (w *world) written(client *clientv3.Client) map[string]int64 {
	w.t.Helper()
	records := w.keys(client)
	for key := range records {
		if strings.HasPrefix(key, "heartbeats/") {
			delete(records, key)
		}
	}
	return records
}

// same checks that nobody wrote since, not even a candidacy.
func (w *world) same(client *clientv3.Client, was map[string]int64) {
	w.t.Helper()
	if is := w.written(client); fmt.Sprint(is) != fmt.Sprint(was) {
		w.t.Errorf("the records were %v and are %v", was, is)
	}
}

// wipe deletes all that a registry holds.
func (w *world) wipe(client *clientv3.Client) {
	w.t.Helper()
	if _, err := client.Delete(w.t.Context(), prefix, clientv3.WithPrefix()); err != nil {
		w.t.Fatal(err)
	}
}
