package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	ucli "github.com/urfave/cli/v2"

	"lapse/janitor/plan"
	"lapse/lease"
)

func TestAPlanShowsLeftoversWithTheirReasons(t *testing.T) {
	t.Parallel()
	location := lease.Location{Account: "123456789012", Region: "eu-west-1"}
	verdictOn := func(action plan.Action, kind lease.LeftoverKind, id, reason string) plan.Verdict {
		return plan.Verdict{Action: action, Token: "web", Location: location, Reason: reason, Leftover: &lease.Leftover{Kind: kind, ID: id}}
	}
	p := newPlan(plan.Plan{Verdicts: []plan.Verdict{
		verdictOn(plan.ActRemove, lease.LeftoverInterface, "eni-1", "left by launch web, which was closed"),
		verdictOn(plan.ActReport, lease.LeftoverVolume, "vol-1", "kept: the lease of i-1 was once active"),
		verdictOn(plan.ActNone, lease.LeftoverVolume, "vol-2", "attached to i-2"),
	}}, lease.Registry{}, false)
	var table bytes.Buffer
	if err := p.print(ucli.NewContext(ucli.NewApp(), nil, nil), &table); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"remove  eni-1  web     123456789012/eu-west-1  left by launch web, which was closed\n",
		"report  vol-1  web     123456789012/eu-west-1  kept: the lease of i-1 was once active\n",
		": 1 kept, 0 to terminate, 1 leftovers to remove, 1 only reported;",
	} {
		if !strings.Contains(table.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, table.String())
		}
	}
	if newer := viewOf(lease.Plan{Counts: map[string]int{"none": 1, "hibernate": 2}}, lease.Registry{}, false).sum(); !strings.Contains(newer, "2 of kinds that this version does not know") {
		t.Errorf("of a plan of another version: %s", newer)
	}
	printed, err := json.Marshal(p.Verdicts[0])
	want := `{"action":"remove","leftover":"eni-1","kind":"interface","launch":"web","location":"123456789012/eu-west-1",` +
		`"reason":"left by launch web, which was closed"}`
	if err != nil || string(printed) != want {
		t.Errorf("JSON %s (%v), want %s", printed, err, want)
	}
}
