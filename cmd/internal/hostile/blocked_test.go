//go:build hostile

package hostile

import (
	"os"
	"syscall"
	"testing"
	"time"

	"lapse/lease/etcd/embedded"
)

// pipeBound is the time from SIGTERM to the end of a command that waits for a pipe.
const pipeBound = 7 * time.Second

// TestHostileStateDirBlocks makes the file of the janitor's memory a FIFO, and then a full device: sweeps go on, and what is
// due waits aloud or ends; SIGTERM ends the janitor.
func TestHostileStateDirBlocks(t *testing.T) {
	t.Parallel()
	for name, block := range map[string]func(w *world, file string) error{
		"FIFO": func(_ *world, file string) error { return syscall.Mkfifo(file, 0o600) },
		"full": func(_ *world, file string) error { return os.Symlink("/dev/full", file) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			dir := w.path("memory")
			j := w.sweeping("--state-dir", dir)
			files, err := os.ReadDir(dir)
			if err != nil || len(files) == 0 {
				t.Fatalf("no memory in %s: %v", dir, err)
			}
			id := w.launch("--term", "10s")[0]
			for _, f := range files {
				w.move(dir+"/"+f.Name(), dir+"/kept")
				if err := block(w, dir+"/"+f.Name()); err != nil {
					t.Fatal(err)
				}
			}
			w.sweeps("its memory is a "+name, 5, 60*time.Second)
			for _, f := range files {
				w.move(dir+"/kept", dir+"/"+f.Name())
			}
			w.ended("its memory is a file again", id, 45*time.Second)
			j.ends(stopBound)
		})
	}
}

// TestHostileTinyDisk fills a disk with the audit log and the janitor's memory on it. It needs root, to mount one.
func TestHostileTinyDisk(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	disk := w.path("disk")
	if err := os.Mkdir(disk, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("lapse", disk, "tmpfs", 0, "size=64k,mode=700"); err != nil {
		t.Logf("cannot mount a small disk (%v): rows 6 and 16 have a full device", err)
		return
	}
	t.Cleanup(func() { _ = syscall.Unmount(disk, syscall.MNT_DETACH) })
	j := w.sweeping("--audit-log", disk+"/audit.log", "--state-dir", disk+"/memory")
	ids := w.launch("--term", "10s", "--count", "2")
	filler, err := os.Create(disk + "/filler")
	if err != nil {
		t.Fatal(err)
	}
	defer filler.Close()
	for chunk := make([]byte, 4096); ; {
		if _, err := filler.Write(chunk); err != nil {
			break
		}
	}
	w.sweeps("the disk is full", 10, 60*time.Second)
	passes(time.Now().Add(6 * time.Second))
	if _, said, code := w.exits("lease", "extend", ids[0], "--for", "2h"); w.running(ids[0]) && code != 0 {
		t.Errorf("lease extend of a running instance ended with code %d: %s", code, said)
	}
	if err := os.Remove(disk + "/filler"); err != nil {
		t.Fatal(err)
	}
	_ = filler.Truncate(0)
	w.ended("there is room again", ids[1], 45*time.Second)
	w.lives("extended while the disk was full", ids[0], markGrace+4*time.Second)
	j.ends(stopBound)
}

// TestHostileStoppedPipes lets launcher, janitor and sidecar write into pipes that nobody reads. SIGTERM ends each.
func TestHostileStoppedPipes(t *testing.T) {
	t.Parallel()
	t.Run("lease launch", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.sweeping()
		for _, which := range []string{"stdout", "stderr"} {
			pipe := w.sink(which)
			pipe.fill()
			c := w.command("lease", "launch", "--image-id", "ami-0123456789abcdef0", "--instance-type", "t3.micro", "--unattended", "--id", which)
			if which == "stdout" {
				c.Stdout = pipe.file
			} else {
				c.Stderr = pipe.file
			}
			launcher := w.start(c)
			if which == "stderr" { // nothing waits for it
				if code := launcher.exits(stopBound); code != 0 {
					t.Errorf("lease launch, whose stderr nobody reads, ended with code %d", code)
				}
			} else if !within(8*time.Second, func() bool { return !launcher.alive() }) {
				launcher.ends(pipeBound)
				if code := launcher.cmd.ProcessState.ExitCode(); code != 7 {
					t.Errorf("lease launch, whose stdout nobody reads, ended with code %d, want 7", code)
				}
			}
			within(20*time.Second, func() bool { return w.settled(which) })
			w.consistent(which)
		}
	})
	t.Run("other commands", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.sweeping()
		w.launch("--term", "2h")
		stdout := w.sink("stdout")
		stdout.fill()
		var waiting []*process
		for _, args := range [][]string{
			{"lease", "list"},
			{"lease", "list", "-o", "json"},
			{"lease", "watch", "--initial"},
			{"lease", "doctor"},
			{"lease", "--help"},
			{"janitor", "status"},
			{"janitor", "sweep", "--dry-run"},
		} {
			c := w.command(args[0], args[1:]...)
			c.Stdout = stdout.file
			waiting = append(waiting, w.start(c))
		}
		unwritten := w.sink("unwritten")
		for _, args := range [][]string{{"launch", "--request", "-"}, {"launch", "--request", unwritten.path}, {"list", "--config", unwritten.path}} {
			c := w.command("lease", args...)
			c.Stdin = unwritten.reader
			waiting = append(waiting, w.start(c))
		}
		passes(time.Now().Add(3 * time.Second))
		for _, p := range waiting {
			if !p.alive() {
				t.Errorf("%v does not wait: exit code %d", p.cmd.Args, p.cmd.ProcessState.ExitCode())
			}
			p.signal(syscall.SIGTERM)
		}
		for _, p := range waiting {
			if code := p.exits(pipeBound); code != 7 {
				t.Errorf("%v, stopped while it waited, ended with code %d, want 7", p.cmd.Args, code)
			}
		}
	})
	t.Run("a second signal", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		stdout := w.sink("stdout")
		stdout.fill()
		c := w.command("lease", "list", "-o", "json")
		c.Stdout = stdout.file
		p := w.start(c)
		passes(time.Now().Add(time.Second))
		p.signal(syscall.SIGTERM)
		passes(time.Now().Add(1500 * time.Millisecond))
		if !p.alive() {
			t.Errorf("ended after one signal, with code %d", c.ProcessState.ExitCode())
		}
		p.ends(time.Second)
	})
	t.Run("janitor's stdout is its audit log", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		stdout := w.sink("stdout")
		c := w.command("janitor", janitorArgs("--audit-log", "-")...)
		c.Stdout = stdout.file
		j := w.start(c)
		w.until("a sweep", func() bool { return w.reg.sequence() > 0 })
		ids := w.launch("--term", "8s", "--count", "2")
		stdout.fill()
		w.run("lease", "extend", ids[1], "--for", "2h")
		w.sweeps("nobody reads the audit log on stdout", 5, 30*time.Second)
		j.ends(stopBound)
	})
	t.Run("sidecar, from its first line on", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.sweeping()
		id := w.launch("--term", "2h", "--heartbeat-timeout", heartbeatTimeout.String())[0]
		stderr := w.sink("stderr")
		stderr.fill()
		s := w.sidecar(id, stderr.file)
		if !within(20*time.Second, func() bool { return w.reg.heartbeats(id) }) {
			t.Error("a sidecar whose stderr nobody reads never renews")
		}
		s.ends(stopBound)
	})
	t.Run("sidecar, while etcd is away", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		id := w.launch("--term", "2h", "--heartbeat-timeout", heartbeatTimeout.String())[0]
		stderr := w.sink("stderr")
		s := w.sidecar(id, stderr.file)
		w.until("a heartbeat", func() bool { return w.reg.heartbeats(id) })
		stderr.fill()
		w.etcd.kill()
		passes(time.Now().Add(heartbeatTimeout))
		w.startEtcd(embedded.Config{Dir: w.etcdDir()})
		passes(time.Now().Add(2 * heartbeatTimeout))
		if !w.reg.heartbeats(id) {
			t.Error("etcd is back, and the sidecar no longer renews")
		}
		s.signal(syscall.SIGTERM)
		s.ends(stopBound)
	})
}

// settled reports whether a launch is no longer open.
func (w *world) settled(token string) bool {
	var l struct {
		State string `json:"state"`
	}
	return w.reg.read("launches/"+token, &l) && l.State != "open"
}

// consistent checks that every instance of a launch runs and has an active lease, or is terminated by the janitor in time.
func (w *world) consistent(token string) {
	w.t.Helper()
	for _, i := range w.sim.Instances() {
		if i.ClientToken != token+".1" {
			continue
		}
		if !within(generous, func() bool { return !w.running(i.ID) || w.reg.lease(i.ID).State == "active" }) {
			w.t.Errorf("%s of launch %s runs without a lease: %s", i.ID, token, w.reg.story(i.ID))
		}
	}
}

// TestHostileSinksBlockedAtStart starts a janitor whose files block from the beginning. It reports that and exits, or
// it sweeps; SIGTERM ends it in any case.
func TestHostileSinksBlockedAtStart(t *testing.T) {
	t.Parallel()
	t.Run("audit log is a FIFO", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		log := w.path("audit.log")
		if err := syscall.Mkfifo(log, 0o600); err != nil {
			t.Fatal(err)
		}
		w.startsBlocked("--audit-log", log)
	})
	t.Run("memory is a FIFO", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		dir := w.path("memory")
		j := w.sweeping("--state-dir", dir)
		j.ends(stopBound)
		files, err := os.ReadDir(dir)
		if err != nil || len(files) == 0 {
			t.Fatalf("no memory in %s: %v", dir, err)
		}
		for _, f := range files {
			w.move(dir+"/"+f.Name(), dir+"/kept")
			if err := syscall.Mkfifo(dir+"/"+f.Name(), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		w.startsBlocked("--state-dir", dir)
	})
	t.Run("stderr is not read", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		stderr := w.sink("stderr")
		stderr.fill()
		c := w.command("janitor", janitorArgs()...)
		c.Stderr = stderr.file
		j := w.start(c)
		w.sweeps("stderr is not read from the start", 2, 30*time.Second)
		j.ends(stopBound)
	})
}

// startsBlocked starts a janitor that must sweep or end within a bound, and end on SIGTERM.
func (w *world) startsBlocked(args ...string) {
	w.t.Helper()
	from := w.reg.sequence()
	j := w.janitor(args...)
	if !within(20*time.Second, func() bool { return !j.alive() || w.reg.sequence() > from+1 }) {
		w.t.Errorf("janitor %v neither sweeps nor ends", args)
	}
	j.ends(stopBound)
}
