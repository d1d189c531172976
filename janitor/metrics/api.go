package metrics

import "github.com/prometheus/client_golang/prometheus"

// API counts what the instance API answers, in the same registry.
type API struct {
	requests, refused *prometheus.CounterVec
}

// API adds the metrics of the instance API, once.
func (e *Exporter) API() *API {
	a := &API{
		requests: counters("lapse_api_requests_total", "Requests to the instance API that were let in, by whether their key was proved.", "proved"),
		refused:  counters("lapse_api_refused_total", "Requests and connections that the instance API refused.", "kind"),
	}
	for _, proved := range []string{"false", "true"} {
		a.requests.WithLabelValues(proved)
	}
	e.registry.MustRegister(a.requests, a.refused)
	return a
}

// Answered counts a request.
func (a *API) Answered(proved bool) {
	label := "false"
	if proved {
		label = "true"
	}
	a.requests.WithLabelValues(label).Inc()
}

// Refused counts a refusal.
func (a *API) Refused(kind string) { a.refused.WithLabelValues(kind).Inc() }
