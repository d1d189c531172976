package launch_test

import (
	"encoding/json"
	"errors"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"lapse/lease/ec2/ec2sim"
	"lapse/lease/ec2/ec2test"
	"lapse/lease/ec2/launch"
)

// validUntil is a request whose only peculiarity is a time, as JSON.
func validUntil(text string) string {
	return `{"ImageId": "` + ec2test.Image + `", "InstanceType": "t3.micro", "MinCount": 1, "MaxCount": 1,
		"InstanceMarketOptions": {"MarketType": "spot", "SpotOptions": {"ValidUntil": ` + text + `}}}`
}

const timesFile = "testdata/awscli/validuntil.txt"

// Each line of the file is a time as it stands in a request, a tab, and what the AWS CLI sends for it.
func TestTimesAreReadAsTheAWSCLIReadsThem(t *testing.T) {
	t.Parallel()
	if os.Getenv(recordAWSCLI) != "" {
		recordTimes(t)
	}
	text, err := os.ReadFile(timesFile)
	if err != nil {
		t.Fatal(err)
	}
	w, n := newWorld(t, ec2sim.Config{}), 0
	for line := range strings.Lines(string(text)) {
		form, want, isCase := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		if !isCase {
			continue
		}
		n++
		plan, err := w.launcher(t).DryRun(t.Context(), launch.Request{Token: "job-7", Skeleton: []byte(validUntil(form))})
		if err != nil {
			t.Errorf("%s: %v", form, err)
			continue
		}
		var frozen struct {
			InstanceMarketOptions struct {
				SpotOptions struct{ ValidUntil time.Time }
			}
		}
		theirs, wrong := time.Parse(time.RFC3339, want)
		err = errors.Join(wrong, json.Unmarshal(plan.Launch.Request, &frozen))
		if ours := frozen.InstanceMarketOptions.SpotOptions.ValidUntil; err != nil || !ours.Equal(theirs) {
			t.Errorf("%s is frozen as %s, want %s (%v)", form, ours, want, err)
		}
	}
	if n < 30 {
		t.Errorf("only %d forms", n)
	}
}

// recordTimes writes down what the AWS CLI sends for each form.
func recordTimes(t *testing.T) {
	t.Helper()
	text, err := os.ReadFile(timesFile)
	if err != nil {
		t.Fatal(err)
	}
	var lines strings.Builder
	for line := range strings.Lines(string(text)) {
		form, _, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		if lines.WriteString(form); !strings.HasPrefix(form, "#") {
			sent, err := url.ParseQuery(runCLI(t, ".", "ec2", "run-instances", "--cli-input-json", validUntil(form)))
			if err != nil {
				t.Fatal(err)
			}
			lines.WriteString("\t" + sent.Get("InstanceMarketOptions.SpotOptions.ValidUntil"))
		}
		lines.WriteString("\n")
	}
	if err := os.WriteFile(timesFile, []byte(lines.String()), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestInvalidTimesAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ec2sim.Config{})
	for _, text := range []string{
		`"tomorrow"`, `"2026-13-01"`, `"2026-02-30"`, `"23:00"`, `"2026-12-30T23:00:00 PST"`, `"2026-12-30T25:00"`, `"nan"`, `"inf"`,
		`1e300`, `-1e300`, `true`, `{"a": 1}`, `["2026-12-30"]`, `"2026"x`,
	} {
		_, err := w.launcher(t).DryRun(t.Context(), launch.Request{Token: "job-7", Skeleton: []byte(validUntil(text))})
		ec2test.WantError[*launch.RequestError](t, err)
	}
}
