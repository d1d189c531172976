package janitor

import "lapse/janitor/plan"

// count tells the observer what the plan was about.
func (t *leader) count(planned plan.Plan) {
	if _, nobody := t.Observe.(blind); nobody {
		return
	}
	c := planned.Census(t.joined, t.listings.Locations)
	c.TagLag = t.tags.Lag()
	t.Observe.Counted(c)
}
