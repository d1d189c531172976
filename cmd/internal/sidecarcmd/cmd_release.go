package sidecarcmd

import (
	"fmt"

	ucli "github.com/urfave/cli/v2"

	"lapse/cmd/internal/cli"
	"lapse/sidecar"
)

func releaseCommand() *ucli.Command {
	return &ucli.Command{
		Name: "release", Usage: "give the lease back, which terminates this instance; for root",
		Description: "The janitor terminates the instance within seconds, whatever its date. Only root and the sidecar's own user may.\n" +
			"It asks on a terminal, and needs --yes elsewhere.\n\n" +
			"   sidecar release --reason \"the job is done\"\n" +
			"   sidecar release --yes",
		Flags: []ucli.Flag{
			socketFlag(), cli.OutputFlag(), cli.YesFlag(),
			cli.ReasonFlag("the lease's history"),
		},
		Action: release,
	}
}

func release(c *ucli.Context) error {
	client := sidecar.NewClient(c.String("socket"))
	if !c.Bool("yes") { // the question names the instance
		s, err := client.Status(c.Context)
		if err != nil {
			return err
		}
		if err := cli.Confirm(c, fmt.Sprintf("release the lease of this instance, %s, which terminates it", s.InstanceID), func() error {
			now, err := client.Status(c.Context)
			if err != nil {
				return err
			}
			switch {
			case now.InstanceID != s.InstanceID:
				return cli.Outdated("this instance changed from %s to %s", s.InstanceID, now.InstanceID)
			case s.Lease != nil && now.Lease != nil && !now.Lease.ExpiresAt.Equal(s.Lease.ExpiresAt):
				return cli.Outdated("%s was extended or shortened by somebody else", s.InstanceID)
			}
			return nil
		}); err != nil {
			return err
		}
	}
	released, err := client.Release(c.Context, c.String("reason"))
	if err != nil {
		return err
	}
	if cli.WantsJSON(c) {
		return cli.JSON(c, released)
	}
	_, err = fmt.Fprintf(c.App.Writer, "%s released; the janitor will terminate it\n", released.InstanceID)
	return err
}
