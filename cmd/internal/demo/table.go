package demo

import (
	"fmt"

	"lapse/cmd/internal/cli"
)

// role is one instance, the fate that the story expects, and why.
type role struct{ id, fate, why string }

// printTable ends the story: every instance, its fate by EC2's own word, and why.
func (s *stage) printTable(cast []role) error {
	rows, wrong := [][]string{{"INSTANCE", "FATE", "WHY"}}, 0
	for _, r := range cast {
		fate := s.state(r.id)
		if fate != r.fate {
			wrong++
			fate += " (expected " + r.fate + ")"
		}
		rows = append(rows, []string{r.id, fate, r.why})
	}
	_, _ = fmt.Fprintln(s.Out)
	if err := cli.Table(s.Out, rows); err != nil {
		return err
	}
	if all := len(s.sim.Instances()); all != len(cast) {
		return failure("%d instances in all, not %d", len(cast), all)
	}
	if wrong > 0 {
		return failure("every fate as told, and %d are not", wrong)
	}
	return nil
}
