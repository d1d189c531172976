package main

import (
	"cmp"
	"fmt"
	"io"
	"strings"

	ucli "github.com/urfave/cli/v2"

	"lapse/cmd/internal/cli"
	"lapse/janitor/plan"
	"lapse/lease"
)

func allFlag() ucli.Flag {
	return &ucli.BoolFlag{Name: "all", Usage: "also list what is kept, and why, and the instances of other registries"}
}

// planView is a plan for programs.
type planView struct {
	Registry string        `json:"registry"`
	Mode     lease.Mode    `json:"mode"`
	Verdicts []verdict     `json:"verdicts"`
	Kept     int           `json:"kept"`
	Foreign  int           `json:"foreign"` // of other registries, and left alone
	Brakes   []lease.Brake `json:"brakes"`

	ends, marks, removes, holds, reports, others int
}

// verdict is a verdict for programs.
type verdict struct {
	Action     plan.Action        `json:"action"`
	InstanceID string             `json:"instance_id,omitzero"`
	Leftover   string             `json:"leftover,omitzero"` // id of a volume, an interface or a spot request
	Kind       lease.LeftoverKind `json:"kind,omitzero"`     // of the leftover
	Launch     string             `json:"launch,omitzero"`
	Place      string             `json:"place"`
	Cause      lease.Cause        `json:"cause,omitzero"`
	Brake      string             `json:"brake,omitzero"`
	Reason     string             `json:"reason"`

	lease.Overdue // should be gone by its record: what keeps it, and since when
}

// newPlan takes what would be done and what is to be known. What is simply kept, and what
// belongs to other registries, is only counted, unless all is asked for.
func newPlan(view plan.View, planned plan.Plan, all bool) planView {
	p := planView{
		Registry: view.Snapshot.Registry.UUID, Mode: view.Snapshot.Registry.Mode,
		Verdicts: []verdict{}, Brakes: append([]lease.Brake{}, planned.Brakes...),
	}
	for _, v := range planned.Verdicts {
		quiet := false
		switch {
		case v.Action == plan.ActKeep:
			p.Kept++
			quiet = true
		case v.Action == plan.ActEnd, v.Action == plan.ActOrphan:
			p.ends++
		case v.Action == plan.ActMark:
			p.marks++
		case v.Action == plan.ActRemove:
			p.removes++
		case v.Action == plan.ActHold:
			p.holds++
		case v.Action == plan.ActReport && foreign(v, p.Registry):
			p.Foreign++
			quiet = true
		case v.Action == plan.ActReport:
			p.reports++
		default:
			p.others++
		}
		if !quiet || all {
			shown := verdict{
				Action: v.Action, InstanceID: v.InstanceID, Launch: v.Token, Place: v.Place.String(), Cause: v.Cause,
				Brake: v.Brake, Reason: v.Reason, Overdue: v.Overdue,
			}
			if v.Leftover != nil {
				shown.Leftover, shown.Kind = v.Leftover.ID, v.Leftover.Kind
			}
			p.Verdicts = append(p.Verdicts, shown)
		}
	}
	return p
}

// foreign reports whether this is about an instance that bears the tag of another registry, and has no lease in ours.
func foreign(v plan.Verdict, registry string) bool {
	return v.Instance != nil && v.Lease == nil && v.Instance.Tags[lease.TagRegistry] != "" && !v.Instance.ManagedBy(registry)
}

func (p planView) write(w io.Writer) error {
	rows := [][]string{{"ACTION", "ID", "LAUNCH", "PLACE", "REASON"}}
	for _, v := range p.Verdicts {
		rows = append(rows, []string{string(v.Action), dash(cmp.Or(v.InstanceID, v.Leftover)), dash(v.Launch), v.Place, v.Reason})
	}
	if len(p.Verdicts) > 0 {
		if err := cli.Table(w, rows); err != nil {
			return err
		}
	}
	if _, err := fmt.Fprintf(w, "by the policy flags of this command: %s; silence is not judged here, `janitor run` does that\n", p.sum()); err != nil {
		return err
	}
	return printBrakes(w, p.Brakes)
}

// sum tells how much there is of what. Nobody needs to be told that there is nothing of what is rare.
func (p planView) sum() string {
	parts := []string{fmt.Sprintf("%d kept, %d to end", p.Kept, p.ends)}
	for _, rare := range []struct {
		n    int
		what string
	}{
		{p.marks, "to mark (notice, then the end)"},
		{p.removes, "leftovers to remove"},
		{p.holds, "held by a brake"},
		{p.reports, "only reported"},
		{p.Foreign, "foreign"},
		{p.others, "to record"},
	} {
		if rare.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", rare.n, rare.what))
		}
	}
	return strings.Join(parts, ", ")
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
