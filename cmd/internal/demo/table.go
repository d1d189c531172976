package demo

import (
	"fmt"
	"text/tabwriter"
)

// role is one instance, the fate that the story expects, and why.
type role struct{ id, fate, why string }

// printTable ends the story: every instance, its fate by EC2's own word, and why.
func (s *stage) printTable(cast []role) error {
	table := tabwriter.NewWriter(s.Out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "\nINSTANCE\tFATE\tWHY")
	wrong := 0
	for _, r := range cast {
		fate := s.state(r.id)
		if fate != r.fate {
			wrong++
			fate += " (expected " + r.fate + ")"
		}
		_, _ = fmt.Fprintf(table, "%s\t%s\t%s\n", r.id, fate, r.why)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if all := len(s.sim.Instances()); all != len(cast) {
		return &Failure{fmt.Sprintf("%d instances in all, but got %d", len(cast), all)}
	}
	if wrong > 0 {
		return &Failure{fmt.Sprintf("every outcome as announced, but %d differ", wrong)}
	}
	return nil
}
