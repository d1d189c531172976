package janitor_test

import (
	"math"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"lapse/lease"
	"lapse/lease/ec2"
	"lapse/lease/ec2/ec2sim"
	"lapse/lease/ec2/launch"
)

const (
	zoneA = "us-east-1a"
	zoneB = "us-east-1b"
)

// newTrouble is a registry that is swept, over an EC2 that has the faults of world. Nothing is retried by the SDK, and limits
// are far.
func newTrouble(t *testing.T, world ec2sim.Config) *crash {
	t.Helper()
	c := newCrashIn(t, world, func() aws.Retryer { return aws.NopRetryer{} }, 1000)
	c.sweeps(1)
	return c
}

// leased launches n instances into a zone, for so long, and returns their ids.
func (c *crash) leased(token, zone string, n int, term time.Duration) []string {
	c.t.Helper()
	result, err := c.order(token, zone, n, term)
	if err != nil {
		c.t.Fatal(err)
	}
	return result.Launch.Instances()
}

func (c *crash) order(token, zone string, n int, term time.Duration) (launch.Result, error) {
	l := launch.New(c.cloud, c.store, launch.Config{Actor: "test", Now: c.now, Pause: time.Millisecond})
	return l.Launch(c.t.Context(), launch.Request{
		Token: token, Count: n, Term: term, ImageID: "ami-0123456789abcdef0", InstanceTypes: []string{"t3.micro"},
		Subnets: []string{c.sim.SubnetID(zone)}, Patience: time.Nanosecond,
	})
}

// want fails unless EC2 has all these instances in that state, and the registry their leases in the other.
func (c *crash) want(when string, ids []string, ec2Says ec2sim.State, state lease.State) {
	c.t.Helper()
	for _, id := range ids {
		i, known := c.sim.Instance(id)
		l, err := c.store.Lease(c.t.Context(), id)
		if known && i.State != ec2Says || err != nil || l.State != state {
			c.t.Fatalf("%s: %s is %s, and its lease %s (%v); want %s and %s", when, id, i.State, l.State, err, ec2Says, state)
		}
	}
}

func TestAZoneOutageHoldsBackOnlyItsZone(t *testing.T) {
	t.Parallel()
	c := newTrouble(t, ec2sim.Config{})
	down, up := c.leased("a", zoneA, 3, 6*time.Minute), c.leased("b", zoneB, 3, 6*time.Minute)
	mend := c.sim.Outage("us-east-1", zoneA)
	c.sweeps(3)
	c.want("before the expiry", slices.Concat(down, up), ec2sim.Running, lease.StateActive)
	c.sweeps(14)
	c.want("out of reach", down, ec2sim.Running, lease.StateActive)
	for _, id := range up {
		if i, _ := c.sim.Instance(id); i.State != ec2sim.Terminated {
			t.Errorf("%s in the other zone is %s", id, i.State)
		}
	}
	mend()
	c.sweeps(8)
	c.want("afterwards", slices.Concat(down, up), ec2sim.Terminated, lease.StateEnded)
}

func TestOnlyProtectedInstancesOfFiveHundredAreStuck(t *testing.T) {
	t.Parallel()
	c := newTrouble(t, ec2sim.Config{})
	a, b := c.leased("a", zoneA, 250, 2*time.Minute), c.leased("b", zoneB, 250, 2*time.Minute)
	protected := []string{a[0], a[7], a[249], b[100], b[149]}
	for _, id := range protected {
		c.sim.Protect(id, true)
	}
	c.sweeps(3)
	extra := c.sim.CallCounts()["TerminateInstances"] - 500/ec2.MaxTerminate
	if most := len(protected) * int(2*math.Log2(500)); extra > most {
		t.Errorf("%d extra calls, at most %d", extra, most)
	}
	t.Logf("%d extra calls for %d protected instances", extra, len(protected))
	c.sweeps(1) // what EC2's limits did not let through, and EC2's word about the rest
	others := slices.DeleteFunc(slices.Concat(a, b), func(id string) bool { return slices.Contains(protected, id) })
	c.want("the others", others, ec2sim.Terminated, lease.StateEnded)
	c.want("the protected", protected, ec2sim.Running, lease.StateRevoked)
	for _, id := range protected {
		if l, _ := c.store.Lease(t.Context(), id); l.Stuck != "EC2 refuses: OperationNotPermitted" {
			t.Errorf("%s is stuck because %q", id, l.Stuck)
		}
		c.sim.Protect(id, false)
	}
	c.sweeps(5)
	c.want("no longer protected", protected, ec2sim.Terminated, lease.StateEnded)
}

func TestAFailedCreationThatIsShownLateIsStillFound(t *testing.T) {
	t.Parallel()
	c := newTrouble(t, ec2sim.Config{StaleFor: 40 * time.Minute})
	c.sim.Inject(ec2sim.Fault{Action: "RunInstances", Times: 1, Stage: ec2sim.AfterDeed, Effect: ec2sim.Drop})
	if _, err := c.order("lost", zoneA, 3, time.Hour); err == nil {
		t.Fatal("the answer arrived")
	}
	c.sweeps(35)
	for _, i := range c.sim.Instances() {
		if i.State != ec2sim.Running {
			t.Fatalf("%s, which nobody has seen yet, is %s", i.ID, i.State)
		}
	}
	c.sweeps(12)
	orphans := c.sim.Instances()
	for _, i := range orphans {
		l, err := c.store.Lease(t.Context(), i.ID)
		if i.State != ec2sim.Terminated || err != nil || l.Cause != lease.CauseFailedCreation {
			t.Errorf("%s is %s for %q (%v)", i.ID, i.State, l.Cause, err)
		}
	}
	if len(orphans) != 3 {
		t.Fatalf("%d instances", len(orphans))
	}
	asked := c.sim.CallCounts()["TerminateInstances"]
	c.sweeps(45) // for long it is shown as running: the end is asked for again, ever more slowly, but not as slowly as what is stuck
	for _, i := range orphans {
		if l, _ := c.store.Lease(t.Context(), i.ID); l.State != lease.StateEnded {
			t.Errorf("the lease of %s is %s", i.ID, l.State)
		}
	}
	if n := c.sim.CallCounts()["TerminateInstances"] - asked; n > 12*len(orphans) { // each by itself in the end
		t.Errorf("asked %d times more", n)
	}
}

func TestAnInstanceNotShownYetIsTerminatedAtItsExpiryAndNotBefore(t *testing.T) {
	t.Parallel()
	c := newTrouble(t, ec2sim.Config{StaleFor: 12 * time.Minute})
	ids := c.leased("unseen", zoneA, 2, 8*time.Minute)
	c.sweeps(4)
	c.want("before the expiry", ids, ec2sim.Running, lease.StateActive)
	c.sweeps(14)
	for _, id := range ids {
		if i, _ := c.sim.Instance(id); i.State != ec2sim.Terminated {
			t.Errorf("%s is %s", id, i.State)
		}
	}
	c.sweeps(16)
	c.want("once its end is shown", ids, ec2sim.Terminated, lease.StateEnded)
}

func TestListingsThatGoBackInTimeTerminateNothing(t *testing.T) {
	t.Parallel()
	c := newTrouble(t, ec2sim.Config{StaleFor: time.Hour})
	ids := c.leased("flicker", zoneA, 3, 30*time.Minute)
	for range 10 {
		c.sim.SetStaleFor(0)
		c.sweeps(1)
		c.sim.SetStaleFor(time.Hour)
		c.sweeps(1)
	}
	c.want("seen and not seen", ids, ec2sim.Running, lease.StateActive)
}

func TestAnIDThatEC2DoesNotKnowYetIsTriedAgain(t *testing.T) {
	t.Parallel()
	c := newTrouble(t, ec2sim.Config{UnknownFor: 6 * time.Minute})
	ids := c.leased("early", zoneA, 2, 2*time.Minute)
	c.sweeps(4)
	c.want("not known", ids, ec2sim.Running, lease.StateRevoked)
	c.sweeps(10)
	c.want("known", ids, ec2sim.Terminated, lease.StateEnded)
}

// Each passing fault strikes each call that a janitor makes of EC2, five times before the term or five times after it.
func TestTransientFaultsTerminateNothingEarlyAndKeepNothingLong(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]ec2sim.Fault{
		"throttled":                     {Effect: ec2sim.Refuse, Code: "RequestLimitExceeded"},
		"internal error":                {Effect: ec2sim.Refuse, Code: "InternalError"},
		"internal error after the deed": {Effect: ec2sim.Refuse, Code: "InternalError", Stage: ec2sim.AfterDeed},
		"unavailable":                   {Effect: ec2sim.Refuse, Code: "Unavailable"},
		"reset":                         {Effect: ec2sim.Drop},
		"reset after the deed":          {Effect: ec2sim.Drop, Stage: ec2sim.AfterDeed},
		"refused for the caller":        {Effect: ec2sim.Refuse, Code: "UnauthorizedOperation"},
		"another's page in EC2's stead": {Effect: ec2sim.Refuse, Code: "UnknownError", Status: 403},
		"a status that nobody knows":    {Effect: ec2sim.Refuse, Code: "Weird", Status: 599},
	} {
		for _, action := range []string{"DescribeInstances", "TerminateInstances"} {
			t.Run(action+" "+name, func(t *testing.T) {
				t.Parallel()
				c := newTrouble(t, ec2sim.Config{})
				ids := c.leased("many", zoneA, 4, 8*time.Minute)
				strikes := fault // both actions have this one
				strikes.Action, strikes.Times = action, 5
				remove := c.sim.Inject(strikes)
				c.sweeps(3)
				c.want("before the expiry", ids, ec2sim.Running, lease.StateActive)
				remove()
				c.sim.Inject(strikes)
				c.sweeps(30)
				c.want("after it", ids, ec2sim.Terminated, lease.StateEnded)
			})
		}
	}
}

// TestAnInstanceThatFailsEveryCallKeepsNoOtherAlive: EC2 answers 500 whenever it is asked to end one instance, and does not say
// because of which.
func TestAnInstanceThatFailsEveryCallKeepsNoOtherAlive(t *testing.T) {
	t.Parallel()
	c := newTrouble(t, ec2sim.Config{})
	ids := c.leased("many", zoneA, ec2.MaxTerminate, 2*time.Minute)
	bad := ids[7]
	c.sim.Inject(ec2sim.Fault{Action: "TerminateInstances", Effect: ec2sim.Refuse, Code: "InternalError", Match: func(asked url.Values) bool {
		for _, values := range asked {
			if slices.Contains(values, bad) {
				return true
			}
		}
		return false
	}})
	c.sweeps(3)
	c.want("tried once", ids, ec2sim.Running, lease.StateRevoked)
	c.sweeps(17) // tried after 1, 2, 4, 4 and 4 minutes more
	c.want("the others", slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return id == bad }), ec2sim.Terminated, lease.StateEnded)
	c.want("the bad one", []string{bad}, ec2sim.Running, lease.StateRevoked)
}

// TestAnEC2ThatTerminatesNothingIsNotAskedMoreAndMore: smaller batches make more calls, which must not be what keeps EC2 down.
func TestAnEC2ThatTerminatesNothingIsNotAskedMoreAndMore(t *testing.T) {
	t.Parallel()
	c := newTrouble(t, ec2sim.Config{})
	ids := slices.Concat(c.leased("a", zoneA, 150, 2*time.Minute), c.leased("b", zoneB, 10, 2*time.Minute))
	mend := c.sim.Inject(ec2sim.Fault{Action: "TerminateInstances", Effect: ec2sim.Refuse, Code: "RequestLimitExceeded"})
	asked := func() int { return c.sim.CallCounts()["TerminateInstances"] }
	c.sweeps(3)
	before, most := asked(), 0
	if full := 150/ec2.MaxTerminate + 1; before != full {
		t.Fatalf("%d calls at first, want %d full ones", before, full)
	}
	for range 25 {
		c.sweeps(1)
		now := asked()
		most, before = max(most, now-before), now
	}
	if most < 10 || most > 2*16 {
		t.Errorf("%d calls in one sweep, want 16 for each of two zones at most", most)
	}
	c.want("while EC2 terminates nothing", ids, ec2sim.Running, lease.StateRevoked)
	mend()
	c.sweeps(6)
	c.want("after it", ids, ec2sim.Terminated, lease.StateEnded)
}

func TestShortAndEmptyPagesHideNothing(t *testing.T) {
	t.Parallel()
	c := newTrouble(t, ec2sim.Config{PageSizes: []int{0, 2, 0, 1}})
	ids := c.leased("paged", zoneA, 9, 6*time.Minute)
	c.sweeps(2)
	c.want("before the expiry", ids, ec2sim.Running, lease.StateActive)
	if n := c.sim.CallCounts()["DescribeInstances"]; n < 12 {
		t.Fatalf("%d pages", n)
	}
	c.sweeps(7)
	c.want("after it", ids, ec2sim.Terminated, lease.StateEnded)
}

func TestEndedMeansThatEC2SaidSo(t *testing.T) {
	t.Parallel()
	c := newTrouble(t, ec2sim.Config{ShuttingDownFor: 5 * time.Minute})
	ids := c.leased("slow", zoneA, 2, time.Minute)
	c.sweeps(4)
	c.want("on its way", ids, ec2sim.ShuttingDown, lease.StateRevoked)
	c.sweeps(5)
	c.want("arrived", ids, ec2sim.Terminated, lease.StateEnded)
}

func TestAnAbsentInstanceCountsAsEndedAfterAnHour(t *testing.T) {
	t.Parallel()
	c := newTrouble(t, ec2sim.Config{ShuttingDownFor: 20 * time.Second, TerminatedVisibleFor: time.Second})
	ids := c.leased("gone", zoneA, 2, time.Minute)
	c.sweeps(60)
	for _, id := range ids {
		if l, _ := c.store.Lease(t.Context(), id); l.State != lease.StateRevoked || l.AbsentSince.IsZero() {
			t.Errorf("%s: the lease is %s, absent since %s", id, l.State, l.AbsentSince)
		}
	}
	c.sweeps(5)
	c.want("an hour later", ids, "", lease.StateEnded)
}

func TestAnAdoptionWhoseTagIsRefusedAndShownLateTerminatesNothing(t *testing.T) {
	t.Parallel()
	c := newTrouble(t, ec2sim.Config{StaleFor: 8 * time.Minute})
	foreign := c.sim.Create(ec2sim.Instance{})
	listing, err := c.cloud.Describe(t.Context(), []string{foreign.ID})
	if err != nil {
		t.Fatal(err)
	}
	by := lease.By{Actor: "test"}
	adopting := lease.Adopt(c.now(), listing.Instances[0], c.now().Add(2*time.Minute), time.Time{}, "ada", nil, by)
	if _, err := c.store.PutLease(t.Context(), adopting); err != nil {
		t.Fatal(err)
	}
	registry, err := c.store.Registry(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	tag := func() error {
		return c.cloud.Tag(t.Context(), []string{foreign.ID}, map[string]string{lease.TagRegistry: registry.UUID})[0].Err
	}
	c.sim.Inject(ec2sim.Fault{Action: "CreateTags", Times: 1, Effect: ec2sim.Refuse, Code: "InvalidInstanceID.NotFound"})
	if err := tag(); err == nil {
		t.Fatal("tagged")
	}
	c.sweeps(5)
	c.want("without its tag", []string{foreign.ID}, ec2sim.Running, lease.StateAdopting)
	if err := tag(); err != nil {
		t.Fatal(err)
	}
	c.sweeps(4)
	c.want("before its tag is shown", []string{foreign.ID}, ec2sim.Running, lease.StateAdopting)
	c.sweeps(6)
	c.want("with its tag", []string{foreign.ID}, ec2sim.Running, lease.StateActive)
	c.sweeps(40) // its tag was late, so that it is marked first; and what is written there is shown late, too
	c.want("after its expiry and a notice", []string{foreign.ID}, ec2sim.Terminated, lease.StateEnded)
}
