package main

import (
	"slices"
	"testing"

	ucli "github.com/urfave/cli/v2"

	"lapse/janitor/plan"
)

// The table of brakes, which the README and the runbook show, tells operators which flags to turn.
func TestBrakesNameFlagsOfRun(t *testing.T) {
	t.Parallel()
	listed := map[string]bool{}
	for _, flag := range runCommand().Flags {
		if documented, is := flag.(ucli.VisibleFlag); is && documented.IsVisible() {
			listed[flag.Names()[0]] = true
		}
	}
	var named []string
	for _, brake := range plan.BrakeRules() {
		for _, flag := range brake.Flags {
			named = append(named, flag)
			if !listed[flag] {
				t.Errorf("brake %s names --%s, which help does not list", brake.Name, flag)
			}
		}
	}
	for _, flag := range runCommand().Flags {
		if c, is := flag.(ucli.CategorizableFlag); is && c.GetCategory() == brakeFlags && !slices.Contains(named, flag.Names()[0]) {
			t.Errorf("--%s sets a brake, and the table of brakes does not name it", flag.Names()[0])
		}
	}
}
