package ec2sim_test

import (
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"lapse/lease/ec2/ec2sim"
)

// view is what DescribeInstances shows of one instance.
type view struct {
	there bool
	state string
	tag   string
}

// look lists one instance by a filter, for ids that are not there are refused.
func (w world) look(t *testing.T, id string) view {
	t.Helper()
	found := w.describe(t, &ec2.DescribeInstancesInput{
		Filters: []types.Filter{{Name: aws.String("instance-id"), Values: []string{id}}},
	})
	if len(found) == 0 {
		return view{}
	}
	v := view{there: true, state: string(found[0].State.Name)}
	for _, tag := range found[0].Tags {
		v.tag = aws.ToString(tag.Value)
	}
	return v
}

func (w world) tag(t *testing.T, id, value string) error {
	t.Helper()
	_, err := w.ec2.CreateTags(t.Context(), &ec2.CreateTagsInput{
		Resources: []string{id}, Tags: []types.Tag{{Key: aws.String("k"), Value: aws.String(value)}},
	})
	return err
}

func TestStaleReadsShowAnEarlierState(t *testing.T) {
	t.Parallel()
	now := newClock()
	w := newWorld(t, ec2sim.Config{Now: now.Now, StaleFor: 10 * time.Second, PendingFor: 30 * time.Second, ShuttingDownFor: time.Minute})
	want := func(when string, id string, v view) {
		t.Helper()
		if got := w.look(t, id); got != v {
			t.Errorf("%s: %+v, want %+v", when, got, v)
		}
	}
	id := w.run(t)[0]
	want("launched", id, view{})
	_, err := w.ec2.DescribeInstances(t.Context(), &ec2.DescribeInstancesInput{InstanceIds: []string{id}})
	wantCode(t, err, "InvalidInstanceID.NotFound")
	now.pass(9 * time.Second)
	want("9 s later", id, view{})
	now.pass(time.Second)
	want("10 s later", id, view{true, "pending", ""})
	now.pass(29 * time.Second)
	want("running for 9 s", id, view{true, "pending", ""})
	now.pass(time.Second)
	want("running for 10 s", id, view{true, "running", ""})

	for _, value := range []string{"a", "b"} {
		if err := w.tag(t, id, value); err != nil {
			t.Fatal(err)
		}
		now.pass(5 * time.Second)
	}
	want("tagged a 10 s ago, b 5 s ago", id, view{true, "running", "a"})
	now.pass(5 * time.Second)
	want("tagged b 10 s ago", id, view{true, "running", "b"})

	w.terminate(t, id)
	want("terminated", id, view{true, "running", "b"})
	if i, _ := w.Instance(id); i.State != ec2sim.ShuttingDown {
		t.Errorf("in truth %s", i.State)
	}
	now.pass(10 * time.Second)
	want("terminated 10 s ago", id, view{true, "shutting-down", "b"})
	now.pass(59 * time.Second)
	want("ended 9 s ago", id, view{true, "shutting-down", "b"})
	now.pass(time.Second)
	want("ended 10 s ago", id, view{true, "terminated", "b"})
}

func TestFiltersApplyToTheShownState(t *testing.T) {
	t.Parallel()
	now := newClock()
	w := newWorld(t, ec2sim.Config{Now: now.Now, StaleFor: 10 * time.Second})
	id := w.Create(ec2sim.Instance{Tags: map[string]string{"k": "old"}}).ID
	if err := w.tag(t, id, "new"); err != nil {
		t.Fatal(err)
	}
	for value, want := range map[string]int{"old": 1, "new": 0} {
		found := w.describe(t, &ec2.DescribeInstancesInput{Filters: []types.Filter{{Name: aws.String("tag:k"), Values: []string{value}}}})
		if len(found) != want {
			t.Errorf("%d instances with the tag %s, want %d", len(found), value, want)
		}
	}
}

func TestReadsCanGoBack(t *testing.T) {
	t.Parallel()
	now := newClock()
	w := newWorld(t, ec2sim.Config{Now: now.Now, StaleFor: time.Minute})
	id := w.run(t)[0]
	for _, c := range []struct {
		stale time.Duration
		there bool
	}{{0, true}, {time.Minute, false}, {0, true}} {
		w.SetStaleFor(c.stale)
		if got := w.look(t, id); got.there != c.there {
			t.Errorf("stale for %s: %+v", c.stale, got)
		}
	}
}

func TestANewIDIsUnknownForAWhile(t *testing.T) {
	t.Parallel()
	now := newClock()
	w := newWorld(t, ec2sim.Config{Now: now.Now, UnknownFor: 5 * time.Second})
	id := w.run(t)[0]
	calls := map[string]func() error{
		"DescribeInstances": func() error {
			_, err := w.ec2.DescribeInstances(t.Context(), &ec2.DescribeInstancesInput{InstanceIds: []string{id}})
			return err
		},
		"CreateTags": func() error { return w.tag(t, id, "v") },
		"TerminateInstances": func() error {
			_, err := w.ec2.TerminateInstances(t.Context(), &ec2.TerminateInstancesInput{InstanceIds: []string{id}})
			return err
		},
	}
	for _, call := range calls {
		wantCode(t, call(), "InvalidInstanceID.NotFound")
	}
	if got := w.look(t, id); !got.there || got.state != "running" || got.tag != "" {
		t.Errorf("listed as %+v", got)
	}
	now.pass(5 * time.Second)
	for name, call := range calls {
		if err := call(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
