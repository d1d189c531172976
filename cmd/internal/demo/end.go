package demo

import (
	"context"
	"fmt"
	"strings"

	"lapse/cmd/internal/cli"
)

// foreign are settings of the user that would lead to another EC2 or etcd.
const foreign = "AWS_PROFILE AWS_SESSION_TOKEN AWS_ENDPOINT_URL_EC2 AWS_ENDPOINT_URL_STS AWS_ENDPOINT_URL_SSM " +
	"AWS_IGNORE_CONFIGURED_ENDPOINT_URLS LAPSE_CONFIG LAPSE_NAMESPACE"

// stay prints the settings for another terminal, and keeps everything running until ctx ends. Only the lines for the
// shell begin with export or unset.
func (s *story) stay(ctx context.Context) error {
	lines := []string{"\nThe demo stays until Ctrl-C. Paste this into another terminal to try the commands on it:\n", "unset " + foreign}
	for _, setting := range append(s.settings(), "LAPSE_API_CACERT="+s.path("ca.pem"), "LAPSE_IDENTITY_CERTIFICATES="+s.path("ec2.pem")) {
		name, value, _ := strings.Cut(setting, "=")
		lines = append(lines, "export "+name+"="+quoted(value))
	}
	lines = append(lines, "export PATH="+quoted(s.Binaries)+`:"$PATH"`, "\nand then, for example:\n")
	for _, example := range []string{
		"janitor status", "lease list", "lease why " + s.lost, "lease extend " + s.calm[0] + " --for 2h",
		"sidecar status --socket " + s.socket(s.calm[0]),
		"lease launch --image-id ami-0123456789abcdef0 --instance-type t3.micro --term 1m",
		"lease doctor",
		"aws ec2 describe-instances --output table",
	} {
		lines = append(lines, "  "+example)
	}
	own := " --socket " + s.path("own/s")
	lines = append(lines,
		"\nAn instance of your own, its sidecar, and, once that says `claimed`, an extension from inside:\n",
		"  id=$(lease launch -q --image-id ami-0123456789abcdef0 --instance-type t3.micro --term 1h --max-term 1d --heartbeat-timeout 1m)",
		"  env -u LAPSE_ETCD_ENDPOINTS sidecar run"+own+" --imds "+s.metadata.URL+"/$id &",
		"  sidecar extend"+own+" --for 2h",
		"\nThe notice before a termination is 3 s here: an instance launched with --heartbeat-timeout and left without a sidecar is terminated "+
			"soon after its timeout. If more than two are like that, the brake heartbeats holds them back.")
	if _, err := fmt.Fprintln(s.Out, strings.Join(lines, "\n")); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

// quoted is one word for a POSIX shell.
func quoted(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// role is one instance, its expected state, and why.
type role struct{ id, fate, why string }

// printTable ends the story: every instance, its state in EC2, and why.
func (s *stage) printTable(cast []role) error {
	rows, wrong := [][]string{{"INSTANCE", "FATE", "WHY"}}, 0
	for _, r := range cast {
		fate := s.state(r.id)
		if fate != r.fate {
			wrong++
			fate += " (expected " + r.fate + ")"
		}
		rows = append(rows, []string{r.id, fate, r.why})
	}
	_, _ = fmt.Fprintln(s.Out)
	if err := cli.Table(s.Out, rows); err != nil {
		return err
	}
	if all := len(s.sim.Instances()); all != len(cast) {
		return failure("%d instances in all, but got %d", len(cast), all)
	}
	if wrong > 0 {
		return failure("every outcome as announced, but %d differ", wrong)
	}
	return nil
}
