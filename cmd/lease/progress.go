package main

import (
	ucli "github.com/urfave/cli/v2"

	"lapse/cmd/internal/cli"
	"lapse/lease/ec2"
)

// progress tells people on stderr how a launch gets on: its token as soon as there is a record of it, and for whom it is if
// nobody said so, then each step.
func progress(c *ucli.Context, holder string) func(ec2.Event) {
	return func(e ec2.Event) {
		switch e.Kind {
		case ec2.EventStored, ec2.EventResumed:
			cli.Say(c, "launch %s: %s", e.Token, e.Text)
			if holder != "" {
				cli.Say(c, "holder %s, who launches; name another with --holder", holder)
			}
		case ec2.EventWarning:
			cli.Say(c, "warning: %s", e.Text)
		case ec2.EventDoubt:
			cli.Say(c, "not known yet: %s", e.Text)
		case ec2.EventRefused, ec2.EventThrottled:
			cli.Say(c, "%s: %s", e.Kind, e.Text)
		case ec2.EventSending, ec2.EventLaunched, ec2.EventBound:
			cli.Say(c, "%s", e.Text)
		}
	}
}
