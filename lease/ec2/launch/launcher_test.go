package launch_test

import (
	"encoding/base64"
	"maps"
	"reflect"
	"testing"
	"time"

	"lapse/lease"
	"lapse/lease/ec2"
	"lapse/lease/ec2/ec2sim"
	"lapse/lease/ec2/ec2test"
	"lapse/lease/ec2/launch"
)

func TestLaunchCreatesAndBindsTheInstances(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ec2sim.Config{})
	r := w.request("job-7", 3)
	r.Skeleton = []byte(`{"UserData": "#!/bin/sh\n", "TagSpecifications": [{"ResourceType": "volume", "Tags": [{"Key": "Disk", "Value": "root"}]}]}`)

	result, err := w.launcher(t).Launch(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	if len(result.Leases) != 3 || result.Launch.Missing() != 0 || result.Resumed || result.Launch.State != lease.LaunchDone {
		t.Fatalf("result = %+v", result)
	}
	w.wantSound(t, "job-7", 3)
	w.wantBound(t, result)

	end := result.Launch.CreatedAt.Add(time.Hour)
	for _, l := range result.Leases {
		if l.Launch != "job-7" || l.ClientToken != "job-7.1" || l.Zone != ec2test.ZoneA || l.ZoneID != "use1-az1" || l.Holder != "ada" ||
			l.Labels["job"] != "7" || !l.ExpiresAt.Equal(end) || !l.MaxExpiresAt.Equal(end.Add(time.Hour)) || l.HeartbeatTimeout != lease.Duration(time.Minute) ||
			l.History[0].Actor != "test:ada" || l.Location() != ec2test.Here() {
			t.Errorf("lease = %+v", l)
		}
	}
	ours := map[string]string{"Name": "worker", lease.TagRegistry: ec2test.UUID, lease.TagLaunch: "job-7.1", lease.TagLeased: ""}
	for _, i := range w.made("job-7") {
		want := maps.Clone(ours)
		want[lease.TagHolder], want[lease.TagExpires] = "ada", end.Format(time.RFC3339)
		if !maps.Equal(i.Tags, want) {
			t.Errorf("instance tags = %v, want %v", i.Tags, want)
		}
		if i.Metadata.HTTPTokens != "required" || i.ShutdownBehavior != "terminate" {
			t.Errorf("IMDS tokens %s, shutdown behaviour %s", i.Metadata.HTTPTokens, i.ShutdownBehavior)
		}
		if i.UserData != base64.StdEncoding.EncodeToString([]byte("#!/bin/sh\n")) {
			t.Errorf("user data = %q", i.UserData)
		}
	}
	for _, n := range w.Sim.Interfaces() {
		if !maps.Equal(n.Tags, ours) {
			t.Errorf("interface tags = %v, want %v", n.Tags, ours)
		}
	}
	ours["Disk"] = "root"
	for _, v := range w.Sim.Volumes() {
		if !maps.Equal(v.Tags, ours) {
			t.Errorf("volume tags = %v, want %v", v.Tags, ours)
		}
	}
}

func TestSpotRequestsBearTheTagsToo(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ec2sim.Config{})
	r := w.request("spot-1", 2)
	r.Skeleton = []byte(`{"InstanceMarketOptions": {"MarketType": "spot"}}`)
	if _, err := w.launcher(t).Launch(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	if len(w.Sim.SpotRequests()) != 2 {
		t.Fatalf("spot requests = %v", w.Sim.SpotRequests())
	}
	for _, s := range w.Sim.SpotRequests() {
		if want := map[string]string{lease.TagRegistry: ec2test.UUID, lease.TagLaunch: "spot-1.1", "Name": "worker"}; !maps.Equal(s.Tags, want) {
			t.Errorf("spot request tags = %v", s.Tags)
		}
	}
}

func TestTheSameTokenGivesTheSameAnswer(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ec2sim.Config{})
	l := w.launcher(t)
	first, err := l.Launch(t.Context(), w.request("job-7", 2))
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		w.wantSame(t, first, func() (launch.Result, error) { return l.Launch(t.Context(), w.request("job-7", 2)) })
		w.wantSame(t, first, func() (launch.Result, error) { return l.Resume(t.Context(), "job-7", 0) })
	}
	if n := w.Sent("RunInstances"); n != 1 {
		t.Errorf("RunInstances was sent %d times", n)
	}

	ids := first.Launch.Instances()
	w.Cloud(t, w.AWS(), ec2.Options{}).Terminate(t.Context(), ids)
	w.wantSame(t, first, func() (launch.Result, error) { return l.Launch(t.Context(), w.request("job-7", 2)) })
	if n := len(w.made("job-7")); n != 2 {
		t.Errorf("%d instances after their termination", n)
	}
}

// wantSame checks that a launch that was there answers as it did.
func (w world) wantSame(t ec2test.T, first launch.Result, again func() (launch.Result, error)) {
	t.Helper()
	result, err := again()
	if err != nil || !result.Resumed {
		t.Fatalf("again: resumed %t, %v", result.Resumed, err)
	}
	if !reflect.DeepEqual(result.Launch, first.Launch) || !reflect.DeepEqual(result.Leases, first.Leases) {
		t.Fatalf("again = %+v, first %+v", result, first)
	}
}

func TestATokenIsForOneRequest(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ec2sim.Config{})
	l := w.launcher(t)
	if _, err := l.Launch(t.Context(), w.request("job-7", 1)); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*launch.Request){
		"count":    func(r *launch.Request) { r.Count = 2 },
		"term":     func(r *launch.Request) { r.Term++ },
		"holder":   func(r *launch.Request) { r.Holder = "bob" },
		"labels":   func(r *launch.Request) { r.Labels = nil },
		"tags":     func(r *launch.Request) { r.Tags["Name"] = "other" },
		"type":     func(r *launch.Request) { r.InstanceTypes = []string{"t3.small"} },
		"skeleton": func(r *launch.Request) { r.Skeleton = []byte(`{"EbsOptimized": false}`) },
		"no join":  func(r *launch.Request) { r.NoJoin = true },
	} {
		r := w.request("job-7", 1)
		change(&r)
		_, err := l.Launch(t.Context(), r)
		if e := ec2test.WantAs[*lease.MismatchError](t, err); e.Token != "job-7" {
			t.Errorf("%s: %v", name, e)
		}
	}
	same := w.request("job-7", 1)
	same.Skeleton = []byte(`{"ImageId": "", "MaxCount": 0, "UserData": "", "SecurityGroupIds": [""]}`) // says nothing
	if _, err := l.Launch(t.Context(), same); err != nil {
		t.Error(err)
	}
	if n := w.Sent("RunInstances"); n != 1 {
		t.Errorf("RunInstances was sent %d times", n)
	}
}

func TestALaunchStaysInItsLocation(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ec2sim.Config{})
	if _, err := w.launcher(t).Launch(t.Context(), w.request("job-7", 1)); err != nil {
		t.Fatal(err)
	}
	cfg := w.AWS()
	cfg.Region = "eu-west-1"
	l := launch.New(w.Cloud(t, cfg, ec2.Options{}), w.store, quick())
	_, err := l.Launch(t.Context(), w.request("job-7", 1))
	ec2test.WantError[*launch.LocationError](t, err)
	_, err = l.Resume(t.Context(), "job-7", 0)
	if e := ec2test.WantAs[*launch.LocationError](t, err); e.Launched != ec2test.Here() || e.Here.Region != "eu-west-1" {
		t.Errorf("%+v", e)
	}
}

func TestPreflightRefuses(t *testing.T) {
	t.Parallel()
	elsewhere := lease.Location{Account: ec2test.Account, Region: "eu-west-1"}
	for name, c := range map[string]struct {
		prepare func(world)
		ahead   time.Duration
		change  func(*launch.Request)
		want    func(ec2test.T, error)
	}{
		"when the checkpoint is old": {
			prepare: func(w world) { w.swept(time.Now().Add(-5 * time.Minute)) },
			want:    func(t ec2test.T, err error) { ec2test.WantError[*launch.UnattendedError](t, err) },
		},
		"when the checkpoint is dated ahead": {
			prepare: func(w world) { w.swept(time.Now().Add(15 * time.Second)) },
			want:    func(t ec2test.T, err error) { ec2test.WantError[*launch.UnattendedError](t, err) },
		},
		"not when it is dated ahead of this clock, which is behind": {
			prepare: func(w world) { w.swept(time.Now().Add(5 * time.Second)) }, ahead: -8 * time.Second, want: wantNone,
		},
		"by a clock that is wrong, and does not judge the checkpoint": {
			ahead: -10 * time.Minute,
			want:  func(t ec2test.T, err error) { ec2test.WantError[*ec2.ClockError](t, err) },
		},
		"when the checkpoint does not name the location": {
			prepare: func(w world) { w.swept(time.Now(), elsewhere) },
			want:    func(t ec2test.T, err error) { ec2test.WantError[*launch.UnattendedError](t, err) },
		},
		"not with --unattended": {
			prepare: func(w world) { w.swept(time.Now(), elsewhere) },
			change:  func(r *launch.Request) { r.Unattended = true },
			want:    wantNone,
		},
		"when the clock is ahead": {
			ahead: 12 * time.Second,
			want: func(t ec2test.T, err error) {
				if e := ec2test.WantAs[*ec2.ClockError](t, err); e.Skew < 11*time.Second || e.Skew > 14*time.Second {
					t.Fatalf("skew %s", e.Skew)
				}
			},
		},
		"when the clock is behind, unattended too": {
			ahead: -time.Minute, change: func(r *launch.Request) { r.Unattended = true },
			want: func(t ec2test.T, err error) {
				if e := ec2test.WantAs[*ec2.ClockError](t, err); e.Skew > -58*time.Second {
					t.Fatalf("skew %s", e.Skew)
				}
			},
		},
		"not a clock that is off by less": {ahead: 8 * time.Second, want: wantNone},
		"a generated token older than the records": {
			change: func(r *launch.Request) { r.Token = "018c0000-0000-7000-8000-000000000000" },
			want:   func(t ec2test.T, err error) { ec2test.WantError[*launch.StaleTokenError](t, err) },
		},
		"a token that is none": {
			change: func(r *launch.Request) { r.Token = "i-1" },
			want:   func(t ec2test.T, err error) { ec2test.WantError[*lease.LimitError](t, err) },
		},
		"count 1001": {
			change: func(r *launch.Request) { r.Count = 1001 },
			want:   func(t ec2test.T, err error) { ec2test.WantError[*lease.LimitError](t, err) },
		},
		"a term longer than the maximum": {
			change: func(r *launch.Request) { r.Term = 3 * time.Hour },
			want:   func(t ec2test.T, err error) { ec2test.WantError[*lease.LimitError](t, err) },
		},
		"a ttl of 4 s": {
			change: func(r *launch.Request) { r.HeartbeatTimeout = 4 * time.Second },
			want:   func(t ec2test.T, err error) { ec2test.WantError[*lease.LimitError](t, err) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, ec2sim.Config{})
			if c.prepare != nil {
				c.prepare(w)
			}
			r := w.request("job-7", 1)
			if c.change != nil {
				c.change(&r)
			}
			now := func() time.Time { return time.Now().Add(c.ahead) }
			config := quick()
			config.Now = now
			l := launch.New(w.Cloud(t, w.AWS(), ec2.Options{Now: now}), w.store, config)
			_, err := l.Launch(t.Context(), r)
			c.want(t, err)
			if n := w.Sent("RunInstances"); err != nil && n != 0 {
				t.Errorf("RunInstances was sent %d times", n)
			}
			if err != nil && w.store.Get("launch", r.Token) != nil {
				t.Error("a record was left behind")
			}
		})
	}
}

func wantNone(t ec2test.T, err error) {
	if err != nil {
		t.Fatalf("error: %v", err)
	}
}

func TestLaunchWarnsOfARegistryThatTerminatesNothing(t *testing.T) {
	t.Parallel()
	for mode, about := range map[lease.Mode]launch.Warning{lease.ModeObserve: launch.WarnMode, lease.ModePaused: launch.WarnPaused} {
		w := newWorld(t, ec2sim.Config{})
		w.put("registry", lease.NewRegistry(time.Now(), ec2test.UUID, mode))
		var kinds []launch.EventKind
		var warned launch.Warning
		config := quick()
		config.Progress = func(e launch.Event) {
			if kinds = append(kinds, e.Kind); e.Kind == launch.EventWarning {
				warned = e.Warning
			}
		}
		l := launch.New(w.Cloud(t, w.AWS(), ec2.Options{}), w.store, config)
		if _, err := l.Launch(t.Context(), w.request("job-7", 1)); err != nil {
			t.Fatal(err)
		}
		want := []launch.EventKind{launch.EventWarning, launch.EventStored, launch.EventSending, launch.EventLaunched, launch.EventBound}
		if !reflect.DeepEqual(kinds, want) || warned != about {
			t.Errorf("%s: events = %v, warned of %q; want %v, of %q", mode, kinds, warned, want, about)
		}
	}
}

func TestTheCheckpointGivesTheLengthOfTheWindow(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ec2sim.Config{})
	w.put("checkpoint", lease.Checkpoint{
		Schema: lease.Schema, Time: time.Now(), NextSweep: time.Now().Add(time.Minute), Locations: []lease.Location{ec2test.Here()},
		LaunchWindow: lease.Duration(7 * time.Minute),
	})
	result, err := w.launcher(t).Launch(t.Context(), w.request("job-7", 1))
	if err != nil || result.Launch.Window != lease.Duration(7*time.Minute) {
		t.Errorf("window %s, %v", result.Launch.Window, err)
	}
}

func TestAGeneratedTokenIsReturned(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ec2sim.Config{})
	result, err := w.launcher(t).Launch(t.Context(), w.request("", 1))
	if err != nil {
		t.Fatal(err)
	}
	if made, ok := lease.TokenTime(result.Launch.Token); !ok || time.Since(made) > time.Minute {
		t.Errorf("token %s", result.Launch.Token)
	}
}

func TestDryRunCreatesAndWritesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ec2sim.Config{Parameters: map[string]string{"/golden": ec2test.Image}})
	l := w.launcher(t)
	r := w.request("job-7", 2)
	r.ImageID = "resolve:ssm:/golden"
	plan, err := l.DryRun(t.Context(), r)
	if err != nil || plan.Exists || plan.Launch.Count != 2 || plan.Launch.Last().ClientToken != "job-7.1" {
		t.Fatalf("plan = %+v, %v", plan, err)
	}
	if w.store.Get("launch", "job-7") != nil || len(w.Sim.Instances()) != 0 {
		t.Error("a dry run left something behind")
	}

	w.Sim.Inject(ec2sim.Fault{Action: "RunInstances", Times: 1, Effect: ec2sim.Refuse, Code: "UnauthorizedOperation"})
	_, err = l.DryRun(t.Context(), r)
	if e := ec2test.WantAs[*ec2.AnswerError](t, err); e.Code != "UnauthorizedOperation" {
		t.Errorf("error = %v", err)
	}

	if _, err := l.Launch(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	if plan, err := l.DryRun(t.Context(), r); err != nil || !plan.Exists {
		t.Errorf("plan of what is there = %+v, %v", plan, err)
	}
}

func TestAMissingRegistryIsReportedFirst(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ec2sim.Config{})
	w.store.Fault = func(method string) error {
		if method == "Registry" {
			return &lease.NotFoundError{Kind: "registry", ID: "default"}
		}
		return nil
	}
	_, err := w.launcher(t).Launch(t.Context(), w.request("job-7", 1))
	ec2test.WantError[*lease.NotFoundError](t, err)
}
