package sim

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// report adds up schedules.
type report struct {
	counts
	schedules, voids, broken int
	simulated                time.Duration
	events                   int
}

func newReport() *report {
	return &report{counts: counts{kills: map[string]int{}, strikes: map[string]int{}, coverage: map[[2]string]int{}, lost: map[string]int{}}}
}

// void reports whether too little happened to show anything: hardly a fault, nothing launched, or nothing ended.
func (t *truth) void() bool {
	strikes := 0
	for _, n := range t.counts.strikes {
		strikes += n
	}
	return strikes < 3 || t.counts.created == 0 || len(t.counts.kills) == 0
}

func (r *report) add(t *truth) {
	r.schedules++
	r.simulated += t.shape.chaos + t.shape.calm
	r.events += len(t.trace.events)
	if t.void() {
		r.voids++
	}
	if len(t.findings) > 0 {
		r.broken++
	}
	r.created += t.counts.created
	r.revoked += t.counts.revoked
	addTo(r.kills, t.counts.kills)
	r.tagged += t.counts.tagged
	addTo(r.lost, t.counts.lost)
	addTo(r.strikes, t.counts.strikes)
	addTo(r.coverage, t.counts.coverage)
}

func addTo[K comparable](to, from map[K]int) {
	for key, n := range from {
		to[key] += n
	}
}

func sum[K comparable](of map[K]int) (total int) {
	for _, n := range of {
		total += n
	}
	return total
}

// states of leases and launches, as columns of the coverage.
var states = []string{"adopting", "active", "marked", "revoked", "ended", "unmanaged", "lost", "launch open", "launch closed", "launch done"}

func (r *report) print(w io.Writer, took time.Duration) {
	term, loss, launch, stuck := drawShape(dice(0).stream("")).bounds()
	fmt.Fprintf(w, "\n%d schedules of %s on average, %s of simulated time in %s; %d void\n", r.schedules,
		(r.simulated / time.Duration(max(1, r.schedules))).Round(time.Second), r.simulated.Round(time.Hour), took.Round(time.Second), r.voids)
	fmt.Fprintf(w, "%d instances launched, %d leases revoked by janitors, %d instances terminated by them: %s\n", r.created, r.revoked, sum(r.kills), told(r.kills))
	fmt.Fprintf(w, "%d faults, %d changes and events judged; X after all is healed: expired %s, heartbeats %s, failed launch %s, stuck %s\n",
		sum(r.strikes), r.events, term, loss, launch, stuck)
	fmt.Fprintf(w, "%d tags written by janitors; dates agreed and set back with everything: %s\n", r.tagged, told(r.lost))
	fmt.Fprintf(w, "schedules with a broken promise: %d\n\n", r.broken)
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(table, "fault while a record is\tstruck\t%s\t\n", strings.Join(states, "\t"))
	for _, f := range append(slices.Concat(faults(), apiFaults()), fault{name: unwatched}, fault{name: allSetBack}) {
		fmt.Fprintf(table, "%s\t%d\t", f.name, r.strikes[f.name])
		for _, state := range states {
			fmt.Fprintf(table, "%d\t", r.coverage[[2]string{f.name, state}])
		}
		fmt.Fprintln(table)
	}
	_ = table.Flush()
	fmt.Fprintln(w)
}

func told(of map[string]int) string {
	var parts []string
	for _, key := range slices.Sorted(maps.Keys(of)) {
		parts = append(parts, fmt.Sprintf("%s %d", key, of[key]))
	}
	return strings.Join(parts, ", ")
}
