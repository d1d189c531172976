package cli

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/urfave/cli/v2"
)

// FuzzConfig: a file of --config is either used, or refused in one sentence that names it; and it sets no flag that
// only the command line may set.
func FuzzConfig(f *testing.F) {
	for _, text := range []string{
		"max-extend: 8h\ninterval: 3\nregion: [a-b, c-d]\n", "app:\n  term: 1h\njanitor:\n  mark-grace: 5m\n", "strict: true\n", "interval: 0x10\nrate-share: .inf\n",
		"max-extend: &a 8h\nnamespace: *a\n", "? [a]\n: b\n", "\xff\xfe", "interval: 1e400\n", "max-extend: !!binary aGk=\n", "ec2-unpaced: yes\noutput: json\n", "lease: []\n", "max-extend: 2026-03-01\n",
		"{}", "a: &a [*a]\n", "config: x\nhelp: true\n", "---\n---\n", "region:\n- 1\n- true\n- 1.50\n",
	} {
		f.Add([]byte(text))
	}
	file := filepath.Join(f.TempDir(), "lapse.yaml")
	f.Fuzz(func(t *testing.T, text []byte) {
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		ran := false
		app := example(func(c *cli.Context) error {
			ran = true
			if c.Bool("strict") || c.String("for") != "" {
				t.Errorf("%q sets a flag of one call", text)
			}
			return nil
		})
		var out, errs bytes.Buffer
		code := Run(t.Context(), app, []string{"app", "extend", "i-1", "--config", file}, &out, &errs)
		said := errs.String()
		switch {
		case ran && code == ExitDone && said == "":
		case !ran && code == ExitUsage && strings.HasPrefix(said, "app: ") && strings.Contains(said, file):
		default:
			t.Errorf("%q: exit code %d, ran %t: %s", text, code, ran, said)
		}
	})
}

// FuzzDuration: an accepted duration is the one that Go prints of it, and only "none" is none.
func FuzzDuration(f *testing.F) {
	for _, text := range []string{"90s", "3d", "2w", "1d12h", "none", "0", "-4h", "1.5h", "99999w", "9223372036854775807ns", "292y", "1µs", "１h", "1h1h", ""} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		d, err := Duration("for", text)
		if ExitCode(err) != ExitUsage && err != nil {
			t.Errorf("%q: %v", text, err)
		}
		if again, err2 := Duration("for", d.String()); err == nil && (err2 != nil || again != d) {
			t.Errorf("%q is %s, and that is %s, %v", text, d, again, err2)
		}
		some, err := DurationOrNone("term", text)
		if err == nil && (some < 0 || some == 0 && text != "none" || some != d && text != "none") {
			t.Errorf("%q is %s, else %s", text, some, d)
		}
	})
}

// FuzzDate: an accepted date can be kept on record, and its printed form means the same.
func FuzzDate(f *testing.F) {
	for _, text := range []string{
		"2027-02-03T04:05:06Z", "2027-02-03T04:05:06.7+02:00", "2027-02-03 04:05", "2027-02-03", "18:00", "24:00", "9999-12-31T23:59:59-23:59",
		"0000-01-01T00:00:00+01:00", "0000-01-01", "2027-02-30", "2016-12-31T23:59:60Z", "",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		at, err := Date("until", text)
		if err != nil {
			if ExitCode(err) != ExitUsage {
				t.Errorf("%q: %v", text, err)
			}
			return
		}
		data, err := json.Marshal(at)
		if err != nil {
			t.Fatalf("%q is %s, which no record can hold: %v", text, at, err)
		}
		var kept time.Time
		if err := json.Unmarshal(data, &kept); err != nil || !kept.Equal(at) {
			t.Errorf("%q is %s, kept as %s (%v)", text, at, data, err)
		}
		if again, err := Date("until", at.Format(time.RFC3339Nano)); err != nil || !again.Equal(at) {
			t.Errorf("%q is printed as %s, which means %s (%v)", text, at.Format(time.RFC3339Nano), again, err)
		}
	})
}
