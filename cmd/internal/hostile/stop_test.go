//go:build hostile

package hostile

import (
	"syscall"
	"testing"
	"time"

	"lapse/lease/ec2/ec2sim"
	"lapse/lease/etcd/embedded"
)

// TestHostileStopped sends SIGTERM while what a process asks hangs: each ends within a bound, whatever does not answer.
func TestHostileStopped(t *testing.T) {
	t.Parallel()
	t.Run("at a prompt", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.sweeping()
		id := w.launch("--term", "2h")[0]
		for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
			p := w.asks("lease", "release", id)
			p.signal(s)
			if !within(5*time.Second, func() bool { return !p.alive() }) {
				t.Errorf("lease release, asking, still runs 5 s after the signal %s", s)
				p.kill()
			}
			if l := w.reg.lease(id); l.State != "active" {
				t.Errorf("after the signal %s at the prompt: %s", s, w.reg.story(id))
			}
		}
	})
	t.Run("etcd is frozen", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		j := w.sweeping()
		id := w.launch("--term", "2h", "--heartbeat-timeout", heartbeatTimeout.String())[0]
		s := w.sidecar(id, nil)
		w.until("a heartbeat", func() bool { return w.claimed(id, heartbeatTimeout) })
		defer w.freeze(w.etcd)()
		launcher := w.start(w.command("lease", "launch", "--image-id", "ami-0123456789abcdef0", "--instance-type", "t3.micro", "--unattended"))
		passes(time.Now().Add(2 * time.Second))
		for _, p := range []*process{j, s, launcher} {
			p.ends(stopBound)
		}
	})
	t.Run("EC2 hangs", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		j := w.sweeping()
		id := w.launch("--term", "3s")[0]
		w.sim.Inject(ec2sim.Fault{Effect: ec2sim.Hang})
		launcher := w.start(w.command("lease", "launch", "--image-id", "ami-0123456789abcdef0", "--instance-type", "t3.micro", "--unattended"))
		passes(time.Now().Add(6 * time.Second))
		if !w.running(id) {
			t.Fatal("EC2 did not hang")
		}
		j.ends(2*time.Minute + 20*time.Second) // workers have two minutes to leave
		launcher.ends(stopBound)
	})
	t.Run("its own etcd has nowhere to log", func(t *testing.T) {
		t.Parallel()
		w := emptyWorld(t)
		stderr := w.sink("stderr")
		c := w.command("janitor", janitorArgs("--embedded-etcd", w.etcdDir(), "--arm")...)
		c.Stderr = stderr.file
		j := w.start(c)
		w.until("a sweep", func() bool { return w.reg.sequence() > 0 })
		id := w.launch("--term", "6s")[0]
		stderr.fill()
		w.sweeps("nobody reads stderr of janitor and etcd", 5, 30*time.Second)
		w.ended("nobody reads stderr of janitor and etcd", id, 30*time.Second)
		j.ends(stopBound)
	})
	t.Run("etcd is away", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		j, standby := w.sweeping(), w.janitor()
		id := w.launch("--term", "2h", "--heartbeat-timeout", heartbeatTimeout.String())[0]
		s := w.sidecar(id, nil)
		w.until("a heartbeat", func() bool { return w.claimed(id, heartbeatTimeout) })
		w.etcd.kill()
		passes(time.Now().Add(2 * time.Second))
		for _, p := range []*process{s, j, standby} {
			p.ends(stopBound)
		}
		w.startEtcd(embedded.Config{Dir: w.etcdDir()})
		w.sidecar(id, nil)
		w.janitor()
		w.lives("all of it was stopped while etcd was away", id, 2*heartbeatTimeout+markGrace)
	})
}
