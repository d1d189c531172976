//go:build hostile

package hostile

import (
	"net"
	"slices"
	"testing"
	"time"

	"lapse/lease/etcd/embedded"
)

// TestHostileRow03AuthorityRotated rotates etcd's CA in two steps, under running sidecars and a running janitor: first both
// are trusted, then the new one signs, then the old one is no longer trusted. Each step restarts etcd, and nobody else.
func TestHostileRow03AuthorityRotated(t *testing.T) {
	t.Parallel()
	w := emptyWorld(t)
	older, newer := newAuthority(t, "older"), newAuthority(t, "newer")
	config := embedded.Config{
		Dir: w.etcdDir(), Listen: freeAddress(t), CertFile: w.path("server.pem"), KeyFile: w.path("server.key"), ClientCAFile: w.path("ca.pem"),
	}
	client, key := w.path("client.pem"), w.path("client.key")
	replaceFile(t, config.ClientCAFile, older.pem)
	older.issue(config.CertFile, config.KeyFile)
	older.issue(client, key)
	w.startEtcd(config)
	w.env = []string{
		"LAPSE_ETCD_ENDPOINTS=https://" + config.Listen, "LAPSE_ETCD_CACERT=" + config.ClientCAFile, "LAPSE_ETCD_CERT=" + client, "LAPSE_ETCD_KEY=" + key,
	}
	restart := func() {
		w.etcd.ends(stopBound)
		w.startEtcd(config)
	}
	w.run("lease", "init", "--armed")
	j := w.sweeping()
	const count = 2 // so few heartbeats may be lost before a brake engages
	ids := w.launch("--term", "2h", "--heartbeat-timeout", heartbeatTimeout.String(), "--count", "2")
	for _, id := range ids {
		w.sidecar(id, nil)
	}
	renewing := func() bool { return !slices.ContainsFunc(ids, func(id string) bool { return !w.reg.heartbeats(id) }) }
	w.until("both sidecars renewing", renewing)

	replaceFile(t, config.ClientCAFile, slices.Concat(older.pem, newer.pem))
	restart()
	w.sweeps("both authorities trusted", 3, 30*time.Second)
	newer.issue(config.CertFile, config.KeyFile)
	newer.issue(client, key)
	restart()
	w.sweeps("the new one signs", 3, 30*time.Second)
	passes(time.Now().Add(3 * heartbeatTimeout)) // heartbeats that nobody renews are gone
	if !renewing() {
		t.Errorf("the new authority signs, and %s later not all of %d sidecars renew", 3*heartbeatTimeout, count)
	}
	replaceFile(t, config.ClientCAFile, newer.pem)
	restart()
	w.sweeps("the old one is no longer trusted", 3, 30*time.Second)
	j.ends(stopBound)
	w.janitor() // one that has read the new files
	for _, id := range ids {
		w.lives("rotated", id, 2*heartbeatTimeout+markGrace+6*time.Second)
	}
	if !renewing() {
		t.Error("the old authority is gone, and not all sidecars renew")
	}
}

// freeAddress is one of loopback that nobody serves.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
