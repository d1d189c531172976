package enforce

import (
	"cmp"
	"context"
	"errors"
	"time"

	"lapse/janitor/plan"
	"lapse/lease"
)

// Deadline is how long a batch that has begun may take. It is finished even if its context ends.
const Deadline = 90 * time.Second

const (
	descriptionMax = 10 * time.Second // an older description of what is to be terminated is not acted on
	roundsMax      = 3                // descriptions of a batch, before EC2 or the registry counts as too slow
)

// terminate is the only function of Lapse that terminates instances. It takes a batch of one location and zone through these
// steps, and an instance that fails any of them is spared:
//
//  1. EC2's limits allow the call: all that follows is fresh when it is made.
//  2. EC2 describes the instance afresh, and EC2's clock agrees with ours. No brake that holds everything has engaged since
//     the decision.
//  3. It bears this registry's tag by value, is bound to this lease, and is not exempt. By the clock that was just checked,
//     its lease has expired, or the deadline of its mark has passed. For an inferred cause it is running, and was not
//     started since it was judged, and etcd, which heartbeats are renewed in, has not stalled since. Its tag agrees: a record that is behind its tag terminates nothing, and for a date the
//     tag has passed, too.
//  4. The audit log, if there is one, has it that the termination is being authorised. Otherwise the lease is not revoked,
//     so that it can still be extended, and one that was revoked before is stuck for that reason.
//     Then the registry revokes the lease, or, if it was revoked before, authorises another attempt. Both compare the
//     revision that was judged, the election and the registry; an inferred cause also requires that no heartbeat holds.
//     Whoever extends or renews first wins here. A write that gets a revision older than one that was observed before tells
//     that the registry was set back, before anybody has read so.
//  5. If more than 10 s have passed since it was described, by either clock, it is taken through steps 2 to 4 again.
//  6. TerminateInstances is called.
//
// Once begun, a batch is finished even if the janitor is asked to stop.
func (a Armed) terminate(ctx context.Context, reg lease.Registry, batch []plan.Verdict) Report {
	cloud := a.Clouds[batch[0].Location]
	if cloud == nil {
		return Report{}
	}
	err := ctx.Err()
	if err == nil {
		err = cloud.Reserve(ctx, len(batch))
	}
	if err != nil {
		a.Log.Info("left for later", "location", batch[0].Location.String(), "instances", len(batch), "reason", err.Error())
		return Report{Left: len(batch)}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), Deadline)
	defer cancel()

	authorised, report := a.authoriseFresh(ctx, cloud, reg, batch)
	ids := make([]string, 0, len(authorised))
	byID := map[string]plan.Verdict{}
	for _, v := range authorised {
		ids = append(ids, v.InstanceID)
		byID[v.InstanceID] = v
	}
	if len(ids) == 0 {
		return report
	}
	if why := a.brake(); why != "" {
		for _, v := range byID {
			a.Log.Info("spared", "instance_id", v.InstanceID, "cause", string(v.Cause), "reason", why)
			a.emit(sparedOf(v, why))
		}
		report.Spared += len(ids)
		return report
	}
	for _, t := range cloud.Terminate(ctx, ids) {
		report.Add(a.answered(ctx, reg, byID[t.ID], t))
	}
	return report
}

// authoriseFresh returns what may be terminated by what EC2 and the registry have said within the last 10 s. It gives up
// where they are too slow for that; what was revoked by then is tried again later.
func (a Armed) authoriseFresh(ctx context.Context, cloud Cloud, reg lease.Registry, batch []plan.Verdict) ([]plan.Verdict, Report) {
	var report Report
	for range roundsMax {
		described, dated := time.Now(), a.Wall().Round(0)
		able, spared := a.recheck(ctx, cloud, reg, batch)
		report.Add(spared)
		batch = a.authoriseAll(ctx, reg, able, &report)
		if len(batch) == 0 || lease.Elapsed(described, dated, a.Wall()) <= descriptionMax {
			return batch, report
		}
	}
	a.Log.Error("nothing terminated: EC2 or the registry answers too slowly", "instances", len(batch))
	report.Add(a.failed(batch, errors.New("EC2 or the registry answers too slowly")))
	return nil, report
}

// recheck describes the batch afresh and keeps what may be terminated by what EC2 says now.
func (a Armed) recheck(ctx context.Context, cloud Cloud, reg lease.Registry, batch []plan.Verdict) ([]plan.Verdict, Report) {
	ids := make([]string, len(batch))
	for n, v := range batch {
		ids[n] = v.InstanceID
	}
	listing, err := cloud.Describe(ctx, ids)
	if err != nil {
		a.Log.Error("nothing terminated: cannot describe", "location", batch[0].Location.String(), "instances", len(ids), "error", err)
		return nil, a.failed(batch, err)
	}
	now := plan.LocationView{Skew: listing.Skew, Dated: listing.Dated}
	if why := now.ClockTrouble(a.Policy.MaxSkew); why != "" {
		a.Log.Error("nothing terminated: clock", "location", batch[0].Location.String(), "instances", len(ids), "reason", why)
		for _, v := range batch {
			a.emit(sparedOf(v, why))
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
		if why := cmp.Or(a.brake(), a.stalled(v), v.Spare(reg), v.Outdated(judged, a.Wall(), a.Policy)); why != "" {
			a.Log.Info("spared", "instance_id", v.InstanceID, "cause", string(v.Cause), "reason", why)
			a.emit(sparedOf(v, why))
			report.Spared++
			continue
		}
		able = append(able, v)
	}
	return able, report
}

// brake says which brake holds everything until a person releases it, even if it has engaged while this batch was on its
// way; or is empty.
func (a Armed) brake() string {
	for _, b := range a.Standing() {
		return "held back by brake " + b.Name
	}
	return ""
}

// stalled says that a heartbeat could not be renewed since its loss was judged, or is empty.
func (a Armed) stalled(v plan.Verdict) string {
	if v.Cause.Inferred() && a.Registry.Steady().After(a.Decided) {
		return "etcd has stalled since its heartbeat was judged"
	}
	return ""
}

// setBack is why an instance is spared whose revocation got a revision older than one that was observed before.
const setBack = "the registry was set back to an older state"

// authoriseAll revokes each lease and keeps the verdicts for which the registry agreed.
func (a Armed) authoriseAll(ctx context.Context, reg lease.Registry, able []plan.Verdict, report *Report) []plan.Verdict {
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
	var authorised []plan.Verdict
	for n, v := range able {
		switch err := errs[n]; {
		case isConflict(err):
			a.Log.Info("spared", "instance_id", v.InstanceID, "cause", string(v.Cause), "reason", "its lease has changed")
			a.emit(sparedOf(v, "its lease has changed"))
			report.Spared++
		case err != nil:
			a.Log.Error("not revoked", "instance_id", v.InstanceID, "cause", string(v.Cause), "error", err)
			report.Add(a.failed([]plan.Verdict{v}, err))
		default:
			a.Log.Info("revoked", "instance_id", v.InstanceID, "cause", string(v.Cause), "reason", v.Reason, "revision", revoked[n].Revision)
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
			a.emit(e)
			if v.Lease.Revision < a.Newest {
				a.Log.Warn("spared", "instance_id", v.InstanceID, "cause", string(v.Cause), "reason", setBack, "newest", a.Newest)
				a.emit(sparedOf(v, setBack))
				report.Spared++
				continue
			}
			authorised = append(authorised, v)
		}
	}
	return authorised
}

// unaudited is why an instance is stuck whose termination cannot be written to the audit log.
const unaudited = "its termination cannot be written to the audit log"

// authorise revokes a lease once the audit log has it that it does.
func (a Armed) authorise(ctx context.Context, reg lease.Registry, v plan.Verdict) (lease.Lease, error) {
	e := eventOf(v, lease.ActionAuthorise)
	if v.Lease != nil {
		e.Revision = v.Lease.Revision
	}
	if err := a.Record(a.signed(e)); err != nil {
		if v.Lease != nil && v.Lease.State == lease.StateRevoked {
			a.noteStuck(ctx, reg, v, lease.KeptByAudit, "", unaudited)
		}
		return lease.Lease{}, err
	}
	return a.revoke(ctx, reg, v)
}

// failed tells that nothing came of a batch.
func (a Armed) failed(batch []plan.Verdict, err error) Report {
	for _, v := range batch {
		a.emit(failedOf(v, err))
	}
	return Report{Failed: len(batch)}
}

// revoke revokes one lease by a conditional write. It returns the record as written.
func (a Armed) revoke(ctx context.Context, reg lease.Registry, v plan.Verdict) (lease.Lease, error) {
	now, by := a.Date(), a.by(v.Reason)
	var l lease.Lease
	var err error
	lost := false
	switch {
	case v.Lease == nil:
		attempt, _ := v.Launch.Member(*v.Instance)
		l = v.Launch.Orphan(now, *v.Instance, attempt, by)
	case v.Lease.State == lease.StateRevoked:
		if l = *v.Lease; l.Stuck != "" && !l.Refused() { // what kept it is gone
			if l, err = l.StuckBecause(now, "", "", "", by); err != nil {
				return l, err
			}
		}
	default:
		lost = v.Cause.Inferred()
		if l, err = v.Lease.Revoke(now, v.Cause, by); err != nil {
			return l, err
		}
	}
	if l, err = l.Try(now); err != nil {
		return l, err
	}
	return a.Registry.Revoke(ctx, reg, l, lost)
}

// answered takes in EC2's answer about one instance. What may not be terminated is noted as stuck, and tried again later.
func (a Armed) answered(ctx context.Context, reg lease.Registry, v plan.Verdict, t lease.Termination) Report {
	log := a.Log.With("instance_id", t.ID, "cause", string(v.Cause), "request", t.RequestID)
	if t.Err == nil {
		log.Info("terminating", "state", string(t.State))
		a.emit(answeredOf(v, lease.ActionTerminate, t))
		return Report{Asked: 1}
	}
	log.Error("not terminated", "code", t.Code, "error", t.Err)
	if !t.Refused() {
		a.emit(answeredOf(v, lease.ActionFail, t)) // no word about this instance: tried again
		return Report{Failed: 1}
	}
	a.emit(answeredOf(v, lease.ActionRefuse, t))
	a.noteStuck(ctx, reg, v, lease.KeptStuck, t.Code, "EC2 refuses: "+t.Code)
	return Report{Failed: 1}
}

// noteStuck notes once why the instance of a revoked lease cannot be terminated: each write causes a reaction.
func (a Armed) noteStuck(ctx context.Context, reg lease.Registry, v plan.Verdict, why lease.KeptReason, code, reason string) {
	if v.Lease.Stuck == reason {
		return
	}
	stuck, err := v.Lease.StuckBecause(a.Date(), why, code, reason, a.by(""))
	if err == nil {
		stuck, err = a.Registry.PutLease(ctx, reg, stuck)
	}
	switch {
	case err == nil:
		e := eventOf(v, lease.ActionStuck)
		e.Reason, e.Revision, e.Changes = reason, stuck.Revision, stuck.Changes
		a.emit(e)
	case !isConflict(err):
		a.Log.Error("write failed", "instance_id", v.InstanceID, "error", err)
	}
}
