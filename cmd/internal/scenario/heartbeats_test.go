//go:build e2e

package scenario

import (
	"maps"
	"slices"
	"testing"
	"time"

	"lapse/lease"
)

const slow = 40 * time.Second // how much longer than stated a very slow machine may take

// TestE2EScenarioFifthOfAZone lets 20 of the 100 instances of a zone die. They end, as fast as the rate brake lets: 14 of
// the 280 that live within its window, and then the rest.
func TestE2EScenarioFifthOfAZone(t *testing.T) {
	t.Parallel()
	const window, notice = 20 * time.Second, 2 * heartbeatTimeout // 300 sidecars in one process need their time on a busy machine
	w := newWorld(t)
	s := w.heartbeat(w.launch(300, kind{heartbeatTimeout: heartbeatTimeout})...)
	j := w.janitor("--rate-window", window.String(), "--mark-grace", notice.String())
	dead := w.in(region + "a")[:20]
	died := s.die(dead...)
	w.named(&j.journal, func() string { return j.metrics(w) }, "rate", "", "14 terminations for inferred causes within 20s are the limit")
	w.until("all dead instances terminated", func() bool { return len(w.asked()) >= len(dead) })
	asked := slices.SortedFunc(maps.Values(w.asked()), time.Time.Compare)
	took := asked[len(asked)-1].Sub(died)
	stated := heartbeatTimeout + notice + window + 2*time.Second
	t.Logf("20 of 100 of a zone dead: the first was terminated after %s, the 14th after %s, the last after %s; stated %s",
		asked[0].Sub(died).Round(time.Millisecond), asked[13].Sub(died).Round(time.Millisecond), took.Round(time.Millisecond), stated)
	if took > stated+slow {
		t.Errorf("the last was terminated after %s, stated are %s", took, stated)
	}
	if early := asked[0].Sub(died); early < notice+heartbeatTimeout/2 {
		t.Errorf("the first was terminated after %s, which is less than its heartbeat timeout and its notice", early)
	}
	const call = time.Second // from a revocation, by which the brake counts, to EC2's hearing of it
	if rest := asked[14].Sub(asked[0]); rest < window-call {
		t.Errorf("the 15th was terminated %s after the first, within the window of the rate brake", rest)
	}
	w.lifted(&j.journal, func() string { return j.metrics(w) }, "rate", "")
	w.longEnough()
	w.onlyDied(dead)
}

// TestE2EScenarioLoneInstance lets the only instance of a zone die: nothing there shows that renewals still arrive, so it
// is given the long notice.
func TestE2EScenarioLoneInstance(t *testing.T) {
	t.Parallel()
	const loneGrace = 10 * time.Second
	w := newWorld(t)
	w.heartbeat(w.launch(20, kind{heartbeatTimeout: heartbeatTimeout, zone: region + "a"})...)
	lone := w.launch(1, kind{heartbeatTimeout: heartbeatTimeout, zone: region + "c"})
	s := w.heartbeat(lone...)
	w.janitor("--lone-grace", loneGrace.String())
	w.moreSweeps(2)
	died := s.die(lone...)
	w.says("marked", lone[0], "(heartbeat-lost)")
	w.until("the lone instance terminated", func() bool { return len(w.asked()) > 0 })
	took, stated := w.asked()[lone[0]].Sub(died), heartbeatTimeout+loneGrace+2*time.Second
	t.Logf("a lone instance dead: it was terminated after %s; stated %s", took.Round(time.Millisecond), stated)
	if took < loneGrace+heartbeatTimeout/2 || took > stated+slow {
		t.Errorf("it was terminated after %s, stated are %s", took, stated)
	}
	w.longEnough()
	w.onlyDied(lone)
}

// TestE2EScenarioLargePartOfAZone lets 20 of the 50 instances of a zone die: too many to be believed. It is held, and said
// so, until a person says that they are dead indeed, or until their terms are over.
func TestE2EScenarioLargePartOfAZone(t *testing.T) {
	t.Parallel()
	const notice = 2 * heartbeatTimeout // longer than the others take to lose theirs, too
	begin := func(t *testing.T) (*world, *process, []string) {
		t.Helper()
		w := newWorld(t)
		s := w.heartbeat(w.launch(150, kind{heartbeatTimeout: heartbeatTimeout})...)
		j := w.janitor("--mark-grace", notice.String(), "--rate-share", "0.9")
		dead := w.in(region + "a")[:20]
		s.die(dead[:10]...)
		w.until("ten with a notice", func() bool { return w.marked() == 10 })
		died := s.die(dead[10:]...) // before that of the first has passed
		b := w.named(&j.journal, func() string { return j.metrics(w) }, lease.BrakeHeartbeats, "use1-az1", "heartbeats are lost or in doubt, more than 15")
		w.says("brake heartbeats engaged (use1-az1): 20 of 50 heartbeats are lost or in doubt, more than 15")
		time.Sleep(time.Until(died.Add(heartbeatTimeout + notice + markGrace))) // they would have ended
		w.nobodyDied()
		if n := w.marked(); n < 10 {
			t.Errorf("%d are marked, so it is not shown that a notice from before the brake does not count", n)
		}
		t.Logf("40 %% of a zone dead: held back from %s after they died", b.Since.Sub(died).Round(time.Millisecond))
		return w, j, dead
	}
	t.Run("released by a person", func(t *testing.T) {
		t.Parallel()
		w, j, dead := begin(t)
		resumed := time.Now()
		w.run("janitor", "release-brake", lease.BrakeHeartbeats, "--yes")
		w.lifted(&j.journal, func() string { return j.metrics(w) }, lease.BrakeHeartbeats, "use1-az1")
		w.until("all dead instances terminated", func() bool { return len(w.asked()) >= len(dead) })
		asked := slices.SortedFunc(maps.Values(w.asked()), time.Time.Compare)
		first, last := asked[0].Sub(resumed), asked[len(asked)-1].Sub(resumed)
		t.Logf("released: the first was terminated after %s, the last after %s; stated %s", first.Round(time.Millisecond), last.Round(time.Millisecond), notice+2*time.Second)
		if first < notice {
			t.Errorf("the first was terminated %s after the brake was released, which restarts the notice of %s", first, notice)
		}
		if last > notice+2*time.Second+slow {
			t.Errorf("the last was terminated %s after the brake was released", last)
		}
		w.longEnough()
		w.onlyDied(dead)
	})
	t.Run("terminated for their expiry", func(t *testing.T) {
		t.Parallel()
		w, j, dead := begin(t)
		over := time.Now().Add(8 * time.Second)
		w.shorten(over, dead...)
		w.until("all dead instances terminated", func() bool { return len(w.asked()) >= len(dead) })
		asked := slices.SortedFunc(maps.Values(w.asked()), time.Time.Compare)
		first, last := asked[0].Sub(over), asked[len(asked)-1].Sub(over)
		t.Logf("for their expiry: the first was terminated %s after it, the last %s", first.Round(time.Millisecond), last.Round(time.Millisecond))
		if first < -time.Millisecond || last > 2*time.Second+slow {
			t.Errorf("the first was terminated %s after its expiry, the last %s", first, last)
		}
		w.lifted(&j.journal, func() string { return j.metrics(w) }, lease.BrakeHeartbeats, "use1-az1")
		w.longEnough()
		w.onlyDied(dead)
	})
}

// marked counts the leases that have got notice.
func (w *world) marked() int {
	n := 0
	for _, l := range w.snapshot().Leases {
		if l.Mark != nil {
			n++
		}
	}
	return n
}
