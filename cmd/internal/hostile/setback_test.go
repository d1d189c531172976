//go:build hostile

package hostile

import (
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// tagExpires is the second key: the agreed date on the instance itself, with its number.
const tagExpires = "lapse:expires"

// machine is one machine: etcd inside the janitor, and the janitor's memory beside it, in one directory, which backups
// take as a whole.
type machine struct {
	*world
	args []string
	now  *process
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	m := &machine{world: emptyWorld(t)}
	m.reg.socket = m.path("d/lapse/etcd.sock")
	m.args = []string{"--embedded-etcd", m.path("d/lapse"), "--state-dir", m.path("d/lapse-janitor"), "--arm"}
	m.start()
	return m
}

// start starts the machine's janitor, and waits until it has swept.
func (m *machine) start() {
	m.t.Helper()
	m.now = m.janitor(m.args...)
	var from int64
	m.until("the registry being there", func() bool {
		from = m.reg.sequence()
		return from > 0 || m.reg.uuid() != ""
	})
	m.until("a sweep", func() bool { return m.reg.sequence() > from })
}

// backup copies everything while the machine is down, and starts it again.
func (m *machine) backup() {
	m.t.Helper()
	m.now.ends(stopBound)
	m.copy("d", "backup")
	m.start()
}

// restore loses everything without warning, puts the copy back, and starts.
func (m *machine) restore() {
	m.t.Helper()
	m.now.kill()
	m.copy("backup", "d")
	m.start()
}

func (m *machine) copy(from, to string) {
	m.t.Helper()
	_ = os.Remove(m.path(from + "/lapse/etcd.sock")) // a killed one leaves it behind
	if err := os.RemoveAll(m.path(to)); err != nil {
		m.t.Fatal(err)
	}
	if err := os.CopyFS(m.path(to), os.DirFS(m.path(from))); err != nil {
		m.t.Fatal(err)
	}
}

// tagged waits until the instance bears a date of at least that, and fails if it never does. It stops nothing: what comes of
// a tag that was never written is to be seen too.
func (m *machine) tagged(id string, least time.Time) {
	m.t.Helper()
	if !within(15*time.Second, func() bool {
		date, _, _ := strings.Cut(m.tag(id, tagExpires), " ")
		at, err := time.Parse(time.RFC3339, date)
		return err == nil && !at.Before(least)
	}) {
		m.t.Errorf("15 s after the extension, the tag %s of %s is %q, want at least %s", tagExpires, id, m.tag(id, tagExpires), least.Format(time.RFC3339))
	}
}

// TestHostileRow01EverythingSetBackAtOnce restores a copy of etcd and of the janitor's memory, from before an extension. The
// tag on the instance is the witness that is left.
func TestHostileRow01EverythingSetBackAtOnce(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	const term = 40 * time.Second
	over := time.Now().Add(term)
	id := m.launch("--term", term.String())[0]
	m.backup()
	m.run("lease", "extend", id, "--for", "5h")
	m.tagged(id, time.Now().Add(4*time.Hour))
	m.restore()
	m.sweeps("after the restore", 2, generous)
	passes(over)
	if !m.lives("set back to before its extension", id, markGrace+8*time.Second) {
		return
	}
	if l := m.reg.lease(id); l.State != "active" || l.ExpiresAt.Before(time.Now().Add(4*time.Hour)) {
		t.Errorf("the record was not raised to the tag's date: %s", m.reg.story(id))
	}
	m.sole("after the restore")
	m.now.signal(syscall.SIGTERM)
	m.now.exits(stopBound)
	m.start()
	m.sweeps("after a plain restart", 2, generous)
	m.sole("after a plain restart")
	m.lives("after a plain restart", id, markGrace)
}

// sole checks that no brake waits for a person.
func (m *machine) sole(when string) {
	m.t.Helper()
	if !within(generous, func() bool { return len(m.reg.needsPerson()) == 0 }) {
		m.t.Errorf("%s a person is needed: %q", when, m.reg.needsPerson())
	}
}

// TestHostileSetBackAfterManyExtensions takes the copy before n extensions, so that a number alone tells old from new.
func TestHostileSetBackAfterManyExtensions(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	const term = 50 * time.Second
	over := time.Now().Add(term)
	ids := m.launch("--term", term.String(), "--count", "2")
	m.backup()
	for _, by := range []string{"10m", "20m", "30m", "40m", "50m"} { // under an hour: each is written to the tag at once
		m.run("lease", "extend", ids[0], "--for", by)
	}
	m.tagged(ids[0], time.Now().Add(45*time.Minute))
	m.restore()
	// People extend by what the record says: fewer times than before, and not as far.
	m.run("lease", "extend", ids[0], "--for", "70s")
	passes(over.Add(40 * time.Second))
	m.lives("set back to before five extensions, then extended once for less", ids[0], markGrace+8*time.Second)
	m.ended("never extended", ids[1], generous)
}

// TestHostileSetBackAfterAShortening shortens, takes the copy, extends, and restores: the shortening in the copy is older
// than the extension that only the tag knows.
func TestHostileSetBackAfterAShortening(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	ids := m.launch("--term", "50m", "--count", "2")
	const short = 40 * time.Second
	over := time.Now().Add(short)
	for _, id := range ids {
		m.run("lease", "extend", id, "--for", short.String(), "--allow-shorten")
	}
	m.sweeps("after the shortening", 3, generous) // its tag is written
	m.backup()
	m.run("lease", "extend", ids[0], "--for", "5h")
	m.tagged(ids[0], time.Now().Add(4*time.Hour))
	m.restore()
	passes(over)
	m.lives("shortened, copied, extended and set back", ids[0], markGrace+8*time.Second)
	m.ended("shortened", ids[1], generous)
}
