package janitor

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
	// refusalsMax is how many refused calls in a row a job makes before it takes a policy for the cause.
	refusalsMax = 3
)

// tagger writes what instances say of their leases: the second key of a date, and that a lease was active. It belongs to
// the loop; the calls are made beside it, one location's after the other, and wait for a share of EC2's limits of their own.
// No record depends on it: a tag that is late or denied makes nothing end sooner.
type tagger struct {
	by     map[string]*tagged   // by instance id
	behind map[string]time.Time // since when a tag is behind that is not left so by choice, monotonic
	busy   map[lease.Location]bool
	missed map[lease.Location]bool // there was more to be written than the job at hand knows
	// failed is when a tag was last not written, by instance id, or when nothing was in a location, by its name: reactions
	// leave it alone for a minute.
	failed map[string]time.Time
}

// tagged is what this leader has written onto an instance, and EC2 has taken: a listing that began after that shows it.
type tagged struct {
	plan.Written
	at     time.Time // when it took the date
	leased time.Time // when it took the other tag
}

func newTagger() tagger {
	return tagger{by: map[string]*tagged{}, behind: map[string]time.Time{}, busy: map[lease.Location]bool{}, missed: map[lease.Location]bool{}, failed: map[string]time.Time{}}
}

// written is what was written since the instances were listed.
func (g *tagger) written() map[string]plan.Written {
	all := map[string]plan.Written{}
	for id, w := range g.by {
		if w.Expires.Number > 0 || w.Leased != "" {
			all[id] = w.Written
		}
	}
	return all
}

// listed forgets what a listing shows that began at that time.
func (g *tagger) listed(began time.Time) {
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
func (g *tagger) rests(w plan.TagWrite) bool {
	last := g.by[w.InstanceID]
	return w.Ahead && last != nil && !last.at.IsZero() && time.Since(last.at) < tagRest
}

// due are the writes that do not rest, and notes since when they are.
func (g *tagger) due(writes []plan.TagWrite) []plan.TagWrite {
	var due []plan.TagWrite
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
		if time.Since(g.failed[w.InstanceID]) >= failedFor && time.Since(g.failed[w.Location.String()]) >= failedFor {
			due = append(due, w)
		}
	}
	g.behind = behind
	return due
}

// lag is for how long the oldest of the tags that are behind has been.
func (g *tagger) lag() (oldest time.Duration) {
	for _, since := range g.behind {
		oldest = max(oldest, time.Since(since))
	}
	return oldest
}

// took notes what EC2 has taken.
func (g *tagger) took(w plan.TagWrite, at time.Time) {
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

// tag has tags written, each location's by itself.
func (t *term) tag(ctx context.Context, writes []plan.TagWrite) {
	byLocation := map[lease.Location][]plan.TagWrite{}
	for _, w := range t.tags.due(writes) {
		byLocation[w.Location] = append(byLocation[w.Location], w)
	}
	for _, cloud := range t.Clouds {
		location := cloud.Location()
		todo := byLocation[location]
		if len(todo) == 0 {
			continue
		}
		if t.tags.busy[location] {
			t.tags.missed[location] = true
			continue
		}
		t.tags.busy[location] = true
		done := t.live.works("the tags of "+location.String(), workMax+killDeadline)
		t.do(func() func() {
			bounded, cancel := context.WithTimeout(ctx, workMax)
			defer cancel()
			took, failed, left := writeTags(bounded, cloud, todo)
			done()
			return func() {
				t.tags.leave(left)
				t.wroteTags(ctx, location, took, failed)
			}
		})
	}
}

// leave notes instances whose tag was not tried after all, so that reactions do not describe them again and again.
func (g *tagger) leave(ids []string) {
	for _, id := range ids {
		g.failed[id] = time.Now()
	}
}

// wroteTags takes in what came of a job. What it did not write is due again in a minute.
func (t *term) wroteTags(ctx context.Context, location lease.Location, took map[int]taken, failed []lease.Tagging) {
	for _, one := range took {
		t.tags.took(one.write, one.at)
	}
	if len(failed) > 0 {
		t.Log.Warn("tags not written", "location", location.String(), "resources", len(failed), "resource", failed[0].ID, "code", failed[0].Code, "error", failed[0].Err)
	}
	for _, answer := range failed {
		t.tags.failed[answer.ID] = time.Now()
		t.reactAgain()
	}
	if len(failed) >= refusalsMax && len(took) == 0 {
		t.tags.failed[location.String()] = time.Now()
	}
	missed := t.tags.missed[location]
	t.tags.busy[location], t.tags.missed[location] = false, false
	if ctx.Err() == nil && (missed && len(failed) == 0 || len(took) > 0) {
		t.soon()
	}
}

// taken is a write that EC2 has taken, and when it was asked.
type taken struct {
	write plan.TagWrite
	at    time.Time
}

// writeTags writes in the order given, those of one value in one call, until ctx ends. It tells which of them EC2 has
// taken, by their index, what it has not, and the instances that were left as they are.
func writeTags(ctx context.Context, cloud Cloud, writes []plan.TagWrite) (took map[int]taken, failed []lease.Tagging, left []string) {
	took = map[int]taken{}
	refused := 0
	for _, same := range byValue(writes) {
		if ctx.Err() != nil || refused >= refusalsMax && len(took) == 0 {
			return took, failed, left
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
				left = append(left, writes[n].InstanceID)
			}
		}
		asked, accepted := time.Now(), false
		if len(ids) == 0 {
			continue
		}
		for _, answer := range cloud.Tag(ctx, ids, tags) {
			if n, known := at[answer.ID]; known && answer.Accepted() {
				took[n], accepted = taken{writes[n], asked}, true
			} else {
				failed = append(failed, answer)
			}
		}
		if refused++; accepted {
			refused = 0
		}
	}
	return took, failed, left
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
