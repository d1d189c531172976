package main

import (
	"fmt"
	"strings"
	"time"

	ucli "github.com/urfave/cli/v2"

	"lapse/cmd/internal/cli"
	"lapse/janitor"
	"lapse/lease"
)

// verdict is a verdict as printed for programs.
type verdict struct {
	Action     janitor.Action `json:"action"`
	InstanceID string         `json:"instance_id,omitzero"`
	Launch     string         `json:"launch,omitzero"`
	Place      string         `json:"place"`
	Cause      lease.Cause    `json:"cause,omitzero"`
	Brake      string         `json:"brake,omitzero"`
	Reason     string         `json:"reason"`
}

// printPlan prints what would be done and what is to be known. What is simply kept is only counted.
func printPlan(c *ucli.Context, view janitor.View, plan janitor.Plan) error {
	verdicts := []verdict{}
	kept := 0
	for _, v := range plan.Verdicts {
		if v.Action == janitor.ActKeep {
			kept++
			continue
		}
		verdicts = append(verdicts, verdict{
			Action: v.Action, InstanceID: v.InstanceID, Launch: v.Token, Place: v.Place.String(), Cause: v.Cause,
			Brake: v.Brake, Reason: v.Reason,
		})
	}
	if cli.WantsJSON(c) {
		return cli.JSON(c, map[string]any{
			"registry": view.Snapshot.Registry.UUID, "mode": view.Snapshot.Registry.Mode,
			"verdicts": verdicts, "kept": kept, "brakes": plan.Brakes,
		})
	}
	rows := [][]string{{"ACTION", "INSTANCE", "LAUNCH", "PLACE", "REASON"}}
	for _, v := range verdicts {
		rows = append(rows, []string{string(v.Action), dash(v.InstanceID), dash(v.Launch), v.Place, v.Reason})
	}
	if len(verdicts) > 0 {
		if err := cli.Table(c.App.Writer, rows); err != nil {
			return err
		}
	}
	if _, err := fmt.Fprintf(c.App.Writer, "%d kept, %d to end, %d held; silence is not judged here, `janitor run` does that\n",
		kept, len(plan.Ends()), len(plan.With(janitor.ActHold))); err != nil {
		return err
	}
	return printBrakes(c, plan.Brakes)
}

func printBrakes(c *ucli.Context, brakes []lease.Brake) error {
	for _, b := range brakes {
		scope := "everywhere"
		if b.Scope != "" {
			scope = b.Scope
		}
		if _, err := fmt.Fprintf(c.App.Writer, "brake %s held (%s): %s\n", b.Name, scope, b.Reason); err != nil {
			return err
		}
	}
	return nil
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func statusCommand() *ucli.Command {
	return &ucli.Command{
		Name: "status", Usage: "say what the registry holds, who sweeps, and what holds it back",
		Description: "Reads the registry alone, no AWS. For what the next sweep would do: `janitor sweep --dry-run`.",
		Flags:       append(append(cli.StoreFlags(), cli.LogFlags()...), cli.OutputFlag()),
		Action:      status,
	}
}

// statusView is `janitor status` for programs.
type statusView struct {
	Registry string         `json:"registry"`
	Mode     lease.Mode     `json:"mode"`
	Since    time.Time      `json:"mode_since"`
	Fresh    bool           `json:"swept"` // a janitor's stamp is fresh
	Sweep    lease.Sweep    `json:"sweep"`
	Brakes   []lease.Brake  `json:"brakes"`
	Leases   map[string]int `json:"leases"`
	Launches map[string]int `json:"launches"`
	Beating  int            `json:"beating"`
	Marked   []lease.Lease  `json:"marked"`
	Stuck    []lease.Lease  `json:"stuck"`
	Bad      []string       `json:"bad"`
}

func status(c *ucli.Context) error {
	log, err := cli.Logger(c)
	if err != nil {
		return err
	}
	store, closeStore, err := cli.Store(c, log)
	if err != nil {
		return err
	}
	defer closeStore()
	snapshot, err := store.Snapshot(c.Context)
	if err != nil {
		return err
	}
	view := newStatus(snapshot, time.Now())
	if cli.WantsJSON(c) {
		return cli.JSON(c, view)
	}
	return view.print(c)
}

func newStatus(s lease.Snapshot, now time.Time) statusView {
	v := statusView{
		Registry: s.Registry.UUID, Mode: s.Registry.Mode, Since: s.Registry.ModeSince, Fresh: s.Sweep.Fresh(now), Sweep: s.Sweep,
		Brakes: append([]lease.Brake{}, s.Sweep.Brakes...), Leases: map[string]int{}, Launches: map[string]int{}, Beating: len(s.Heartbeats),
		Marked: []lease.Lease{}, Stuck: []lease.Lease{}, Bad: []string{},
	}
	for _, l := range s.Leases {
		v.Leases[string(l.State)]++
		if l.Mark != nil {
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
		v.Bad = append(v.Bad, bad.Err.Error())
	}
	return v
}

func (v statusView) print(c *ucli.Context) error {
	now := time.Now()
	swept := "never: start `janitor run`"
	if !v.Sweep.Time.IsZero() {
		places := make([]string, len(v.Sweep.Places))
		for n, p := range v.Sweep.Places {
			places[n] = p.String()
		}
		swept = fmt.Sprintf("%s by %s, every %s, in %s", cli.When(v.Sweep.Time, now), v.Sweep.Leader, v.Sweep.Interval, strings.Join(places, " "))
		if !v.Fresh {
			swept += "; that is too long ago: see whether `janitor run` is up"
		}
	}
	rows := [][]string{
		{"registry", v.Registry},
		{"mode", fmt.Sprintf("%s since %s", v.Mode, cli.When(v.Since, now))},
		{"last sweep", swept},
		{"leases", counts(v.Leases, lease.StateActive, lease.StateAdopting, lease.StateRevoked, lease.StateEnded, lease.StateUnmanaged)},
		{"launches", counts(v.Launches, lease.LaunchOpen, lease.LaunchDone, lease.LaunchClosed)},
		{"heartbeats", fmt.Sprint(v.Beating)},
	}
	for _, l := range v.Marked {
		rows = append(rows, []string{"marked", fmt.Sprintf("%s (%s) until %s", l.InstanceID, l.Mark.Cause, cli.When(l.Mark.Deadline, now))})
	}
	for _, l := range v.Stuck {
		rows = append(rows, []string{"stuck", l.InstanceID + ": " + l.Stuck})
	}
	for _, bad := range v.Bad {
		rows = append(rows, []string{"unreadable", bad})
	}
	if err := cli.Table(c.App.Writer, rows); err != nil {
		return err
	}
	return printBrakes(c, v.Brakes)
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
