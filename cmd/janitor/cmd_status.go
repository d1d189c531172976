package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	ucli "github.com/urfave/cli/v2"

	"lapse/cmd/internal/cli"
	"lapse/cmd/internal/registry"
	"lapse/lease"
)

func statusCommand() *ucli.Command {
	return &ucli.Command{
		Name: "status", Usage: "show the mode, the last sweep and the brakes",
		Description: "Reads only the registry, not AWS. `janitor sweep --dry-run` says what the next sweep would do.\n\n" +
			"With --check, exit code 4 if no janitor has swept lately, else 5 if a brake is engaged. A registry that\n" +
			"observes or is paused passes the check.",
		Flags: append(cli.StoreFlags(), cli.OutputFlag(),
			&ucli.BoolFlag{Name: "check", Usage: "report the janitor's health by exit code, for monitoring"}),
		Action: status,
	}
}

// statusView is `janitor status` for programs.
type statusView struct {
	Registry   string           `json:"registry"`
	Mode       lease.Mode       `json:"mode"`
	Since      time.Time        `json:"mode_since"`
	By         string           `json:"mode_by,omitzero"`
	Reason     string           `json:"mode_reason,omitzero"`
	Fresh      bool             `json:"swept"` // a janitor's checkpoint is fresh
	Checkpoint lease.Checkpoint `json:"checkpoint"`
	Brakes     []lease.Brake    `json:"brakes"`
	Behind     map[string]int64 `json:"behind"` // see [lease.Checkpoint]
	Leases     map[string]int   `json:"leases"`
	Launches   map[string]int   `json:"launches"`
	Renewing   int              `json:"renewing"`
	Marked     []lease.Lease    `json:"marked"`
	Stuck      []lease.Lease    `json:"stuck"`
	Overdue    []overdue        `json:"overdue"`
	Bad        []string         `json:"bad"`

	registry lease.Registry
}

// overdue is an instance that should be gone by its record, and is not.
type overdue struct {
	InstanceID string `json:"instance_id"`
	Stuck      string `json:"stuck,omitzero"` // why EC2 refuses

	lease.Overdue
}

func status(c *ucli.Context) error {
	store, closeStore, err := registry.Store(c, nil)
	if err != nil {
		return err
	}
	defer closeStore()
	snapshot, err := store.Snapshot(c.Context)
	if err != nil {
		return err
	}
	view := newStatus(snapshot, time.Now())
	if err := cli.Show(c, view, func() error { return view.print(c) }); err != nil || !c.Bool("check") {
		return err
	}
	return view.check()
}

// check is the exit code for monitoring.
func (v statusView) check() error {
	switch {
	case !v.Fresh: // the brakes of an old checkpoint are outdated too
		return &cli.QuietError{Code: cli.ExitRefused}
	case len(v.Behind) > 0, slices.ContainsFunc(v.Brakes, func(b lease.Brake) bool { return !b.Starting }):
		return &cli.QuietError{Code: cli.ExitHeld}
	}
	return nil
}

func newStatus(s lease.Snapshot, now time.Time) statusView {
	v := statusView{
		Registry: s.Registry.UUID, Mode: s.Registry.Mode, Since: s.Registry.ModeSince,
		By: s.Registry.ModeBy, Reason: s.Registry.ModeReason, Fresh: s.Checkpoint.Fresh(now), Checkpoint: s.Checkpoint,
		Brakes: append([]lease.Brake{}, s.Checkpoint.Brakes...), Behind: map[string]int64{}, Leases: map[string]int{}, Launches: map[string]int{}, Renewing: len(s.Heartbeats),
		Marked: []lease.Lease{}, Stuck: []lease.Lease{}, Overdue: []overdue{}, Bad: []string{}, registry: s.Registry,
	}
	known := s.Circumstances(now)
	maps.Copy(v.Behind, s.Checkpoint.Behind)
	v.Checkpoint.Brakes, v.Checkpoint.Behind = nil, nil // they are printed once
	for n, l := range s.Leases {
		if o := known.Overdue(&s.Leases[n], nil); o.Reason != "" {
			v.Overdue = append(v.Overdue, overdue{l.InstanceID, l.Stuck, o})
		}
		v.Leases[string(l.State)]++
		if l.Mark != nil && l.Live() {
			v.Marked = append(v.Marked, l)
		}
		if l.Stuck != "" {
			v.Stuck = append(v.Stuck, l)
		}
	}
	for _, l := range s.Launches {
		v.Launches[string(l.State)]++
	}
	for _, bad := range s.Bad {
		v.Bad = append(v.Bad, registry.Advise(bad.Err).Error())
	}
	return v
}

func (v statusView) print(c *ucli.Context) error {
	now := time.Now()
	mode := fmt.Sprintf("%s since %s", v.Mode, cli.When(v.Since, now))
	if until := cli.UntilArmed(v.registry); until != "" {
		mode += ": nothing is terminated until " + until
	}
	rows := [][]string{{"registry", v.Registry}, {"mode", mode}}
	if who := cli.WhoSet(v.registry); who != "" {
		rows = append(rows, []string{"set", who})
	}
	rows = append(rows, [][]string{
		{"last sweep", v.swept(now)},
		{"leases", counts(v.Leases, lease.StateActive, lease.StateAdopting, lease.StateRevoked, lease.StateEnded, lease.StateUnmanaged)},
		{"launches", counts(v.Launches, lease.LaunchOpen, lease.LaunchDone, lease.LaunchClosed)},
		{"heartbeats", fmt.Sprint(v.Renewing)},
	}...)
	for _, location := range slices.Sorted(maps.Keys(v.Checkpoint.Seen)) {
		rows = append(rows, []string{"instances", location + ": " + census(v.Checkpoint.Seen[location])})
	}
	for _, l := range v.Marked {
		rows = append(rows, []string{"marked", fmt.Sprintf("%s (%s), may be terminated after %s", l.InstanceID, l.Mark.Cause, cli.When(l.Mark.Deadline, now))})
	}
	rows = append(rows, overdueRows(v.Overdue, now)...)
	for _, bad := range v.Bad {
		rows = append(rows, []string{"unreadable", bad})
	}
	if err := cli.Table(c.App.Writer, rows); err != nil {
		return err
	}
	if err := printBrakes(c.App.Writer, v.Brakes); err != nil || len(v.Behind) == 0 {
		return err
	}
	return cli.Prose(c.App.Writer, behindWords(v.Behind))
}

// behindWords name the first of the leases that are held back one by one.
func behindWords(behind map[string]int64) string {
	ids := slices.Sorted(maps.Keys(behind))
	words := strings.Join(ids[:min(len(ids), leasesNamed)], ", ")
	if more := len(ids) - leasesNamed; more > 0 {
		words += fmt.Sprintf(" and %d more (-o json names them)", more)
	}
	return fmt.Sprintf("brake %s holds back single leases whose sidecars have seen later changes than the registry has: %s; %s",
		lease.BrakeRollback, words, lifts(lease.Brake{Name: lease.BrakeRollback}))
}

// overdueRows name the first instances that outlive their leases, and count the others.
func overdueRows(all []overdue, now time.Time) [][]string {
	var rows [][]string
	for _, o := range all[:min(len(all), leasesNamed)] {
		words := string(o.Reason)
		switch {
		case o.Brake != "":
			words += " by " + o.Brake
		case o.Stuck != "":
			words += ": " + o.Stuck
		}
		rows = append(rows, []string{"overdue", fmt.Sprintf("%s since %s (%s)", o.InstanceID, cli.When(o.Since, now), words)})
	}
	if more := len(all) - len(rows); more > 0 {
		rows = append(rows, []string{"overdue", fmt.Sprintf("%d more (`lease list --overdue`)", more)})
	}
	if len(all) > 0 {
		rows = append(rows, []string{"", "`lease why ID` says what keeps each, and what to do"})
	}
	return rows
}

func (v statusView) swept(now time.Time) string {
	if v.Checkpoint.Time.IsZero() {
		return "never: start `janitor run`"
	}
	locations := make([]string, len(v.Checkpoint.Locations))
	for n, p := range v.Checkpoint.Locations {
		locations[n] = p.String()
	}
	where := "in " + strings.Join(locations, " ")
	if len(locations) == 0 {
		where = "in no location: none could be listed"
	}
	swept := fmt.Sprintf("%s by %s, %s; the next is due %s", cli.When(v.Checkpoint.Time, now), v.Checkpoint.Leader, where, cli.When(v.Checkpoint.Due(), now))
	switch {
	case v.Fresh:
	case v.Checkpoint.Time.After(now):
		swept += "; that is in the future: the clock of that janitor was wrong, or the one here is"
	default:
		swept += "; that is too long ago: check that `janitor run` is running"
	}
	return swept
}

// census describes the instances of a location at the last sweep, and how to list those that are never terminated.
func census(n lease.Census) string {
	words := fmt.Sprintf("%d managed", n.Managed)
	if n.Exempt > 0 {
		words += fmt.Sprintf(", %d of them exempt", n.Exempt)
	}
	if n.Untracked > 0 {
		words += fmt.Sprintf(", %d of them untracked (`lease list --untracked`)", n.Untracked)
	}
	if n.Foreign > 0 {
		words += fmt.Sprintf("; %d foreign (`lease list --foreign`)", n.Foreign)
	}
	if n.Unlisted > 0 {
		words += fmt.Sprintf("; %d with a lease are missing from EC2's listing, but were found by id", n.Unlisted)
	}
	if n.Unseen > 0 {
		words += fmt.Sprintf("; EC2 does not find %d that have a lease, which run to their expiry (`janitor sweep --dry-run`)", n.Unseen)
	}
	return words
}

func counts[S ~string](n map[string]int, states ...S) string {
	var parts []string
	for _, state := range states {
		if n[string(state)] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n[string(state)], state))
		}
	}
	if len(parts) == 0 {
		return "none"
	}
	return strings.Join(parts, ", ")
}

// leasesNamed is how many leases are printed that a brake holds back one by one, or that are overdue. Programs get all.
const leasesNamed = 5

func printBrakes(w io.Writer, brakes []lease.Brake) error {
	for _, b := range brakes {
		scope := "everywhere"
		if b.Scope != "" {
			scope = b.Scope
		}
		if b.Starting {
			if err := cli.Prose(w, "starting up: heartbeats are judged after the next sweep"); err != nil {
				return err
			}
			continue
		}
		if err := cli.Prose(w, fmt.Sprintf("brake %s engaged (%s): %s; %s", b.Name, scope, b.Reason, lifts(b))); err != nil {
			return err
		}
	}
	return nil
}

func lifts(b lease.Brake) string {
	resume := "`janitor release-brake " + b.Name + "`"
	switch b.Name {
	case lease.BrakeRollback, lease.BrakeUnwatched:
		return "released by " + resume
	case lease.BrakeHeartbeats:
		return "released when they renew, or, if they really are dead, by " + resume
	}
	return "released when its cause ends"
}
