package ec2_test

import (
	"context"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"testing"
	"time"

	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"

	"lapse/lease"
	"lapse/lease/ec2"
	"lapse/lease/ec2/ec2sim"
	"lapse/lease/ec2/ec2test"
)

const expires = "lapse:expires"

func TestTagsAreSetAndRemovedByTheirValues(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ec2sim.Config{})
	cloud := w.Cloud(t, w.AWS(), ec2.Options{})
	id := w.Sim.Create(ec2sim.Instance{Tags: map[string]string{"Name": "pet"}}).ID
	set := map[string]string{lease.TagRegistry: ec2test.UUID, lease.TagHolder: ""}
	if got := cloud.Tag(t.Context(), []string{id}, set); len(got) != 1 || !got[0].Accepted() || got[0].ID != id || got[0].RequestID == "" {
		t.Fatalf("%+v", got)
	}
	want := func(tags map[string]string) {
		t.Helper()
		if i, _ := w.Sim.Instance(id); !maps.Equal(i.Tags, tags) {
			t.Errorf("tags = %v, want %v", i.Tags, tags)
		}
	}
	want(map[string]string{"Name": "pet", lease.TagRegistry: ec2test.UUID, lease.TagHolder: ""})
	if err := cloud.Untag(t.Context(), id, map[string]string{lease.TagRegistry: "another", "Name": "", lease.TagHolder: ""}); err != nil {
		t.Fatal(err)
	}
	want(map[string]string{"Name": "pet", lease.TagRegistry: ec2test.UUID}) // what has another value stays, an empty one included
	if err := cloud.Untag(t.Context(), id, nil); err != nil {
		t.Fatal(err)
	}
	want(map[string]string{"Name": "pet", lease.TagRegistry: ec2test.UUID}) // no tag is not all tags
	if err := cloud.Untag(t.Context(), id, map[string]string{lease.TagRegistry: ec2test.UUID}); err != nil {
		t.Fatal(err)
	}
	want(map[string]string{"Name": "pet"})
	ec2test.WantError[*ec2.AnswerError](t, cloud.Untag(t.Context(), "i-0123456789abcdef0", map[string]string{"a": "b"}))
}

// resources are instances with their volumes and interfaces, which all bear the registry's tag.
func (w world) resources(t *testing.T, n int) []string {
	t.Helper()
	tags := map[string]string{lease.TagRegistry: ec2test.UUID}
	var ids []string
	for len(ids) < n {
		ids = append(ids, w.Sim.Create(ec2sim.Instance{Tags: tags}).ID, w.Sim.AddVolume(ec2sim.Volume{Tags: tags}).ID,
			w.Sim.AddInterface(ec2sim.Interface{Tags: tags}).ID)
	}
	return ids[:n]
}

// onlyOurs lets tags be set as deploy/iam/janitor.json does.
func onlyOurs(borne, _ map[string]string) bool { return borne[lease.TagRegistry] == ec2test.UUID }

func TestOneBadResourceAffectsNoOther(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		size int
		bad  []int // positions
		make func(world) string
		code string
		most int // calls
	}{
		"none bad":            {size: 2500, most: 3},
		"an unknown instance": {size: 1000, bad: []int{0}, make: func(world) string { return "i-0123456789abcdef0" }, code: "InvalidInstanceID.NotFound", most: 21},
		"an unknown volume":   {size: 1000, bad: []int{999}, make: func(world) string { return "vol-0123456789abcdef0" }, code: "InvalidVolume.NotFound", most: 21},
		"nonsense":            {size: 100, bad: []int{42}, make: func(world) string { return "nonsense" }, code: "InvalidID", most: 15},
		"one of another registry": {
			size: 1000, bad: []int{517}, code: "UnauthorizedOperation", most: 21,
			make: func(w world) string {
				return w.Sim.Create(ec2sim.Instance{Tags: map[string]string{lease.TagRegistry: "another"}}).ID
			},
		},
		"one with 50 tags": {size: 60, bad: []int{3}, make: full, code: "TagLimitExceeded", most: 13},
		"the first ten": {
			size: 200, bad: []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, code: "UnauthorizedOperation", most: 60,
			make: func(w world) string { return w.Sim.AddVolume(ec2sim.Volume{}).ID },
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, ec2sim.Config{Latency: -1})
			w.Sim.LetTag(onlyOurs)
			ids := w.resources(t, c.size)
			for _, n := range c.bad {
				ids[n] = c.make(w)
			}
			for n, got := range w.Cloud(t, w.AWS(), ec2.Options{Share: 1}).Tag(t.Context(), ids, map[string]string{expires: "none 7"}) {
				bad := slices.Contains(c.bad, n)
				if got.ID != ids[n] || got.RequestID == "" || got.Accepted() == bad || got.Refused() != bad || bad && got.Code != c.code {
					t.Fatalf("resource %d: %+v", n, got)
				}
			}
			if calls := w.Sent("CreateTags"); calls > c.most {
				t.Errorf("%d calls, at most %d", calls, c.most)
			}
		})
	}
}

// full is an instance that can bear no more tags.
func full(w world) string {
	tags := map[string]string{lease.TagRegistry: ec2test.UUID}
	for n := range 49 {
		tags[fmt.Sprintf("k%d", n)] = "v"
	}
	return w.Sim.Create(ec2sim.Instance{Tags: tags}).ID
}

// A janitor that is newer than its policy may set no tag at all: that is not tried 2,000 times.
func TestAPolicyWithoutTagsIsDetectedWithFewCalls(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ec2sim.Config{Latency: -1})
	w.Sim.LetTag(func(map[string]string, map[string]string) bool { return false })
	denied := 0
	for _, got := range w.Cloud(t, w.AWS(), ec2.Options{Share: 1}).Tag(t.Context(), w.resources(t, 1000), map[string]string{expires: "none 7"}) {
		if got.Accepted() {
			t.Fatalf("%+v", got)
		}
		if got.Refused() {
			denied++
		}
	}
	if calls := w.Sent("CreateTags"); denied == 0 || denied > 16 || calls > 50 {
		t.Errorf("%d resources blamed, %d calls", denied, calls)
	}
}

func TestAFailedCallBlamesNoResource(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]ec2sim.Fault{
		"throttled": {Effect: ec2sim.Refuse, Code: "RequestLimitExceeded"},
		"no answer": {Effect: ec2sim.Drop},
		"expired":   {Effect: ec2sim.Refuse, Code: "RequestExpired"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, ec2sim.Config{Latency: -1})
			ids := w.resources(t, 1100)
			f.Action, f.Match = "CreateTags", func(v url.Values) bool { return v.Get("ResourceId.101") == "" }
			w.Sim.Inject(f)
			for n, got := range w.Cloud(t, w.AWS(), ec2.Options{}).Tag(t.Context(), ids, map[string]string{expires: "none 7"}) {
				if first := n < 1000; got.ID != ids[n] || got.Accepted() != first || got.Refused() {
					t.Fatalf("resource %d: %+v", n, got)
				}
			}
			if calls := w.Sent("CreateTags"); calls != 2 {
				t.Errorf("%d calls", calls)
			}
		})
	}
}

// Tags that are slow, or wait for EC2's bucket, keep no termination waiting.
func TestNoTerminationWaitsForATag(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ec2sim.Config{Latency: -1})
	cloud := w.Cloud(t, w.AWS(), ec2.Options{Share: 0.01}) // one call in the bucket, the next in 10 s
	herd := w.herd(1)
	ctx, cancel := context.WithCancel(t.Context())
	hangs := make(chan struct{})
	w.Sim.Inject(ec2sim.Fault{Action: "CreateTags", Effect: ec2sim.Hang, Hook: func() { close(hangs) }, Times: 1})
	done := make(chan []lease.Tagging)
	go func() { done <- cloud.Tag(ctx, herd, map[string]string{expires: "none 7"}) }()
	<-hangs
	began := time.Now()
	late := make(chan []lease.Tagging)
	go func() { late <- cloud.Tag(ctx, herd, map[string]string{expires: "none 7"}) }()
	if err := cloud.Reserve(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	if got := cloud.Terminate(t.Context(), herd)[0]; !got.Accepted() || time.Since(began) > 5*time.Second {
		t.Errorf("%+v after %s", got, time.Since(began))
	}
	cancel()
	for _, got := range [][]lease.Tagging{<-done, <-late} {
		if got[0].Accepted() || got[0].Refused() {
			t.Errorf("%+v", got)
		}
	}
	if calls := w.Sent("CreateTags"); calls != 1 {
		t.Errorf("%d calls: the second is to wait", calls)
	}
}

func TestAListingShowsAttachedResources(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ec2sim.Config{})
	made := w.run(t, func(*awsec2.RunInstancesInput) {})
	w.Sim.AddVolume(ec2sim.Volume{Tags: map[string]string{lease.TagRegistry: ec2test.UUID}})
	listing, err := w.Cloud(t, w.AWS(), ec2.Options{}).List(t.Context())
	if err != nil || len(listing.Instances) != 1 {
		t.Fatalf("%+v, %v", listing, err)
	}
	if want := slices.Concat(made.Volumes, made.Interfaces); len(want) < 2 || !slices.Equal(listing.Instances[0].Attached, want) {
		t.Errorf("attached %v, want %v", listing.Instances[0].Attached, want)
	}
}
