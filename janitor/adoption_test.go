package janitor

import (
	"testing"
	"time"

	"lapse/lease"
)

// adopting has an instance that somebody began to adopt so long ago, and that has no tag yet.
func (r *rig) adopting(id string, ago time.Duration) {
	r.t.Helper()
	r.cloud.Mu.Lock()
	i := r.instance(id, "")
	i.Tags = map[string]string{}
	r.cloud.Instances[id] = i
	r.cloud.Mu.Unlock()
	l := lease.Adopt(r.now().Add(-ago), i, r.now().Add(24*time.Hour), time.Time{}, "ada", nil, lease.By{Actor: "ada"})
	if _, err := r.store.PutLease(r.t.Context(), l); err != nil {
		r.t.Fatal(err)
	}
}

// completes lets the janitor of a test set the tags of adoptions.
func completes(c *Config) { c.Policy.CompleteAdoptions = true }

func TestAnAdoptionWithoutItsTagIsCompletedIfAllowed(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*Config)
		want   lease.State
	}{
		"allowed": {completes, lease.StateActive},
		"not":     {func(*Config) {}, lease.StateAdopting},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			runningWith(t, []string{"i-1"}, quiet(), c.change, func(r *rig) {
				r.adopting("i-2", 4*time.Minute)
				after(30 * time.Second)
				if n := r.calls(); n != 0 || r.lease("i-2").State != lease.StateAdopting {
					r.t.Errorf("%d calls while whoever adopts may still set it", n)
				}
				after(5 * time.Minute)
				if got := r.lease("i-2").State; got != c.want {
					r.t.Errorf("%s, want %s", got, c.want)
				}
				calls := r.calls()
				after(10 * time.Minute)
				if n := r.calls(); n != calls {
					r.t.Errorf("%d calls more after it was done", n-calls)
				}
			})
		})
	}
}

func TestAnInstanceAdoptedElsewhereIsNotDescribedByEachReaction(t *testing.T) {
	t.Parallel()
	runningWith(t, []string{"i-1"}, quiet(), completes, func(r *rig) {
		after(61 * time.Second)
		r.ec2(func(c *recorder) {
			c.OnDescribe = func(n int) {
				if n == 2 { // a sweep has looked it up, and its tag is about to be set
					c.Change("i-2", func(i *lease.Instance) { i.Tags[lease.TagExempt] = "" })
				}
			}
		})
		r.adopting("i-2", 4*time.Minute+30*time.Second)
		after(60 * time.Second)
		for n := range 30 { // until the next sweep
			r.extendRecord("i-1", time.Duration(n+1)*time.Hour)
			after(time.Second)
		}
		described := 0
		r.ec2(func(c *recorder) { described = c.Descriptions })
		if _, tagged := r.cloud.Instances["i-2"].Tags[lease.TagRegistry]; tagged || described != 2 {
			r.t.Errorf("described %d times, want twice: by the sweep, and before the tag; tagged %t", described, tagged)
		}
	})
}
