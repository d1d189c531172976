package main

import (
	ucli "github.com/urfave/cli/v2"

	"lapse/cmd/internal/advice"
	"lapse/cmd/internal/cli"
	"lapse/lease/ec2/launch"
)

// progress tells people on stderr how a launch proceeds: its token as soon as it is on record, the holder if nobody
// named one, and then each step.
func progress(c *ucli.Context, holder string) func(launch.Event) {
	return func(e launch.Event) {
		switch e.Kind {
		case launch.EventStored, launch.EventResumed:
			cli.Say(c, "launch %s: %s", e.Token, e.Text)
			if holder != "" {
				cli.Say(c, "holder %s, by default; set another one with --holder", holder)
			}
		case launch.EventWarning:
			cli.Say(c, "warning: %s%s", e.Text, advice.Warning(e.Warning))
		case launch.EventDoubt:
			cli.Say(c, "not known yet: %s", e.Text)
		case launch.EventRefused, launch.EventThrottled:
			cli.Say(c, "%s: %s", e.Kind, e.Text)
		case launch.EventSending, launch.EventLaunched, launch.EventBound:
			cli.Say(c, "%s", e.Text)
		}
	}
}
