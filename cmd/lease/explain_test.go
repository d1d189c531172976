package main

import (
	"testing"

	"lapse/janitor/plan"
)

// TestEveryActionHasWords: every action of a janitor has a description.
func TestEveryActionHasWords(t *testing.T) {
	t.Parallel()
	for _, action := range plan.Actions() {
		if deed(plan.Verdict{Action: action}) == "" {
			t.Errorf("`lease why` has no words for the action %q", action)
		}
	}
}
