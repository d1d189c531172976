package sim

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// thieves is how many instances are stolen at most: of more, their forged heartbeats hold the whole registry in direct mode.
const thieves = 2

// steal puts a thief in the place of an instance's sidecar. He writes what he likes into its own heartbeat, and holds it for
// as long as he likes. mu of the fleet is held.
func (w *world) steal(r *rand.Rand, m *machine, p *process) {
	w.mu.Lock()
	if w.stolen >= thieves {
		w.mu.Unlock()
		return
	}
	w.stolen++
	after := time.Duration(w.stolen) * time.Millisecond // so that what happens has one order
	w.mu.Unlock()
	p.kill()
	m.sidecar, m.boots, m.starts = nil, false, m.starts+1
	changes := pick(r, "9223372036854775807", "1000000000000", "1000000000001", "-1", "3", "1e400", `"many"`)
	timeout := pick(r, "1m0s", "2562047h47m16s", "-5s", "0s", "1ns", "soon")
	whose := pick(r, m.id, m.id, "i-00000000000000000", `i-\"},{`, strings.Repeat("i", 5000))
	since := pick(r, "2000-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "0000-01-01T00:00:00Z", "never")
	boot := pick(r, "thief", "", strings.Repeat("b", 100_000))
	value := fmt.Sprintf(`{"schema":3,"instance_id":"%s","boot_id":%q,"changes":%s,"heartbeat_timeout":%q,"since":%q}`, whose, boot, changes, timeout, since)
	seconds := pick[int64](r, 60, 9_000_000_000)
	client := w.etcd.Client("thief-"+m.id, nil)
	w.processes.Go(func() {
		time.Sleep(after)
		granted, err := client.Grant(w.ctx, seconds)
		if err != nil {
			return
		}
		_, _ = client.Put(w.ctx, "/lapse/"+namespace+"/heartbeats/"+m.id, value, clientv3.WithLease(granted.ID))
	})
}
