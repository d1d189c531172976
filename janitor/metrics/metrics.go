// Package metrics shows what a janitor does: its metrics to Prometheus, and whether it is alive and ready to health checks.
//
//   - metrics.go: [Exporter], which learns from a janitor what happens, and its counters; gauges.go: what each decision counts
//     again, and what disappears when leadership is lost; health.go: whether the janitor is alive and ready.
//   - serve.go: /metrics, /healthz and /readyz over HTTP.
//
// The metrics:
//
//	lapse_build_info{version,go_version}           1
//	lapse_leader                                   1 while this janitor leads
//	lapse_last_sweep_timestamp_seconds             of the newest checkpoint that it has written or read
//	lapse_next_sweep_timestamp_seconds             when the sweep after that one is due
//	lapse_sweeps_total{result}                     ok, failed
//	lapse_sweep_duration_seconds                   from its start to its decision and checkpoint
//	lapse_ec2_calls_total{location,action,code}       attempts, the SDK's retries included; code OK, EC2's own, or unreachable
//	lapse_ec2_call_duration_seconds{action}
//	lapse_terminations_asked_total{cause}          instances for which EC2 accepted TerminateInstances
//	lapse_ends_total{cause}                        terminations that EC2 confirmed
//	lapse_end_lateness_seconds{cause}              from the time a termination was due to EC2's answer to TerminateInstances
//	lapse_spared_total{cause}                      due for termination, and spared on a fresh description
//	lapse_failures_total                           reads, writes and calls that failed, counted by instance or launch
//	lapse_audit_failures_total                     events that could not be written to the audit log
//
// And what Prometheus's own library says of the process: process_*, go_*.
//
// Only while it leads, and by its latest decision:
//
//	lapse_registry_mode{mode}                      1 for observe, armed or paused; 0 for the other two
//	lapse_leases{state}, lapse_launches{state}     records
//	lapse_instances{location,kind}                    alive; managed, foreign, untracked or exempt
//	lapse_location_listed{location}                      1 if the last listing was complete
//	lapse_plan_verdicts{action}
//	lapse_brake_engaged{brake,scope}                  1 while it is engaged; absent when not
//	lapse_leases_behind                               older in the registry than their sidecars have seen them; 100 at most
//	lapse_stuck_instances{location}                   that EC2 refuses to terminate
//	lapse_heartbeats_lost{zone}                      of running instances whose heartbeat is missing
//	lapse_longest_heartbeat_loss_seconds                  for how long the longest has been missing, by this leader's own clock
//	lapse_overdue_instances{reason}                instances that should be gone by their record, by [lease.KeptReason]
//	lapse_tag_lag_seconds                          for how long the oldest tag lapse:expires has been behind its record
package metrics

import (
	"cmp"
	"runtime"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"lapse/janitor/audit"
	"lapse/janitor/plan"
	"lapse/lease"
)

// Exporter is told by a janitor what happens, and shows it.
type Exporter struct {
	registry *prometheus.Registry
	now      func() time.Time

	sweeps, asked, ends, spared, calls *prometheus.CounterVec
	failures, unaudited                prometheus.Counter
	swept                              prometheus.Histogram
	lateness, took                     *prometheus.HistogramVec

	mu     sync.Mutex
	state  state
	census *plan.Census // of the latest decision; nil while somebody else leads
}

// New makes an exporter of a janitor that is about to start. now is the wall clock.
func New(version string, now func() time.Time) *Exporter {
	cause := []string{"cause"}
	e := &Exporter{
		registry:  prometheus.NewRegistry(),
		now:       now,
		sweeps:    counters("lapse_sweeps_total", "Sweeps, by whether they reached a decision.", "result"),
		asked:     counters("lapse_terminations_asked_total", "Instances for which EC2 accepted TerminateInstances.", cause...),
		ends:      counters("lapse_ends_total", "Terminations that EC2 confirmed.", cause...),
		spared:    counters("lapse_spared_total", "Instances that were due for termination and spared on a fresh description.", cause...),
		calls:     counters("lapse_ec2_calls_total", "Attempts of calls to EC2, retries included.", "location", "action", "code"),
		failures:  counter("lapse_failures_total", "Reads, writes and calls that failed, by instance or launch."),
		unaudited: counter("lapse_audit_failures_total", "Events that could not be written to the audit log."),
		swept: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "lapse_sweep_duration_seconds", Help: "From the start of a sweep to its decision.",
			Buckets: []float64{0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300},
		}),
		lateness: histograms("lapse_end_lateness_seconds", "From the time a termination was due to EC2's answer to TerminateInstances.",
			[]float64{0.25, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 14400}, "cause"),
		took: histograms("lapse_ec2_call_duration_seconds", "Attempts of calls to EC2.",
			[]float64{0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30}, "action"),
	}
	e.state = state{turnBy: time.Now().Add(startMax)}
	for _, result := range []string{"ok", "failed"} {
		e.sweeps.WithLabelValues(result)
	}
	for _, c := range causes() { // a series that begins with its first event shows no increase
		e.asked.WithLabelValues(string(c))
		e.spared.WithLabelValues(string(c))
		e.ends.WithLabelValues(string(c))
	}
	e.registry.MustRegister(e.sweeps, e.asked, e.ends, e.spared, e.calls, e.failures, e.unaudited, e.swept, e.lateness, e.took)
	e.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "lapse_build_info", Help: "The version of this janitor.",
		ConstLabels: prometheus.Labels{"version": version, "go_version": runtime.Version()},
	}, func() float64 { return 1 }))
	e.registry.MustRegister(gauges{e})
	e.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return e
}

func counter(name, help string) prometheus.Counter {
	return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
}

func counters(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
}

func histograms(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, labels)
}

// causes for which an instance may be terminated.
func causes() []lease.Cause {
	return []lease.Cause{
		lease.CauseExpired, lease.CauseRelease, lease.CauseRevoke, lease.CauseHeartbeatLost, lease.CauseNoHeartbeat,
		lease.CauseFailedCreation, lease.CauseGone,
	}
}

// Called counts one attempt of a call to EC2.
func (e *Exporter) Called(location lease.Location, action, code string, took time.Duration) {
	e.calls.WithLabelValues(location.String(), action, code).Inc()
	e.took.WithLabelValues(action).Observe(took.Seconds())
}

// Swept counts a sweep.
func (e *Exporter) Swept(took time.Duration, err error) {
	result := "ok"
	if err != nil {
		result = "failed"
	}
	e.sweeps.WithLabelValues(result).Inc()
	e.swept.Observe(took.Seconds())
}

// Happened counts what the janitor itself has done.
func (e *Exporter) Happened(event audit.Event) {
	if !event.Own {
		return
	}
	cause := cmp.Or(string(event.Cause), "unknown")
	switch event.Kind {
	case lease.ActionTerminate:
		e.asked.WithLabelValues(cause).Inc()
		if due := event.Evidence.Due; !due.IsZero() {
			e.lateness.WithLabelValues(cause).Observe(max(0, event.Time.Sub(due).Seconds()))
		}
	case lease.ActionEnd:
		e.ends.WithLabelValues(cause).Inc()
	case lease.ActionSpare:
		if event.Leftover == "" {
			e.spared.WithLabelValues(cause).Inc()
		}
	case lease.ActionFail, lease.ActionRefuse:
		e.failures.Inc()
	case lease.ActionAuditFail:
		e.unaudited.Inc()
		e.audited(event.Reason)
	case lease.ActionAuditResume:
		e.audited("")
	default:
	}
}
