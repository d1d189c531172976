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
	Standing   []lease.Brake  // held until a person lifts them, and not lifted yet
	Leadership LeadershipView
}

// LocationView is what EC2 said of one location.
type LocationView struct {
	Location  lease.Location
	Err       string           // why the listing failed; the location is then held, but for declared causes looked up by id
	Instances []lease.Instance // listed, and looked up by id
	ByID      int              // how many of Instances, its last ones, the listing lacked
	Absent    map[string]bool  // leased instances that were looked up by id and not found
	Skew      time.Duration
	Dated     bool // whether EC2 told its time
	Kept      bool // from a sweep before, which found the location empty: it says nothing of what was recorded since

	Sought      []string // tokens of the closed launches whose leftovers were looked for
	Leftovers   []lease.Leftover
	LeftoverErr string // why that look failed; it holds leftovers and nothing else

	At time.Time // just before it was listed, by the monotonic clock
}

// Renewal is what this leader saw of one lease's heartbeat, by its own monotonic clock.
type Renewal struct {
	Present  bool          // the key is there, held by a sidecar: no silence at all
	For      time.Duration // since the latest event that restarts the silence
	Missing  time.Duration // since this leader first saw that the key is not there; 0 while it is
	Seen     bool          // this leader saw the key present since the instance last started
	EverSeen bool          // this leader saw it then, whatever it has not seen since
	Cured    bool          // extended or unmarked since the key lapsed
	Started  time.Duration // since this leader saw the instance go to running; 0 if it did not see that
	Witness  bool          // another lease of the zone renewed after this key lapsed
	Marked   time.Duration // since this leader first saw the present mark; 0 without one
	Zone     string        // in which this leader saw the instance last
}

// LeadershipView is what this leader knows of itself and of those before it.
type LeadershipView struct {
	Checkpointed bool             // this leader has written a checkpoint of its own
	Unhealthy    string           // why etcd is not to be trusted with silences; empty if it is
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

// ClockTrouble says why nothing may be ended by date in the location, or is empty.
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

// enforcingSince returns since when, without a gap, lapsed leases are being ended in each location. A location where the clock is wrong
// is absent; one whose listing failed is not, for declared causes go on by id. A checkpoint of the last sweep carries on only if
// it is fresh, by EC2's clock: nobody could extend while etcd was away. So it does if it is older than the mode, which somebody may have
// dated by a clock that was wrong: where that date has yet to come, the checkpoint must have been written after the mode.
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
