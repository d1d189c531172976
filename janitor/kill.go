package janitor

import (
	"cmp"
	"context"
	"errors"
	"time"

	"lapse/lease"

	"lapse/janitor/audit"
	"lapse/janitor/plan"
)

// Bounds of one kill. A description older than descriptionMax is taken anew before the call.
const (
	descriptionMax = 10 * time.Second
	killDeadline   = 90 * time.Second
	killRounds     = 3
)

// kill is the only function of Lapse that ends instances. It takes a batch of one location and zone through these steps,
// and an instance that fails any of them is spared:
//
//  1. EC2's limits allow the call: all that follows is fresh when it is made.
//  2. EC2 describes the instance afresh, and EC2's clock agrees with ours.
//     No brake was found meanwhile that holds everything.
//  3. It bears this registry's tag by value, is bound to this lease, is not exempt. By the clock that was just checked,
//     its term or its notice has passed. For an inferred cause it is running, and was not started since it was judged.
//     Its tag agrees: no record that is behind it ends anything, and for a date the tag has passed, too.
//  4. The audit log that was asked for has it that the end is being authorised. Without a trail nothing is taken away: a
//     lease that still holds can be extended, and one that was revoked before is stuck for that reason.
//     Then the registry takes the lease away, or, if it did so before, authorises another try. Both compare the revision
//     that was judged, the election and the registry; silence also requires that nothing beats. Whoever extends or
//     renews meanwhile wins here.
//  5. If more than 10 s have passed since it was described, by either clock, all of this again.
//  6. TerminateInstances is called.
//
// Once begun, a batch is finished even if the janitor is asked to stop.
func (a armed) kill(ctx context.Context, reg lease.Registry, batch []plan.Verdict) Report {
	cloud := a.clouds[batch[0].Location]
	if cloud == nil {
		return Report{}
	}
	err := ctx.Err()
	if err == nil {
		err = cloud.Reserve(ctx, len(batch))
	}
	if err != nil {
		a.log.Info("left for later", "location", batch[0].Location.String(), "instances", len(batch), "reason", err.Error())
		return Report{Left: len(batch)}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), killDeadline)
	defer cancel()

	condemned, report := a.condemnFresh(ctx, cloud, reg, batch)
	ids := make([]string, 0, len(condemned))
	byID := map[string]plan.Verdict{}
	for _, v := range condemned {
		ids = append(ids, v.InstanceID)
		byID[v.InstanceID] = v
	}
	if len(ids) == 0 {
		return report
	}
	if why := a.stood(); why != "" {
		for _, v := range byID {
			a.log.Info("spared", "instance_id", v.InstanceID, "cause", string(v.Cause), "reason", why)
			a.told(sparedOf(v, why))
		}
		report.Spared += len(ids)
		return report
	}
	for _, t := range cloud.Terminate(ctx, ids) {
		report.add(a.heed(ctx, reg, byID[t.ID], t))
	}
	return report
}

// condemnFresh returns what EC2 and the registry have condemned within the last 10 s. It gives up where they are too
// slow for that; what was revoked by then is tried again later.
func (a armed) condemnFresh(ctx context.Context, cloud Cloud, reg lease.Registry, batch []plan.Verdict) ([]plan.Verdict, Report) {
	var report Report
	for range killRounds {
		described, dated := time.Now(), a.wall().Round(0)
		able, spared := a.vet(ctx, cloud, reg, batch)
		report.add(spared)
		batch = a.condemn(ctx, reg, able, &report)
		if len(batch) == 0 || passed(described, dated, a.wall()) <= descriptionMax {
			return batch, report
		}
	}
	a.log.Error("nothing ended: EC2 and the registry are too slow to act on what they said", "instances", len(batch))
	report.add(a.failed(batch, errors.New("EC2 and the registry are too slow to act on what they said")))
	return nil, report
}

// vet describes the batch afresh and keeps what may be ended by what EC2 says now.
func (a armed) vet(ctx context.Context, cloud Cloud, reg lease.Registry, batch []plan.Verdict) ([]plan.Verdict, Report) {
	ids := make([]string, len(batch))
	for n, v := range batch {
		ids[n] = v.InstanceID
	}
	listing, err := cloud.Describe(ctx, ids)
	if err != nil {
		a.log.Error("nothing ended: cannot describe", "location", batch[0].Location.String(), "instances", len(ids), "error", err)
		return nil, a.failed(batch, err)
	}
	now := plan.LocationView{Skew: listing.Skew, Dated: listing.Dated}
	if why := now.ClockTrouble(a.policy.MaxSkew); why != "" {
		a.log.Error("nothing ended: clock", "location", batch[0].Location.String(), "instances", len(ids), "reason", why)
		for _, v := range batch {
			a.told(sparedOf(v, why))
		}
		return nil, Report{Spared: len(batch)}
	}
	seen := make(map[string]*lease.Instance, len(listing.Instances))
	for n := range listing.Instances {
		seen[listing.Instances[n].ID] = &listing.Instances[n]
	}
	var able []plan.Verdict
	var report Report
	for _, v := range batch {
		judged := v.Instance
		v.Instance = seen[v.InstanceID]
		if why := cmp.Or(a.stood(), v.Spare(reg), v.Overtaken(judged, a.wall(), a.policy)); why != "" {
			a.log.Info("spared", "instance_id", v.InstanceID, "cause", string(v.Cause), "reason", why)
			a.told(sparedOf(v, why))
			report.Spared++
			continue
		}
		able = append(able, v)
	}
	return able, report
}

// stood says which brake holds everything until a person lifts it, also if it was found while this batch was on its way;
// or is empty.
func (a armed) stood() string {
	if a.stands == nil {
		return ""
	}
	for _, b := range a.stands() {
		return "held by brake " + b.Name
	}
	return ""
}

// condemn takes each lease away and keeps the verdicts for which the registry agreed.
func (a armed) condemn(ctx context.Context, reg lease.Registry, able []plan.Verdict, report *Report) []plan.Verdict {
	revoked := make([]*lease.Lease, len(able))
	errs := make([]error, len(able))
	indexes := make([]int, len(able))
	for n := range able {
		indexes[n] = n
	}
	abreast(writesAtOnce, indexes, func(n int) {
		l, err := a.authorise(ctx, reg, able[n])
		revoked[n], errs[n] = &l, err
	})
	var condemned []plan.Verdict
	for n, v := range able {
		switch err := errs[n]; {
		case isConflict(err):
			a.log.Info("spared", "instance_id", v.InstanceID, "cause", string(v.Cause), "reason", "its lease changed meanwhile")
			a.told(sparedOf(v, "its lease changed meanwhile"))
			report.Spared++
		case err != nil:
			a.log.Error("not revoked", "instance_id", v.InstanceID, "cause", string(v.Cause), "error", err)
			report.add(a.failed([]plan.Verdict{v}, err))
		default:
			a.log.Info("revoked", "instance_id", v.InstanceID, "cause", string(v.Cause), "reason", v.Reason, "revision", revoked[n].Revision)
			kind := lease.ActionRevoke
			switch {
			case v.Lease == nil:
				kind = lease.ActionOrphan
			case v.Lease.State == lease.StateRevoked:
				kind = lease.ActionRetry
			}
			v.Lease = revoked[n]
			e := eventOf(v, kind)
			e.Revision, e.Changes = v.Lease.Revision, v.Lease.Changes
			a.told(e)
			condemned = append(condemned, v)
		}
	}
	return condemned
}

// unrecorded is why an instance is stuck whose end cannot be written to the audit log.
const unrecorded = "its end cannot be written to the audit log"

// authorise takes a lease away once the audit log has it that it does.
func (a armed) authorise(ctx context.Context, reg lease.Registry, v plan.Verdict) (lease.Lease, error) {
	e := eventOf(v, lease.ActionAuthorise)
	if v.Lease != nil {
		e.Revision = v.Lease.Revision
	}
	if err := a.recorded(e); err != nil {
		if v.Lease != nil && v.Lease.State == lease.StateRevoked {
			a.noteStuck(ctx, reg, v, lease.KeptByAudit, unrecorded)
		}
		return lease.Lease{}, err
	}
	return a.revoke(ctx, reg, v)
}

// failed tells that a batch came to nothing.
func (a armed) failed(batch []plan.Verdict, err error) Report {
	for _, v := range batch {
		a.told(failedOf(v, err))
	}
	return Report{Failed: len(batch)}
}

// sparedOf is the event of an instance that is not ended after all.
func sparedOf(v plan.Verdict, why string) audit.Event {
	e := eventOf(v, lease.ActionSpare)
	e.Reason = why
	return e
}

// revoke takes one lease away by a conditional write. It returns the record as written.
func (a armed) revoke(ctx context.Context, reg lease.Registry, v plan.Verdict) (lease.Lease, error) {
	now, by := a.date(), a.by(v.Reason)
	var l lease.Lease
	var err error
	silent := false
	switch {
	case v.Lease == nil:
		attempt, _ := v.Launch.Member(*v.Instance)
		l = v.Launch.Orphan(now, *v.Instance, attempt, by)
	case v.Lease.State == lease.StateRevoked:
		if l = *v.Lease; l.Stuck != "" && !l.Refused() { // what kept it is gone
			if l, err = l.StuckBecause(now, "", "", by); err != nil {
				return l, err
			}
		}
	default:
		silent = v.Cause.Inferred()
		if l, err = v.Lease.Revoke(now, v.Cause, by); err != nil {
			return l, err
		}
	}
	if l, err = l.Try(now); err != nil {
		return l, err
	}
	return a.leadership.Revoke(ctx, reg, l, silent)
}

// heed takes in EC2's answer about one instance. What may not be ended is noted as stuck, and tried again later.
func (a armed) heed(ctx context.Context, reg lease.Registry, v plan.Verdict, t lease.Termination) Report {
	log := a.log.With("instance_id", t.ID, "cause", string(v.Cause), "request", t.RequestID)
	if t.Err == nil {
		log.Info("terminating", "state", string(t.State))
		a.told(answeredOf(v, lease.ActionTerminate, t))
		return Report{Asked: 1}
	}
	log.Error("not terminated", "code", t.Code, "error", t.Err)
	if !t.Refused() {
		a.told(answeredOf(v, lease.ActionFail, t)) // no word about this instance: tried again
		return Report{Failed: 1}
	}
	a.told(answeredOf(v, lease.ActionRefuse, t))
	a.noteStuck(ctx, reg, v, lease.KeptStuck, "EC2 refuses: "+t.Code)
	return Report{Failed: 1}
}

// noteStuck notes why the instance of a revoked lease cannot be ended, once: each write is news, which a reaction follows.
func (a armed) noteStuck(ctx context.Context, reg lease.Registry, v plan.Verdict, why lease.KeptReason, reason string) {
	if v.Lease.Stuck == reason {
		return
	}
	stuck, err := v.Lease.StuckBecause(a.date(), why, reason, a.by(""))
	if err == nil {
		stuck, err = a.leadership.PutLease(ctx, reg, stuck)
	}
	switch {
	case err == nil:
		e := eventOf(v, lease.ActionStuck)
		e.Reason, e.Revision, e.Changes = reason, stuck.Revision, stuck.Changes
		a.told(e)
	case !isConflict(err):
		a.log.Error("write failed", "instance_id", v.InstanceID, "error", err)
	}
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
