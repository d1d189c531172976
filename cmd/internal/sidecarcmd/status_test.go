package sidecarcmd

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"lapse/lease"
	"lapse/sidecar"
)

func TestStatusShowsOfALeaseOnlyWhatIsKnown(t *testing.T) {
	t.Parallel()
	now := time.Date(2027, 2, 3, 4, 5, 6, 0, time.UTC)
	limit, never := lease.Duration(2*time.Hour), lease.Duration(0)
	for want, status := range map[string]sidecar.Status{
		`["lease" "not known yet"]`:                          {Phase: sidecar.PhaseClaiming, Failure: "timeout"},
		`["lease" "none bound yet"]`:                         {Phase: sidecar.PhaseWaiting, RenewedAt: now},
		`["self-extend" "2h0m from when the instance asks"]`: {RenewedAt: now, Lease: &lease.Lease{SelfExtend: &limit}},
		`["self-extend" "none"]`:                             {RenewedAt: now, Lease: &lease.Lease{SelfExtend: &never}},
	} {
		if rows := fmt.Sprintf("%q", statusRows(status, now)); !strings.Contains(rows, want) {
			t.Errorf("%s; want %s", rows, want)
		}
	}
}

func TestStatusShowsWhenTheHeartbeatWasAcknowledged(t *testing.T) {
	t.Parallel()
	now := time.Date(2027, 2, 3, 4, 5, 6, 0, time.UTC)
	ago := now.Add(-22 * time.Second)
	for name, c := range map[string]struct {
		status  sidecar.Status
		want    string
		failing bool
	}{
		"well":             {sidecar.Status{RenewedAt: ago}, "last renewed 22s ago", false},
		"failing":          {sidecar.Status{RenewedAt: ago, FailingFor: lease.Duration(20 * time.Second), Failure: "timeout"}, "last renewed 22s ago, not acknowledged since", true},
		"failing just now": {sidecar.Status{RenewedAt: ago, Failure: "timeout"}, "last renewed 22s ago, not acknowledged since", true},
		"not yet":          {sidecar.Status{}, "not renewed yet", false},
		"never":            {sidecar.Status{Failure: "timeout"}, "never acknowledged", true},
	} {
		c.status.HeartbeatTimeout = lease.Duration(time.Minute)
		rows := fmt.Sprintf("%q", statusRows(c.status, now))
		if !strings.Contains(rows, `["timeout" "1m0s"] ["heartbeat" "`+c.want+`"]`) || failing(c.status) != c.failing {
			t.Errorf("%s: %s, failing %t", name, rows, failing(c.status))
		}
		if strings.Contains(rows, `["failure" "timeout"]`) != c.failing {
			t.Errorf("%s: %s", name, rows)
		}
	}
}
