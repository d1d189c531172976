//go:build e2e

package scenario

import (
	"cmp"
	"encoding/json"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"lapse/sidecar"
)

const (
	allSidecars      = 200
	killedSidecars   = 50
	askedSidecars    = 5  // for their peers
	startingSidecars = 20 // at once
	sidecarTimeout   = 15 * time.Second
	lookEvery        = 2 * time.Second // the API lets an instance ask for its peers as often
)

// TestE2EScenarioSidecars runs 200 sidecars of one launch, each a process, against the API of a janitor. It kills 50 of them: soon
// nobody lists them or has them for a peer, and everybody else is listed. Then the API moves to another address, and the 150 find it.
// Whether they renew is judged, and not what the janitor makes of the 50: it may mark them, and nobody else.
func TestE2EScenarioSidecars(t *testing.T) {
	// Not beside the others: 200 processes need the machine.
	w := newWorld(t)
	a := w.newAPI()
	before := a.serve()
	w.run("lease", "init", "--api", "https://"+a.address())
	w.until("a first sweep", func() bool { return len(before.said("msg=swept")) > 0 })
	ids := strings.Fields(w.run("lease", "launch", "--count", strconv.Itoa(allSidecars), "--image-id", "ami-0123456789abcdef0", "--instance-type", "t3.micro",
		"--term", "1h", "--heartbeat-timeout", sidecarTimeout.String(), "-q"))
	began, starting := time.Now(), w.lapses()
	machines := a.boot(ids)
	a.awaitShown(ids)
	t.Logf("%d sidecars started: all renew, and are each other's peers, after %s; %d heartbeats lapsed", len(ids), since(began), starting())

	dead, living := ids[:killedSidecars], ids[killedSidecars:]
	killed := time.Now()
	for _, id := range dead {
		machines[id].end(syscall.SIGKILL)
	}
	a.awaitShown(living)
	took := since(killed)
	t.Logf("%d of them killed: gone from `lease list --renewing`, and from `sidecar peers` on %d of the others, after %s; %d were terminated by then",
		len(dead), askedSidecars, took, len(w.asked()))
	if most := sidecarTimeout + markGrace + lookEvery; took > most {
		t.Errorf("they were gone after %s, more than %s", took, most)
	}

	deletions := w.lapses()
	before.end(syscall.SIGKILL)
	ended := time.Now()
	after := a.serve()
	moved := time.Now()
	a.awaitRenewals(living, moved)
	t.Logf("the API moved within %s: the last of %d sidecars renewed %s after that", moved.Sub(ended).Round(time.Millisecond), len(living), since(moved))
	time.Sleep(time.Until(ended.Add(sidecarTimeout + lookEvery))) // by now, etcd has deleted what was last renewed through the old address
	a.awaitShown(living)
	w.moreSweeps(2)
	t.Logf("%d heartbeats lapsed while it moved", deletions())
	a.onlyMarked(dead)
	for _, id := range living {
		marks := slices.Concat(before.said("msg=marked", id), after.said("msg=marked", id))
		if slices.ContainsFunc(marks, killed.Before) { // while 200 processes start, one may be late
			t.Errorf("%s was marked, although its sidecar ran", id)
		}
	}
}

// since is for people.
func since(then time.Time) time.Duration { return time.Since(then).Round(time.Millisecond) }

// boot starts a sidecar for each instance, some at once, and waits until each renews within the timeout of its lease.
func (a *movingAPI) boot(ids []string) map[string]*process {
	a.t.Helper()
	machines := map[string]*process{}
	for some := range slices.Chunk(ids, startingSidecars) {
		for _, id := range some {
			machines[id] = a.startSidecar(id)
		}
		a.until("sidecars renewing", func() bool { return a.renewing(some) == len(some) })
	}
	return machines
}

// startSidecar starts one beside its metadata service. It is told neither where etcd is, nor the API, nor anything of AWS.
func (a *movingAPI) startSidecar(id string) *process {
	a.t.Helper()
	metadata := httptest.NewServer(a.sim.IMDS(id))
	a.t.Cleanup(metadata.Close)
	if err := os.Mkdir(a.path(id), 0o700); err != nil { // a key is beside each socket
		a.t.Fatal(err)
	}
	p := a.spawn(a.onInstance(id, "run", "--imds", metadata.URL, "--api-cacert", a.path("ca.pem"), "--log-level", "warn"))
	a.t.Cleanup(func() { p.end(syscall.SIGKILL) })
	return p
}

// onInstance prepares a command of the sidecar of an instance.
func (a *movingAPI) onInstance(id string, args ...string) *exec.Cmd {
	c := exec.Command(filepath.Join(bin, "sidecar"), append(args, "--socket", a.socket(id))...)
	c.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + a.path(id)}
	return c
}

func (a *movingAPI) socket(id string) string { return filepath.Join(a.path(id), "s.sock") }

// awaitShown looks until these instances and no others are listed as renewing, and are the peers of those of them that are asked.
func (a *movingAPI) awaitShown(ids []string) {
	a.t.Helper()
	want := slices.Sorted(slices.Values(ids))
	for deadline := time.Now().Add(generous); ; {
		next := time.Now().Add(lookEvery)
		var differs []string
		for _, look := range a.looks(ids) {
			if got, said := shown(look); !slices.Equal(got, want) {
				differs = append(differs, strings.Join(look.Args[1:], " ")+": "+strconv.Itoa(len(got))+" instances "+said)
			}
		}
		switch {
		case len(differs) == 0:
			return
		case time.Now().After(deadline):
			a.t.Fatalf("waited %s in vain for %d instances; shown are\n%s", generous, len(want), strings.Join(differs, "\n"))
		}
		time.Sleep(time.Until(next))
	}
}

// looks are the commands that show who renews: the operator's, without anything of AWS, and those of sidecars of these instances.
func (a *movingAPI) looks(ids []string) []*exec.Cmd {
	list := exec.Command(filepath.Join(bin, "lease"), "list", "--renewing", "-o", "json")
	list.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + a.dir, "LAPSE_ETCD_ENDPOINTS=" + a.etcd()}
	looks := []*exec.Cmd{list}
	for n := range askedSidecars {
		looks = append(looks, a.onInstance(ids[n*len(ids)/askedSidecars], "peers", "-o", "json"))
	}
	return looks
}

// shown are the ids of the instances that a command prints, or why there are none.
func shown(command *exec.Cmd) (ids []string, said string) {
	var stderr strings.Builder
	command.Stderr = &stderr
	out, err := command.Output()
	var all []struct {
		InstanceID string `json:"instance_id"`
	}
	if err := cmp.Or(err, json.Unmarshal(out, &all)); err != nil {
		return nil, err.Error() + " " + stderr.String()
	}
	for _, one := range all {
		ids = append(ids, one.InstanceID)
	}
	slices.Sort(ids)
	return ids, ""
}

// awaitRenewals waits until the sidecars of these instances say that they have renewed since then.
func (a *movingAPI) awaitRenewals(ids []string, then time.Time) {
	a.t.Helper()
	for _, id := range ids {
		a.until("a renewal of "+id+" through the new address", func() bool {
			status, err := sidecar.NewClient(a.socket(id)).Status(a.t.Context())
			return err == nil && status.RenewedAt.After(then)
		})
	}
}

// onlyMarked checks that no lease but those of the dead has a mark, or is over.
func (a *movingAPI) onlyMarked(dead []string) {
	a.t.Helper()
	marked, over := 0, 0
	for _, l := range a.snapshot().Leases {
		switch is := slices.Contains(dead, l.InstanceID); {
		case is && l.Mark != nil:
			marked++
		case is && !l.Live():
			over++
		case !is && (l.Mark != nil || !l.Live()):
			a.t.Errorf("%s renews, and has the mark %+v: %s", l.InstanceID, l.Mark, story(l))
		}
	}
	a.t.Logf("of the %d killed, %d are marked and %d over", len(dead), marked, over)
}
