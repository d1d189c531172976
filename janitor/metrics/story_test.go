package metrics

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"lapse/janitor"
	"lapse/janitor/audit"
	"lapse/janitor/plan"
	"lapse/lease"
	"lapse/lease/ec2"
	"lapse/lease/ec2/ec2sim"
	"lapse/lease/leasetest"
)

const uuid = "11111111-2222-4333-8444-555555555555"

// world is a simulated EC2 over HTTP, and an armed registry.
type world struct {
	t     *testing.T
	sim   *ec2sim.Sim
	store *leasetest.Store
	cloud *ec2.Cloud
	e     *Exporter
}

func newWorld(t *testing.T) world {
	t.Helper()
	w := world{t: t, sim: ec2sim.New(ec2sim.Config{}), store: leasetest.NewStore(), e: New("v1", time.Now)}
	server := httptest.NewServer(w.sim)
	t.Cleanup(func() { w.sim.Close(); server.Close() })
	cfg := aws.Config{
		Region: "us-east-1", BaseEndpoint: aws.String(server.URL), HTTPClient: server.Client(),
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: "a", SecretAccessKey: "s"}, nil
		}),
	}
	var err error
	if w.cloud, err = ec2.Open(t.Context(), cfg, "", ec2.Options{Observed: w.e.Called}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.store.PutRegistry(t.Context(), lease.NewRegistry(time.Now(), uuid, lease.ModeArmed)); err != nil {
		t.Fatal(err)
	}
	return w
}

// leased makes an instance with an active lease of that term.
func (w world) leased(term time.Duration, change func(*lease.Lease)) string {
	w.t.Helper()
	now, by := time.Now(), lease.By{Actor: "test"}
	i := w.sim.Create(ec2sim.Instance{Tags: map[string]string{lease.TagRegistry: uuid}})
	l := lease.Adopt(now, lease.Instance{ID: i.ID, Location: w.cloud.Location(), Zone: i.Zone, ZoneID: i.ZoneID}, now.Add(term), time.Time{}, "ada", nil, by)
	l, err := l.Activate(now, by)
	if err != nil {
		w.t.Fatal(err)
	}
	change(&l)
	if _, err := w.store.PutLease(w.t.Context(), l); err != nil {
		w.t.Fatal(err)
	}
	return i.ID
}

// run runs a janitor until stop is called.
func (w world) run() (stop func()) {
	w.t.Helper()
	p := plan.DefaultPolicy()
	p.BootGrace = 0
	j, err := janitor.New(janitor.Config{
		Campaign: func(ctx context.Context) (janitor.Leadership, error) {
			return w.store.Campaign(ctx, "one", time.Minute)
		},
		Clouds: []janitor.Cloud{w.cloud}, Policy: p, Schedule: "@every 1s", Now: time.Now, Log: slog.New(slog.DiscardHandler),
		Observe: w.e,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(w.t.Context())
	done := make(chan error, 1)
	go func() { done <- j.Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Errorf("run: %v", err)
		}
	}
}

// TestMetricsOverTime has one instance of each kind: one whose lease expires, one that may not be terminated, one whose
// lease stays valid, one whose heartbeat is lost, one exempt, one foreign, one untracked.
func TestMetricsOverTime(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	asIs := func(*lease.Lease) {}
	w.leased(time.Second, asIs)
	w.leased(time.Hour, asIs)
	w.leased(time.Hour, func(l *lease.Lease) { l.HeartbeatTimeout = lease.Duration(time.Hour) })
	w.sim.Protect(w.leased(time.Hour, func(l *lease.Lease) {
		l.State, l.Cause, l.RevokedAt = lease.StateRevoked, lease.CauseRelease, time.Now()
	}), true)
	for _, tags := range []map[string]string{
		{lease.TagRegistry: uuid, lease.TagExempt: ""}, {lease.TagRegistry: "another"}, {lease.TagRegistry: uuid},
	} {
		w.sim.Create(ec2sim.Instance{Tags: tags})
	}
	server := httptest.NewServer(w.e.Handler())
	defer server.Close()
	stop := w.run()

	want := `
# HELP lapse_ends_total Terminations that EC2 confirmed.
# TYPE lapse_ends_total counter
lapse_ends_total{cause="failed-creation"} 0
lapse_ends_total{cause="gone"} 0
lapse_ends_total{cause="no-heartbeat"} 0
lapse_ends_total{cause="revoke"} 0
lapse_ends_total{cause="release"} 0
lapse_ends_total{cause="heartbeat-lost"} 0
lapse_ends_total{cause="expired"} 1
# HELP lapse_failures_total Reads, writes and calls that failed, by instance or launch.
# TYPE lapse_failures_total counter
lapse_failures_total 1
# HELP lapse_instances Living instances that bear the tag of a registry.
# TYPE lapse_instances gauge
lapse_instances{kind="exempt",location="123456789012/us-east-1"} 1
lapse_instances{kind="foreign",location="123456789012/us-east-1"} 1
lapse_instances{kind="managed",location="123456789012/us-east-1"} 3
lapse_instances{kind="untracked",location="123456789012/us-east-1"} 1
# HELP lapse_launches Launches, by state.
# TYPE lapse_launches gauge
lapse_launches{state="closed"} 0
lapse_launches{state="done"} 0
lapse_launches{state="open"} 0
# HELP lapse_leader Whether this janitor leads.
# TYPE lapse_leader gauge
lapse_leader 1
# HELP lapse_leases Leases, by state.
# TYPE lapse_leases gauge
lapse_leases{state="active"} 2
lapse_leases{state="adopting"} 0
lapse_leases{state="ended"} 1
lapse_leases{state="revoked"} 1
lapse_leases{state="unmanaged"} 0
# HELP lapse_location_listed Whether the last listing of the location was complete.
# TYPE lapse_location_listed gauge
lapse_location_listed{location="123456789012/us-east-1"} 1
# HELP lapse_registry_mode The mode of the registry.
# TYPE lapse_registry_mode gauge
lapse_registry_mode{mode="armed"} 1
lapse_registry_mode{mode="observe"} 0
lapse_registry_mode{mode="paused"} 0
# HELP lapse_heartbeats_lost Leases of running instances whose heartbeat is missing.
# TYPE lapse_heartbeats_lost gauge
lapse_heartbeats_lost{zone="use1-az1"} 1
# HELP lapse_stuck_instances Instances of revoked leases that cannot be terminated.
# TYPE lapse_stuck_instances gauge
lapse_stuck_instances{location="123456789012/us-east-1"} 1
# HELP lapse_terminations_asked_total Instances for which EC2 accepted TerminateInstances.
# TYPE lapse_terminations_asked_total counter
lapse_terminations_asked_total{cause="failed-creation"} 0
lapse_terminations_asked_total{cause="gone"} 0
lapse_terminations_asked_total{cause="no-heartbeat"} 0
lapse_terminations_asked_total{cause="revoke"} 0
lapse_terminations_asked_total{cause="release"} 0
lapse_terminations_asked_total{cause="heartbeat-lost"} 0
lapse_terminations_asked_total{cause="expired"} 1
`
	names := []string{
		"lapse_ends_total", "lapse_failures_total", "lapse_instances", "lapse_launches", "lapse_leader", "lapse_leases",
		"lapse_location_listed", "lapse_registry_mode", "lapse_heartbeats_lost", "lapse_stuck_instances",
		"lapse_terminations_asked_total", "lapse_brake_engaged", // none is held
	}
	eventually(t, func() error {
		return testutil.ScrapeAndCompare(server.URL+"/metrics", strings.NewReader(want), names...)
	})
	if problems, err := testutil.GatherAndLint(w.e.registry); err != nil || len(problems) > 0 {
		t.Errorf("promlint: %v, %v", problems, err)
	}
	if n := testutil.CollectAndCount(w.e.lateness); n != 1 {
		t.Errorf("%d causes with a lateness", n)
	}
	for labels, least := range map[[2]string]float64{
		{"DescribeInstances", "OK"}: 2, {"TerminateInstances", "OK"}: 1, {"TerminateInstances", "OperationNotPermitted"}: 1,
	} {
		if n := testutil.ToFloat64(w.e.calls.WithLabelValues(w.cloud.Location().String(), labels[0], labels[1])); n < least {
			t.Errorf("%g calls of %v", n, labels)
		}
	}
	if err := w.e.Ready(); err != nil {
		t.Errorf("not ready: %v", err)
	}

	stop()
	if err := testutil.ScrapeAndCompare(server.URL+"/metrics", strings.NewReader(`
# HELP lapse_leader Whether this janitor leads.
# TYPE lapse_leader gauge
lapse_leader 0
`), "lapse_leader", "lapse_leases", "lapse_instances", "lapse_plan_verdicts", "lapse_registry_mode", "lapse_heartbeats_lost", "lapse_longest_heartbeat_loss_seconds"); err != nil {
		t.Errorf("after it resigned: %v", err)
	}
}

// eventually waits for something that real servers take a while for.
func eventually(t *testing.T, try func() error) {
	t.Helper()
	var err error
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); {
		if err = try(); err == nil {
			return
		}
		select {
		case <-t.Context().Done():
		case <-time.After(50 * time.Millisecond):
		}
	}
	t.Fatal(err)
}

func TestTheMetricOfABrakeVanishesWhenItIsReleased(t *testing.T) {
	t.Parallel()
	e := New("v1", time.Now)
	e.Led("one")
	brakes := []lease.Brake{
		{Name: lease.BrakeHeartbeats},
		{Name: lease.BrakeHeartbeats, Scope: "use1-az1"},
		{Name: lease.BrakeHeartbeats, Scope: "use1-az2"},
		{Name: "rate"},
		{Name: "rate"},
		{Name: lease.BrakeRollback},
		{Name: lease.BrakeUnwatched},
		{Name: "clock", Scope: "1/us-east-1"},
		{Name: "health"},
		{Name: "health", Scope: "1/us-east-1"},
	}
	e.Counted(plan.Census{Brakes: brakes, Behind: 2})
	if err := testutil.GatherAndCompare(e.registry, strings.NewReader(`
# HELP lapse_brake_engaged Brakes that are engaged.
# TYPE lapse_brake_engaged gauge
lapse_brake_engaged{brake="clock",scope="1/us-east-1"} 1
lapse_brake_engaged{brake="health",scope=""} 1
lapse_brake_engaged{brake="health",scope="1/us-east-1"} 1
lapse_brake_engaged{brake="heartbeats",scope=""} 1
lapse_brake_engaged{brake="heartbeats",scope="use1-az1"} 1
lapse_brake_engaged{brake="heartbeats",scope="use1-az2"} 1
lapse_brake_engaged{brake="rate",scope=""} 1
lapse_brake_engaged{brake="rollback",scope=""} 1
lapse_brake_engaged{brake="unwatched",scope=""} 1
# HELP lapse_leases_behind Leases of which sidecars have seen a later change than the registry has, 100 at most.
# TYPE lapse_leases_behind gauge
lapse_leases_behind 2
`), "lapse_brake_engaged", "lapse_leases_behind"); err != nil {
		t.Error(err)
	}
	e.Counted(plan.Census{})
	if n, err := testutil.GatherAndCount(e.registry, "lapse_brake_engaged"); n != 0 || err != nil {
		t.Errorf("%d brakes, %v", n, err)
	}
	e.Led("")
	e.Counted(plan.Census{Brakes: brakes}) // late
	if n, err := testutil.GatherAndCount(e.registry, "lapse_brake_engaged"); n != 0 || err != nil {
		t.Errorf("%d brakes of a janitor that does not lead, %v", n, err)
	}
}

func TestOnlyOwnActionsAreCounted(t *testing.T) {
	t.Parallel()
	e := New("v1", time.Now)
	for _, kind := range []lease.Action{
		lease.ActionEnd, lease.ActionTerminate, lease.ActionSpare, lease.ActionRefuse, lease.ActionAuditFail,
	} {
		e.Happened(audit.Event{Kind: kind, Cause: lease.CauseExpired})
		e.Happened(audit.Event{Kind: kind, Cause: lease.CauseExpired, Own: true})
	}
	for name, got := range map[string]float64{
		"ends": testutil.ToFloat64(e.ends.WithLabelValues("expired")), "asked": testutil.ToFloat64(e.asked.WithLabelValues("expired")),
		"spared": testutil.ToFloat64(e.spared.WithLabelValues("expired")), "failures": testutil.ToFloat64(e.failures),
		"unaudited": testutil.ToFloat64(e.unaudited),
	} {
		if got != 1 {
			t.Errorf("%s: %g, want 1", name, got)
		}
	}
}

func TestLatenessCountsFromWhenTheTerminationWasDue(t *testing.T) {
	t.Parallel()
	e, now := New("v1", time.Now), time.Now()
	e.Happened(audit.Event{
		Kind: lease.ActionTerminate, Cause: lease.CauseExpired, Own: true, Time: now,
		Evidence: audit.Evidence{Due: now.Add(-3 * time.Second), ExpiresAt: now.Add(-time.Hour), RevokedAt: now.Add(-time.Minute)},
	})
	families, err := e.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() == "lapse_end_lateness_seconds" {
			if got := family.GetMetric()[0].GetHistogram().GetSampleSum(); got != 3 {
				t.Errorf("%g s late, want 3", got)
			}
			return
		}
	}
	t.Error("no lateness")
}

func TestInstancesOfAnUnlistedLocationAreNotExported(t *testing.T) {
	t.Parallel()
	e := New("v1", time.Now)
	e.Led("one")
	e.Counted(plan.Census{Locations: map[lease.Location]plan.LocationCensus{{Account: "1", Region: "r"}: {Managed: 3}}})
	if n, err := testutil.GatherAndCount(e.registry, "lapse_instances"); n != 0 || err != nil {
		t.Errorf("%d counts of instances, %v", n, err)
	}
	if n, err := testutil.GatherAndCount(e.registry, "lapse_location_listed"); n != 1 || err != nil {
		t.Errorf("%d locations, %v", n, err)
	}
}

func TestSparedLeftoversAreNotCountedAsInstances(t *testing.T) {
	t.Parallel()
	e := New("v1", time.Now)
	e.Happened(audit.Event{Kind: lease.ActionSpare, Leftover: "vol-1", Own: true})
	if got := testutil.CollectAndCount(e.spared); got != len(causes()) {
		t.Errorf("%d series, want one a cause and no more", got)
	}
}

func TestNothingButGetIsServed(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(New("v1", time.Now).Handler())
	defer server.Close()
	for path, want := range map[string]int{"/metrics": http.StatusMethodNotAllowed, "/debug/pprof/": http.StatusNotFound} {
		resp, err := server.Client().Post(server.URL+path, "text/plain", nil)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s: %s", path, resp.Status)
		}
	}
}

func TestProcessMetricsAreExportedBeforeAnElection(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"process_resident_memory_bytes", "process_open_fds", "process_cpu_seconds_total", "go_goroutines"} {
		if n, err := testutil.GatherAndCount(New("v1", time.Now).registry, name); n != 1 || err != nil {
			t.Errorf("%d series of %s, %v", n, name, err)
		}
	}
}
