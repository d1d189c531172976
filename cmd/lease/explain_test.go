package main

import (
	"testing"

	"lapse/janitor/plan"
)

// TestEveryActionHasWords: what a janitor would do is told in words, whatever it is.
func TestEveryActionHasWords(t *testing.T) {
	t.Parallel()
	for _, action := range plan.Actions() {
		if deed(plan.Verdict{Action: action}) == "" {
			t.Errorf("`lease why` has no words for the action %q", action)
		}
	}
}
