//go:build chaos

package chaos

import (
	"sync"
	"time"
)

// diary is what was done to whom, by the test's own clock.
type diary struct {
	mu       sync.Mutex
	spans    []*span
	outages  []outage
	lost     bool // etcd did not answer when it was asked last
	grants   []grant
	wishes   []wish
	exempt   map[string]time.Time // since when an instance bears the tag
	restores []*rollback
}

// span is a time in which somebody was in trouble: etcd, a zone's links, or the sidecar of an instance by its id.
type span struct {
	who, what string
	from, to  time.Time // to is zero while it lasts
}

// grant is an extension that was acknowledged.
type grant struct {
	id       string
	asked    time.Time // when the command began
	until    time.Time // the term granted
	revision int64     // of the record with it
	epoch    int       // of the history
	shorten  bool
}

// outage is a time in which etcd did not answer, whenever it was asked.
type outage struct{ first, last time.Time }

// wish is a lease that somebody asked to be taken away, or a term that they asked to be shorter, whatever came of it.
type wish struct {
	id, verb string
	at       time.Time
}

// rollback is one restore of the whole cluster.
type rollback struct {
	up      time.Time // when it was served
	noticed time.Time // when a checkpoint had the brake
	resumed time.Time // when the operator began to release the brake
	lifted  time.Time // when that was done
}

func newDiary() *diary { return &diary{exempt: map[string]time.Time{}} }

// trouble notes that somebody is in trouble, until end is called.
func (d *diary) trouble(who, what string) (end func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := &span{who: who, what: what, from: time.Now()}
	d.spans = append(d.spans, s)
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if s.to.IsZero() {
			s.to = time.Now()
		}
	}
}

// asked notes whether etcd as a whole answered when it was asked.
func (d *diary) asked(at time.Time, answered bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case answered:
	case d.lost:
		d.outages[len(d.outages)-1].last = at
	default:
		d.outages = append(d.outages, outage{at, at})
	}
	d.lost = !answered
}

func (d *diary) granted(g grant) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.grants = append(d.grants, g)
}

func (d *diary) wished(id, verb string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.wishes = append(d.wishes, wish{id, verb, time.Now()})
}

// wishedBefore reports whether somebody asked for that before a time.
func (d *diary) wishedBefore(id string, at time.Time, verbs ...string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, wanted := range d.wishes {
		for _, verb := range verbs {
			if wanted.id == id && wanted.verb == verb && !wanted.at.After(at) {
				return true
			}
		}
	}
	return false
}

// exempted notes that an instance bears the tag that spares it, from now on.
func (d *diary) exempted(id string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.exempt[id] = time.Now()
}

func (d *diary) exemptSince(id string) (time.Time, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	at, is := d.exempt[id]
	return at, is
}

// Recovery takes a while: connections come back at intervals that grow with the trouble.
const recovery = 5 * time.Second

// well is since when a sidecar had every chance to renew, as of at, and why it had none before. It is after at if it had
// none at that time.
func (d *diary) well(at time.Time, id, zone string) (since time.Time, why string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, s := range d.spans {
		if s.who != id && s.who != zone && s.who != "etcd" || s.from.After(at) {
			continue
		}
		end := s.to
		if end.IsZero() || end.After(at) {
			return at.Add(time.Second), s.what
		}
		if end = end.Add(min(end.Sub(s.from), time.Minute) + recovery); end.After(since) {
			since, why = end, s.what
		}
	}
	return since, why
}

// lastAway is when etcd was last asked in vain before at, in an outage that nobody can have missed; zero if there was none. It
// had lasted for so long before due: what was asked of etcd in its first seconds may have been done in the moment when it woke.
func (d *diary) lastAway(at, due time.Time) time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	var last time.Time
	for _, o := range d.outages {
		until := o.last
		if due.Before(until) {
			until = due
		}
		if o.last.Before(at) && until.Sub(o.first) > 5*interval {
			last = o.last
		}
	}
	return last
}

// lastRestore is when etcd last served again after it was set back.
func (d *diary) lastRestore() time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	if n := len(d.restores); n > 0 {
		return d.restores[n-1].up
	}
	return time.Time{}
}
