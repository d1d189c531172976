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
	Foreign  int                    `json:"foreign"` // of other registries, and left alone
	Brakes   []lease.Brake          `json:"brakes"`
	Judged   bool                   `json:"heartbeats_judged"`
	Unseen   []lease.LocationStatus `json:"unseen_locations"` // swept by the janitor, and not part of this plan
	Omitted  int                    `json:"omitted,omitzero"` // verdicts that are counted, and not listed

	whose  string // plan it is
	counts map[string]int
}

// newPlan is the plan that this command has made by itself. It judges no heartbeat.
func newPlan(planned plan.Plan, registry lease.Registry, all bool) planView {
	p := viewOf(planned.Judged(registry.UUID), registry, all)
	p.whose = "by the policy flags of this command"
	return p
}

// viewOf takes what would be done and what is to be known. What is simply kept, and what belongs to other registries, is
// only counted, unless all is asked for.
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
		end += "; silence is not judged here, `janitor run` does that"
	}
	if err := cli.Prose(w, fmt.Sprintf("%s: %s%s", p.whose, p.sum(), end)); err != nil {
		return err
	}
	for _, unseen := range p.Unseen {
		if err := cli.Prose(w, fmt.Sprintf("not seen: %s, which the janitor sweeps: %s", unseen.Location, unseen.Error)); err != nil {
			return err
		}
	}
	return printBrakes(w, p.Brakes)
}

// sum tells how much there is of what. Nobody needs to be told that there is nothing of what is rare.
func (p planView) sum() string {
	rest := maps.Clone(p.counts)
	take := func(actions ...plan.Action) (n int) {
		for _, action := range actions {
			n += rest[string(action)]
			delete(rest, string(action))
		}
		return n
	}
	parts := []string{fmt.Sprintf("%d kept, %d to end", take(plan.ActNone), take(plan.ActTerminate, plan.ActOrphan))}
	for _, rare := range []struct {
		n    int
		what string
	}{
		{take(plan.Marked), "marked (they end when their notice has passed)"},
		{take(plan.ActMark), "to mark (notice, then the end)"},
		{take(plan.ActRemove), "leftovers to remove"},
		{take(plan.ActHold), "held by a brake"},
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
