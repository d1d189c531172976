//go:build bench

package bench

import (
	"encoding/json"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"lapse/cmd/internal/authority"
	"lapse/lease/ec2/ec2sim"
	"lapse/sidecar"
)

// measureDirect watches one sidecar that renews in etcd at a timeout of 5 minutes.
func measureDirect(t *testing.T, figures *table, size sizes) {
	t.Helper()
	w := newWorld(t)
	f := w.newFleet(1, never)
	id := f.instances[0].ID
	metadata := httptest.NewServer(ec2sim.IMDS(ec2sim.Instance{ID: id, Region: region, Zone: region + "a"}))
	t.Cleanup(metadata.Close)
	s := w.spawn(w.command("sidecar-direct", "run", "--imds", metadata.URL, "--socket", filepath.Join(w.dir, "s.sock")))
	w.until("a heartbeat with the lease's timeout", func() bool {
		snapshot, err := w.store.Snapshot(t.Context())
		return err == nil && time.Duration(snapshot.Heartbeats[id].HeartbeatTimeout) == heartbeatTimeout
	})
	busy := s.busy(t, size.sidecar)
	figures.atMost("sidecar, direct: resident memory", mib, 18, s.memory(t, "VmRSS"), "")
	figures.atMost("sidecar, direct: of it anonymous", mib, 4, s.memory(t, "RssAnon"), "")
	figures.atMost("sidecar, direct: share of a core", percent, 0.02, busy, "")
}

// measureAPI watches one sidecar that renews through the API of a janitor, over TLS 1.3, at a timeout of 5 minutes.
func measureAPI(t *testing.T, figures *table, size sizes) {
	t.Helper()
	w := newWorld(t)
	path := func(name string) string { return filepath.Join(w.dir, name) }
	certificates, err := w.sim.IdentityCertificates()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path("ec2.pem"), certificates, 0o600); err != nil {
		t.Fatal(err)
	}
	authority, err := authority.New(path("ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	if err := authority.Issue("api", path("api.pem"), path("api.key")); err != nil {
		t.Fatal(err)
	}
	w.do("lease", "init", "--armed")
	j := w.janitor("--api-listen", "127.0.0.1:0", "--api-cert", path("api.pem"), "--api-key", path("api.key"), "--identity-certificates", path("ec2.pem"))
	w.do("lease", "init", "--api", "https://"+j.api(w))
	launched := w.do("lease", "launch", "--image-id", "ami-00000000000000001", "--instance-type", "t3.micro", "--term", "1h", "--heartbeat-timeout", heartbeatTimeout.String(), "-o", "json")
	id := regexp.MustCompile(`\bi-[0-9a-f]{17}`).FindString(launched)
	metadata := httptest.NewServer(w.sim.IMDS(id))
	t.Cleanup(metadata.Close)
	c := w.command("sidecar", "run", "--imds", metadata.URL, "--api-cacert", path("ca.pem"), "--socket", path("s.sock"))
	c.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + w.dir} // an instance knows of no etcd
	s := w.spawn(c)
	w.until("the sidecar renews", func() bool {
		snapshot, err := w.store.Snapshot(t.Context())
		return err == nil && time.Duration(snapshot.Heartbeats[id].HeartbeatTimeout) == heartbeatTimeout
	})
	w.until("the sidecar holds the lease", func() bool {
		said, err := w.command("sidecar", "status", "--socket", path("s.sock"), "-o", "json").Output()
		var status sidecar.Status
		return err == nil && json.Unmarshal(said, &status) == nil && status.Phase == sidecar.PhaseHolding
	})
	busy := s.busy(t, size.sidecar)
	figures.atMost("sidecar, through the API: resident memory", mib, 8, s.memory(t, "VmRSS"),
		"Nearly all of the program is resident.")
	figures.note("  of it anonymous", mib(s.memory(t, "RssAnon")))
	figures.atMost("sidecar, through the API: share of a core", percent, 0.02, busy, "")
	info, err := os.Stat(c.Path)
	if err != nil {
		t.Fatal(err)
	}
	figures.atMost("sidecar, through the API: its program on disk", megabytes, 9, float64(info.Size())/1e6, "")
}

// busy is the share of a core, in percent, that the process takes from a second from now on, for so long.
func (p *process) busy(t *testing.T, long time.Duration) float64 {
	t.Helper()
	time.Sleep(time.Second) // what it does once
	began, before := time.Now(), p.cpu(t)
	time.Sleep(long)
	return 100 * (p.cpu(t) - before).Seconds() / time.Since(began).Seconds()
}

// do runs a command, which must succeed, and returns what it printed.
func (w *world) do(name string, args ...string) string {
	w.t.Helper()
	var said strings.Builder
	c := w.command(name, args...)
	c.Stderr = &said
	out, err := c.Output()
	if err != nil {
		w.t.Fatalf("%s %s: %v\n%s%s", name, strings.Join(args, " "), err, out, said.String())
	}
	return string(out)
}

// api waits until the janitor serves the API, and returns its address.
func (p *process) api(w *world) (address string) {
	w.t.Helper()
	w.until("the API is served", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		found := regexp.MustCompile(`serving the instance API.*address=([0-9.]+:\d+)`).FindStringSubmatch(strings.Join(p.lines, "\n"))
		if found != nil {
			address = found[1]
		}
		return found != nil
	})
	return address
}
