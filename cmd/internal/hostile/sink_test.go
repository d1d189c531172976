//go:build hostile

package hostile

import (
	"os"
	"syscall"
	"testing"
	"time"
)

// sink is a pipe whose reader has stopped reading, and keeps it open: once it is full, who writes into it waits.
type sink struct {
	t      *testing.T
	path   string
	file   *os.File // for a command
	reader *os.File // keeps it open
}

func (w *world) sink(name string) *sink {
	w.t.Helper()
	s := &sink{t: w.t, path: w.path(name)}
	if err := syscall.Mkfifo(s.path, 0o600); err != nil {
		w.t.Fatal(err)
	}
	var err error
	if s.reader, err = os.OpenFile(s.path, os.O_RDWR, 0); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = s.reader.Close() })
	if s.file, err = os.OpenFile(s.path, os.O_WRONLY, 0); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = s.file.Close() })
	return s
}

// fill leaves no room in the pipe.
func (s *sink) fill() {
	s.t.Helper()
	fd, err := syscall.Open(s.path, syscall.O_WRONLY|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = syscall.Close(fd) }()
	for chunk := make([]byte, 4096); len(chunk) > 0; {
		switch _, err := syscall.Write(fd, chunk); err {
		case nil, syscall.EINTR:
		case syscall.EAGAIN:
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
	id := w.launch("--term", "2h", "--heartbeat-timeout", patient.String())[0]
	stderr := w.sink("stderr")
	s := w.sidecar(id, stderr.file)
	w.until("the sidecar renewing by its lease", func() bool { return w.claimed(id, patient) })
	stderr.fill()
	resume := w.freeze(w.etcd)
	passes(time.Now().Add(patient * 7 / 12)) // a renewal takes at most a quarter of the timeout, and comes after another
	resume()
	w.until("etcd answering again", w.reg.answers)
	w.lives("the reader of its sidecar's stderr has stopped", id, 2*patient+markGrace+6*time.Second)
	if !w.reg.heartbeats(id) {
		t.Error("its heartbeat is lost")
	}
	s.ends(stopBound)
}

// claimed reports whether the heartbeat is kept by the timeout of its lease.
func (w *world) claimed(id string, timeout time.Duration) bool {
	var heartbeat struct {
		HeartbeatTimeout string `json:"heartbeat_timeout"`
	}
	return w.reg.read("heartbeats/"+id, &heartbeat) && heartbeat.HeartbeatTimeout == timeout.String()
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
		if err := syscall.Mkfifo(log, 0o600); err != nil { // without a reader: opening it to write waits for one
			t.Fatal(err)
		}
		w.run("lease", "extend", ids[1], "--for", "3h") // to be told in the log
		w.sweeps("the audit log is a FIFO", 5, 30*time.Second)
		passes(time.Now().Add(15 * time.Second)) // past the first one's term, and the bound of a write
		if !w.running(ids[0]) {
			t.Errorf("terminated without an audit event: %s", w.reg.story(ids[0]))
		}
		if status, text := w.readyz(j); status == 200 || status == 0 {
			t.Errorf("the audit log cannot be written, but readyz says %d %q", status, text)
		}
		w.move(log, log+".fifo")
		if !w.ended("the audit log is a file again", ids[0], 45*time.Second) {
			j.ends(stopBound)
			return
		}
		w.lives("extended", ids[1], time.Second)
		w.move(log, log+".2")
		if err := syscall.Mkfifo(log, 0o600); err != nil {
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
			t.Errorf("the disk is full, but the lease of %s is %q: %s", id, l.State, w.reg.story(id))
		}
	}
	if _, said, code := w.exits("lease", "extend", expiring[0], "--for", "2h"); code != 0 {
		t.Errorf("lease extend of a running instance ended with code %d: %s", code, said)
	}
	if l := w.reg.lease(released); l.State != "revoked" || !w.running(released) {
		t.Errorf("released while the disk is full: %s", w.reg.story(released))
	}
	if status, text := w.readyz(j); status == 200 || status == 0 {
		t.Errorf("the audit log cannot be written, but readyz says %d %q", status, text)
	}
	room()
	w.ended("there is room again, not extended", expiring[1], 30*time.Second)
	w.ended("there is room again, released", released, 30*time.Second)
	w.lives("extended while the disk was full", expiring[0], markGrace+4*time.Second)
	j.ends(stopBound)
}
