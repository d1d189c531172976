//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
)

// prometheus is a Prometheus of its own process with the rules of deploy, and what it sends to its Alertmanager.
type prometheus struct {
	w   *world
	url string

	mu   sync.Mutex
	sent []alert
}

type alert struct {
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
}

// startPrometheus scrapes a target every second; Debian's package is called prometheus.
func (w *world) startPrometheus(target string) *prometheus {
	w.t.Helper()
	p := &prometheus{w: w, url: "http://" + w.freePort()}
	manager := httptest.NewServer(http.HandlerFunc(p.receive))
	w.t.Cleanup(manager.Close)
	rules, err := filepath.Abs("../../../deploy/prometheus/lapse.rules.yml")
	if err != nil {
		w.t.Fatal(err)
	}
	config := filepath.Join(w.dir, "prometheus.yml")
	if err := os.WriteFile(config, fmt.Appendf(nil, `
global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}
rule_files: [%s]
alerting: {alertmanagers: [{static_configs: [{targets: [%s]}]}]}
scrape_configs: [{job_name: lapse, static_configs: [{targets: [%s]}]}]
`, rules, manager.Listener.Addr(), target), 0o600); err != nil {
		w.t.Fatal(err)
	}
	w.spawn(exec.CommandContext(w.t.Context(), "prometheus", "--config.file="+config, "--storage.tsdb.path="+filepath.Join(w.dir, "tsdb"),
		"--web.listen-address="+p.url[len("http://"):], "--log.level=warn"), "prometheus")
	return p
}

// receive is the Alertmanager: https://prometheus.io/docs/alerting/latest/alerts_api/
func (p *prometheus) receive(_ http.ResponseWriter, r *http.Request) {
	var alerts []alert
	err := json.NewDecoder(r.Body).Decode(&alerts)
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil {
		p.w.t.Errorf("cannot read the alerts that Prometheus sent: %v", err)
	}
	p.sent = append(p.sent, alerts...)
}

// received returns an alert of that name, if it was sent.
func (p *prometheus) received(name string) (alert, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, a := range p.sent {
		if a.Labels["alertname"] == name {
			return a, true
		}
	}
	return alert{}, false
}

// query returns how many series an expression has now; -1 if Prometheus does not answer.
func (p *prometheus) query(expr string) int {
	p.w.t.Helper()
	request, err := http.NewRequestWithContext(p.w.t.Context(), http.MethodGet, p.url+"/api/v1/query?query="+url.QueryEscape(expr), http.NoBody)
	if err != nil {
		p.w.t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return -1
	}
	defer response.Body.Close()
	var answer struct{ Data struct{ Result []any } }
	if response.StatusCode != http.StatusOK || json.NewDecoder(response.Body).Decode(&answer) != nil {
		return -1
	}
	return len(answer.Data.Result)
}

// freePort is an address that is free just now.
func (w *world) freePort() string {
	w.t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}
