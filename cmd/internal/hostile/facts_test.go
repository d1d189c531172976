//go:build hostile

package hostile

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"lapse/lease/ec2/ec2sim"
)

// TestHostileRow08CredentialsChangeTheirAccount lets the credentials of a running janitor become those of another, empty
// account, and back. What runs in the first is not recorded as ended.
func TestHostileRow08CredentialsChangeTheirAccount(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const keyOfOther = "AKIDOTHER"
	other := ec2sim.New(ec2sim.Config{Account: "210987654321"})
	t.Cleanup(other.Close)
	front := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.Header.Get("Authorization"), keyOfOther+"/") {
			other.ServeHTTP(rw, r)
			return
		}
		w.sim.ServeHTTP(rw, r)
	}))
	t.Cleanup(front.Close)
	w.aws = front.URL
	var switched atomic.Bool
	var asked atomic.Int64
	vault := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		key := "AKIDFIRST"
		if switched.Load() {
			key = keyOfOther
			asked.Add(1)
		}
		// Credentials of containers and roles are renewed before they expire.
		_ = json.NewEncoder(rw).Encode(map[string]string{
			"AccessKeyId": key, "SecretAccessKey": "s", "Token": "t", "Expiration": time.Now().Add(2 * time.Second).UTC().Format(time.RFC3339),
		})
	}))
	t.Cleanup(vault.Close)
	const count = 12
	over := time.Now().Add(20 * time.Second)
	w.env = []string{"AWS_ACCESS_KEY_ID=", "AWS_SECRET_ACCESS_KEY=", "AWS_CONTAINER_CREDENTIALS_FULL_URI=" + vault.URL}
	j := w.sweeping()
	ids := w.launch("--term", "20s", "--count", "12")
	switched.Store(true)
	w.until("the janitor having got the credentials of the other account", func() bool { return asked.Load() > 0 })
	passes(over.Add(12 * time.Second)) // past --absent-for
	ended := 0
	for _, id := range ids {
		if l := w.reg.lease(id); l.State == "ended" && w.running(id) {
			ended++
		}
	}
	if ended > 0 {
		t.Errorf("%d of %d leases are recorded as ended, and their instances run: %s", ended, count, w.reg.story(ids[0]))
	}
	if n := other.CallCounts()["TerminateInstances"]; n > 0 {
		t.Errorf("TerminateInstances was called %d times in the other account", n)
	}
	switched.Store(false)
	for _, id := range ids {
		w.ended("the right credentials are back", id, markGrace+30*time.Second)
	}
	j.ends(stopBound)
}

// TestHostileRow19AnotherVersionResumes kills a launcher of another version after its send, whose answer is lost, and lets the
// present one go on: the request and its tags are those that were frozen.
func TestHostileRow19AnotherVersionResumes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.sweeping("--launch-window", "20s")
	launcher := w.command(otherLease, "launch", "--id", "tok", "--image-id", "ami-0123456789abcdef0", "--instance-type", "t3.micro",
		"--count", "2", "--term", "2h", "--holder", "ada")
	victim := make(chan *os.Process, 1)
	w.sim.Inject(ec2sim.Fault{
		Action: "RunInstances", Times: 1, Stage: ec2sim.AfterDeed, Effect: ec2sim.Drop, Hook: func() { _ = (<-victim).Kill() },
	})
	p := w.start(launcher)
	victim <- p.cmd.Process
	if code := p.exits(generous); code != -1 {
		t.Fatalf("the launcher ended with code %d before it was killed: %s", code, p.said())
	}
	var made []string
	for _, i := range w.sim.Instances() {
		made = append(made, i.ID)
	}
	if len(made) != 2 {
		t.Fatalf("the killed launcher launched %d instances, want 2", len(made))
	}
	out, said, code := w.exits("lease", "launch", "--id", "tok", "-q", "--timeout", "5s")
	if code != 0 {
		t.Errorf("the resuming launcher ends with code %d: %s", code, strings.TrimSpace(said))
	}
	for _, id := range made {
		if !strings.Contains(out, id) {
			t.Errorf("the resuming launcher does not name %s: %q", id, out)
		}
	}
	for _, id := range made {
		w.lives("launched by one version, resumed by another", id, 20*time.Second)
		if l := w.reg.lease(id); l.State != "active" {
			t.Errorf("%s: %s", id, w.reg.story(id))
		}
	}
}

// TestHostileRow20ExemptTagTakenOff removes the tag lapse:exempt after the expiry: the holder gets notice first, from
// the leader that has seen the tag, and from one that has not.
func TestHostileRow20ExemptTagTakenOff(t *testing.T) {
	t.Parallel()
	for name, fresh := range map[string]bool{"under the same leader": false, "under a new leader": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			j := w.sweeping()
			const term = 8 * time.Second
			over := time.Now().Add(term)
			id := w.launch("--term", term.String())[0]
			w.exempt(id, true)
			passes(over.Add(4 * time.Second))
			if !w.running(id) {
				t.Fatalf("an exempt instance was terminated: %s", w.reg.story(id))
			}
			if fresh {
				j.kill()
				w.janitor()
				w.sweeps("the new leader", 2, 45*time.Second)
			}
			off := time.Now()
			w.exempt(id, false)
			if within(markGrace-500*time.Millisecond, func() bool { return !w.running(id) }) {
				t.Errorf("terminated %s after its exempt tag was removed, which is less than the notice of %s: %s",
					time.Since(off).Round(time.Millisecond), markGrace, w.reg.story(id))
				return
			}
			w.ended("its exempt tag is removed, and it had its notice", id, 20*time.Second)
		})
	}
}

// exempt puts the tag that spares an instance on or off.
func (w *world) exempt(id string, on bool) {
	w.t.Helper()
	i, there := w.sim.Instance(id)
	if !there {
		w.t.Fatalf("no instance %s", id)
	}
	if on {
		i.Tags["lapse:exempt"] = "by hand"
	} else {
		delete(i.Tags, "lapse:exempt")
	}
	w.sim.SetTags(id, i.Tags)
}
