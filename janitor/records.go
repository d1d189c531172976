package janitor

import (
	"cmp"
	"time"

	"lapse/janitor/audit"
	"lapse/janitor/enforce"
	"lapse/janitor/observe"
	"lapse/janitor/plan"
	"lapse/lease"
)

// records is all that a leader knows of EC2 and the registry: as it was observed last, kept up by what the watch tells.
type records struct {
	*replica
	listings  observe.Listings  // of the last look at EC2
	joined    *plan.Joined      // with the records as they are known; of revision 0 before the first look
	renewals  *observe.Renewals // what it saw of heartbeats
	newest    int64             // the newest revision of etcd that was observed
	reads     int               // snapshots taken in
	tags      *enforce.Tags     // what it has written onto instances
	historian *audit.Historian  // of what others do

	leftoversListed map[string]time.Time        // when the leftovers of a launch were last looked for, by its token; monotonic
	witness         struct{ ec2, at time.Time } // EC2's clock as it was told last, and when that was, by the monotonic clock
}

func newRecords(r *replica) *records {
	return &records{
		replica: r, joined: plan.Join(lease.Snapshot{}, nil, nil, nil), renewals: observe.NewRenewals(), tags: enforce.NewTags(),
		leftoversListed: map[string]time.Time{},
	}
}

// joining returns what puts records beside the last listing of EC2. It may be called beside the loop, until the next listing.
func (r *records) joining() func(lease.Snapshot) *plan.Joined {
	locations, index, written := r.listings.Locations, r.listings.Index, r.tags.Written()
	return func(s lease.Snapshot) *plan.Joined { return plan.Join(s, locations, index, written) }
}

// see replaces the records that were observed by those of a snapshot, which are joined already. least is the revision of etcd
// that had been observed before they were asked for. idle says that no plan of this janitor is in progress. It reports whether
// the registry was set back.
func (r *records) see(s lease.Snapshot, joined *plan.Joined, least int64, idle bool) (setBack bool) {
	before := r.joined
	least = min(least, r.newest) // which falls where another history begins, and rises otherwise
	if before.Revision == 0 {
		known, newest := r.left.since(s.Checkpoint)
		before, least = cmp.Or(known, before), max(least, newest)
	}
	older := observe.Older(before, least, s)
	setBack = older != "" || s.Checkpoint.Sequence < before.Checkpoint.Sequence
	r.historian.Compare(r.Now(), r.joined.Registry, s, r.leaseOf, r.launchOf)
	r.historian.Begin(s.Revision, setBack, idle)
	r.watermark.See(r.Now(), s, true)
	if older != "" {
		r.watermark.SetBack(r.Now(), older)
	}
	if setBack {
		r.newest, r.left = 0, left{} // another history begins, and others shall read of it
	}
	r.newest = max(r.newest, s.Revision)
	r.reads++
	r.joined = joined
	r.Observe.Checkpoint(s.Checkpoint)
	return setBack
}

// list takes in what EC2 said, and reports whether it said all.
func (r *records) list(seen observe.Listings) (whole bool) {
	whole = true
	for n := range seen.Locations {
		location := &seen.Locations[n]
		whole = whole && location.Listed()
		if location.LeftoverErr != "" {
			r.Log.Warn("leftovers not listed", "location", location.Location.String(), "launches", len(location.Sought), "error", location.LeftoverErr)
		}
		for _, token := range location.Sought {
			r.leftoversListed[token] = time.Now()
		}
	}
	r.tags.Listed(seen.Mono)
	r.listings = seen
	r.joined.List(seen.Locations, seen.Index, r.tags.Written())
	return whole
}

// apply takes one change into the records observed.
func (r *records) apply(change lease.Change) {
	j := r.joined
	switch {
	case change.Registry != nil:
		r.historian.Registry(j.Registry, *change.Registry)
		j.PutRegistry(*change.Registry)
		r.newest = max(r.newest, j.Registry.Revision)
	case change.Lease != nil:
		r.historian.Lease(r.leaseOf(change.Lease.InstanceID), *change.Lease)
		j.PutLease(*change.Lease)
		r.newest = max(r.newest, change.Lease.Revision)
	case change.Launch != nil:
		r.historian.Launch(r.Now(), r.launchOf(change.Launch.Token), *change.Launch)
		j.PutLaunch(*change.Launch)
		r.newest = max(r.newest, change.Launch.Revision)
	case change.Enrolment != nil:
		r.historian.Enrolment(r.leaseOf(change.Enrolment.InstanceID), *change.Enrolment)
	case change.Heartbeat != nil:
		j.PutHeartbeat(*change.Heartbeat)
		r.renewals.Appear(time.Now(), *change.Heartbeat)
	case change.Lapsed != "":
		j.DropHeartbeat(change.Lapsed)
	case change.Bad != nil:
		j.PutBad(*change.Bad)
	}
}

// leaseOf is the lease as last observed, or zero.
func (r *records) leaseOf(id string) lease.Lease {
	if row := r.joined.Row(id); row != nil {
		return *row.Lease
	}
	return lease.Lease{}
}

// launchOf is the launch as last observed, or zero.
func (r *records) launchOf(token string) lease.Launch {
	if l := r.joined.Launch(token); l != nil {
		return *l
	}
	return lease.Launch{}
}

// leftoversAge is how long ago the leftovers of a launch were listed.
func (r *records) leftoversAge(token string) time.Duration {
	if last, looked := r.leftoversListed[token]; looked {
		return time.Since(last)
	}
	return r.Policy.RetryMax
}

// count tells the observer what a plan is about.
func (r *records) count(planned plan.Plan) {
	if _, nobody := r.Observe.(blind); nobody {
		return
	}
	census := planned.Census(r.joined, r.listings.Locations)
	census.TagLag = r.tags.Lag()
	r.Observe.Counted(census)
}

// date is what a checkpoint is dated by: our clock or, if EC2 is witness that it is wrong, EC2's as it has told it lasr. For
// others judge by the date, when this clock may be right again, for how long nobody watched.
func (r *records) date() time.Time {
	wall := r.Now().Round(0)
	if ec2, told := r.clock(wall); told && wall.Sub(ec2).Abs() > r.Policy.MaxSkew {
		return ec2
	}
	return wall
}

// dates is what records are dated by from now on, off the loop: by [records.date], and by no step of our clock since. A date that
// was a year off would let a record go a year too soon, or make a grace run out at once.
func (r *records) dates() func() time.Time {
	from, at := r.date(), time.Now()
	return func() time.Time { return from.Add(time.Since(at)) }
}

// clock is what EC2's shows while ours shows wall, as it was told last, and whether it ever was; ours, if nor. Of several
// locations, it is the one that agrees best with ours.
func (r *records) clock(wall time.Time) (now time.Time, ever bool) {
	told, ahead := false, time.Duration(0)
	for _, p := range r.listings.Locations {
		if by := p.Skew + r.listings.Drift(wall); p.Dated && (!told || by.Abs() < ahead.Abs()) {
			told, ahead = true, by
		}
	}
	if told {
		r.witness.ec2, r.witness.at = wall.Add(-ahead), time.Now()
	}
	if r.witness.at.IsZero() {
		return wall, false
	}
	return r.witness.ec2.Add(time.Since(r.witness.at)), true
}
