package plan

import (
	"fmt"
	"time"

	"lapse/lease"
)

// View is what was observed, and by when. A decision uses nothing else.
type View struct {
	Now    time.Time // wall clock: for dates that people and records agreed on
	Policy Policy
	*Joined
	Locations  []LocationView // those that were joined, with their clocks as they are now
	Standing   []lease.Brake  // engaged until a person releases them
	Leadership LeadershipView
}

// LocationView is what EC2 said of one location.
type LocationView struct {
	Location  lease.Location
	Err       string           // why the listing failed; then only declared causes go on, with instances looked up by id
	Instances []lease.Instance // listed, and looked up by id
	ByID      int              // how many of Instances, its last ones, the listing lacked
	Absent    map[string]bool  // leased instances that were looked up by id and not found
	Skew      time.Duration
	Dated     bool // whether EC2 told its time
	Kept      bool // from a sweep before, which found the location empty: it says nothing of what was recorded since

	Sought      []string // tokens of the closed launches whose leftovers were listed
	Leftovers   []lease.Leftover
	LeftoverErr string // why that listing failed; this holds back leftovers and nothing else

	At time.Time // just before it was listed, by the monotonic clock
}

// Renewal is what this leader saw of one lease's heartbeat, by its own monotonic clock.
type Renewal struct {
	Present  bool          // the key is there, and a sidecar keeps it
	For      time.Duration // since the latest event that restarts the heartbeat timeout
	Missing  time.Duration // since this leader first saw that the key is not there; 0 while it is
	Seen     bool          // this leader saw the key present since the instance last started
	EverSeen bool          // this leader saw it then, whatever it has not seen since
	Cured    bool          // extended or unmarked since the key expired
	Started  time.Duration // since this leader saw the instance go to running; 0 if it did not see that
	Witness  bool          // another lease of the zone renewed after this key expired
	Marked   time.Duration // since this leader first saw the present mark; 0 without one
	Zone     string        // in which this leader saw the instance last
}

// LeadershipView is what this leader knows of itself and of those before it.
type LeadershipView struct {
	Checkpointed bool             // this leader has written a checkpoint of its own
	Unhealthy    string           // why missing heartbeats in etcd prove nothing; empty if they do
	Since        time.Duration    // in the lead
	Unable       lease.KeptReason // why this leader terminates nothing; empty: it can
}

// Listed reports whether the location's listing is complete.
func (p *LocationView) Listed() bool { return p.Err == "" }

// unseen says why nothing is known of an instance that is neither listed nor found absent.
func (p *LocationView) unseen() string {
	if p.Listed() {
		return "not seen yet: the last listing is older than its record"
	}
	return "not looked up: " + p.Err
}

// ClockTrouble says why nothing may be terminated by date in the location, or is empty.
func (p *LocationView) ClockTrouble(maxSkew time.Duration) string {
	switch {
	case !p.Dated:
		return "EC2 sent no date, so the clock cannot be checked"
	case p.Skew > maxSkew:
		return fmt.Sprintf("the local clock is %s ahead of EC2's", p.Skew.Round(time.Second))
	case p.Skew < -maxSkew:
		return fmt.Sprintf("the local clock is %s behind EC2's", (-p.Skew).Round(time.Second))
	}
	return ""
}

// enforcingSince returns since when, without a gap, each location has terminated instances of expired leases. A location with a
// wrong clock is absent. One whose listing failed is not, because declared causes go on by id. The last checkpoint's date is
// taken over only if the checkpoint is fresh by EC2's clock, because nobody could extend while etcd was away, and if it is not
// older than the mode. Somebody may have dated the mode by a wrong clock: if that date is in the future, the checkpoint must
// have been written after the mode.
func enforcingSince(now time.Time, reg lease.Registry, last lease.Checkpoint, locations []LocationView, maxSkew time.Duration) map[string]time.Time {
	since := map[string]time.Time{}
	if reg.Mode != lease.ModeArmed {
		return since
	}
	for n := range locations {
		p := &locations[n]
		if p.ClockTrouble(maxSkew) != "" {
			continue
		}
		since[p.Location.String()] = now
		before, acted := last.Enforcing[p.Location.String()]
		dated := !before.Before(reg.ModeSince) || reg.ModeSince.Sub(now) > maxSkew && last.Revision > reg.Revision
		if acted && last.Fresh(now.Add(-p.Skew)) && dated && !before.After(now) {
			since[p.Location.String()] = before
		}
	}
	return since
}
