package janitor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"lapse/lease"
	"lapse/lease/leasetest"

	"lapse/janitor/plan"
)

// recorder is EC2 in one location: a map of instances, and the ids that it was asked to terminate.
type recorder struct {
	mu         sync.Mutex
	location   lease.Location
	instances  map[string]lease.Instance
	skew       time.Duration
	undated    bool
	onReserve  func() error      // what happens while EC2's limits are waited for
	err        error             // of List and Describe
	refuse     map[string]string // instance id → code
	leftovers  map[string]lease.Leftover
	busy       map[string]bool // leftovers that something still uses
	removed    []string
	onLeftover func() // called before leftovers are described by id
	describes  int
	onDescribe func(n int) // called before the n-th description, counted from 1
	terminated []string
	denied     bool // to tag anything
	tagCalls   int
}

func (r *recorder) Location() lease.Location { return r.location }

func (r *recorder) List(ctx context.Context) (lease.Listing, error) {
	return r.listing(func(i lease.Instance) bool { return i.Tags[lease.TagRegistry] != "" })
}

func (r *recorder) Describe(_ context.Context, ids []string) (lease.Listing, error) {
	r.mu.Lock()
	r.describes++
	n := r.describes
	r.mu.Unlock()
	if r.onDescribe != nil {
		r.onDescribe(n)
	}
	return r.listing(func(i lease.Instance) bool { return slices.Contains(ids, i.ID) })
}

func (r *recorder) listing(wanted func(lease.Instance) bool) (lease.Listing, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	listing := lease.Listing{Skew: r.skew, Dated: !r.undated}
	for _, i := range r.instances {
		if wanted(i) {
			listing.Instances = append(listing.Instances, i)
		}
	}
	return listing, r.err
}

func (r *recorder) Reserve(context.Context, int) error {
	if r.onReserve != nil {
		return r.onReserve()
	}
	return nil
}

// Tag sets tags of instances; what is attached is of no interest here.
func (r *recorder) Tag(_ context.Context, resources []string, tags map[string]string) []lease.Tagging {
	var all []lease.Tagging
	for _, id := range resources {
		r.mu.Lock()
		_, there := r.instances[id]
		denied, err := r.denied, r.err
		r.mu.Unlock()
		t := lease.Tagging{ID: id, RequestID: "req-3", Err: err}
		switch {
		case err != nil:
		case denied:
			t.Code, t.Err = "UnauthorizedOperation", errors.New("denied")
		case there:
			r.change(id, func(i *lease.Instance) { maps.Copy(i.Tags, tags) })
		}
		all = append(all, t)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tagCalls++
	return all
}

func (r *recorder) Terminate(_ context.Context, ids []string) []lease.Termination {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []lease.Termination
	for _, id := range ids {
		t := lease.Termination{ID: id, RequestID: "req-1"}
		if code := r.refuse[id]; code != "" {
			t.Code, t.Err = code, errors.New("refused")
		} else {
			r.terminated = append(r.terminated, id)
			i := r.instances[id]
			i.State = lease.InstanceShuttingDown
			r.instances[id] = i
			t.State = lease.InstanceShuttingDown
		}
		all = append(all, t)
	}
	return all
}

func (r *recorder) Leftovers(_ context.Context, clientTokens []string) (lease.LeftoverListing, error) {
	return r.left(func(x lease.Leftover) bool { return slices.Contains(clientTokens, x.Tags[lease.TagLaunch]) })
}

func (r *recorder) DescribeLeftovers(_ context.Context, wanted []lease.Leftover) (lease.LeftoverListing, error) {
	if r.onLeftover != nil {
		r.onLeftover()
	}
	return r.left(func(x lease.Leftover) bool {
		return slices.ContainsFunc(wanted, func(w lease.Leftover) bool { return w.ID == x.ID && w.Kind == x.Kind })
	})
}

func (r *recorder) left(wanted func(lease.Leftover) bool) (lease.LeftoverListing, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	listing := lease.LeftoverListing{Skew: r.skew, Dated: !r.undated}
	for _, x := range r.leftovers {
		if wanted(x) {
			listing.Leftovers = append(listing.Leftovers, x)
		}
	}
	return listing, r.err
}

func (r *recorder) Remove(_ context.Context, x lease.Leftover) lease.Removal {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.busy[x.ID] {
		return lease.Removal{ID: x.ID, Busy: true, Code: "DependencyViolation", Err: errors.New("in use")}
	}
	r.removed = append(r.removed, x.ID)
	delete(r.leftovers, x.ID)
	return lease.Removal{ID: x.ID, RequestID: "req-2"}
}

func (r *recorder) change(id string, change func(*lease.Instance)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	i := r.instances[id]
	if i.Tags = maps.Clone(i.Tags); i.Tags == nil { // what was listed before stays as it was
		i.Tags = map[string]string{}
	}
	change(&i)
	r.instances[id] = i
}

func (r *recorder) state(id string, state lease.InstanceState) {
	r.change(id, func(i *lease.Instance) { i.State = state })
}

func (r *recorder) ended() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Sorted(slices.Values(r.terminated))
}

// rig is a registry in memory with one launch of leased instances, EC2 as a recorder, and an armed actor in the lead.
type rig struct {
	t          *testing.T
	store      *leasetest.Store
	cloud      *recorder
	reg        lease.Registry
	leadership *leasetest.Leadership
	now        func() time.Time
	by         lease.By
}

func newRig(t *testing.T, ids ...string) *rig {
	t.Helper()
	r := &rig{
		t: t, store: leasetest.NewStore(), now: time.Now, by: lease.By{Actor: "test"},
		cloud: &recorder{
			location: lease.Location{Account: "123456789012", Region: "eu-west-1"}, instances: map[string]lease.Instance{},
			refuse: map[string]string{},
		},
	}
	var err error
	if r.reg, err = r.store.PutRegistry(t.Context(), lease.NewRegistry(r.now(), "uuid-1", lease.ModeArmed)); err != nil {
		t.Fatal(err)
	}
	launch := lease.Launch{
		Schema: lease.Schema, Token: "web", State: lease.LaunchOpen, Account: r.cloud.location.Account, Region: r.cloud.location.Region,
		Count: len(ids), Term: lease.Duration(time.Hour), HeartbeatTimeout: lease.Duration(time.Minute), Window: lease.Duration(15 * time.Minute),
		Request: []byte("{}"), CreatedAt: r.now(),
		Attempts: []lease.Attempt{{ClientToken: "web.1", Min: len(ids), Max: len(ids), Sends: 1, LastSend: r.now(), Outcome: lease.OutcomeLaunched, Instances: ids}},
	}
	if launch, err = r.store.PutLaunch(t.Context(), launch); err != nil {
		t.Fatal(err)
	}
	var leases []lease.Lease
	for _, id := range ids {
		r.cloud.instances[id] = r.instance(id, "web.1")
		l := launch.Bind(r.now(), r.cloud.instances[id], launch.Attempts[0], r.by)
		r.cloud.instances[id].Tags[lease.TagExpires], r.cloud.instances[id].Tags[lease.TagLeased] = l.Expiry().String(), l.LeasedTag()
		leases = append(leases, l)
	}
	if _, err = r.store.Bind(t.Context(), launch, leases); err != nil {
		t.Fatal(err)
	}
	if r.leadership, err = r.store.Campaign(t.Context(), "one", time.Minute); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *rig) instance(id, clientToken string) lease.Instance {
	return lease.Instance{
		ID: id, Location: r.cloud.location, Zone: "eu-west-1a", State: lease.InstanceRunning, LaunchTime: r.now(), ClientToken: clientToken,
		Tags: map[string]string{lease.TagRegistry: r.reg.UUID, lease.TagLaunch: clientToken},
	}
}

// snapshot is what the registry holds.
func (r *rig) snapshot() lease.Snapshot {
	r.t.Helper()
	s, err := r.store.Snapshot(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	return s
}

func (r *rig) lease(id string) lease.Lease {
	r.t.Helper()
	l, err := r.store.Lease(r.t.Context(), id)
	if err != nil {
		r.t.Fatal(err)
	}
	return l
}

func (r *rig) update(id string, change func(lease.Lease) (lease.Lease, error)) {
	r.t.Helper()
	if _, _, err := r.store.UpdateLease(r.t.Context(), id, change); err != nil {
		r.t.Fatal(err)
	}
}

// actor acts two hours later, when every term and every notice has passed.
func (r *rig) actor() armed {
	return armed{
		leadership: r.leadership, clouds: map[lease.Location]Cloud{r.cloud.location: r.cloud}, policy: plan.DefaultPolicy(),
		wall: func() time.Time { return r.now().Add(2 * time.Hour) },
		date: func() time.Time { return r.now().Add(2 * time.Hour) },
		log:  slog.New(slog.DiscardHandler),
	}
}

// verdicts condemn the leases of these instances as they stand.
func (r *rig) verdicts(cause lease.Cause, ids ...string) []plan.Verdict {
	r.t.Helper()
	var vs []plan.Verdict
	for _, id := range ids {
		if cause.Inferred() {
			r.update(id, func(l lease.Lease) (lease.Lease, error) {
				return l.WithMark(r.now(), cause, r.now().Add(time.Minute), r.by)
			})
		}
		l, i := r.lease(id), r.cloud.instances[id]
		vs = append(vs, plan.Verdict{
			Action: plan.ActEnd, InstanceID: id, Location: r.cloud.location, Zone: "eu-west-1a", Cause: cause, Reason: "test", Lease: &l, Instance: &i,
		})
	}
	return vs
}

func (r *rig) kill(vs []plan.Verdict) Report {
	return r.actor().act(r.t.Context(), r.reg, plan.Plan{Verdicts: vs})
}

func TestKillEndsWhatIsCondemned(t *testing.T) {
	t.Parallel()
	for _, cause := range []lease.Cause{lease.CauseExpired, lease.CauseHeartbeatLost} {
		r := newRig(t, "i-1", "i-2")
		report := r.kill(r.verdicts(cause, "i-1"))
		if got := r.cloud.ended(); !slices.Equal(got, []string{"i-1"}) || report.Asked != 1 {
			t.Errorf("%s: terminated %v, %+v; want i-1 alone", cause, got, report)
		}
		l := r.lease("i-1")
		if l.State != lease.StateRevoked || l.Cause != cause || l.Tries != 1 || l.TriedAt.IsZero() {
			t.Errorf("%s: the lease is %s for %s after %d tries", cause, l.State, l.Cause, l.Tries)
		}
		if other := r.lease("i-2"); other.State != lease.StateActive {
			t.Errorf("%s: the other lease is %s", cause, other.State)
		}
	}
}

// TestKillSpares has what may come between the decision and the call. In each case nothing is terminated.
func TestKillSpares(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		cause   lease.Cause
		between func(r *rig)
		stays   bool // the lease is still active afterwards
	}{
		"extended meanwhile": {lease.CauseExpired, func(r *rig) {
			r.update("i-1", func(l lease.Lease) (lease.Lease, error) {
				return l.Extend(r.now(), lease.Extension{Until: r.now().Add(3 * time.Hour)}, r.by)
			})
		}, true},
		"unmarked meanwhile": {lease.CauseHeartbeatLost, func(r *rig) {
			r.update("i-1", func(l lease.Lease) (lease.Lease, error) { return l.Unmark(r.now(), r.by) })
		}, true},
		"beats again": {lease.CauseHeartbeatLost, func(r *rig) {
			if _, err := r.store.Claim(r.t.Context(), lease.Heartbeat{InstanceID: "i-1", BootID: "b", HeartbeatTimeout: lease.Duration(time.Minute)}); err != nil {
				r.t.Error(err)
			}
		}, true},
		"unmanaged meanwhile": {lease.CauseExpired, func(r *rig) {
			r.update("i-1", func(l lease.Lease) (lease.Lease, error) { return l.Unmanage(r.now(), r.by) })
		}, false},
		"exempt since the listing": {lease.CauseExpired, func(r *rig) {
			r.cloud.change("i-1", func(i *lease.Instance) {
				i.Tags = map[string]string{lease.TagExempt: "", lease.TagRegistry: r.reg.UUID, lease.TagLaunch: "web.1"}
			})
		}, true},
		"tag gone since the listing": {lease.CauseExpired, func(r *rig) {
			r.cloud.change("i-1", func(i *lease.Instance) { i.Tags = map[string]string{lease.TagLaunch: "web.1"} })
		}, true},
		"tag of another registry": {lease.CauseExpired, func(r *rig) {
			r.cloud.change("i-1", func(i *lease.Instance) {
				i.Tags = map[string]string{lease.TagRegistry: "uuid-2", lease.TagLaunch: "web.1"}
			})
		}, true},
		"another client token": {lease.CauseExpired, func(r *rig) {
			r.cloud.change("i-1", func(i *lease.Instance) { i.ClientToken = "console" })
		}, true},
		"stopped, if it is for silence": {lease.CauseHeartbeatLost, func(r *rig) { r.cloud.state("i-1", lease.InstanceStopped) }, true},
		"not found, if it is for silence": {lease.CauseHeartbeatLost, func(r *rig) {
			delete(r.cloud.instances, "i-1")
		}, true},
		"started since it was listed, if it is for silence": {lease.CauseHeartbeatLost, func(r *rig) {
			r.cloud.change("i-1", func(i *lease.Instance) { i.LaunchTime = i.LaunchTime.Add(time.Minute) })
		}, true},
		"terminated already":    {lease.CauseExpired, func(r *rig) { r.cloud.state("i-1", lease.InstanceTerminated) }, true},
		"our clock is ahead":    {lease.CauseExpired, func(r *rig) { r.cloud.skew = 11 * time.Second }, true},
		"our clock is behind":   {lease.CauseHeartbeatLost, func(r *rig) { r.cloud.skew = -11 * time.Second }, true},
		"EC2 tells no time":     {lease.CauseExpired, func(r *rig) { r.cloud.undated = true }, true},
		"EC2 does not describe": {lease.CauseExpired, func(r *rig) { r.cloud.err = errors.New("unavailable") }, true},
		"another leads": {lease.CauseExpired, func(r *rig) {
			if _, err := r.store.Campaign(r.t.Context(), "two", time.Minute); err != nil {
				r.t.Error(err)
			}
		}, true},
		"paused meanwhile": {lease.CauseExpired, func(r *rig) {
			if _, _, err := r.store.UpdateRegistry(r.t.Context(), func(g lease.Registry) (lease.Registry, error) {
				return g.To(r.now(), lease.ModePaused, lease.By{}), nil
			}); err != nil {
				r.t.Error(err)
			}
		}, true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, "i-1")
			condemned := r.verdicts(test.cause, "i-1")
			test.between(r)
			report := r.kill(condemned)
			if got := r.cloud.ended(); len(got) > 0 || report.Asked > 0 {
				t.Fatalf("terminated %v; want it spared", got)
			}
			if report.Spared+report.Failed != 1 {
				t.Errorf("report %+v; want one spared or failed", report)
			}
			if got := r.lease("i-1").State == lease.StateActive; got != test.stays {
				t.Errorf("the lease is %s", r.lease("i-1").State)
			}
		})
	}
}

func TestKillRevokesNothingThatItCannotDescribe(t *testing.T) {
	t.Parallel()
	r := newRig(t, "i-1")
	condemned := r.verdicts(lease.CauseExpired, "i-1")
	delete(r.cloud.instances, "i-1")
	r.kill(condemned)
	if l := r.lease("i-1"); l.State != lease.StateActive || l.Tries != 0 {
		t.Errorf("the lease is %s after %d tries; want it as it was", l.State, l.Tries)
	}
	if got := r.cloud.ended(); len(got) > 0 {
		t.Errorf("terminated %v", got)
	}
}

func TestKillSparesWhatIsNotDueByTheClockThatItChecked(t *testing.T) {
	t.Parallel()
	for _, cause := range []lease.Cause{lease.CauseExpired, lease.CauseHeartbeatLost} {
		r := newRig(t, "i-1")
		condemned := r.verdicts(cause, "i-1")
		a := r.actor()
		a.wall = r.now // an hour before the term, a minute before the deadline of the mark
		report := a.act(t.Context(), r.reg, plan.Plan{Verdicts: condemned})
		if got := r.cloud.ended(); len(got) > 0 || report.Spared != 1 || r.lease("i-1").State != lease.StateActive {
			t.Errorf("%s: terminated %v, %+v; want it spared", cause, got, report)
		}
	}
}

func TestKillDescribesAgainWhenTheRegistryWasSlow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, "i-1")
		r.store.Fault = func(method string) error {
			if method == "Office.Revoke" {
				time.Sleep(11 * time.Second)
			}
			return nil
		}
		r.cloud.onDescribe = func(n int) {
			if n == 2 {
				r.cloud.change("i-1", func(i *lease.Instance) { i.Tags = map[string]string{lease.TagExempt: "since"} })
			}
		}
		r.kill(r.verdicts(lease.CauseExpired, "i-1"))
		if got := r.cloud.ended(); len(got) > 0 || r.cloud.describes != 2 {
			t.Errorf("terminated %v after %d descriptions; want it spared by the second", got, r.cloud.describes)
		}
		if l := r.lease("i-1"); l.State != lease.StateRevoked {
			t.Errorf("the lease is %s; want it revoked, to be tried again or reported as stuck", l.State)
		}
	})
}

func TestKillNotesAsStuckWhatEC2Refuses(t *testing.T) {
	t.Parallel()
	r := newRig(t, "i-1", "i-2")
	r.cloud.refuse["i-1"] = "OperationNotPermitted"
	report := r.kill(r.verdicts(lease.CauseExpired, "i-1", "i-2"))
	if got := r.cloud.ended(); !slices.Equal(got, []string{"i-2"}) || report.Failed != 1 || report.Asked != 1 {
		t.Errorf("terminated %v, %+v; want i-2 alone", got, report)
	}
	if l := r.lease("i-1"); l.Stuck != "EC2 refuses: OperationNotPermitted" {
		t.Errorf("stuck because %q", l.Stuck)
	}
}

func TestKillEndsAnOrphanByCreatingARevokedLease(t *testing.T) {
	t.Parallel()
	for _, boundMeanwhile := range []bool{false, true} {
		r := newRig(t, "i-1")
		launch, err := r.store.Launch(t.Context(), "web")
		if err != nil {
			t.Fatal(err)
		}
		orphan := r.instance("i-9", "web.1")
		r.cloud.instances["i-9"] = orphan
		if boundMeanwhile {
			if _, err := r.store.PutLease(t.Context(), launch.Bind(r.now(), orphan, launch.Attempts[0], r.by)); err != nil {
				t.Fatal(err)
			}
		}
		r.kill([]plan.Verdict{{
			Action: plan.ActOrphan, InstanceID: "i-9", Token: "web", Location: r.cloud.location, Cause: lease.CauseFailedCreation, Launch: &launch, Instance: &orphan,
		}})
		l, got := r.lease("i-9"), r.cloud.ended()
		switch {
		case boundMeanwhile && (len(got) > 0 || l.State != lease.StateActive):
			t.Errorf("bound meanwhile: terminated %v, and its lease is %s", got, l.State)
		case !boundMeanwhile && (!slices.Equal(got, []string{"i-9"}) || l.State != lease.StateRevoked || l.Cause != lease.CauseFailedCreation):
			t.Errorf("terminated %v, and its lease is %s for %q", got, l.State, l.Cause)
		}
	}
}

func TestKillDoesNotBeginOnceAskedToStop(t *testing.T) {
	t.Parallel()
	r := newRig(t, "i-1")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r.actor().act(ctx, r.reg, plan.Plan{Verdicts: r.verdicts(lease.CauseExpired, "i-1")})
	if got := r.cloud.ended(); len(got) > 0 || r.lease("i-1").State != lease.StateActive {
		t.Errorf("terminated %v; want nothing begun", got)
	}
}

func TestKillFinishesWhatItBegan(t *testing.T) {
	t.Parallel()
	r := newRig(t, "i-1")
	ctx, cancel := context.WithCancel(t.Context())
	r.cloud.onDescribe = func(int) { cancel() }
	r.actor().act(ctx, r.reg, plan.Plan{Verdicts: r.verdicts(lease.CauseExpired, "i-1")})
	if got := r.cloud.ended(); !slices.Equal(got, []string{"i-1"}) {
		t.Errorf("terminated %v; want i-1, since its batch had begun", got)
	}
}

func TestObserverWritesNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t, "i-1")
	before := r.lease("i-1")
	observer{log: slog.New(slog.DiscardHandler)}.act(t.Context(), r.reg, plan.Plan{Verdicts: r.verdicts(lease.CauseExpired, "i-1")})
	if got := r.cloud.ended(); len(got) > 0 || r.lease("i-1").Revision != before.Revision {
		t.Errorf("an observer terminated %v, or wrote", got)
	}
}

func TestBatchesHoldOneZoneAndFiftyAtMost(t *testing.T) {
	t.Parallel()
	var vs []plan.Verdict
	for n := range 120 {
		vs = append(vs, plan.Verdict{InstanceID: string(rune('a' + n)), Zone: []string{"a", "b"}[n%2]})
	}
	sizes := map[string][]int{}
	for _, batch := range batches(vs) {
		for _, v := range batch {
			if v.Zone != batch[0].Zone {
				t.Fatalf("a batch holds zones %s and %s", v.Zone, batch[0].Zone)
			}
		}
		sizes[batch[0].Zone] = append(sizes[batch[0].Zone], len(batch))
	}
	for zone, got := range sizes {
		if !slices.Equal(got, []int{50, 10}) {
			t.Errorf("zone %s: batches of %v", zone, got)
		}
	}
}

func TestWhatIsNewComesBeforeWhatIsTriedAgain(t *testing.T) {
	t.Parallel()
	var vs []plan.Verdict
	for n := range 40 {
		vs = append(vs, plan.Verdict{InstanceID: fmt.Sprintf("i-%02d", n), Zone: "sick", Lease: &lease.Lease{Tries: n % 8}})
	}
	all := batches(append(vs, plan.Verdict{InstanceID: "i-new", Zone: "well"}))
	for n, batch := range all {
		if batch[0].InstanceID == "i-new" && n > 1 { // the first of the sick zone are new, too
			t.Errorf("%d batches before it", n)
		}
	}
	if last := all[len(all)-1]; len(last) != 1 || last[0].Lease == nil || last[0].Lease.Tries < 6 {
		t.Errorf("the last batch is %v", last)
	}
}

func TestKillWaitsForEC2sLimitsBeforeAnythingElse(t *testing.T) {
	t.Parallel()
	for name, meanwhile := range map[string]func(r *rig){
		"exempt by then": func(r *rig) {
			r.cloud.change("i-1", func(i *lease.Instance) { i.Tags = map[string]string{lease.TagExempt: ""} })
		},
		"unmanaged by then": func(r *rig) {
			r.update("i-1", func(l lease.Lease) (lease.Lease, error) { return l.Unmanage(r.now(), r.by) })
		},
	} {
		r := newRig(t, "i-1")
		condemned := r.verdicts(lease.CauseExpired, "i-1")
		r.cloud.onReserve = func() error { meanwhile(r); return nil }
		r.kill(condemned)
		if got := r.cloud.ended(); len(got) > 0 {
			t.Errorf("%s: terminated %v", name, got)
		}
	}
	r := newRig(t, "i-1")
	condemned := r.verdicts(lease.CauseExpired, "i-1")
	r.cloud.onReserve = func() error { return errors.New("no room before the interval is over") }
	if report := r.kill(condemned); report != (Report{Left: 1}) || r.lease("i-1").State != lease.StateActive || r.lease("i-1").Tries != 0 {
		t.Errorf("without room %+v, lease %s after %d tries; want nothing begun", report, r.lease("i-1").State, r.lease("i-1").Tries)
	}
}

// TestABrakeThatIsFoundOnTheWayHoldsWhatIsOnItsWay: a batch may wait for EC2 while the next sweep finds that the registry
// was set back.
func TestABrakeThatIsFoundOnTheWayHoldsWhatIsOnItsWay(t *testing.T) {
	t.Parallel()
	found := []lease.Brake{{Name: lease.BrakeRollback, Since: time.Now(), Reason: "set back"}}
	for name, c := range map[string]struct {
		looks int // until it is found
		state lease.State
	}{
		"before the lease is taken away": {1, lease.StateActive},
		"before EC2 is called":           {2, lease.StateRevoked},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, "i-1")
			a, looked := r.actor(), 0
			a.stands = func() []lease.Brake {
				if looked++; looked < c.looks {
					return nil
				}
				return found
			}
			report := a.act(t.Context(), r.reg, plan.Plan{Verdicts: r.verdicts(lease.CauseExpired, "i-1")})
			if got := r.cloud.ended(); len(got) > 0 || report.Spared != 1 || report.Asked != 0 {
				t.Errorf("terminated %v, %+v; want it spared", got, report)
			}
			if l := r.lease("i-1"); l.State != c.state {
				t.Errorf("the lease is %s, want %s", l.State, c.state)
			}
		})
	}
}
