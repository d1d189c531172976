package janitor

import "time"

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
