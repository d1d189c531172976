package cli

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

// given runs a command of the example with one value from each source in turn, and returns what the action gets.
func given(t *testing.T, flag, text string, get func(*cli.Context) any) map[string]any {
	t.Helper()
	variable := prefix + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
	file := write(t, flag+": '"+strings.ReplaceAll(text, "'", "''")+"'\n")
	got := map[string]any{}
	for source, words := range map[string][]string{"line": {"--" + flag + "=" + text}, "environment": nil, "file": {"--config", file}} {
		t.Run(source, func(t *testing.T) {
			if source == "environment" {
				t.Setenv(variable, text)
			}
			var out, errs bytes.Buffer
			app := example(func(c *cli.Context) error {
				got[source] = get(c)
				return nil
			})
			if code := Run(t.Context(), app, append([]string{"app", "status"}, words...), &out, &errs); code != ExitDone {
				got[source] = errs.String()
			}
		})
	}
	return got
}

// Not parallel: it sets the environment, and urfave/cli keeps settings of an app in variables of its own.
func TestListsAreSplitAndTrimmed(t *testing.T) {
	for flag, c := range map[string]struct {
		text string
		want []string
	}{
		"etcd-endpoints": {" http://a:2379,  http://b:2379 ,unix:///c", []string{"http://a:2379", "http://b:2379", "unix:///c"}},
		"region":         {"eu-west-1, us-east-1\t", []string{"eu-west-1", "us-east-1"}},
	} {
		for source, got := range given(t, flag, c.text, func(ctx *cli.Context) any { return ctx.StringSlice(flag) }) {
			if list, ok := got.([]string); !ok || !slices.Equal(list, c.want) {
				t.Errorf("--%s from %s is %q, want %q", flag, source, got, c.want)
			}
		}
	}
}

// Not parallel: it sets the environment.
func TestNumbersAreDecimal(t *testing.T) {
	for text, want := range map[string]int{"010": 10, "7": 7, "+8": 8, "-08": -8, "0": 0, "0099": 99} {
		for source, got := range given(t, "interval", text, func(c *cli.Context) any { return c.Int("interval") }) {
			if got != want {
				t.Errorf("%q from %s is %v, want %d", text, source, got, want)
			}
		}
	}
	for _, text := range []string{"0x10", "0b11", "0o17", "1_000", " 5", "1e3", "１"} {
		for source, got := range given(t, "interval", text, func(c *cli.Context) any { return c.Int("interval") }) {
			if said, ok := got.(string); !ok || !strings.Contains(said, "number") || !strings.Contains(said, text) {
				t.Errorf("%q from %s is %v, want it to be refused", text, source, got)
			}
		}
	}
	for _, text := range []string{"0x1p-2", "0X.8p0", "1_0.5"} {
		for source, got := range given(t, "rate-share", text, func(c *cli.Context) any { return c.Float64("rate-share") }) {
			if said, ok := got.(string); !ok || !strings.Contains(said, "not a decimal number") {
				t.Errorf("%q from %s is %v, want it to be refused", text, source, got)
			}
		}
	}
}

// Not parallel: it sets the environment.
func TestABadEntryIsRefusedByItsName(t *testing.T) {
	const endpoint = " is not an etcd endpoint"
	for flag, texts := range map[string]map[string]string{
		"etcd-endpoints": {
			"foo": `"foo"` + endpoint, "http://a:2379, foo": `"foo"` + endpoint, "http://": `"http://"` + endpoint,
			"http://a:2379/v3": `"http://a:2379/v3"` + endpoint, "ftp://a:1": `"ftp://a:1"` + endpoint, "a:x": `"a:x"` + endpoint,
			"a:99999": `"a:99999"` + endpoint, "unix://": `"unix://"` + endpoint, "unix:etcd.sock": `"unix:etcd.sock"` + endpoint,
			"https://etcd": `"https://etcd"` + endpoint, "http://a b:2379": `"http://a b:2379"` + endpoint,
			"http://me:pw@a:2379": endpoint, "a:1,,b:2": "has an empty entry", " ": "has an empty entry",
		},
		"region": {
			"eu-west-1,US_EAST": `"US_EAST" is not an AWS Region`, "eu-west-1, us-east-1a": `"us-east-1a" is a zone; its Region is us-east-1`,
			"US-EAST-1": `"US-EAST-1" is not an AWS Region; write it as us-east-1`, "eu-West-1b": `"eu-West-1b" is a zone; its Region is eu-west-1`,
		},
		"namespace": {"a/b": `"a/b" may have only the characters`, "prod ": `"prod " may have only the characters`},
		"output":    {"xml": `"xml": choose table`},
		"log-level": {"loud": `"loud": choose debug, info, warn or error`},
	} {
		for text, want := range texts {
			for source, got := range given(t, flag, text, func(*cli.Context) any { return nil }) {
				named := map[string]string{
					"line": "--" + flag, "environment": prefix + strings.ToUpper(strings.ReplaceAll(flag, "-", "_")), "file": flag + " in ",
				}[source]
				if said, _ := got.(string); !strings.HasPrefix(said, "app: "+named) || !strings.Contains(said, want) || strings.Count(said, "\n") != 1 {
					t.Errorf("--%s %q from %s: %q, want %q", flag, text, source, got, want)
				}
			}
		}
	}
	for _, text := range []string{"127.0.0.1:2379", "[::1]:2379", "http://localhost:2379/", "https://etcd.example:443", "unix:///run/e.sock", "unix:/run/e.sock"} {
		for source, got := range given(t, "etcd-endpoints", text, func(*cli.Context) any { return nil }) {
			if got != nil {
				t.Errorf("%q from %s: %v", text, source, got)
			}
		}
	}
	for _, text := range []string{"us-gov-west-1", "cn-northwest-1", "ap-southeast-7", "us-isob-east-1", "RegionOne"} {
		if got := given(t, "region", text, func(*cli.Context) any { return nil }); got["line"] != nil {
			t.Errorf("%q: %v", text, got)
		}
	}
}

// Not parallel: urfave/cli keeps settings of an app in variables of its own.
func TestValuesOfAFileAreTakenLiterally(t *testing.T) {
	for text, want := range map[string]string{
		"0123": "0123", "no": "no", "007": "007", "1.10": "1.10", "1_000": "1_000", "0x1F": "0x1F", "true": "true", "12:30:00": "12:30:00",
		"2026-03-01": "2026-03-01", "1e3": "1e3", ".inf": ".inf", `"quoted"`: "quoted", "'0o7'": "0o7", "!!str 08": "08", "&a 010": "010",
		"|-\n  08": "08", "1000000000000000000000": "1000000000000000000000", "=": "=", "Null": "",
	} {
		var out, errs bytes.Buffer
		got := ""
		app := example(func(c *cli.Context) error {
			got = c.String("max-extend")
			return nil
		})
		code := Run(t.Context(), app, []string{"app", "status", "--config", write(t, "max-extend: "+text+"\n")}, &out, &errs)
		if got != want || (code == ExitDone) != (want != "") {
			t.Errorf("%s is %q, want %q: exit code %d, %s", text, got, want, code, &errs)
		}
	}
	file := write(t, "region: &all [eu-west-1, us-east-1]\nec2-unpaced: no\nlog-json: On\nnamespace: 0123\n")
	var out, errs bytes.Buffer
	app := example(func(c *cli.Context) error {
		if c.Bool("ec2-unpaced") || !c.Bool("log-json") || c.String("namespace") != "0123" || len(c.StringSlice("region")) != 2 {
			t.Errorf("%t %t %q %q", c.Bool("ec2-unpaced"), c.Bool("log-json"), c.String("namespace"), c.StringSlice("region"))
		}
		return nil
	})
	if code := Run(t.Context(), app, []string{"app", "status", "--config", file}, &out, &errs); code != ExitDone {
		t.Errorf("exit code %d: %s", code, &errs)
	}
}
