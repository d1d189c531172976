//go:build hostile

package hostile

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"lapse/lease"
)

// forge writes a heartbeat as an instance in direct mode can: with any content, kept alive for an hour.
func (w *world) forge(id, content string) {
	w.t.Helper()
	w.reg.put("heartbeats/"+id, content, w.reg.grant())
}

// heartbeat is a sound one, with some fields changed.
func heartbeat(id string, changed map[string]any) string {
	fields := map[string]any{
		"schema": lease.Schema, "instance_id": id, "boot_id": "b", "address": "10.0.0.1", "version": "dev", "changes": 1, "heartbeat_timeout": heartbeatTimeout.String(),
		"since": time.Now().UTC().Format(time.RFC3339),
	}
	for name, value := range changed {
		fields[name] = value
	}
	text, _ := json.Marshal(fields) // what is given here always marshals
	return string(text)
}

// TestHostileRow07ChangeCounterForged lets three instances claim the greatest change there is. They end by their dates, keep
// nobody else, and a person who releases the brake is told the truth.
func TestHostileRow07ChangeCounterForged(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.sweeping()
	const term = 20 * time.Second
	over := time.Now().Add(term)
	ids := w.launch("--term", term.String(), "--heartbeat-timeout", heartbeatTimeout.String(), "--count", "4")
	forgers, honest := ids[:3], ids[3]
	w.sidecar(honest, nil)
	w.until("the honest one renewing", func() bool { return w.claimed(honest, heartbeatTimeout) })
	for _, id := range forgers {
		w.forge(id, heartbeat(id, map[string]any{"changes": math.MaxInt64}))
	}
	w.sweeps("forged", 3, 20*time.Second)
	out, said, code := w.exits("janitor", "release-brake", "rollback", "--yes")
	w.sweeps("after the release", 3, 20*time.Second)
	for _, b := range w.reg.last().Brakes {
		if code == 0 && b.Name == "rollback" && strings.Contains(out, "released") {
			t.Errorf("janitor release-brake rollback says %q, but brake %q is engaged: %s (%s)", strings.TrimSpace(out), b.Scope, b.Reason, said)
		}
	}
	if behind := w.reg.last().Behind; code == 0 && len(behind) > 0 && strings.Contains(out, "released") {
		t.Errorf("janitor release-brake rollback says %q, but holds back %v", strings.TrimSpace(out), behind)
	}
	passes(over)
	w.ended("honest, and its lease has expired", honest, markGrace+20*time.Second)
	for _, id := range forgers {
		w.ended("forged, and its lease has expired", id, markGrace+20*time.Second)
		if n := w.reg.lease(id).Changes; n < 0 || n > math.MaxInt32 {
			t.Errorf("the change counter of %s is %d", id, n)
		}
	}
}

// TestHostileReleaseOfABrakeUndone lets three instances claim more changes than a person was shown. Whoever releases
// the brake learns that it is engaged again.
func TestHostileReleaseOfABrakeUndone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.sweeping()
	ids := w.launch("--term", "2h", "--heartbeat-timeout", heartbeatTimeout.String(), "--count", "3")
	for _, id := range ids {
		w.forge(id, heartbeat(id, map[string]any{"changes": 1000}))
	}
	held := func() bool {
		return slices.ContainsFunc(w.reg.last().Brakes, func(b brake) bool { return b.Name == "rollback" && b.Scope == "" })
	}
	w.until("brake rollback to be engaged", held)
	p := w.asks("janitor", "release-brake", "rollback")
	for _, id := range ids {
		w.forge(id, heartbeat(id, map[string]any{"changes": 5000}))
	}
	code := p.yes()
	if says := func() bool { return strings.Contains(p.text(), "engaged it again") }; code != 5 || !within(5*time.Second, says) {
		t.Errorf("exit code %d, says %q; want 5, and that it is engaged again", code, p.text())
	}
	w.until("brake rollback to be engaged again", held)
}

// TestHostileRow13BadKeyWrittenOften writes one bad heartbeat hundreds of times: what that costs etcd is bounded, and the
// other leases are looked after.
func TestHostileRow13BadKeyWrittenOften(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.sweeping("--schedule", "@every 3s")
	ids := w.launch("--term", "2h", "--heartbeat-timeout", heartbeatTimeout.String(), "--count", "3")
	bad, stopped, healthy := ids[0], ids[1], ids[2]
	held := w.reg.grant()
	w.reg.put("heartbeats/"+bad, "{not JSON", held) // from the start: without any it would be marked within the calm
	lost, kept := w.sidecar(stopped, nil), w.sidecar(healthy, nil)
	w.until("heartbeats", func() bool { return w.claimed(stopped, heartbeatTimeout) && w.claimed(healthy, heartbeatTimeout) })
	expiring := w.launch("--term", "8s")[0]
	const long, writes = 12 * time.Second, 600
	calm := w.reads(func() { passes(time.Now().Add(long)) })
	w.ended("expired before the storm", expiring, generous)
	expiring = w.launch("--term", "5s")[0]
	storm := w.reads(func() {
		began := time.Now()
		for n := range writes {
			w.reg.put("heartbeats/"+bad, "{not JSON "+strconv.Itoa(n), held)
			passes(began.Add(long * time.Duration(n+1) / writes))
		}
	})
	t.Logf("etcd was asked to read %d ranges in %s of calm, and %d while a bad key was written %d times", calm, long, storm, writes)
	if more := storm - calm; more > writes/2 {
		t.Errorf("%d bad writes cost %d more reads of etcd than calm does, want at most %d", writes, more, writes/2)
	}
	lost.kill()
	w.ended("expired beside a bad heartbeat", expiring, 20*time.Second)
	w.ended("its heartbeat is lost, beside a bad one", stopped, heartbeatTimeout+markGrace+30*time.Second)
	w.lives("its own heartbeat is bad", bad, time.Second)
	w.lives("beside a bad heartbeat", healthy, time.Second)
	kept.ends(stopBound)
}

// reads counts the ranges that etcd has read while something goes on, by its own metrics.
func (w *world) reads(during func()) int {
	w.t.Helper()
	before := w.metric("range_total")
	during()
	return w.metric("range_total") - before
}

// metric sums the server's metrics whose names end so.
func (w *world) metric(suffix string) int {
	w.t.Helper()
	client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", w.reg.socket)
	}}}
	defer client.CloseIdleConnections()
	resp, err := client.Get("http://etcd/metrics")
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	sum, found := 0.0, false
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		name, value, ok := strings.Cut(lines.Text(), " ")
		if !ok || strings.HasPrefix(name, "#") || !strings.HasSuffix(name, "mvcc_"+suffix) {
			continue
		}
		n, err := strconv.ParseFloat(value, 64)
		if err != nil {
			w.t.Fatal(err)
		}
		sum, found = sum+n, true
	}
	if !found {
		w.t.Fatalf("etcd has no metric that ends in %s", suffix)
	}
	return int(sum)
}

// TestHostileHeartbeats writes what no sidecar writes into every field of a heartbeat. It concerns its own lease alone: the
// others expire, lose their heartbeats and end as ever, and its own ends by its date.
func TestHostileHeartbeats(t *testing.T) {
	t.Parallel()
	huge := strings.Repeat("x", 1<<20)
	for name, content := range map[string]func(id string) string{
		"changes negative": func(id string) string { return heartbeat(id, map[string]any{"changes": math.MinInt64}) },
		"changes huge":     func(id string) string { return heartbeat(id, map[string]any{"changes": math.MaxInt64}) },
		"changes beyond int64": func(id string) string {
			return strings.Replace(heartbeat(id, nil), `"changes":1`, `"changes":1e300`, 1)
		},
		"ttl negative":       func(id string) string { return heartbeat(id, map[string]any{"heartbeat_timeout": "-5s"}) },
		"ttl of centuries":   func(id string) string { return heartbeat(id, map[string]any{"heartbeat_timeout": "2000000h"}) },
		"ttl a number":       func(id string) string { return heartbeat(id, map[string]any{"heartbeat_timeout": math.MaxInt64}) },
		"since in year 9999": func(id string) string { return heartbeat(id, map[string]any{"since": "9999-12-31T23:59:59Z"}) },
		"since in year 1":    func(id string) string { return heartbeat(id, map[string]any{"since": "0001-01-01T00:00:00Z"}) },
		"1 MB in each string": func(id string) string {
			return heartbeat(id, map[string]any{"version": huge[:1<<19], "address": huge[:1<<18], "boot_id": huge[:1<<18]})
		},
		"another's id":         func(id string) string { return heartbeat("i-0123456789abcdef0", nil) },
		"no id":                func(id string) string { return heartbeat("", nil) },
		"invalid UTF-8":        func(id string) string { return strings.Replace(heartbeat(id, nil), "10.0.0.1", "\xff\xfe\x80", 1) },
		"control characters":   func(id string) string { return heartbeat(id, map[string]any{"version": "\x00\x1b[2J\n\r{}"}) },
		"schema of the future": func(id string) string { return heartbeat(id, map[string]any{"schema": 1 << 30}) },
		"schema negative":      func(id string) string { return heartbeat(id, map[string]any{"schema": -1}) },
		"an array":             func(string) string { return `[[[[]]]]` },
		"nothing":              func(string) string { return "" },
		"deep":                 func(string) string { return strings.Repeat("[", 200_000) },
		"fields that are others": func(id string) string {
			return fmt.Sprintf(`{"schema":{},"instance_id":%q,"changes":"many","heartbeat_timeout":[]}`, id)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.sweeping()
			const term = 25 * time.Second
			over := time.Now().Add(term)
			hostile := w.launch("--term", term.String(), "--heartbeat-timeout", heartbeatTimeout.String())[0]
			ids := w.launch("--term", "2h", "--heartbeat-timeout", heartbeatTimeout.String(), "--count", "2")
			lost := w.sidecar(ids[0], nil)
			w.sidecar(ids[1], nil)
			w.until("heartbeats", func() bool { return w.claimed(ids[0], heartbeatTimeout) && w.claimed(ids[1], heartbeatTimeout) })
			expiring := w.launch("--term", "4s")[0]
			w.forge(hostile, content(hostile))
			lost.kill()
			w.ended("another, expired", expiring, markGrace+20*time.Second)
			w.ended("another, its heartbeat lost", ids[0], heartbeatTimeout+2*markGrace+30*time.Second)
			passes(over)
			w.ended("the forger, expired", hostile, markGrace+20*time.Second)
			w.lives("another, renewing", ids[1], time.Second)
		})
	}
}
