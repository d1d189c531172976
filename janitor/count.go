package janitor

import (
	"time"

	"lapse/janitor/plan"
)

// count tells the observer what the plan was about.
func (t *term) count(planned plan.Plan) {
	if _, nobody := t.Observe.(blind); nobody {
		return
	}
	now := time.Now()
	c := planned.Census(t.seen.snapshot, t.seen.locations, func(id string) time.Duration { return t.mem.missing(now, id) })
	c.TagLag = t.tags.lag()
	t.Observe.Counted(c)
}
