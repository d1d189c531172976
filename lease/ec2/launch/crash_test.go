package launch_test

import (
	"errors"
	"fmt"
	"reflect"
	"testing"

	"lapse/lease"
	"lapse/lease/ec2/ec2sim"
	"lapse/lease/ec2/ec2test"
	"lapse/lease/ec2/launch"
)

// TestKilledAtEveryStep ends a launcher before, and after, each of its store writes and calls to EC2, and lets another
// go on with the token alone.
func TestKilledAtEveryStep(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		count, roomA, roomB int
		want                int // instances, if every outcome is known
		joins               bool
	}{
		"one":                       {count: 1, roomA: 5, roomB: 5, want: 1},
		"three where two fit":       {count: 3, roomA: 2, roomB: 0, want: 2},
		"twenty over two locations": {count: 20, roomA: 12, roomB: 30, want: 20},
		"none fits":                 {count: 1},
		"three that join, in turn":  {count: 3, roomA: 2, roomB: 5, want: 3, joins: true},
	} {
		for _, after := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, after the deed %t", name, after), func(t *testing.T) {
				t.Parallel()
				last := 0
				for n := 0; ; n++ {
					w := newWorld(t, ec2sim.Config{})
					w.capacity(ec2test.ZoneA, c.roomA)
					w.capacity(ec2test.ZoneB, c.roomB)
					if c.joins {
						w.withAPI("https://lapse.example.com")
					}
					r := w.request("job-7", c.count)
					r.Subnets = []string{w.Sim.SubnetID(ec2test.ZoneA), w.Sim.SubnetID(ec2test.ZoneB)}
					steps, _ := w.killed(t, r, n, after)
					if c.joins { // what is on record counts
						w.withAPI("https://elsewhere.example.com")
					}
					w.wantSound(t, "job-7", c.count)
					w.wantResumable(t, r, c.want)
					if steps <= n { // it came to its end before it was killed
						last = n
						break
					}
				}
				t.Logf("killed at %d steps", last)
			})
		}
	}
}

// wantResumable lets a new launcher go on, and checks that it answers the same however often it is asked. Where the
// lost answer was a refusal, the outcome stays unknown, by rule; but then nothing was made by that attempt, and once
// EC2 has room the replay makes it.
func (w world) wantResumable(t ec2test.T, r launch.Request, want int) {
	t.Helper()
	l := w.launcher(t)
	first, err := l.Launch(t.Context(), r)
	var doubt *launch.UnknownOutcomeError
	if errors.As(err, &doubt) {
		if doubt.Code != "InsufficientInstanceCapacity" {
			t.Fatalf("in doubt without need: %v", err)
		}
		w.wantBound(t, first)
		w.capacity(ec2test.ZoneA, -1)
		w.capacity(ec2test.ZoneB, -1)
		want = r.Count
		first, err = l.Launch(t.Context(), r)
	}
	var refused *launch.RefusedError
	if err != nil && (want > 0 || !errors.As(err, &refused)) {
		t.Fatalf("resume: %v", err)
	}
	if len(first.Leases) != want || first.Launch.Missing() != r.Count-want || first.Launch.State == lease.LaunchOpen {
		t.Fatalf("resumed to %+v, want %d instances", first, want)
	}
	w.wantSound(t, r.Token, r.Count)
	w.wantBound(t, first)
	sent := w.Sent("RunInstances")
	for range 5 {
		again, againErr := l.Launch(t.Context(), r)
		if !reflect.DeepEqual(again.Launch, first.Launch) || !reflect.DeepEqual(again.Leases, first.Leases) ||
			fmt.Sprint(againErr) != fmt.Sprint(err) {
			t.Fatalf("again %+v, %v; first %+v, %v", again, againErr, first, err)
		}
	}
	if n := w.Sent("RunInstances"); n != sent {
		t.Fatalf("a settled launch was sent %d times more", n-sent)
	}
}
