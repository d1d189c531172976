//go:build chaos

package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"lapse/cmd/internal/wallclock"
	"lapse/lease/ec2/ec2sim"
)

const (
	region       = "us-east-1"
	instanceType = "t3.micro"
	population   = 50 // instances, and so sidecars, that are kept up
)

// The janitors' policy. The shares and numbers of the brakes are the defaults; their memory is shorter, so that within
// minutes some heartbeats are lost, the brake engages, and is released again.
const (
	heartbeatTimeout = 8 * time.Second
	interval         = time.Second
	bootGrace        = 8 * time.Second
	markGrace        = 5 * time.Second
	loneGrace        = 15 * time.Second
	orphanGrace      = 2 * time.Second
	launchWindow     = 10 * time.Second
	absentFor        = 10 * time.Second
	retryMax         = 4 * time.Second
	lostMemory       = 15 * time.Second
	rateWindow       = 15 * time.Second
	leaderWindow     = 20 * time.Second
	electionTTL      = 15 * time.Second // of the election, which is no setting
	shutdown         = time.Second      // of an instance, in the simulated EC2
)

func policy() []string {
	args := []string{"--schedule", "@every " + interval.String()}
	for name, d := range map[string]time.Duration{
		"boot-grace": bootGrace, "mark-grace": markGrace, "lone-grace": loneGrace, "orphan-grace": orphanGrace,
		"launch-window": launchWindow, "absent-for": absentFor, "retry-max": retryMax, "heartbeats-memory": lostMemory,
		"rate-window": rateWindow, "leader-window": leaderWindow,
	} {
		args = append(args, "--"+name, d.String())
	}
	return args
}

// world is everything that there is.
type world struct {
	t        *testing.T
	dir, bin string
	seed     uint64
	tally    *tally
	diary    *diary
	cluster  *cluster
	links    map[string][members]*link // to the members, by who uses them
	sim      *ec2sim.Sim
	gate     *gate
	aws      string
	history  *history
	janitors [2]*janitor
	fleet    *fleet
	crowd    *crowd
	linear   *linear
	uuid     string
	nobody   *bystanders
	random   *rand.Rand // of the faults

	over context.CancelFunc // ends what goes on beside the faults
	work sync.WaitGroup
}

// janitor is one of two, whichever process it is just now.
type janitor struct {
	name string
	wall wallclock.Clock
	mu   sync.Mutex
	run  *process
}

// who uses links: each sidecar those of its zone.
func users() []string {
	return []string{"janitor-0", "janitor-1", "zone-a", "zone-b", "zone-c", "people", "linear"}
}

func newWorld(t *testing.T, seed uint64) *world {
	t.Helper()
	dir, err := os.MkdirTemp("", "chaos") //nolint:usetesting // short: paths of unix sockets are
	if err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(dir, "bin")
	if err := wallclock.Build(t.Context(), filepath.Join("..", "..", ".."), bin); err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, dir: dir, bin: bin, seed: seed, tally: newTally(), diary: newDiary(), links: map[string][members]*link{}}
	w.random = w.stream(0)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the logs are kept in %s", dir)
			return
		}
		_ = os.RemoveAll(dir)
	})
	ctx, over := context.WithCancel(t.Context())
	w.over = over
	t.Cleanup(w.work.Wait)
	t.Cleanup(over)
	w.cluster = newCluster(t, dir)
	for _, who := range users() {
		var links [members]*link
		for n := range members {
			links[n] = newLink(t, w.cluster.seats[n].Client, nil)
		}
		w.links[who] = links
	}
	w.startCloud()
	w.history = newHistory(w.cluster.client)
	w.history.begin(t)
	w.gate.history = w.history
	w.beside(ctx, w.history.follow)
	w.beside(ctx, w.watchEtcd)
	w.must("lease", "init", "--armed")
	within(t, "the registry in the history", func() bool { return w.history.registry().UUID != "" })
	w.uuid = w.history.registry().UUID
	for n := range w.janitors {
		name := fmt.Sprintf("janitor-%d", n)
		w.janitors[n] = &janitor{name: name, wall: w.clock(name)}
		w.startJanitor(n)
	}
	t.Cleanup(func() {
		for _, j := range w.janitors {
			j.run.finish()
		}
	})
	within(t, "a first sweep", func() bool { return w.history.checkpoint().Sequence > 0 })
	return w
}

// stream is a stream of random numbers of its own, by the seed.
func (w *world) stream(n uint64) *rand.Rand { return rand.New(rand.NewPCG(w.seed, n)) }

// beside runs something until the world is over.
func (w *world) beside(ctx context.Context, do func(context.Context)) {
	w.work.Go(func() { do(ctx) })
}

// startCloud serves the simulated EC2 behind the gate.
func (w *world) startCloud() {
	w.sim = ec2sim.New(ec2sim.Config{
		PendingFor: 300 * time.Millisecond, ShuttingDownFor: shutdown, StaleFor: staleFor, PageSizes: []int{20}, Latency: 5 * time.Millisecond,
	})
	w.sim.SetStaleFor(0)
	w.gate = &gate{next: w.sim}
	server := httptest.NewServer(w.gate)
	w.aws = server.URL
	w.t.Cleanup(server.Close)
	w.t.Cleanup(w.sim.Close)
}

// command prepares one of the commands, for somebody who uses links of their own. Its clock is right.
func (w *world) command(who, name string, args ...string) *exec.Cmd {
	c := exec.Command(filepath.Join(w.bin, name), args...)
	var endpoints []string
	for _, l := range w.links[who] {
		endpoints = append(endpoints, l.address())
	}
	c.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + w.dir, "AWS_ENDPOINT_URL=" + w.aws, "AWS_REGION=" + region,
		"AWS_ACCESS_KEY_ID=" + who, "AWS_SECRET_ACCESS_KEY=chaos", "AWS_EC2_METADATA_DISABLED=true",
		"LAPSE_ETCD_ENDPOINTS=" + strings.Join(endpoints, ","), "USER=" + who,
	}
	return c
}

// must runs a command of an operator who does not give up, until it has succeeded.
func (w *world) must(name string, args ...string) {
	w.t.Helper()
	log := filepath.Join(w.dir, "must.log")
	within(w.t, name+" "+strings.Join(args, " "), func() bool {
		p := mustStart(w.t, w.command("people", name, args...), log)
		<-p.done
		return p.code() == 0
	})
}

// clock makes the wall clock of whatever runs under a name, one process after the other.
func (w *world) clock(name string) wallclock.Clock {
	c, err := wallclock.New(filepath.Join(w.dir, name+".clock"))
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

func (w *world) startJanitor(n int) {
	j := w.janitors[n]
	args := append([]string{"run", "--state-dir", filepath.Join(w.dir, j.name), "--ec2-unpaced"}, policy()...)
	c := w.command(j.name, "janitor", args...)
	c.Env = append(c.Env, j.wall.Env())
	p := mustStart(w.t, c, filepath.Join(w.dir, j.name+".log"))
	j.mu.Lock()
	j.run = p
	j.mu.Unlock()
}

// leading is the number of the janitor that leads by the last checkpoint: its log says under which name it was elected.
func (w *world) leading() int {
	name := w.history.checkpoint().Leader
	for n, j := range w.janitors {
		if text, err := os.ReadFile(filepath.Join(w.dir, j.name+".log")); err == nil && name != "" && strings.Contains(string(text), "leader="+name) {
			return n
		}
	}
	return 0
}

// watchEtcd notes when etcd as a whole did not answer, and counts renewals.
func (w *world) watchEtcd(ctx context.Context) {
	var last [members]float64
	for turn := 0; ctx.Err() == nil; turn++ {
		asked := time.Now()
		_, err := w.cluster.answers(time.Second)
		w.diary.asked(asked, err == nil)
		if turn%10 == 0 {
			for n, now := range w.cluster.renewals() {
				if now > last[n] {
					w.tally.add("renewals", int(now-max(last[n], 0)))
				}
				last[n] = now
			}
		}
		pause(ctx, 100*time.Millisecond)
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
