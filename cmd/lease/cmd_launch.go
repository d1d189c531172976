package main

import (
	"cmp"
	"errors"
	"fmt"

	ucli "github.com/urfave/cli/v2"

	"lapse/cmd/internal/advice"
	"lapse/cmd/internal/cli"
	"lapse/cmd/internal/registry"
	"lapse/lease"
	"lapse/lease/api/identity"
	"lapse/lease/ec2"
	"lapse/lease/ec2/launch"
	"lapse/lease/etcd"
)

func launchCommand() *ucli.Command {
	flags := append(cli.StoreFlags(), requestFlags()...)
	return &ucli.Command{
		Name: "launch", Usage: "launch instances with leases",
		Description: "The launch token goes to stderr before anything is sent. With it, `lease launch --id TOKEN` resumes the\n" +
			"launch or reports its outcome, and launches nothing twice. Flags win over --request. After `lease init --api`,\n" +
			"scripts and cloud-config get a join token; other user-data needs --no-join.\n\n" +
			"   lease launch --image-id ami-0abc --instance-type t3.micro --term 8h\n" +
			"   lease launch --request request.json --id nightly --wait heartbeat -q\n" +
			"   lease launch --id nightly\n\n" +
			"Exit codes: 6 fewer than requested; 7 outcome unknown, run again with --id.",
		Flags: append(flags, regionFlag(), cli.AccountFlag(), cli.OutputFlag(),
			&ucli.StringFlag{Name: "id", Usage: "use launch `TOKEN`, and never launch it twice"},
			&ucli.BoolFlag{Name: "unattended", Usage: "launch even if no janitor sweeps the region", Category: cli.OtherFlags},
			&ucli.BoolFlag{Name: "dry-run", Usage: "check the launch, also with EC2; launch nothing"},
			identityFlag(),
			&ucli.StringFlag{Name: "wait", Value: "none", Usage: "wait for `STATE`: none, running or heartbeat"},
			&ucli.StringFlag{Name: "timeout", Value: "5m", Usage: "wait up to `DURATION` for EC2's answer and --wait", Category: cli.OtherFlags},
			&ucli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "print only instance ids"},
			&ucli.DurationFlag{Name: "call-timeout", Hidden: true}), // of one RunInstances call; for tests of processes
		Action: registry.WithStore(readOrder, launchInstances),
	}
}

// identityFlag adds certificates to AWS's own, as `janitor run` does.
func identityFlag() ucli.Flag {
	return &ucli.StringFlag{Name: "identity-certificates", Usage: "also trust the certificates in `FILE` for identity documents", Category: cli.OtherFlags}
}

func launchInstances(c *ucli.Context, store *etcd.Store, order order) error {
	region := c.String("region")
	if order.resume {
		record, err := launchOf(c.Context, store, order.Token)
		if err != nil {
			return err
		}
		if region != "" && region != record.Region {
			return cli.Usage("launch %s is in %s; leave out --region", order.Token, record.Region)
		}
		region = record.Region
	} else if err := order.hold(c, store); err != nil {
		return err
	}
	cloud, err := openCloud(c.Context, c, region)
	if err != nil {
		return err
	}
	certificates, err := identity.ReadFile(c.String("identity-certificates"))
	if err != nil {
		return fmt.Errorf("read --identity-certificates: %w", err)
	}
	launcher := launch.New(cloud, store, launch.Config{
		Actor: cli.Actor(), Progress: progress(c, order.self), CallTimeout: c.Duration("call-timeout"),
		Proves: func(region string) bool { return len(certificates[region]) > 0 },
	})
	return order.carryOut(c, launcher, cloud, store)
}

// hold sets the holder if nobody named one: whoever launches. A launch under the same token keeps its own holder, so
// that somebody else can repeat the request.
func (o *order) hold(c *ucli.Context, store *etcd.Store) error {
	if c.IsSet("holder") {
		return nil
	}
	if o.Token != "" {
		record, err := store.Launch(c.Context, o.Token)
		if !cli.Is[*lease.NotFoundError](err) {
			o.Holder = record.Holder
			return err
		}
	}
	o.Holder, o.self = cli.Holder(), cli.Holder()
	return nil
}

func (o order) carryOut(c *ucli.Context, launcher *launch.Launcher, cloud *ec2.Cloud, store *etcd.Store) error {
	if o.dryRun {
		plan, err := launcher.DryRun(c.Context, o.Request)
		if err != nil {
			return advice.EC2(err)
		}
		return printPlan(c, plan)
	}
	var result launch.Result
	var err error
	if o.resume {
		result, err = launcher.Resume(c.Context, o.Token, o.Patience)
	} else {
		result, err = launcher.Launch(c.Context, o.Request)
	}
	if err != nil {
		return errors.Join(printResult(c, result), advice.EC2(err))
	}
	if err := o.await(c, cloud, store, &result); err != nil {
		return errors.Join(printResult(c, result), err)
	}
	if err := printResult(c, result); err != nil {
		return err
	}
	if missing := result.Launch.Missing(); missing > 0 {
		cli.Say(c, "lease: EC2 launched %d of %d instances; launch the rest with another token", result.Launch.Count-missing, result.Launch.Count)
		return &cli.QuietError{Code: cli.ExitPartly}
	}
	return nil
}

type launched struct {
	Launch lease.Launch  `json:"launch"`
	Leases []lease.Lease `json:"leases"`
}

// shown is a launch and its leases without secrets.
func shown(l lease.Launch, leases []lease.Lease) launched {
	return launched{Launch: l.WithoutSecrets(), Leases: append([]lease.Lease{}, leases...)}
}

// printResult prints what is known of a launch, if anything.
func printResult(c *ucli.Context, r launch.Result) error {
	if r.Launch.Token == "" {
		return nil
	}
	over := 0
	for _, l := range r.Leases {
		if !l.Live() {
			over++
		}
	}
	if over > 0 {
		are, their := "are", "their"
		if over == 1 {
			are, their = "is", "its"
		}
		cli.Say(c, "%d of its leases %s no longer valid; nothing is launched in %s place", over, are, their)
	}
	switch {
	case cli.WantsJSON(c):
		return cli.JSON(c, shown(r.Launch, r.Leases))
	case c.Bool("quiet"):
		return printIDs(c, r.Leases)
	case len(r.Leases) == 0:
		return nil
	}
	return printLeases(c, r.Leases, []lease.Launch{r.Launch}, lease.Circumstances{})
}

func printPlan(c *ucli.Context, plan launch.Plan) error {
	l := plan.Launch.WithoutSecrets()
	if plan.Exists {
		cli.Say(c, "token %s is already on record, and its launch is %s; nothing new would be launched", l.Token, l.State)
	}
	if cli.WantsJSON(c) {
		return cli.JSON(c, l)
	}
	_, err := fmt.Fprintf(c.App.Writer, "would launch %s for %s in %s, term %s, not after %s, with this request and the tags that Lapse adds\n%s\n",
		count(l.Count, "instance"), cmp.Or(l.Holder, "nobody"), l.Location(), orNone(l.Term), orNone(l.MaxTerm), l.Request)
	return err
}
