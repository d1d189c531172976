package main

import (
	"fmt"
	"slices"
	"strings"

	ucli "github.com/urfave/cli/v2"

	"lapse/cmd/internal/cli"
	"lapse/cmd/internal/registry"
	"lapse/lease"
	"lapse/lease/ec2"
	"lapse/sidecar"
)

func doctorCommand() *ucli.Command {
	return &ucli.Command{
		Name: "doctor", Usage: "check what Lapse depends on, and say what to fix",
		Description: "Checks etcd, its users, roles and certificates, the registry, the janitor's last sweep, the API, the clocks, the\n" +
			"AWS settings, what EC2 would allow, instances' metadata, and this machine if it is one. Prints a line for each, and a sentence that says what to do:\n\n" +
			"   ok     as it should be\n" +
			"   note   could not be checked, or is not needed here\n" +
			"   warn   works, but may not do what you expect\n" +
			"   fail   does not work\n\n" +
			"It changes nothing: it asks EC2 with DryRun for what each role needs (see deploy/iam). Terminating and\n" +
			"tagging are rehearsed only on a terminated instance of this registry; EC2 shows such instances for an\n" +
			"hour, and without one the result is unknown. A permission that the role named by --as lacks is a failure;\n" +
			"one that another role lacks, or that is unknown, is a note. Exit code 1 if anything fails.\n\n" +
			"   lease doctor\n" +
			"   lease doctor --as janitor --region eu-west-1\n" +
			"   lease doctor -o json | jq '.checks[] | select(.level == \"fail\")'",
		Flags: append(cli.StoreFlags(), cli.OutputFlag(), regionFlag(), cli.AccountFlag(),
			&ucli.StringFlag{Name: "as", Usage: "require what `ROLE` needs: launcher, janitor, operator or observer"},
			&ucli.StringFlag{Name: "image-id", Usage: "rehearse a launch of `AMI`", DefaultText: "that of an instance, or Amazon Linux"},
			&ucli.StringFlag{Name: "api-cacert", Usage: "trust the CA in `FILE` for the API", DefaultText: "the system's CAs", Category: cli.OtherFlags},
			identityFlag(),
			&ucli.StringFlag{Name: "socket", Value: sidecar.DefaultSocket, Usage: "reach this machine's sidecar at the unix socket `PATH`"}),
		Action: doctor,
	}
}

type level string

const (
	levelOK   level = "ok"
	levelNote level = "note"
	levelWarn level = "warn"
	levelFail level = "fail"
)

type finding struct {
	Check string `json:"check"`
	Level level  `json:"level"`
	Text  string `json:"text"`
}

// examination gathers findings, and facts that several checks need.
type examination struct {
	findings []finding
	role     ec2.Role // required; empty: none

	registry lease.Registry // zero if it cannot be read
	leases   []lease.Lease
	sweep    lease.Checkpoint // zero if there was none
}

func (e *examination) add(check string, l level, format string, args ...any) {
	e.findings = append(e.findings, finding{check, l, fmt.Sprintf(format, args...)})
}

// judge adds a failure if there is an error, and otherwise a finding that all is well.
func (e *examination) judge(check string, err error, format string, args ...any) {
	if err != nil {
		e.add(check, levelFail, "%v", registry.Advise(err))
		return
	}
	e.add(check, levelOK, format, args...)
}

func doctor(c *ucli.Context) error {
	e := &examination{role: ec2.Role(c.String("as"))}
	if err := e.examineRegistry(c); err != nil {
		return err
	}
	e.examineCertificates(c)
	e.examineAPI(c)
	e.examineAWS(c)
	e.examineHere(c)
	failed := slices.ContainsFunc(e.findings, func(f finding) bool { return f.Level == levelFail })
	if err := e.print(c, !failed); err != nil || !failed {
		return err
	}
	return &cli.QuietError{Code: cli.ExitFailed}
}

// diagnosis is `lease doctor` for programs.
type diagnosis struct {
	Healthy bool      `json:"healthy"` // nothing fails
	Checks  []finding `json:"checks"`
}

func (e *examination) print(c *ucli.Context, healthy bool) error {
	if cli.WantsJSON(c) {
		return cli.JSON(c, diagnosis{Healthy: healthy, Checks: e.findings})
	}
	rows := [][]string{}
	for _, f := range e.findings {
		rows = append(rows, []string{string(f.Level), f.Check, f.Text})
	}
	return cli.Table(c.App.Writer, rows)
}

// actions names the actions of rehearsals, and the terminated instance that each was tried on, since a policy may
// depend on its tags.
func actions(all []ec2.Rehearsed) string {
	var names []string
	for _, r := range all {
		name := r.Need.String()
		if r.On != "" {
			name += " on " + r.On + " (terminated)"
		}
		names = append(names, name)
	}
	return strings.Join(names, ", ")
}
