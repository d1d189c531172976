//go:build e2e

package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"lapse/lease"
	"lapse/lease/ec2/ec2sim"
)

const (
	keyedCount  = 2 // instances that each of these launches asks for
	lanes       = 4 // launchers that run at once
	settledSoon = 5 * time.Minute
)

// kills is how many launchers are killed at random times on each endpoint: KILLS of them, if that is set.
func kills(t *testing.T, short int) int {
	t.Helper()
	text := os.Getenv("KILLS")
	if text == "" {
		return short
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("KILLS=%q must be a number above zero", text)
	}
	return n
}

// TestE2EKeyPairKilledAtRandom kills launchers at random times, behind a proxy that delays, loses and repeats calls, on moto and
// on EC2's double with each of the ways in which an endpoint may differ from EC2. Some launches are resumed, and answer the
// same each time; the others are left to the janitor.
func TestE2EKeyPairKilledAtRandom(t *testing.T) {
	t.Parallel()
	const late = 500 * time.Millisecond
	for name, c := range map[string]*ec2sim.Config{
		"moto":                  nil,
		"ignores client tokens": {Quirks: ec2sim.Quirks{IgnoresClientToken: true}},
		"hides client tokens":   {Quirks: ec2sim.Quirks{IgnoresClientToken: true, HidesClientToken: true}},
		"drops tags":            {Quirks: ec2sim.Quirks{IgnoresClientToken: true, HidesClientToken: true, DropsTags: true}},
		"ignores filters":       {Quirks: ec2sim.Quirks{IgnoresClientToken: true, IgnoresFilters: true, DeletesKeyPairsByName: true}},
		"lists late":            {Quirks: ec2sim.Quirks{IgnoresClientToken: true}, StaleFor: late},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			short := 12
			if c != nil {
				short = 4
			}
			w := newKeyedWorld(t, c)
			seed := uint64(time.Now().UnixNano())
			random := rand.New(rand.NewPCG(seed, 0))
			began := time.Now()
			if out, err := w.command(w.tampering(slow(seed)), "lease", w.keyed("measure")...).CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			life := time.Since(began)
			var all []func()
			for n := range kills(t, short) {
				token, at := fmt.Sprintf("random-%d", n), time.Duration((0.4+0.8*random.Float64())*float64(life))
				proxy := w.tampering(unreliable(random.Uint64()))
				all = append(all, func() {
					launcher := w.command(proxy, "lease", w.keyed(token)...)
					if err := launcher.Start(); err != nil {
						t.Error(err)
						return
					}
					kill := time.AfterFunc(at, func() { _ = launcher.Process.Kill() })
					_ = launcher.Wait()
					kill.Stop()
					if n%2 == 0 {
						w.resumes(token)
					}
				})
			}
			w.inLanes(all)
			t.Logf("seed %d; a launch takes %s", seed, life.Round(time.Millisecond))
			w.settles()
		})
	}
}

// TestE2EKeyPairKilledAtEveryStep kills launchers on moto whenever they call it, just before and just after it does what
// it is asked for.
func TestE2EKeyPairKilledAtEveryStep(t *testing.T) {
	t.Parallel()
	w := newKeyedWorld(t, nil)
	whole := &tamper{}
	if out, err := w.command(w.tampering(whole), "lease", w.keyed("whole")...).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if whole.calls < 5 {
		t.Fatalf("a launch makes %d calls only", whole.calls)
	}
	var all []func()
	for step := 1; step <= whole.calls; step++ {
		for _, carriedOut := range []bool{false, true} {
			for _, resumed := range []bool{false, true} {
				token := fmt.Sprintf("step-%d-%t-%t", step, carriedOut, resumed)
				all = append(all, func() {
					w.killsAt(token, step, carriedOut)
					if resumed {
						w.resumes(token)
					}
				})
			}
		}
	}
	w.inLanes(all)
	t.Logf("killed around each of %d calls", whole.calls)
	w.settles()
}

// killsAt kills a launcher at a step.
func (w *world) killsAt(token string, step int, carriedOut bool) {
	w.t.Helper()
	started := make(chan *os.Process, 1)
	victim := sync.OnceValue(func() *os.Process { return <-started })
	launcher := w.command(w.tampering(killing(victim, step, carriedOut)), "lease", w.keyed(token)...)
	if err := launcher.Start(); err != nil {
		w.t.Error(err)
		return
	}
	started <- launcher.Process
	if err := launcher.Wait(); err == nil {
		w.t.Errorf("%s was not killed", token)
	}
}

// inLanes runs all of them, a few at once.
func (w *world) inLanes(all []func()) {
	var wg sync.WaitGroup
	free := make(chan struct{}, lanes)
	for _, one := range all {
		free <- struct{}{}
		wg.Go(func() {
			defer func() { <-free }()
			one()
		})
	}
	wg.Wait()
}

// newKeyedWorld is moto, or EC2's double if there is a configuration, with a registry that notes its anima, a janitor, and what is
// nobody's.
func newKeyedWorld(t *testing.T, c *ec2sim.Config) *world {
	t.Helper()
	var w *world
	if c == nil {
		w = newWorld(t)
	} else {
		w = newSimWorld(t, ec2sim.New(*c))
	}
	w.run("lease", "init", "--armed", "--anima", "key-pair", "--region", region)
	w.spawn(w.command(w.aws, "janitor", "run", "--schedule", "@every 1s", "--mark-grace", "1s", "--orphan-grace", "1s", "--launch-window", "45s",
		"--rate-window", "1s", "--retry-max", "2s", "--complete-adoptions"), "janitor")
	w.until("a first sweep", func() bool {
		checkpoint, err := w.store.Checkpoint(t.Context())
		return err == nil && checkpoint.Sequence > 0
	})
	w.nobodys()
	return w
}

// keyed is a launch that finds what it creates by its key pair, as the registry says.
func (w *world) keyed(token string) []string {
	return []string{
		"launch", "--id", token, "--count", strconv.Itoa(keyedCount), "--image-id", "ami-12c6146b", "--instance-type", "t3.micro",
		"--term", "1h", "--consistency", "1s", "--call-timeout", "3s", "-o", "json",
	}
}

// resumes runs the same command three times, and compares what it answers.
func (w *world) resumes(token string) {
	var first []string
	for n := range 3 {
		command := w.command(w.aws, "lease", w.keyed(token)...)
		out, err := command.Output()
		if err != nil {
			var said []byte
			if exit, is := errors.AsType[*exec.ExitError](err); is {
				said = exit.Stderr
			}
			w.t.Errorf("resume %s: %v\n%s", token, err, said)
			return
		}
		var answer struct {
			Leases []lease.Lease `json:"leases"`
		}
		if err := json.Unmarshal(out, &answer); err != nil {
			w.t.Errorf("resume %s: %v", token, err)
			return
		}
		var ids []string
		for _, l := range answer.Leases {
			ids = append(ids, l.InstanceID)
		}
		if n == 0 {
			first = ids
		}
		if len(ids) != keyedCount || !slices.Equal(ids, first) {
			w.t.Errorf("resumed %s answers %v, before that %v; want %d instances, and the same", token, ids, first, keyedCount)
		}
	}
}

// nobodysKeys are the names of key pairs that are not Lapse's to delete: one of their names begins as another registry's, and
// one as if it were of a launch that no record speaks of.
func (w *world) nobodysKeys() []string {
	w.t.Helper()
	registry, err := w.store.Registry(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	names := []string{"ada", lease.KeyName("11111111-2222-4333-8444-555555555555", "random-0.1"), lease.KeyName(registry.UUID, "unheard-of.1")}
	slices.Sort(names)
	return names
}

// nobodys makes what nobody may touch: instances with and without such a key pair, and the key pairs.
func (w *world) nobodys() {
	w.t.Helper()
	const public = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ0XkI6dTO1tkhoaIS0bA3wGrGDWhYQYJ6VPqZRtXtmK nobody"
	for _, name := range w.nobodysKeys() {
		if _, err := w.ec2.ImportKeyPair(w.t.Context(), &ec2.ImportKeyPairInput{KeyName: aws.String(name), PublicKeyMaterial: []byte(public)}); err != nil {
			w.t.Fatal(err)
		}
		_, err := w.ec2.RunInstances(w.t.Context(), &ec2.RunInstancesInput{
			ImageId: aws.String("ami-12c6146b"), InstanceType: types.InstanceTypeT3Micro, MinCount: aws.Int32(1), MaxCount: aws.Int32(1), KeyName: aws.String(name),
		})
		if err != nil {
			w.t.Fatal(err)
		}
	}
}

// settles waits until nothing of any launch is left but instances with leases, and judges: no launch has more of them than it
// asked for, no key pair is left but nobody's, and what is nobody's is there.
func (w *world) settles() {
	w.t.Helper()
	var why string
	w.untilIn(settledSoon, "everything settled", func() bool {
		why = w.unsettled()
		return why == ""
	}, &why)
	snapshot, err := w.store.Snapshot(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	active := map[string]int{}
	for _, l := range snapshot.Leases {
		if l.State == lease.StateActive {
			active[l.Launch]++
		}
	}
	done := 0
	for _, l := range snapshot.Launches {
		if n := active[l.Token]; n > l.Count || l.State == lease.LaunchDone && n != l.Count {
			w.t.Errorf("launch %s of %d is %s, and %d of its leases are active", l.Token, l.Count, l.State, n)
		}
		if l.State == lease.LaunchDone {
			done++
		}
	}
	w.t.Logf("%d launches, of which %d are done", len(snapshot.Launches), done)
}

// unsettled says what is not settled yet, or is empty.
func (w *world) unsettled() string {
	snapshot, err := w.store.Snapshot(w.t.Context())
	if err != nil {
		return err.Error()
	}
	for _, l := range snapshot.Launches {
		if l.State == lease.LaunchOpen {
			return "launch " + l.Token + " is open"
		}
	}
	holds := map[string]bool{}
	for _, l := range snapshot.Leases {
		holds[l.InstanceID] = l.State == lease.StateActive
	}
	free := 0
	for _, id := range w.alive() {
		if !holds[id] {
			free++
		}
	}
	nobodys := w.nobodysKeys()
	if free != len(nobodys) {
		return fmt.Sprintf("%d instances run without a lease, of which %d are nobody's", free, len(nobodys))
	}
	if left := w.keyPairs(); !slices.Equal(left, nobodys) {
		return "key pairs are left: " + strings.Join(left, ", ")
	}
	return ""
}
