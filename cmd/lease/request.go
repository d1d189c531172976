package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	ucli "github.com/urfave/cli/v2"

	"lapse/cmd/internal/cli"
	"lapse/lease"
	"lapse/lease/ec2/launch"
)

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
		&ucli.StringSliceFlag{Name: "tag", Usage: "tag all resources with `KEY=VALUE`; repeatable"},
		&ucli.StringFlag{Name: "anima", Usage: "find instances by `ANIMA`: client-token or key-pair", DefaultText: "client-token, or as noted", Category: cli.OtherFlags},
		&ucli.StringFlag{Name: "consistency", Usage: "with --anima, search `DURATION` for what was created", DefaultText: "5m", Category: cli.OtherFlags},
		&ucli.StringFlag{Name: "self-extend", Usage: "let instances extend themselves `DURATION` from now, or none", DefaultText: "up to --max-term", Category: cli.OtherFlags},
		&ucli.BoolFlag{Name: "no-join", Usage: "leave out the join token for the API", Category: cli.OtherFlags},
		&ucli.IntFlag{Name: "count", Usage: "launch `N` instances", DefaultText: "--request's, or 1"},
	}, termFlags()...)
}

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
	if o.Token != "" && !slices.ContainsFunc(append(given, "dry-run", "unattended"), c.IsSet) {
		o.resume = true
		return o, nil
	}
	return o, o.readRequest(c)
}

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
	if text := c.String("self-extend"); text != "" {
		allowed, err := cli.DurationOrNone("self-extend", text)
		if err != nil {
			return err
		}
		o.SelfExtend = new(lease.Duration(allowed))
	}
	o.Anima, o.NoJoin = lease.Anima(c.String("anima")), c.Bool("no-join")
	if text := c.String("consistency"); text != "" {
		if o.Consistency, err = cli.Duration("consistency", text); err != nil {
			return err
		}
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

// fileMax is how many bytes a file of a request may have: EC2 takes 16 KiB of user-data, and a request is little more.
const fileMax = 1 << 20

// readFile reads a file, or stdin for "-", that may be one without an end.
func readFile(c *ucli.Context, flag, file string) ([]byte, error) {
	from := c.App.Reader
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, cli.Usage("cannot read the --%s file: %v", flag, err)
		}
		defer f.Close()
		from = f
	}
	data, err := cli.Await(c.Context, func() ([]byte, error) { return io.ReadAll(io.LimitReader(from, fileMax+1)) })
	switch {
	case err != nil && file == "-":
		return nil, fmt.Errorf("read --%s from stdin: %w", flag, err)
	case err != nil:
		return nil, cli.Usage("cannot read the --%s file: %v", flag, err)
	case len(data) > fileMax:
		return nil, cli.Usage("the --%s file %s has more than %d bytes; give a shorter one", flag, file, fileMax)
	}
	return data, nil
}

// termFlags describe new leases.
func termFlags() []ucli.Flag {
	return []ucli.Flag{
		&ucli.StringFlag{Name: "term", Value: "24h", Usage: "expire after `DURATION`, or none"},
		&ucli.StringFlag{Name: "max-term", Value: "7d", Usage: "allow extensions up to `DURATION` from now, or none"},
		&ucli.StringFlag{Name: "heartbeat-timeout", Value: "none", Usage: "expect a heartbeat within `DURATION`, 5s to 1h, or none"},
		&ucli.StringFlag{Name: "holder", Usage: "record `WHO` it is for: a person, team or job"},
		&ucli.StringSliceFlag{Name: "label", Usage: "label leases with `KEY=VALUE`; repeatable"},
	}
}

// terms are what leases are given.
type terms struct {
	term, maxTerm    time.Duration // from now; zero: none
	until            time.Time     // instead of term; zero: none
	heartbeatTimeout time.Duration // zero: none
	holder           string
	named            bool // somebody named the holder
	labels           map[string]string
}

func readTerms(c *ucli.Context) (t terms, err error) {
	for name, field := range map[string]*time.Duration{"term": &t.term, "max-term": &t.maxTerm, "heartbeat-timeout": &t.heartbeatTimeout} {
		if *field, err = cli.DurationOrNone(name, c.String(name)); err != nil {
			return t, err
		}
	}
	if c.IsSet("until") {
		if c.IsSet("term") {
			return t, cli.Usage("--term and --until both set the expiry; give one of them")
		}
		t.term = 0
		t.until, err = cli.DateFlag(c, "until")
		if err != nil {
			return t, err
		}
	}
	switch {
	case t.maxTerm > 0 && t.term == 0 && t.until.IsZero():
		return t, cli.Usage("--term none exceeds --max-term %s; add --max-term none, or give a term of at most %s", c.String("max-term"), c.String("max-term"))
	case t.maxTerm > 0 && t.until.After(time.Now().Add(t.maxTerm)):
		return t, cli.Usage("--until %s is later than --max-term %s allows; give a later --max-term, or none", c.String("until"), c.String("max-term"))
	case t.maxTerm > 0 && t.term > t.maxTerm:
		return t, cli.Usage("--term %s is longer than --max-term %s; give a longer --max-term, or none", c.String("term"), c.String("max-term"))
	}
	if err := lease.CheckHeartbeatTimeout(t.heartbeatTimeout); err != nil {
		return t, err
	}
	t.holder, t.named = c.String("holder"), c.IsSet("holder")
	if t.labels, err = cli.Pairs("label", c.StringSlice("label")); err != nil {
		return t, err
	}
	return t, lease.CheckLabels(t.labels)
}
