package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	ucli "github.com/urfave/cli/v2"

	"lapse/cmd/internal/cli"
	"lapse/janitor/plan"
	"lapse/lease"
)

func allFlag() ucli.Flag {
	return &ucli.BoolFlag{Name: "all", Usage: "also list kept instances, and those of other registries"}
}

// planView is a plan for programs.
type planView struct {
	Registry string                 `json:"registry"`
	Mode     lease.Mode             `json:"mode"`
	Verdicts []lease.Judgement      `json:"verdicts"`
	Kept     int                    `json:"kept"`
	Foreign  int                    `json:"foreign"` // of other registries, which are left alone
	Brakes   []lease.Brake          `json:"brakes"`
	Judged   bool                   `json:"heartbeats_judged"`
	Unseen   []lease.LocationStatus `json:"unseen_locations"` // swept by the janitor, but not part of this plan
	Omitted  int                    `json:"omitted,omitzero"` // verdicts that are counted, and not listed

	whose  string // plan it is
	counts map[string]int
}

// newPlan is a plan that this command has made. It does not judge heartbeats.
func newPlan(planned plan.Plan, registry lease.Registry, all bool) planView {
	p := viewOf(planned.Judged(registry.UUID), registry, all)
	p.whose = "by the policy flags of this command"
	return p
}

// viewOf selects what to print. Instances that are simply kept, or belong to other registries, are only counted unless
// all is set.
func viewOf(made lease.Plan, registry lease.Registry, all bool) planView {
	quiet := func(j lease.Judgement) bool { return !all && (j.Foreign || j.Action == string(plan.ActNone)) }
	return planView{
		Registry: registry.UUID, Mode: registry.Mode, Verdicts: slices.DeleteFunc(slices.Clone(made.Verdicts), quiet),
		Kept: made.Counts[string(plan.ActNone)], Foreign: made.Foreign, Brakes: made.Brakes, Judged: made.HeartbeatsJudged,
		Unseen: made.Unseen(), Omitted: made.Omitted, counts: made.Counts,
	}
}

func (p planView) print(c *ucli.Context, w io.Writer) error {
	sheet := cli.Sheet{Columns: []cli.Column{
		{Head: "ACTION"}, {Head: "ID"}, {Head: "LAUNCH", Rank: 2}, {Head: "LOCATION", Rank: 1}, {Head: "REASON", Fold: true},
	}}
	for _, v := range p.Verdicts {
		sheet.Rows = append(sheet.Rows, []string{v.Action, cmp.Or(v.InstanceID, v.Leftover, "-"), cmp.Or(v.Launch, "-"), v.Location, v.Reason})
	}
	if len(p.Verdicts) > 0 {
		if err := sheet.Print(c, w); err != nil {
			return err
		}
	}
	end := ""
	if p.Omitted > 0 {
		end += fmt.Sprintf("; %d of these are not listed here", p.Omitted)
	}
	if !p.Judged {
		end += "; heartbeats are not judged here, `janitor run` does that"
	}
	if err := cli.Prose(w, fmt.Sprintf("%s: %s%s", p.whose, p.sum(), end)); err != nil {
		return err
	}
	for _, unseen := range p.Unseen {
		if err := cli.Prose(w, fmt.Sprintf("not listed: %s, which the janitor sweeps: %s", unseen.Location, unseen.Error)); err != nil {
			return err
		}
	}
	return printBrakes(w, p.Brakes)
}

// sum counts the verdicts by kind. It leaves out rare kinds of which there are none.
func (p planView) sum() string {
	rest := maps.Clone(p.counts)
	take := func(actions ...plan.Action) (n int) {
		for _, action := range actions {
			n += rest[string(action)]
			delete(rest, string(action))
		}
		return n
	}
	parts := []string{fmt.Sprintf("%d kept, %d to terminate", take(plan.ActNone), take(plan.ActTerminate, plan.ActOrphan))}
	for _, rare := range []struct {
		n    int
		what string
	}{
		{take(plan.Marked), "marked (terminated after their notice)"},
		{take(plan.ActMark), "to mark (notice, then termination)"},
		{take(plan.ActRemove), "leftovers to remove"},
		{take(plan.ActHold), "held back by a brake"},
		{take(plan.ActReport), "only reported"},
		{p.Foreign, "foreign"},
		{take(plan.Actions()...), "to record"},
		{total(rest), "of kinds that this version does not know: use the janitor's own version"},
	} {
		if rare.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", rare.n, rare.what))
		}
	}
	return strings.Join(parts, ", ")
}

func total(counts map[string]int) (n int) {
	for _, one := range counts {
		n += one
	}
	return n
}
