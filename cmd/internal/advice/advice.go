// Package advice tells what to do at a command line about the errors of EC2, and their exit codes. It is no part of package cli, which the sidecar
// has, too: that is to stay small, and knows no EC2.
package advice

import (
	"errors"

	"lapse/cmd/internal/cli"
	"lapse/cmd/internal/registry"
	"lapse/lease"
	"lapse/lease/ec2"
	"lapse/lease/ec2/launch"
)

// EC2 does for errors of EC2 what [registry.Explain] does for those of etcd.
func EC2(err error) error {
	err = cli.WithAdvice(text(err), err)
	switch {
	case cli.Is[*launch.UnknownOutcomeError](err), cli.Is[*launch.UnfinishedError](err): // first, since they wrap others
		return cli.WithCode(cli.ExitUnknown, err)
	case cli.Is[*ec2.SettingsError](err), cli.Is[*launch.RequestError](err):
		return cli.WithCode(cli.ExitUsage, err)
	case cli.Is[*ec2.UnreachableError](err):
		return cli.WithCode(cli.ExitMissing, err)
	case cli.Is[*launch.UnattendedError](err), cli.Is[*ec2.ClockError](err), cli.Is[*launch.RefusedError](err), cli.Is[*ec2.AnswerError](err),
		cli.Is[*launch.StaleTokenError](err), cli.Is[*launch.TokensIgnoredError](err), cli.Is[*launch.LocationError](err), cli.Is[*ec2.AccountError](err):
		return cli.WithCode(cli.ExitRefused, err)
	}
	return err
}

func text(err error) string {
	if errors.Is(err, ec2.ErrNoImage) {
		return ": give one with --image-id"
	}
	return cli.FirstOf(err,
		cli.On(func(e *launch.UnknownOutcomeError) string { // first, for it and the next wrap others
			if over := (*lease.WindowError)(nil); errors.As(e.Err, &over) {
				return cli.Advice(over)
			}
			return text(e.Err) + "; run again with --id " + e.Token
		}),
		cli.On(func(e *launch.UnfinishedError) string { return text(e.Err) + "; run again with --id " + e.Token }),
		cli.On(func(e *launch.UnattendedError) string {
			if !e.Last.IsZero() && !e.Named && len(e.Swept) > 0 {
				return "; correct the region, start `janitor run` for this one, or use --unattended"
			}
			return "; start `janitor run` for this region, or use --unattended"
		}),
		cli.On(func(e *launch.TokensIgnoredError) string {
			return "; use --anima key-pair, or note it for all launches there with `lease init --anima key-pair --region " + e.Location.Region + "`"
		}),
		cli.On(func(*launch.StaleTokenError) string { return "; leave out --id for a new launch" }),
		cli.On(func(e *launch.RequestError) string { return options()[e.Option] }),
		cli.On(func(e *ec2.SettingsError) string {
			if e.What == "account" {
				return "; correct --account or leave it out"
			}
			return ""
		}),
		cli.On(func(e *ec2.ProofError) string {
			if e.NoSTS {
				return "; if this endpoint has no STS, give --account"
			}
			return ""
		}),
		func(err error) (string, bool) { return registry.Advice(err), true },
	)
}

// options say what to do with the flag that gives a field of [launch.Request].
func options() map[string]string {
	return map[string]string{ //nolint:gosec // a launch token is no secret
		"Token":            "; choose a launch token with --id",
		"ImageID":          "; give --image-id, or ImageId or LaunchTemplate in the request",
		"InstanceTypes":    "; give --instance-type, or InstanceType or LaunchTemplate in the request",
		"SecurityGroups":   "; leave out --security-group-id",
		"Subnets":          "; leave out --subnet-id",
		"UserData":         "; give user-data that is not text with --user-data",
		"HeartbeatTimeout": "; give the API and this command --identity-certificates, or leave out --heartbeat-timeout, or use --no-join where instances reach etcd",
		"NoJoin":           "; to launch without one use --no-join, and `lease join-token ID` for each instance (it has one hour to enrol)",
	}
}

// Warning is how the sentence of a launch's warning ends.
func Warning(about launch.Warning) string {
	return map[launch.Warning]string{
		launch.WarnPaused: " until `janitor resume`", launch.WarnMode: " until `janitor arm`",
		launch.WarnDryRun: "; to launch nothing, use --dry-run", launch.WarnTokenless: "; launch there with --anima key-pair",
	}[about]
}
