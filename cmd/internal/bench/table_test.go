//go:build bench

package bench

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"
)

// sizes are how much is measured.
type sizes struct {
	instances []int         // of an idle sweep
	decided   int           // leases read and decided
	tagged    int           // leases of which some are extended
	extending time.Duration // for which they are
	schedule  string        // of their janitor
	over      int           // terms over at once
	paced     int           // the same, with EC2's token buckets
	fleets    []int         // leases beside those whose reaction is measured
	events    int           // reactions measured
	spread    time.Duration // over which the events come
	ending    time.Duration // over which leases expire: the janitor's half of EC2's bucket allows 2.5 TerminateInstances calls a second
	renewed   []int         // leases that are renewed
	renewing  time.Duration
	through   []through
	sidecar   time.Duration // for which a sidecar is watched
	starts    int
}

func fullSize() sizes {
	return sizes{
		instances: []int{1_000, 10_000, 100_000}, decided: 100_000, tagged: 10_000, extending: 3 * time.Minute, schedule: "@every 20s", over: 10_000, paced: 10_000, fleets: []int{10_000, 100_000},
		events: 300, spread: time.Minute, ending: 150 * time.Second, renewed: []int{10_000, 100_000}, renewing: 20 * time.Second,
		through: []through{{500, 10 * time.Second, true, 2 * time.Second}, {20_000, 10 * time.Minute, false, 30 * time.Second}},
		sidecar: 3 * time.Minute, starts: 5,
	}
}

func shortSize() sizes {
	return sizes{
		instances: []int{1_000}, decided: 10_000, tagged: 1_000, extending: 20 * time.Second, schedule: "@every 4s", over: 500, paced: 1_000, fleets: []int{1_000},
		events: 40, spread: 8 * time.Second, ending: 8 * time.Second, renewed: []int{1_000}, renewing: 3 * time.Second,
		through: []through{{500, 8 * time.Second, false, 2 * time.Second}},
		sidecar: 5 * time.Second, starts: 1,
	}
}

// figure is a quantity, and how it is printed.
type figure func(float64) string

func seconds(v float64) string   { return fmt.Sprintf("%.2f s", v) }
func millis(v float64) string    { return fmt.Sprintf("%.0f ms", v) }
func count(v float64) string     { return fmt.Sprintf("%.0f", v) }
func mib(v float64) string       { return fmt.Sprintf("%.1f MiB", v) }
func megabytes(v float64) string { return fmt.Sprintf("%.1f MB", v) }
func times(v float64) string     { return fmt.Sprintf("%.2f ×", v) }
func percent(v float64) string   { return fmt.Sprintf("%.3f %%", v) }

// table collects figures as measured.
type table struct{ rows [][4]string }

// atMost adds a figure that is met by anything up to want. missed says why it may be missed.
func (t *table) atMost(what string, print figure, want, got float64, missed string) {
	verdict := "met"
	if got > want {
		verdict = fmt.Sprintf("MISSED by %s. %s", print(got-want), missed)
	}
	t.rows = append(t.rows, [4]string{what, "≤ " + print(want), print(got), verdict})
}

// atLeast adds a figure that is met by anything from want on.
func (t *table) atLeast(what string, print figure, want, got float64, missed string) {
	verdict := "met"
	if got < want {
		verdict = fmt.Sprintf("MISSED by %s. %s", print(want-got), missed)
	}
	t.rows = append(t.rows, [4]string{what, "≥ " + print(want), print(got), verdict})
}

// note adds what is measured beside a figure, and judged by nobody.
func (t *table) note(what, measured string) {
	t.rows = append(t.rows, [4]string{what, "", measured, ""})
}

func (t *table) print(out io.Writer) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprint(w, "\nfigure\twanted\tmeasured\tverdict\n")
	for _, row := range t.rows {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", row[0], row[1], row[2], row[3])
	}
	_ = w.Flush()
	fmt.Fprint(out, "\nTimes are those of the machine at hand, which may be shared; counts and bytes are the same anywhere.\n")
}

// by is what is wanted of so many leases: of up to 10,000, or of more.
func by(leases int, few, many float64) float64 {
	if leases <= 10_000 {
		return few
	}
	return many
}

// quantile of durations, in seconds.
func quantile(of []time.Duration, q float64) float64 {
	sorted := slices.Sorted(slices.Values(of))
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))].Seconds()
}
