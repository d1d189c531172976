package ec2sim

import "time"

// State is an instance's state, by the name that EC2 gives it:
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_InstanceState.html
type State string

// The states of an instance.
const (
	Pending      State = "pending"
	Running      State = "running"
	ShuttingDown State = "shutting-down"
	Terminated   State = "terminated"
	Stopped      State = "stopped"
)

// code is the number that goes with a state.
func (s State) code() int {
	switch s {
	case Pending:
		return 0
	case Running:
		return 16
	case ShuttingDown:
		return 32
	case Terminated:
		return 48
	default:
		return 80
	}
}

// ending reports whether the state leads nowhere but away.
func (s State) ending() bool { return s == ShuttingDown || s == Terminated }

// enter puts an instance into a state, as of at, and remembers when the region
// next needs to be settled.
func (s *Sim) enter(r *region, i *Instance, state State, at time.Time) {
	s.remember(i, at)
	i.State, i.since, i.pinned = state, at, false
	if state == Terminated {
		s.release(r, i, at)
	}
	if next, ok := s.nextChange(i); ok && (r.due.IsZero() || next.Before(r.due)) {
		r.due = next
	}
}

// nextChange returns when an instance changes state by itself, if ever.
func (s *Sim) nextChange(i *Instance) (time.Time, bool) {
	switch {
	case i.pinned:
		return time.Time{}, false
	case i.State == Pending:
		return i.since.Add(s.config.PendingFor), true
	case i.State == ShuttingDown:
		return i.since.Add(s.config.ShuttingDownFor), true
	case i.State == Terminated:
		return i.since.Add(s.config.TerminatedVisibleFor), true
	default:
		return time.Time{}, false
	}
}

// settle brings a region up to date: it makes the changes that are due, and
// forgets what has been terminated or deleted for long enough.
func (s *Sim) settle(r *region, now time.Time) {
	if !r.due.IsZero() && !now.Before(r.due) {
		r.due = time.Time{}
		for _, n := range r.instances.rows {
			if s.advance(r, n.row, now) {
				n.row.forgotten, r.littered = true, true
			}
		}
	}
	if r.littered {
		r.littered = false
		r.instances.remove(func(i *Instance) bool { return i.forgotten })
		r.volumes.remove(func(v *Volume) bool { return v.State == deleted })
		r.interfaces.remove(func(n *Interface) bool { return n.Status == deleted })
	}
}

// advance moves one instance through the states that are due, and reports
// whether it is to be forgotten.
func (s *Sim) advance(r *region, i *Instance, now time.Time) bool {
	for {
		next, ok := s.nextChange(i)
		if !ok {
			return false
		}
		if now.Before(next) {
			if r.due.IsZero() || next.Before(r.due) {
				r.due = next
			}
			return false
		}
		switch i.State {
		case Pending:
			s.enter(r, i, Running, next)
		case ShuttingDown:
			s.enter(r, i, Terminated, next)
		default:
			return true
		}
	}
}

// release lets go of what a terminated instance had. Volumes and interfaces
// marked so go with it, the others stay, attached to nothing:
// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/preserving-volumes-on-termination.html
func (s *Sim) release(r *region, i *Instance, at time.Time) {
	for _, id := range i.Volumes {
		if v, ok := r.volumes.get(id); ok {
			v.State, v.Instance, v.Device = available, "", ""
			if v.DeleteOnTermination {
				v.State = deleted
			}
		}
	}
	for _, id := range i.Interfaces {
		if n, ok := r.interfaces.get(id); ok {
			n.Status, n.Instance = available, ""
			if n.DeleteOnTermination {
				n.Status = deleted
			}
		}
	}
	if spot, ok := r.spots.get(i.SpotRequest); ok && spot.State == spotActive {
		spot.State = spotClosed
		if spot.Persistent {
			spot.State, spot.Instance = spotOpen, ""
		}
	}
	i.Volumes, i.Interfaces, r.littered = nil, nil, true
	if i.reason == "" {
		i.reason = userInitiated(at)
	}
}

// userInitiated is what EC2 says of an end that somebody asked for.
func userInitiated(at time.Time) string {
	return "User initiated (" + at.UTC().Format(time.DateTime) + " GMT)"
}
