package launch

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"

	"lapse/lease"
)

// Plan is what a launch would send.
type Plan struct {
	Launch lease.Launch // as it would be stored, frozen; if Exists, as it is stored
	Exists bool         // the token was used before, for the same request: nothing new would be launched
}

// DryRun does what can be done of a launch without making or writing anything: it checks and freezes the request, and
// asks EC2 whether it would carry it out. EC2 promises no capacity by that.
//
// Errors: as of [Launcher.Launch] before anything is sent, and EC2's own.
//
// Source: https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_RunInstances.html
func (l *Launcher) DryRun(ctx context.Context, r Request) (Plan, error) {
	o, err := r.order()
	if err != nil {
		return Plan{}, err
	}
	registry, err := l.store.Registry(ctx)
	if err != nil {
		return Plan{}, err
	}
	record, found, err := l.recall(ctx, o)
	if err != nil || found {
		return Plan{Launch: record, Exists: found}, err
	}
	if record, err = l.prepare(ctx, o, registry); err != nil {
		return Plan{}, err
	}
	in, err := input(record)
	if err != nil {
		return Plan{}, err
	}
	in.DryRun, in.ClientToken = aws.Bool(true), nil // the token stays unused
	if _, err = l.cloud.RunInstances(ctx, in, l.config.CallTimeout); answerOf(err).Code == "DryRunOperation" {
		err = nil
	}
	return Plan{Launch: record}, err
}
