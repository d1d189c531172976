package enforce

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"lapse/janitor/plan"
	"lapse/lease"
	"lapse/lease/leasetest"
)

// answering is a cloud that answers calls for tags as told.
type answering struct {
	leasetest.Cloud
	asked  []string
	answer func(id string) lease.Tagging
}

func (a *answering) Tag(_ context.Context, resources []string, tags map[string]string) (all []lease.Tagging) {
	for _, id := range resources {
		a.asked = append(a.asked, id+" "+fmt.Sprint(tags))
		all = append(all, a.answer(id))
	}
	return all
}

func TestAttachedResourcesAreTaggedBeforeTheInstance(t *testing.T) {
	t.Parallel()
	writes := []plan.TagWrite{
		{InstanceID: "i-1", Key: "k", Value: "a", Attached: []string{"vol-1", "eni-1"}},
		{InstanceID: "i-2", Key: "k", Value: "b"},
		{InstanceID: "i-3", Key: "k", Value: "a", Attached: []string{"vol-3"}},
	}
	cloud := &answering{answer: func(id string) lease.Tagging {
		switch id {
		case "vol-1": // no word about it
			return lease.Tagging{ID: id, Err: context.DeadlineExceeded}
		case "vol-3": // somebody else's
			return lease.Tagging{ID: id, Code: "UnauthorizedOperation", Err: context.Canceled}
		}
		return lease.Tagging{ID: id}
	}}
	done := WriteTags(t.Context(), cloud, writes)
	want := []string{"vol-1 map[k:a]", "eni-1 map[k:a]", "vol-3 map[k:a]", "i-3 map[k:a]", "i-2 map[k:b]"}
	if !slices.Equal(cloud.asked, want) || len(done.took) != 2 || len(done.Failed) != 0 {
		t.Errorf("asked %q, want %q; took %v, failed %v", cloud.asked, want, done.took, done.Failed)
	}
}

func TestAPolicyThatDeniesTagsCostsAFewCallsASweep(t *testing.T) {
	t.Parallel()
	var writes []plan.TagWrite
	for n := range 500 {
		writes = append(writes, plan.TagWrite{InstanceID: fmt.Sprintf("i-%d", n), Key: "k", Value: fmt.Sprint(n)})
	}
	cloud := &answering{answer: func(id string) lease.Tagging {
		return lease.Tagging{ID: id, Code: "UnauthorizedOperation", Err: context.Canceled}
	}}
	if done := WriteTags(t.Context(), cloud, writes); len(done.took) > 0 || len(done.Failed) != refusalsMax {
		t.Errorf("%d taken, %d calls", len(done.took), len(done.Failed))
	}
}

func TestAListingShowsOnlyTheTagsWrittenBeforeItStarted(t *testing.T) {
	t.Parallel()
	date, leased := plan.TagWrite{InstanceID: "i-1", Key: lease.TagExpires, Expires: lease.Expiry{Number: 3}}, plan.TagWrite{InstanceID: "i-1", Key: lease.TagLeased, Value: "web.1"}
	first, second := time.Now().Add(-2*time.Minute), time.Now().Add(-time.Minute)
	for name, answers := range map[string][]taken{
		"in order":       {{date, first}, {leased, second}},
		"the other way":  {{leased, second}, {date, first}},
		"the other tag":  {{leased, first}, {date, second}},
		"and its order":  {{date, second}, {leased, first}},
		"both before it": {{date, first}, {leased, first}},
	} {
		g := NewTags()
		want := plan.Written{}
		for _, a := range answers {
			g.took(a.write, a.at)
			if a.at.Equal(second) && a.write.Key == lease.TagLeased {
				want.Leased = leased.Value
			} else if a.at.Equal(second) {
				want.Expires = date.Expires
			}
		}
		g.Listed(first.Add(30 * time.Second))
		if got := g.Written()["i-1"]; got != want {
			t.Errorf("%s: known beside the listing: %+v, want %+v", name, got, want)
		}
	}
}

func TestCompletingAnAdoptionOverwritesNoOtherRegistrysTag(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*lease.Instance){
		"taken by another": func(i *lease.Instance) { i.Tags[lease.TagRegistry] = "uuid-2" },
		"without a value":  func(i *lease.Instance) { i.Tags[lease.TagRegistry] = "" },
		"exempt by now":    func(i *lease.Instance) { i.Tags[lease.TagExempt] = "" },
		"terminated":       func(i *lease.Instance) { i.State = lease.InstanceTerminated },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cloud := leasetest.NewCloud()
			instance := cloud.Made("i-2", "", "")
			delete(instance.Tags, lease.TagRegistry)
			cloud.Instances["i-2"] = instance
			write := plan.TagWrite{Location: cloud.Where, InstanceID: "i-2", Key: lease.TagRegistry, Value: "uuid-1"}
			cloud.Change("i-2", change) // since it was listed
			before := cloud.Instances["i-2"].Tags[lease.TagRegistry]
			done := WriteTags(t.Context(), cloud, []plan.TagWrite{write})
			if got := cloud.Instances["i-2"].Tags[lease.TagRegistry]; got != before || cloud.TagCalls != 0 || len(done.took)+len(done.Failed) > 0 || len(done.left) != 1 {
				t.Errorf("the tag says %q, after %d calls", got, cloud.TagCalls)
			}
		})
	}
}
