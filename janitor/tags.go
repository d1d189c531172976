package janitor

import (
	"context"

	"lapse/janitor/enforce"
	"lapse/janitor/plan"
	"lapse/lease"
)

// tagger has tags written onto instances.
type tagger struct {
	*records
	*loop
	*timers
	live *liveness
}

// tag has tags written beside the loop, each location's by itself.
func (t *tagger) tag(ctx context.Context, writes []plan.TagWrite) {
	due := t.tags.Due(writes)
	for _, cloud := range t.Clouds {
		location := cloud.Location()
		todo := due[location]
		if !t.tags.Begin(location, todo) {
			continue
		}
		done := t.live.works("the tags of "+location.String(), workMax+enforce.Deadline)
		t.do(func() func() {
			bounded, cancel := context.WithTimeout(ctx, workMax)
			defer cancel()
			tagged := enforce.WriteTags(bounded, cloud, todo)
			done()
			return func() { t.tagged(ctx, location, tagged) }
		})
	}
}

// tagged takes in what came of a job. What it did not write is due again in a minute.
func (t *tagger) tagged(ctx context.Context, location lease.Location, done enforce.TagOutcome) {
	if failed := done.Failed; len(failed) > 0 {
		t.Log.Warn("tags not written", "location", location.String(), "resources", len(failed), "resource", failed[0].ID, "code", failed[0].Code, "error", failed[0].Err)
		t.reactAgain()
	}
	if more := t.tags.End(location, done); more && ctx.Err() == nil {
		t.soon()
	}
}
