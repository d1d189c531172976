package main

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"lapse/cmd/internal/cli"
	"lapse/cmd/internal/registry"
	"lapse/cmd/internal/script"
	"lapse/lease"
)

// TestMain lets scripts run this program as `janitor`.
func TestMain(m *testing.M) {
	os.Exit(script.Main(m, "janitor", main))
}

// TestScripts runs each script in testdata against an etcd and an EC2 of its own.
func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{Dir: "testdata", Setup: newWorld, RequireUniqueNames: true, Cmds: worldCommands()})
}

// Not parallel: it sets the environment.
func TestHelpFitsTheScreen(t *testing.T) {
	script.CheckHelp(t, app, "run --help")
}

func TestStatusCheckReportsByExitCode(t *testing.T) {
	t.Parallel()
	now := time.Now()
	brakes := []lease.Brake{{Name: "rate", Reason: "too many"}}
	for name, c := range map[string]struct {
		sweep lease.Checkpoint
		want  int
	}{
		"swept":                      {lease.Checkpoint{Time: now, NextSweep: now}, cli.ExitDone},
		"a brake is held":            {lease.Checkpoint{Time: now, NextSweep: now, Brakes: brakes}, cli.ExitHeld},
		"never swept":                {lease.Checkpoint{}, cli.ExitRefused},
		"swept long ago":             {lease.Checkpoint{Time: now.Add(-time.Hour)}, cli.ExitRefused},
		"an old brake tells nothing": {lease.Checkpoint{Time: now.Add(-time.Hour), Brakes: brakes}, cli.ExitRefused},
	} {
		view := newStatus(lease.Snapshot{Checkpoint: c.sweep}, now)
		if got := registry.ExitCode(view.check()); got != c.want || len(view.Brakes) != len(c.sweep.Brakes) || view.Checkpoint.Brakes != nil {
			t.Errorf("%s: exit code %d, want %d; brakes %v and %v", name, got, c.want, view.Brakes, view.Checkpoint.Brakes)
		}
	}
}

func TestStatusNamesTheSweptLocations(t *testing.T) {
	t.Parallel()
	now := time.Now()
	view := statusView{Fresh: true, Checkpoint: lease.Checkpoint{Time: now, NextSweep: now.Add(time.Minute), Leader: "j"}}
	if got := view.swept(now); !strings.HasSuffix(got, " by j, in no location: none could be listed; the next is due "+cli.When(now.Add(time.Minute), now)) {
		t.Error(got)
	}
	view.Checkpoint.Locations = []lease.Location{here}
	if got := view.swept(now); !strings.Contains(got, ", in "+here.String()+"; the next is due ") {
		t.Error(got)
	}
}

func TestStatusSaysThatASweepIsTooOldOrInTheFuture(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for away, want := range map[time.Duration]string{
		-time.Hour: "; that is too long ago: check that `janitor run` is running",
		time.Hour:  "; that is in the future: the clock of that janitor was wrong, or the one here is",
		0:          "; the next is due " + cli.When(now, now),
	} {
		view := newStatus(lease.Snapshot{Checkpoint: lease.Checkpoint{Time: now.Add(away), NextSweep: now.Add(away), Locations: []lease.Location{here}}}, now)
		if got := view.swept(now); !strings.HasSuffix(got, want) {
			t.Errorf("%s away: %q, want %q", away, got, want)
		}
	}
}

func TestStatusReportsInstancesThatEC2DoesNotShow(t *testing.T) {
	t.Parallel()
	for want, n := range map[string]lease.Census{
		"3 managed": {Managed: 3},
		"3 managed; 2 with a lease are missing from EC2's listing, but were found by id":                                     {Managed: 3, Unlisted: 2},
		"0 managed; EC2 does not find 3 that have a lease, which run to their expiry (`janitor sweep --dry-run`)":            {Unseen: 3},
		"1 managed; 2 foreign (`lease list --foreign`); 1 with a lease are missing from EC2's listing, but were found by id": {Managed: 1, Foreign: 2, Unlisted: 1},
	} {
		if got := census(n); got != want {
			t.Errorf("%+v: %q, want %q", n, got, want)
		}
	}
}

func TestEachBrakeSaysWhatReleasesIt(t *testing.T) {
	t.Parallel()
	brakes := []lease.Brake{{Name: lease.BrakeRollback, Reason: "7 of 9"}}
	behind := map[string]int64{}
	for n := range 7 {
		behind[fmt.Sprintf("i-%d", n)] = 3
	}
	brakes = append(
		brakes, lease.Brake{Name: lease.BrakeHeartbeats, Scope: "use1-az1", Reason: "20 of 50"}, lease.Brake{Name: "clock", Scope: "1/r", Reason: "ahead"},
		lease.Brake{Name: lease.BrakeUnwatched, Reason: "old"},
	)
	var out strings.Builder
	if err := printBrakes(&out, brakes); err != nil {
		t.Fatal(err)
	}
	want := `brake rollback engaged (everywhere): 7 of 9; released by ~janitor release-brake rollback~
brake heartbeats engaged (use1-az1): 20 of 50; released when they renew, or, if they really are dead, by ~janitor release-brake heartbeats~
brake clock engaged (1/r): ahead; released when its cause ends
brake unwatched engaged (everywhere): old; released by ~janitor release-brake unwatched~
brake rollback holds back single leases whose sidecars have seen later changes than the registry has: i-0, i-1, i-2, i-3, i-4 and 2 more (-o json names them); released by ~janitor release-brake rollback~`
	if got := strings.ReplaceAll(out.String()+behindWords(behind), "`", "~"); got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
}
