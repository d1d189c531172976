package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"lapse/janitor/plan"
	"lapse/lease"
)

// gauges shows the state of an exporter as it is when somebody asks.
type gauges struct{ *Exporter }

// Describe describes nothing beforehand: what is shown depends on who leads.
func (g gauges) Describe(chan<- *prometheus.Desc) {}

// Collect shows what the janitor knows of itself, and, while it leads, what its latest decision was about.
func (g gauges) Collect(to chan<- prometheus.Metric) {
	g.mu.Lock()
	state, census := g.state, g.census
	g.mu.Unlock()
	gauge("lapse_leader", "Whether this janitor leads.").put(to, truth(state.leader != ""))
	if at := state.checkpoint.Time; !at.IsZero() {
		gauge("lapse_last_sweep_timestamp_seconds", "The time of the newest checkpoint of a sweep that this janitor has written or read.").
			put(to, float64(at.UnixMilli())/1000)
		gauge("lapse_next_sweep_timestamp_seconds", "The time at which the sweep after that one is due.").put(to, float64(state.checkpoint.Due().UnixMilli())/1000)
	}
	if census != nil {
		collect(to, *census)
	}
}

// collect shows what a decision was about. Of what there may be none, none is shown as 0.
func collect(to chan<- prometheus.Metric, c plan.Census) {
	mode := gauge("lapse_registry_mode", "The mode of the registry.", "mode")
	for _, m := range []lease.Mode{lease.ModeObserve, lease.ModeArmed, lease.ModePaused} {
		mode.put(to, truth(m == c.Mode), string(m))
	}
	each(to, gauge("lapse_leases", "Leases, by state.", "state"), c.Leases,
		lease.StateAdopting, lease.StateActive, lease.StateRevoked, lease.StateEnded, lease.StateUnmanaged)
	each(to, gauge("lapse_launches", "Launches, by state.", "state"), c.Launches,
		lease.LaunchOpen, lease.LaunchDone, lease.LaunchClosed)
	each(to, gauge("lapse_plan_verdicts", "Verdicts of the latest plan.", "action"), c.Verdicts, plan.Actions()...)
	each(to, gauge("lapse_heartbeats_lost", "Leases of running instances whose heartbeat is missing.", "zone"), c.Lost)
	gauge("lapse_longest_heartbeat_loss_seconds", "The longest time for which a heartbeat has been missing.").put(to, c.Longest.Seconds())
	each(to, gauge("lapse_overdue_instances", "Overdue instances, by the reason that keeps them.", "reason"), c.Overdue,
		lease.KeptReasons()...)
	gauge("lapse_tag_lag_seconds", "The age of the oldest tag lapse:expires that is behind its record.").put(to, c.TagLag.Seconds())

	held := gauge("lapse_brake_engaged", "Brakes that are engaged.", "brake", "scope")
	shown := map[[2]string]bool{}
	for _, b := range c.Brakes {
		if key := [2]string{b.Name, b.Scope}; !shown[key] && !b.Starting {
			shown[key] = true
			held.put(to, 1, b.Name, b.Scope)
		}
	}
	gauge("lapse_leases_behind", "Leases of which sidecars have seen a later change than the registry has, 100 at most.").put(to, float64(c.Behind))
	listed := gauge("lapse_location_listed", "Whether the last listing of the location was complete.", "location")
	stuck := gauge("lapse_stuck_instances", "Instances of revoked leases that cannot be terminated.", "location")
	instances := gauge("lapse_instances", "Living instances that bear the tag of a registry.", "location", "kind")
	for location, p := range c.Locations {
		name := location.String()
		listed.put(to, truth(p.Listed), name)
		stuck.put(to, float64(p.Stuck), name)
		if !p.Listed {
			continue // what lives there is not known
		}
		for kind, n := range map[string]int{"managed": p.Managed, "foreign": p.Foreign, "untracked": p.Untracked, "exempt": p.Exempt} {
			instances.put(to, float64(n), name, kind)
		}
	}
}

// each shows one number for each key, and 0 for those of all that have none.
func each[K ~string](to chan<- prometheus.Metric, d desc, counted map[K]int, all ...K) {
	for key, n := range counted {
		d.put(to, float64(n), string(key))
	}
	for _, key := range all {
		if _, there := counted[key]; !there {
			d.put(to, 0, string(key))
		}
	}
}

// desc describes one gauge.
type desc struct{ *prometheus.Desc }

func gauge(name, help string, labels ...string) desc {
	return desc{prometheus.NewDesc(name, help, labels, nil)}
}

func (d desc) put(to chan<- prometheus.Metric, value float64, labels ...string) {
	to <- prometheus.MustNewConstMetric(d.Desc, prometheus.GaugeValue, value, labels...)
}

func truth(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}
