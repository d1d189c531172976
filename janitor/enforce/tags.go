package enforce

import (
	"context"
	"time"

	"lapse/janitor/plan"
	"lapse/lease"
)

const (
	// tagRest is how long a tag whose date is far away is left as it is after it was written: leases that are extended
	// again and again cost one call an hour each.
	tagRest = time.Hour
	// tagRetry is how long a tag that could not be written is left alone.
	tagRetry = time.Minute
	// refusalsMax is how many refused calls in a row a job makes before it takes a policy for the cause.
	refusalsMax = 3
)

// Tags is what a leader knows of the tags that it has written, and has yet to write: what instances say of their leases, which
// is the second key of a date, and that a lease was active. It belongs to the leader's loop. The calls are made beside it,
// those of one location one after the other, and wait for a share of EC2's limits of their own. No record depends on it: a
// tag that is late or denied makes nothing terminate sooner.
type Tags struct {
	by     map[string]*tagged   // by instance id
	behind map[string]time.Time // since when a tag is behind that is not left so by choice, monotonic
	busy   map[lease.Location]bool
	missed map[lease.Location]bool // there was more to be written than the job under way knows
	// failed is when a tag was last not written, by instance id, or when nothing was in a location, by its name.
	failed map[string]time.Time
}

// tagged is what this leader has written onto an instance, and EC2 has taken: a listing that began after that shows it.
type tagged struct {
	plan.Written
	at     time.Time // when it took the date
	leased time.Time // when it took the other tag
}

// NewTags knows of none.
func NewTags() *Tags {
	return &Tags{by: map[string]*tagged{}, behind: map[string]time.Time{}, busy: map[lease.Location]bool{}, missed: map[lease.Location]bool{}, failed: map[string]time.Time{}}
}

// Written is what was written since the instances were listed.
func (g *Tags) Written() map[string]plan.Written {
	all := map[string]plan.Written{}
	for id, w := range g.by {
		if w.Expires.Number > 0 || w.Leased != "" {
			all[id] = w.Written
		}
	}
	return all
}

// Listed forgets what a listing shows that began at that time.
func (g *Tags) Listed(began time.Time) {
	clear(g.failed)
	for id, w := range g.by {
		if w.at.Before(began) {
			w.Expires = lease.Expiry{}
		}
		if w.leased.Before(began) {
			w.Leased = ""
		}
		if w.Written == (plan.Written{}) && time.Since(w.at) > tagRest {
			delete(g.by, id)
		}
	}
}

// rests reports whether a tag is left as it is for now.
func (g *Tags) rests(w plan.TagWrite) bool {
	last := g.by[w.InstanceID]
	return w.Ahead && last != nil && !last.at.IsZero() && time.Since(last.at) < tagRest
}

// Due are the writes that do not rest, by location. It notes since when they are due.
func (g *Tags) Due(writes []plan.TagWrite) map[lease.Location][]plan.TagWrite {
	due := map[lease.Location][]plan.TagWrite{}
	behind := make(map[string]time.Time, len(g.behind))
	for _, w := range writes {
		if w.Key == lease.TagExpires && g.rests(w) {
			continue
		}
		if w.Key == lease.TagExpires {
			behind[w.InstanceID] = time.Now()
			if since, was := g.behind[w.InstanceID]; was {
				behind[w.InstanceID] = since
			}
		}
		if time.Since(g.failed[w.InstanceID]) >= tagRetry && time.Since(g.failed[w.Location.String()]) >= tagRetry {
			due[w.Location] = append(due[w.Location], w)
		}
	}
	g.behind = behind
	return due
}

// Lag is for how long the oldest of the tags that are behind has been.
func (g *Tags) Lag() (oldest time.Duration) {
	for _, since := range g.behind {
		oldest = max(oldest, time.Since(since))
	}
	return oldest
}

// Begin reports whether a job may begin that makes these writes of one location. If one is under way there, it is noted that
// there is more to do.
func (g *Tags) Begin(location lease.Location, todo []plan.TagWrite) bool {
	if len(todo) == 0 {
		return false
	}
	if g.busy[location] {
		g.missed[location] = true
		return false
	}
	g.busy[location] = true
	return true
}

// End takes in what came of a job, and reports whether there is more to do at once. What was not written is due again in a
// minute.
func (g *Tags) End(location lease.Location, done TagOutcome) (more bool) {
	now := time.Now()
	for _, id := range done.left {
		g.failed[id] = now
	}
	for _, one := range done.took {
		g.took(one.write, one.at)
	}
	for _, answer := range done.Failed {
		g.failed[answer.ID] = now
	}
	if len(done.Failed) >= refusalsMax && len(done.took) == 0 {
		g.failed[location.String()] = now
	}
	missed := g.missed[location]
	g.busy[location], g.missed[location] = false, false
	return missed && len(done.Failed) == 0 || len(done.took) > 0
}

// took notes what EC2 has taken.
func (g *Tags) took(w plan.TagWrite, at time.Time) {
	t := g.by[w.InstanceID]
	if t == nil {
		t = &tagged{}
		g.by[w.InstanceID] = t
	}
	switch w.Key {
	case lease.TagLeased:
		t.Leased, t.leased = w.Value, at
		return
	case lease.TagRegistry: // the next listing shows it
		g.failed[w.InstanceID] = time.Now()
		return
	default:
	}
	t.Expires, t.at = w.Expires, at
	delete(g.behind, w.InstanceID)
}

// taken is a write that EC2 has taken, and when it was asked.
type taken struct {
	write plan.TagWrite
	at    time.Time
}

// TagOutcome is what came of writing tags.
type TagOutcome struct {
	Failed []lease.Tagging
	took   map[int]taken // by the index of the write
	left   []string      // ids of instances that were left as they are, on a fresh description
}

// WriteTags writes in the order given, those of one value in one call, until ctx ends.
func WriteTags(ctx context.Context, cloud Cloud, writes []plan.TagWrite) TagOutcome {
	done := TagOutcome{took: map[int]taken{}}
	refused := 0
	for _, same := range byValue(writes) {
		if ctx.Err() != nil || refused >= refusalsMax && len(done.took) == 0 {
			return done
		}
		first, tags := writes[same[0]], map[string]string{}
		tags[first.Key] = first.Value
		doubtful := attachedFirst(ctx, cloud, writes, same, tags)
		if first.Key == lease.TagRegistry {
			doubtful = takenBy(ctx, cloud, writes, same)
		}
		ids, at := []string{}, map[string]int{}
		for _, n := range same {
			switch {
			case !doubtful[n]:
				ids, at[writes[n].InstanceID] = append(ids, writes[n].InstanceID), n
			case first.Key == lease.TagRegistry:
				done.left = append(done.left, writes[n].InstanceID)
			}
		}
		asked, accepted := time.Now(), false
		if len(ids) == 0 {
			continue
		}
		for _, answer := range cloud.Tag(ctx, ids, tags) {
			if n, known := at[answer.ID]; known && answer.Accepted() {
				done.took[n], accepted = taken{writes[n], asked}, true
			} else {
				done.Failed = append(done.Failed, answer)
			}
		}
		if refused++; accepted {
			refused = 0
		}
	}
	return done
}

// attachedFirst writes a tag onto what is attached to instances before they bear it themselves: whoever sees it there takes
// it for written everywhere. It tells for which it is not known whether it was. What EC2 refuses is not ours.
func attachedFirst(ctx context.Context, cloud Cloud, writes []plan.TagWrite, same []int, tags map[string]string) (doubtful map[int]bool) {
	doubtful = map[int]bool{}
	of := map[string]int{}
	var resources []string
	for _, n := range same {
		for _, id := range writes[n].Attached {
			of[id], resources = n, append(resources, id)
		}
	}
	if len(resources) == 0 {
		return doubtful
	}
	for _, answer := range cloud.Tag(ctx, resources, tags) {
		if !answer.Accepted() && !answer.Refused() {
			doubtful[of[answer.ID]] = true
		}
	}
	return doubtful
}

// takenBy tells which instances are not to bear our registry's tag, by a fresh description: another registry's tag may be
// there by now, or somebody may want nobody to touch them. CreateTags would write over it, where no policy forbids that.
func takenBy(ctx context.Context, cloud Cloud, writes []plan.TagWrite, same []int) (others map[int]bool) {
	var ids []string
	for _, n := range same {
		ids = append(ids, writes[n].InstanceID)
	}
	free := map[string]bool{}
	if listing, err := cloud.Describe(ctx, ids); err == nil {
		for _, i := range listing.Instances {
			_, tagged := i.Tags[lease.TagRegistry]
			free[i.ID] = !tagged && i.Alive() && !i.Exempt()
		}
	}
	others = map[int]bool{}
	for _, n := range same {
		others[n] = !free[writes[n].InstanceID]
	}
	return others
}

// byValue groups writes of the same tag, in the order of the first of each.
func byValue(writes []plan.TagWrite) [][]int {
	type tag struct{ key, value string }
	at := map[tag]int{}
	var groups [][]int
	for n, w := range writes {
		g, there := at[tag{w.Key, w.Value}]
		if !there {
			g = len(groups)
			at[tag{w.Key, w.Value}] = g
			groups = append(groups, nil)
		}
		groups[g] = append(groups[g], n)
	}
	return groups
}
