package main

import (
	"cmp"
	"fmt"
	"io"

	ucli "github.com/urfave/cli/v2"

	"lapse/cmd/internal/cli"
	"lapse/janitor"
	"lapse/lease"
)

func allFlag() ucli.Flag {
	return &ucli.BoolFlag{Name: "all", Usage: "also list what is kept, and why"}
}

// planView is a plan for programs.
type planView struct {
	Registry string        `json:"registry"`
	Mode     lease.Mode    `json:"mode"`
	Verdicts []verdict     `json:"verdicts"`
	Kept     int           `json:"kept"`
	Brakes   []lease.Brake `json:"brakes"`

	ends, removes, holds, others int
}

// verdict is a verdict for programs.
type verdict struct {
	Action     janitor.Action     `json:"action"`
	InstanceID string             `json:"instance_id,omitzero"`
	Leftover   string             `json:"leftover,omitzero"` // id of a volume, an interface or a spot request
	Kind       lease.LeftoverKind `json:"kind,omitzero"`     // of the leftover
	Launch     string             `json:"launch,omitzero"`
	Place      string             `json:"place"`
	Cause      lease.Cause        `json:"cause,omitzero"`
	Brake      string             `json:"brake,omitzero"`
	Reason     string             `json:"reason"`
}

// newPlan takes what would be done and what is to be known. What is simply kept is only counted, unless all is asked for.
func newPlan(view janitor.View, plan janitor.Plan, all bool) planView {
	p := planView{
		Registry: view.Snapshot.Registry.UUID, Mode: view.Snapshot.Registry.Mode,
		Verdicts: []verdict{}, Brakes: append([]lease.Brake{}, plan.Brakes...),
	}
	for _, v := range plan.Verdicts {
		switch v.Action {
		case janitor.ActKeep:
			p.Kept++
		case janitor.ActEnd, janitor.ActOrphan:
			p.ends++
		case janitor.ActRemove:
			p.removes++
		case janitor.ActHold:
			p.holds++
		default:
			p.others++
		}
		if v.Action != janitor.ActKeep || all {
			shown := verdict{
				Action: v.Action, InstanceID: v.InstanceID, Launch: v.Token, Place: v.Place.String(), Cause: v.Cause,
				Brake: v.Brake, Reason: v.Reason,
			}
			if v.Leftover != nil {
				shown.Leftover, shown.Kind = v.Leftover.ID, v.Leftover.Kind
			}
			p.Verdicts = append(p.Verdicts, shown)
		}
	}
	return p
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
	toRemove := ""
	if p.removes > 0 {
		toRemove = fmt.Sprintf(" %d leftovers to remove,", p.removes)
	}
	if _, err := fmt.Fprintf(w, "by the policy flags of this command: %d kept, %d to end,%s %d held, %d other; silence is not judged here, `janitor run` does that\n",
		p.Kept, p.ends, toRemove, p.holds, p.others); err != nil {
		return err
	}
	return printBrakes(w, p.Brakes)
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
