package enforce

import (
	"cmp"
	"time"

	"lapse/janitor/audit"
	"lapse/janitor/plan"
	"lapse/lease"
)

// emit tells what this janitor has done.
func (a Armed) emit(e audit.Event) { a.Emit(a.signed(e)) }

func (a Armed) signed(e audit.Event) audit.Event {
	e.Time, e.Actor, e.Own = a.Date(), a.Name, true
	return e
}

// eventOf is what a verdict and its evidence say of something that happened to it.
func eventOf(v plan.Verdict, kind lease.Action) audit.Event {
	e := audit.Event{
		Kind: kind, InstanceID: v.InstanceID, Leftover: v.LeftoverID(), Launch: v.Token, Location: v.Location.String(), Zone: v.Zone, Cause: v.Cause,
		Reason: v.Reason, Evidence: audit.Evidence{Due: v.Due, Instances: v.FirstSeen},
	}
	if v.Instance != nil {
		e.Evidence.EC2 = v.Instance.State
	}
	if v.Renewal != nil {
		e.Evidence.Lost, e.Evidence.Witness = lease.Duration(v.Renewal.For.Round(time.Millisecond)), v.Renewal.Witness
	}
	if v.Lease != nil {
		e.Evidence.ExpiresAt, e.Evidence.Mark = v.Lease.ExpiresAt, v.Lease.Mark
		e.Evidence.RevokedAt, e.Evidence.Tries = v.Lease.RevokedAt, v.Lease.Tries
	}
	if v.Launch != nil {
		e.Evidence.FirstSeen = v.Launch.FirstSeen[cmp.Or(v.InstanceID, v.LeftoverID())]
	}
	return e
}

// failedOf is the event of something that could not be done.
func failedOf(v plan.Verdict, err error) audit.Event {
	e := eventOf(v, lease.ActionFail)
	e.Reason = string(v.Action) + ": " + err.Error()
	return e
}

// sparedOf is the event of an instance that is not terminated after all.
func sparedOf(v plan.Verdict, why string) audit.Event {
	e := eventOf(v, lease.ActionSpare)
	e.Reason = why
	return e
}

// answeredOf is the event of what EC2 answered about one instance.
func answeredOf(v plan.Verdict, kind lease.Action, t lease.Termination) audit.Event {
	e := eventOf(v, kind)
	e.RequestID, e.Code = t.RequestID, t.Code
	if t.Err != nil {
		e.Reason = t.Err.Error()
	} else {
		e.Evidence.EC2 = t.State
	}
	return e
}
