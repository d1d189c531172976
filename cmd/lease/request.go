package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"slices"

	ucli "github.com/urfave/cli/v2"

	"lapse/cmd/internal/cli"
	"lapse/lease"
	"lapse/lease/ec2/launch"
)

// requestFlags describe the instances and their leases.
func requestFlags() []ucli.Flag {
	return append([]ucli.Flag{
		&ucli.StringFlag{Name: "image-id", Usage: "launch this `AMI`, or resolve:ssm:PARAMETER"},
		&ucli.StringSliceFlag{Name: "instance-type", Usage: "launch this `TYPE`; several are tried in order"},
		&ucli.StringSliceFlag{Name: "subnet-id", Usage: "launch into `SUBNET`; several are tried in order"},
		&ucli.StringFlag{Name: "until", Usage: "expire at `TIME`, such as \"2027-01-31 18:00\""},
		&ucli.StringFlag{Name: "key-name", Usage: "log in with the key pair `NAME`"},
		&ucli.StringSliceFlag{Name: "security-group-id", Usage: "attach the security `GROUP`; repeatable"},
		&ucli.StringFlag{Name: "iam-instance-profile", Usage: "attach the instance profile of this `NAME` or ARN", Category: cli.OtherFlags},
		&ucli.StringFlag{Name: "user-data", Usage: "pass user-data from `FILE` (- for stdin)"},
		&ucli.StringFlag{Name: "request", Usage: "read run-instances JSON from `FILE` or - (stdin)"},
		&ucli.StringSliceFlag{Name: "tag", Usage: "tag all launched resources with `KEY=VALUE`; repeatable"},
		&ucli.IntFlag{Name: "count", Usage: "launch `N` instances", DefaultText: "--request's, or 1"},
	}, termFlags()...)
}

// order is what `lease launch` was asked to do.
type order struct {
	launch.Request
	self   string // the holder, if nobody named one: whoever launches
	resume bool   // resume a launch from its record
	dryRun bool   //
	wait   string // none, running or heartbeat
}

// readOrder reads the flags, and refuses what it can without asking etcd or EC2.
func readOrder(c *ucli.Context) (order, error) {
	o := order{dryRun: c.Bool("dry-run"), wait: c.String("wait")}
	if !slices.Contains([]string{"none", "running", "heartbeat"}, o.wait) {
		return order{}, cli.Usage("--wait %q: choose none, running or heartbeat", o.wait)
	}
	var err error
	if o.Patience, err = cli.Duration("timeout", c.String("timeout")); err != nil {
		return order{}, err
	}
	if o.Patience <= 0 {
		return order{}, cli.Usage("--timeout %s must be above zero", c.String("timeout"))
	}
	o.Token, o.Unattended = c.String("id"), c.Bool("unattended")
	if c.IsSet("id") {
		if err := lease.CheckToken(o.Token); err != nil {
			return order{}, err
		}
	}
	var given []string
	for _, flag := range requestFlags() {
		given = append(given, flag.Names()[0])
	}
	if o.Token != "" && !cli.Given(c, append(given, "dry-run", "unattended")...) {
		o.resume = true
		return o, nil
	}
	return o, o.readRequest(c)
}

// readRequest reads the flags that describe the instances and their leases.
func (o *order) readRequest(c *ucli.Context) (err error) {
	given, err := readTerms(c)
	if err != nil {
		return err
	}
	o.Term, o.Until, o.MaxTerm, o.HeartbeatTimeout, o.Holder, o.Labels = given.term, given.until, given.maxTerm, given.heartbeatTimeout, given.holder, given.labels
	if c.IsSet("count") { // an explicit 0 is not the default
		o.Count = c.Int("count")
		if err := lease.CheckCount(o.Count); err != nil {
			return err
		}
	}
	if o.Tags, err = cli.Pairs("tag", c.StringSlice("tag")); err != nil {
		return err
	}
	o.ImageID, o.InstanceTypes, o.Subnets = c.String("image-id"), c.StringSlice("instance-type"), c.StringSlice("subnet-id")
	o.KeyName, o.SecurityGroups, o.InstanceProfile = c.String("key-name"), c.StringSlice("security-group-id"), c.String("iam-instance-profile")
	file, userData := c.String("request"), c.String("user-data")
	if file == "-" && userData == "-" {
		return cli.Usage("--request and --user-data cannot both be read from stdin; put one of them into a file")
	}
	if userData != "" {
		if o.UserData, err = readFile(c, "user-data", userData); err != nil {
			return err
		}
	}
	switch {
	case file != "":
		if o.Skeleton, err = readFile(c, "request", file); err == nil && len(bytes.TrimSpace(o.Skeleton)) == 0 {
			err = cli.Usage("the --request file %s is empty; `aws ec2 run-instances --generate-cli-skeleton` prints one to fill in", file)
		}
		return err
	case o.ImageID == "":
		return cli.Usage("give the image to launch, with --image-id or in a --request file; see `lease launch --help`")
	case len(o.InstanceTypes) == 0:
		return cli.Usage("give the instance type to launch, with --instance-type or in a --request file; see `lease launch --help`")
	}
	return nil
}

// readFile reads the file that a flag names, or stdin.
func readFile(c *ucli.Context, flag, file string) ([]byte, error) {
	if file == "-" {
		data, err := cli.Await(c.Context, func() ([]byte, error) { return io.ReadAll(c.App.Reader) })
		if err != nil {
			return nil, fmt.Errorf("read --%s from stdin: %w", flag, err)
		}
		return data, nil
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, cli.Usage("cannot read the --%s file: %v", flag, err)
	}
	return data, nil
}
