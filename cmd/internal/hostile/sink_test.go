//go:build hostile

package hostile

import (
	"os"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"lapse/lease/etcd/embedded"
)

// sink is a pipe whose reader has stopped reading, and keeps it open: once it is full, who writes into it waits.
type sink struct {
	t    *testing.T
	path string
	file *os.File // for a command
}

func (w *world) sink(name string) *sink {
	w.t.Helper()
	s := &sink{t: w.t, path: w.path(name)}
	if err := unix.Mkfifo(s.path, 0o600); err != nil {
		w.t.Fatal(err)
	}
	reader, err := os.OpenFile(s.path, os.O_RDWR, 0)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = reader.Close() })
	if s.file, err = os.OpenFile(s.path, os.O_WRONLY, 0); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = s.file.Close() })
	return s
}

// fill leaves no room in the pipe.
func (s *sink) fill() {
	s.t.Helper()
	fd, err := unix.Open(s.path, unix.O_WRONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = unix.Close(fd) }()
	for chunk := make([]byte, 4096); len(chunk) > 0; {
		switch _, err := unix.Write(fd, chunk); err {
		case nil, unix.EINTR:
		case unix.EAGAIN:
			chunk = chunk[:len(chunk)/2]
		default:
			s.t.Fatal(err)
		}
	}
}

// TestHostileRow04SidecarLogsIntoAStoppedPipe stops whoever reads the sidecar's stderr, and gives it something to say.
func TestHostileRow04SidecarLogsIntoAStoppedPipe(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.sweeping()
	const patient = 12 * time.Second // its key outlasts that a renewal fails
	id := w.launch("--term", "2h", "--ttl", patient.String())[0]
	stderr := w.sink("stderr")
	s := w.sidecar(id, stderr.file)
	w.until("the sidecar renewing by its lease", func() bool { return w.claimed(id, patient) })
	stderr.fill()
	resume := w.freeze(w.etcd)
	passes(time.Now().Add(patient * 7 / 12)) // a renewal takes at most a quarter of the timeout, and comes after another
	resume()
	w.until("etcd answering again", w.reg.answers)
	w.lives("the reader of its sidecar's stderr has stopped", id, 2*patient+markGrace+6*time.Second)
	if !w.reg.beats(id) {
		t.Error("its heartbeat has lapsed")
	}
	s.ends(stopBound)
}

// claimed reports whether the heartbeat is kept by the timeout of its lease.
func (w *world) claimed(id string, timeout time.Duration) bool {
	var beat struct {
		TTL string `json:"ttl"`
	}
	return w.reg.read("heartbeats/"+id, &beat) && beat.TTL == timeout.String()
}

// TestHostileRow06LeaderWritesIntoAStoppedPipe lets what a leader writes block, while there is a standby: a sweep follows the
// other all the same, what is due ends, or waits aloud where the trail cannot be written, and SIGTERM ends it.
func TestHostileRow06LeaderWritesIntoAStoppedPipe(t *testing.T) {
	t.Parallel()
	t.Run("stderr", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		stderr := w.sink("stderr")
		c := w.command("janitor", janitorArgs()...)
		c.Stderr = stderr.file
		j := w.start(c)
		w.until("a sweep", func() bool { return w.reg.sequence() > 0 })
		id := w.launch("--term", "8s")[0]
		stderr.fill()
		w.sweeps("nobody reads stderr", 5, 30*time.Second)
		w.ended("nobody reads stderr", id, 30*time.Second)
		j.ends(stopBound)
	})
	t.Run("audit log is a FIFO", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		log := w.path("audit.log")
		j := w.sweeping("--audit-log", log)
		ids := w.launch("--term", "10s", "--count", "2")
		w.run("lease", "extend", ids[1], "--for", "2h")
		w.move(log, log+".1")
		if err := unix.Mkfifo(log, 0o600); err != nil { // without a reader: opening it to write waits for one
			t.Fatal(err)
		}
		w.run("lease", "extend", ids[1], "--for", "3h") // to be told in the log
		w.sweeps("the audit log is a FIFO", 5, 30*time.Second)
		passes(time.Now().Add(15 * time.Second)) // past the first one's term, and the bound of a write
		if !w.running(ids[0]) {
			t.Errorf("terminated without a trail: %s", w.reg.story(ids[0]))
		}
		if status, text := w.readyz(j); status == 200 || status == 0 {
			t.Errorf("the audit log cannot be written, and readyz says %d %q", status, text)
		}
		w.move(log, log+".fifo")
		if !w.ended("the audit log is a file again", ids[0], 45*time.Second) {
			j.ends(stopBound)
			return
		}
		w.lives("extended", ids[1], time.Second)
		w.move(log, log+".2")
		if err := unix.Mkfifo(log, 0o600); err != nil {
			t.Fatal(err)
		}
		w.run("lease", "extend", ids[1], "--for", "4h")
		w.sweeps("a FIFO again", 2, 30*time.Second)
		j.ends(stopBound)
	})
}

func (w *world) move(from, to string) {
	w.t.Helper()
	if err := os.Rename(from, to); err != nil {
		w.t.Fatal(err)
	}
}

// fullDisk puts the audit log on a disk without room, and returns what makes room. Whoever opens the path finds a full device.
func (w *world) fullDisk(log string) (room func()) {
	w.t.Helper()
	w.move(log, log+".kept")
	if err := os.Symlink("/dev/full", log); err != nil {
		w.t.Fatal(err)
	}
	return func() {
		w.t.Helper()
		if err := os.Remove(log); err != nil {
			w.t.Fatal(err)
		}
		w.move(log+".kept", log)
	}
}

// TestHostileRow16AuditDiskFull lets a term pass while no line can be written: nothing is revoked that cannot be told, so it
// can still be extended. What its holder released stays revoked, waits, and ends once there is room.
func TestHostileRow16AuditDiskFull(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	log := w.path("audit.log")
	j := w.sweeping("--audit-log", log)
	over := time.Now().Add(10 * time.Second)
	expiring := w.launch("--term", "10s", "--count", "2")
	released := w.launch("--term", "2h")[0]
	room := w.fullDisk(log)
	w.run("lease", "release", released, "--yes")
	passes(over.Add(5 * time.Second))
	for _, id := range expiring {
		if l := w.reg.lease(id); l.State != "active" || !w.running(id) {
			t.Errorf("the disk is full, and the lease of %s is %q: %s", id, l.State, w.reg.story(id))
		}
	}
	if _, said, code := w.exits("lease", "extend", expiring[0], "--for", "2h"); code != 0 {
		t.Errorf("lease extend of what still runs ended with code %d: %s", code, said)
	}
	if l := w.reg.lease(released); l.State != "revoked" || !w.running(released) {
		t.Errorf("what was released while the disk is full: %s", w.reg.story(released))
	}
	if status, text := w.readyz(j); status == 200 || status == 0 {
		t.Errorf("the audit log cannot be written, and readyz says %d %q", status, text)
	}
	room()
	w.ended("there is room again, not extended", expiring[1], 30*time.Second)
	w.ended("there is room again, released", released, 30*time.Second)
	w.lives("extended while the disk was full", expiring[0], markGrace+4*time.Second)
	j.ends(stopBound)
}

// TestHostileStateDirBlocks makes the file of the janitor's memory a FIFO, and then a full device: sweeps go on, and what is
// due waits aloud or ends; SIGTERM ends the janitor.
func TestHostileStateDirBlocks(t *testing.T) {
	t.Parallel()
	for name, block := range map[string]func(w *world, file string) error{
		"FIFO": func(_ *world, file string) error { return unix.Mkfifo(file, 0o600) },
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
	if err := unix.Mount("lapse", disk, "tmpfs", 0, "size=64k"); err != nil {
		t.Logf("cannot mount a small disk (%v): rows 6 and 16 have a full device", err)
		return
	}
	t.Cleanup(func() { _ = unix.Unmount(disk, unix.MNT_DETACH) })
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
		t.Errorf("lease extend of what still runs ended with code %d: %s", code, said)
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
			within(8*time.Second, func() bool { return !launcher.alive() })
			launcher.ends(stopBound)
			within(20*time.Second, func() bool { return w.settled(which) })
			w.consistent(which)
		}
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
		id := w.launch("--term", "2h", "--ttl", ttl.String())[0]
		stderr := w.sink("stderr")
		stderr.fill()
		s := w.sidecar(id, stderr.file)
		if !within(20*time.Second, func() bool { return w.reg.beats(id) }) {
			t.Error("a sidecar whose stderr nobody reads never renews")
		}
		s.ends(stopBound)
	})
	t.Run("sidecar, while etcd is away", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		id := w.launch("--term", "2h", "--ttl", ttl.String())[0]
		stderr := w.sink("stderr")
		s := w.sidecar(id, stderr.file)
		w.until("a heartbeat", func() bool { return w.reg.beats(id) })
		stderr.fill()
		w.etcd.kill()
		passes(time.Now().Add(ttl))
		w.startEtcd(embedded.Config{Dir: w.etcdDir()})
		passes(time.Now().Add(2 * ttl))
		if !w.reg.beats(id) {
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
