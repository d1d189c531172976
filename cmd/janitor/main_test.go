package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	ucli "github.com/urfave/cli/v2"

	"lapse/cmd/internal/cli"
	"lapse/lease"
)

// TestMain lets scripts run this program as `janitor`.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"janitor": main})
}

// TestScripts runs each script in testdata against an etcd and an EC2 of its own.
func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{Dir: "testdata", Setup: newWorld, RequireUniqueNames: true, Cmds: worldCommands()})
}

// A value without a name in the usage would be called "value" in help texts.
func TestEveryFlagNamesItsValue(t *testing.T) {
	t.Parallel()
	for _, command := range app().Commands {
		for _, flag := range command.Flags {
			documented := flag.(ucli.DocGenerationFlag)
			if documented.TakesValue() && strings.Count(documented.GetUsage(), "`") != 2 {
				t.Errorf("janitor %s --%s: %q", command.Name, flag.Names()[0], documented.GetUsage())
			}
		}
	}
}

func TestStatusIsToldByTheExitCode(t *testing.T) {
	t.Parallel()
	now := time.Now()
	brakes := []lease.Brake{{Name: "rate", Reason: "too many"}}
	for name, c := range map[string]struct {
		sweep lease.Sweep
		want  int
	}{
		"swept":                      {lease.Sweep{Time: now, NextSweep: now}, cli.ExitDone},
		"a brake is held":            {lease.Sweep{Time: now, NextSweep: now, Brakes: brakes}, cli.ExitHeld},
		"never swept":                {lease.Sweep{}, cli.ExitRefused},
		"swept long ago":             {lease.Sweep{Time: now.Add(-time.Hour)}, cli.ExitRefused},
		"an old brake tells nothing": {lease.Sweep{Time: now.Add(-time.Hour), Brakes: brakes}, cli.ExitRefused},
	} {
		view := newStatus(lease.Snapshot{Sweep: c.sweep}, now)
		if got := cli.ExitCode(view.check()); got != c.want || len(view.Brakes) != len(c.sweep.Brakes) || view.Sweep.Brakes != nil {
			t.Errorf("%s: exit code %d, want %d; brakes %v and %v", name, got, c.want, view.Brakes, view.Sweep.Brakes)
		}
	}
}

func TestSweptNamesPlacesIfThereAreAny(t *testing.T) {
	t.Parallel()
	now := time.Now()
	view := statusView{Fresh: true, Sweep: lease.Sweep{Time: now, NextSweep: now.Add(time.Minute), Leader: "j"}}
	if got := view.swept(now); !strings.HasSuffix(got, " by j, in no place, for none could be listed; the next is due "+cli.When(now.Add(time.Minute), now)) {
		t.Error(got)
	}
	view.Sweep.Places = []lease.Place{here}
	if got := view.swept(now); !strings.Contains(got, ", in "+here.String()+"; the next is due ") {
		t.Error(got)
	}
}

func TestASweepThatIsNotOfNowIsToldToBeOldOrToCome(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for away, want := range map[time.Duration]string{
		-time.Hour: "; that is too long ago: see whether `janitor run` is up",
		time.Hour:  "; that is to come: the clock of that janitor was wrong, or the one here is",
		0:          "; the next is due " + cli.When(now, now),
	} {
		view := newStatus(lease.Snapshot{Sweep: lease.Sweep{Time: now.Add(away), NextSweep: now.Add(away), Places: []lease.Place{here}}}, now)
		if got := view.swept(now); !strings.HasSuffix(got, want) {
			t.Errorf("%s away: %q, want %q", away, got, want)
		}
	}
}

func TestWhatEC2DoesNotShowIsTold(t *testing.T) {
	t.Parallel()
	for want, n := range map[string]lease.Census{
		"3 managed": {Managed: 3},
		"3 managed; EC2's listing lacks 2 that have a lease, and were found by id":                                     {Managed: 3, Unlisted: 2},
		"0 managed; EC2 knows nothing of 3 that have a lease, which wait for their terms (`janitor sweep --dry-run`)":  {Unseen: 3},
		"1 managed; 2 foreign (`lease list --foreign`); EC2's listing lacks 1 that have a lease, and were found by id": {Managed: 1, Foreign: 2, Unlisted: 1},
	} {
		if got := census(n); got != want {
			t.Errorf("%+v: %q, want %q", n, got, want)
		}
	}
}

func TestEachBrakeSaysWhatLiftsIt(t *testing.T) {
	t.Parallel()
	brakes := []lease.Brake{{Name: lease.BrakeRestored, Reason: "7 of 9"}}
	for n := range 7 {
		brakes = append(brakes, lease.Brake{Name: lease.BrakeRestored, Scope: fmt.Sprintf("i-%d", n), Reason: "later"})
	}
	brakes = append(
		brakes, lease.Brake{Name: lease.BrakeSilence, Scope: "use1-az1", Reason: "20 of 50"}, lease.Brake{Name: "clock", Scope: "1/r", Reason: "ahead"},
		lease.Brake{Name: lease.BrakeStranger, Reason: "old"},
	)
	var out strings.Builder
	if err := printBrakes(&out, brakes); err != nil {
		t.Fatal(err)
	}
	want := `brake restored held (everywhere): 7 of 9; holds until ~janitor resume --brake restored~
brake restored held (i-0): later; holds until ~janitor resume --brake restored~
brake restored held (i-1): later; holds until ~janitor resume --brake restored~
brake restored held (i-2): later; holds until ~janitor resume --brake restored~
brake restored held (i-3): later; holds until ~janitor resume --brake restored~
brake restored held (i-4): later; holds until ~janitor resume --brake restored~
brake silence held (use1-az1): 20 of 50; lifts when they renew, or, if they are dead indeed, by ~janitor resume --brake silence~
brake clock held (1/r): ahead; lifts with its cause
brake stranger held (everywhere): old; holds until ~janitor resume --brake stranger~
brake restored held (2 leases more): the same; -o json names them
`
	if got := strings.ReplaceAll(out.String(), "`", "~"); got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
}

// Whether the environment may give a flag is decided for each, in one table.
func TestEveryFlagIsInOneClass(t *testing.T) {
	t.Parallel()
	if found := cli.Unclassed(app()); len(found) > 0 {
		t.Errorf("in no class of cmd/internal/cli/settings.go, or in both: %q", found)
	}
}
