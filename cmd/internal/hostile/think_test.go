//go:build hostile

package hostile

import (
	"strings"
	"testing"
	"time"

	"lapse/lease/ec2/ec2sim"
)

const tagRegistry = "lapse:registry"

// TestHostileRow02AdoptedWhileThePromptWaits lets a person think before adopting, while another registry adopts.
func TestHostileRow02AdoptedWhileThePromptWaits(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := &registry{t: t, socket: w.reg.socket, namespace: "a"}
	b := &registry{t: t, socket: w.reg.socket, namespace: "b"}
	t.Cleanup(a.close)
	t.Cleanup(b.close)
	for _, name := range []string{"a", "b"} {
		w.run("lease", "init", "--armed", "--namespace", name)
		w.janitor("--namespace", name)
	}
	w.until("both registries swept", func() bool { return a.sequence() > 1 && b.sequence() > 1 })
	id := w.sim.Create(ec2sim.Instance{Region: region}).ID
	const term = 12 * time.Second
	late := w.asks("lease", "adopt", id, "--namespace", "b", "--term", term.String())
	w.run("lease", "adopt", id, "--yes", "--namespace", "a", "--term", "2h")
	w.until("a's lease being active", func() bool { return a.lease(id).State == "active" })
	answered := time.Now()
	if code := late.yes(); code != 4 {
		t.Errorf("the late adoption ended with code %d, want 4 (refused): %s", code, late.text())
	}
	if got := w.tag(id, tagRegistry); got != a.uuid() {
		t.Errorf("the instance bears the tag of registry %s, want that of a, which adopted it first: %s", got, a.uuid())
	}
	passes(answered.Add(term))
	if within(markGrace+6*time.Second, func() bool { return !w.running(id) }) {
		t.Errorf("registry b terminated an instance of registry a: %s", b.story(id))
	}
	if l := a.lease(id); l.State != "active" {
		t.Errorf("a's lease is %q: %s", l.State, a.story(id))
	}
}

// TestHostileFactsChangeWhileAPromptWaits lets other people act while a question is open, and then answers yes.
func TestHostileFactsChangeWhileAPromptWaits(t *testing.T) {
	t.Parallel()
	t.Run("release, and it was unmanaged", func(t *testing.T) {
		t.Parallel()
		for _, verb := range []string{"release", "revoke"} {
			w := newWorld(t)
			w.sweeping()
			id := w.launch("--term", "2h")[0]
			p := w.asks("lease", verb, id)
			w.run("lease", "unmanage", id, "--yes")
			if code := p.yes(); code == 0 {
				t.Errorf("%s of an instance that was unmanaged in the meantime ended with code 0: %s", verb, p.text())
			}
			w.lives(verb+" answered after unmanage", id, 6*time.Second)
		}
	})
	t.Run("release of a launch, and one more is bound", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.sweeping()
		ids := w.launch("--term", "2h", "--id", "tok", "--count", "2")
		p := w.asks("lease", "release", "tok")
		w.run("lease", "unmanage", ids[0], "--yes")
		p.yes()
		w.ended("released by its launch", ids[1], generous)
		w.lives("unmanaged while the launch was to be released", ids[0], 4*time.Second)
	})
	t.Run("unmanage, and another registry adopted it", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.sweeping()
		b := &registry{t: t, socket: w.reg.socket, namespace: "b"}
		t.Cleanup(b.close)
		w.run("lease", "init", "--armed", "--namespace", "b")
		w.janitor("--namespace", "b")
		w.until("b swept", func() bool { return b.sequence() > 0 })
		id := w.launch("--term", "2h")[0]
		p := w.asks("lease", "unmanage", id)
		w.run("lease", "unmanage", id, "--yes")
		w.run("lease", "adopt", id, "--yes", "--namespace", "b", "--term", "2h")
		w.until("b's lease being active", func() bool { return b.lease(id).State == "active" })
		p.yes()
		if got := w.tag(id, tagRegistry); got != b.uuid() {
			t.Errorf("a late unmanage left the tag %q, want that of b, %s", got, b.uuid())
		}
	})
	t.Run("adopt, and it was terminated", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.sweeping()
		id := w.sim.Create(ec2sim.Instance{Region: region}).ID
		p := w.asks("lease", "adopt", id, "--term", "1h")
		w.sim.SetState(id, ec2sim.Terminated)
		if code := p.yes(); code == 0 {
			t.Errorf("adopting a terminated instance ended with code 0: %s", p.text())
		}
		if l := w.reg.lease(id); l.State == "adopting" || l.State == "active" {
			t.Errorf("a terminated instance has a lease that is %q", l.State)
		}
	})
	t.Run("recover, and another registry adopted it", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.sweeping()
		id := w.lost()
		p := w.asks("lease", "recover", id)
		const other = "0b8f4f0e-7f4b-4d1c-9d0e-2f6a1b3c4d5e"
		w.sim.SetTags(id, map[string]string{tagRegistry: other})
		p.yes()
		if got := w.tag(id, tagRegistry); got != other {
			t.Errorf("a late recover left the tag %q, want %s", got, other)
		}
		if l := w.reg.lease(id); l.State != "" {
			t.Errorf("an instance that another registry adopted in the meantime has a lease that is %q: %s", l.State, p.text())
		}
	})
	t.Run("recover, and its lease came back", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.sweeping()
		id := w.lost()
		p := w.asks("lease", "recover", id)
		w.run("lease", "recover", id, "--yes")
		w.run("lease", "extend", id, "--for", "5d")
		p.yes()
		if l := w.reg.lease(id); l.ExpiresAt.Before(time.Now().Add(4 * 24 * time.Hour)) {
			t.Errorf("a late recover took an extension back: %s", w.reg.story(id))
		}
	})
	t.Run("arm, and more would be terminated", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.sweeping()
		w.run("janitor", "observe")
		id := w.launch("--term", "6s")[0]
		p := w.asks("janitor", "arm")
		over := time.Now().Add(8 * time.Second)
		passes(over) // the plan that was shown names nothing; by now it would
		p.yes()
		if mode := w.run("janitor", "status"); strings.Contains(mode, "armed") {
			if within(markGrace-time.Second, func() bool { return !w.running(id) }) {
				t.Errorf("%s was terminated without notice after an arming whose plan did not name it: %s", id, w.reg.story(id))
			}
		}
	})
}

// lost launches an instance, and loses every record of it.
func (w *world) lost() (id string) {
	w.t.Helper()
	id = w.launch("--term", "2h", "--id", "tok")[0]
	w.reg.remove("leases/" + id)
	w.reg.remove("launches/tok")
	return id
}
