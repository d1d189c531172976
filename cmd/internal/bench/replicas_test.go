//go:build bench

package bench

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"lapse/cmd/internal/authority"
	"lapse/lease"
	"lapse/lease/api"
)

// perCrowd is how many sidecars one process runs. Each takes seven file descriptors: its connection, two of the balancer, and two
// pipes by which the kernel passes on what these carry. 20,000 is a usual limit.
const perCrowd = 2500

// starting is over how many intervals the sidecars start: each has a TLS handshake and a claim, which etcd writes.
const starting = 3

// idle is for how long a replica keeps a connection on which nothing comes. With longer intervals, each renewal makes one.
const idle = 2 * time.Minute

// spareFiles is how many descriptors a replica needs beside those of its callers.
const spareFiles = 1000

// through is how many leases are renewed through two replicas of the API.
type through struct {
	leases  int
	timeout time.Duration // of their heartbeats
	proxy   bool          // the balancer sends PROXY headers
	watched time.Duration // before one replica is killed
}

// measureReplicas renews leases through two replicas behind a balancer that passes TCP, and kills one.
func measureReplicas(t *testing.T, figures *table, size sizes) {
	t.Helper()
	for _, c := range size.through {
		t.Run(fmt.Sprint(c.leases), func(t *testing.T) { newReplicas(t, c).measure(figures) })
	}
}

// replicas are a world of them and of sidecars.
type replicas struct {
	*world
	through

	fleet     *fleet
	processes []*process // the first leads, and is killed
	addresses []string
	crowds    []*process
	reports   []string
}

func newReplicas(t *testing.T, c through) *replicas {
	t.Helper()
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
		t.Fatal(err)
	}
	kept := min(1, float64(idle)/float64(c.timeout/4*9/10)) // of a connection, until the next renewal; all are with one replica at the end
	c.leases = min(c.leases, int(float64(files.Max-spareFiles)/kept))
	r := &replicas{world: newWorld(t), through: c}
	r.fleet = r.fleetOf(c.leases, never, c.timeout)
	authority, err := authority.New(filepath.Join(r.dir, "ca.pem"))
	if err == nil {
		err = authority.Issue("api", filepath.Join(r.dir, "api.pem"), filepath.Join(r.dir, "api.key"))
	}
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		r.replica()
	}
	r.startCrowds(r.enrol())
	return r
}

// replica starts a janitor that serves the API.
func (r *replicas) replica() {
	r.t.Helper()
	from := "--api-shared-from"
	if r.proxy {
		from = "--api-proxy-from"
	}
	p := r.spawn(r.command("janitor", "run", "--api-listen", "127.0.0.1:0", "--api-cert", filepath.Join(r.dir, "api.pem"),
		"--api-key", filepath.Join(r.dir, "api.key"), from, "127.0.0.1/32"))
	var address string
	r.until("the API is served", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, line := range p.lines {
			if found := regexp.MustCompile(`serving the instance API.*address=(\S+)`).FindStringSubmatch(line); found != nil {
				address = found[1]
			}
		}
		return address != ""
	})
	if len(r.processes) == 0 {
		r.until("a first sweep", func() bool { return len(p.sweeps()) > 0 })
	}
	r.processes, r.addresses = append(r.processes, p), append(r.addresses, address)
}

// enrol makes a key for each instance, and notes it as the API does.
func (r *replicas) enrol() (keys []string) {
	r.t.Helper()
	dir := r.t.TempDir()
	keys = make([]string, len(r.fleet.instances))
	abreast(64, len(keys), func(n int) {
		i := r.fleet.instances[n]
		keys[n] = filepath.Join(dir, strconv.Itoa(n)+".pem")
		pair, err := api.Key(keys[n], slog.New(slog.DiscardHandler))
		if err != nil {
			r.t.Error(err)
			return
		}
		certificate, err := x509.ParseCertificate(pair.Certificate[0])
		if err != nil {
			r.t.Error(err)
			return
		}
		sum := sha256.Sum256(certificate.RawSubjectPublicKeyInfo)
		_, _, err = r.store.UpdateEnrolment(r.t.Context(), i.ID, func(e lease.Enrolment) (lease.Enrolment, error) {
			e.InstanceID = i.ID
			return e.Enrol(time.Now(), i.LaunchTime, lease.EnrolledKey{SHA256: hex.EncodeToString(sum[:]), Proof: lease.ProofLaunch})
		})
		if err != nil {
			r.t.Error(err)
		}
	})
	if r.t.Failed() {
		r.t.FailNow()
	}
	return keys
}

// startCrowds starts the sidecars, spread over some intervals.
func (r *replicas) startCrowds(keys []string) {
	r.t.Helper()
	for first := 0; first < len(keys); first += perCrowd {
		last := min(first+perCrowd, len(keys))
		file := filepath.Join(r.dir, fmt.Sprintf("crowd-%d", first))
		c := crowd{
			Replicas: r.addresses, Proxy: r.proxy, CA: filepath.Join(r.dir, "ca.pem"), Keys: keys[first:last], First: first, Start: starting * r.timeout / 4, Report: file + ".report",
		}
		for _, i := range r.fleet.instances[first:last] {
			c.IDs = append(c.IDs, i.ID)
		}
		text, err := json.Marshal(c)
		if err == nil {
			err = os.WriteFile(file, text, 0o600)
		}
		if err != nil {
			r.t.Fatal(err)
		}
		command := exec.Command(os.Args[0])
		command.Env = append(os.Environ(), sidecarsFile+"="+file)
		r.crowds, r.reports = append(r.crowds, r.spawn(command)), append(r.reports, c.Report)
	}
}

// heartbeats is how many are kept.
func (r *replicas) heartbeats() int {
	r.t.Helper()
	got, err := r.client.Get(r.t.Context(), "/lapse/default/heartbeats/", clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil {
		r.t.Fatal(err)
	}
	return int(got.Count)
}

func (r *replicas) measure(figures *table) {
	t, interval := r.t, r.timeout/4
	time.Sleep(starting * interval)
	r.until("all leases are renewed", func() bool { return r.heartbeats() == r.leases })
	time.Sleep(interval * 11 / 10) // until the last has renewed twice
	began, before := time.Now(), r.computed()
	time.Sleep(r.watched)
	after, whole := r.computed(), time.Since(began)
	memory := []float64{r.processes[0].memory(t, "VmRSS"), r.processes[1].memory(t, "VmRSS")}
	killed := time.Now()
	if err := r.processes[0].Process.Kill(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(r.timeout + 2*time.Second) // what is not renewed by then is lost
	moved := r.processes[1].memory(t, "VmRSS")
	reports := r.collect()
	r.judge(figures, reports, killed)

	steady, worst := took(reports, began, began.Add(whole)), took(reports, killed, time.Now())
	name := "without PROXY headers"
	if r.proxy {
		name = "with PROXY headers"
	}
	figures.note(fmt.Sprintf("%d leases through two replicas %s: renewals/s", r.leases, name), count(float64(len(steady))/whole.Seconds()))
	figures.note("  processor time: each replica, and etcd", fmt.Sprintf("%.1f, %.1f, %.1f %% of a core",
		share(after[0]-before[0], whole), share(after[1]-before[1], whole), share(after[2]-before[2], whole)))
	figures.note("  resident memory of each replica, and of the other after the kill", fmt.Sprintf("%.0f, %.0f, %.0f MiB", memory[0], memory[1], moved))
	figures.note("  a renewal, p99: calm, and after the kill", fmt.Sprintf("%.0f, %.0f ms", 1000*quantile(steady, 0.99), 1000*quantile(worst, 0.99)))
}

func share(busy, whole time.Duration) float64 { return 100 * busy.Seconds() / whole.Seconds() }

// computed is the processor time of the replicas and of etcd.
func (r *replicas) computed() []time.Duration {
	return []time.Duration{r.processes[0].cpu(r.t), r.processes[1].cpu(r.t), r.server.cpu(r.t)}
}

// collect ends the sidecars, and reads what they did.
func (r *replicas) collect() (all []report) {
	r.t.Helper()
	for n, p := range r.crowds {
		if err := p.Process.Signal(syscall.SIGTERM); err != nil {
			r.t.Fatal(err)
		}
		var got report
		r.until("a report", func() bool {
			text, err := os.ReadFile(r.reports[n])
			return err == nil && json.Unmarshal(text, &got) == nil
		})
		all = append(all, got)
	}
	return all
}

// took is how long the renewals took that ended between two times.
func took(reports []report, from, to time.Time) (all []time.Duration) {
	for _, r := range reports {
		for _, done := range r.Renewals {
			if !done.At.Before(from) && done.At.Before(to) {
				all = append(all, done.Took)
			}
		}
	}
	return all
}

// judge says whether every lease was renewed in time, whatever was killed.
func (r *replicas) judge(figures *table, reports []report, killed time.Time) {
	r.t.Helper()
	if kept := r.heartbeats(); kept != r.leases {
		r.t.Errorf("%d heartbeats of %d are kept", kept, r.leases)
	}
	snapshot, err := r.store.Snapshot(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	for _, l := range snapshot.Leases {
		if l.Mark != nil || l.State != lease.StateActive {
			r.t.Errorf("%s is %s, marked %+v", l.InstanceID, l.State, l.Mark)
		}
	}
	var longest, last time.Duration // between two renewals; from the kill to the first renewal after it
	failures := 0
	for n, got := range reports {
		renewed, after := map[int]time.Time{}, map[int]bool{}
		for _, done := range got.Renewals {
			if before, again := renewed[done.N]; again {
				longest = max(longest, done.At.Sub(before))
			}
			if renewed[done.N] = done.At; done.At.After(killed) && !after[done.N] {
				after[done.N] = true
				last = max(last, done.At.Sub(killed))
			}
		}
		if want := min(perCrowd, r.leases-n*perCrowd); len(after) != want {
			r.t.Errorf("%d of %d instances have renewed since a replica was killed", len(after), want)
		}
		for why, times := range got.Failures {
			failures += times
			r.t.Logf("%d × %s", times, why)
		}
	}
	figures.atMost(fmt.Sprintf("%d leases, a replica killed: longest time between two renewals of one", r.leases), seconds, r.timeout.Seconds(), longest.Seconds(), "")
	figures.atMost("  from the kill until all are renewed through the other", seconds, r.timeout.Seconds()/2, last.Seconds(), "")
	figures.note("  calls that failed", count(float64(failures)))
}
