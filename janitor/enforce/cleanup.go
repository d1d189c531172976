package enforce

import (
	"cmp"
	"context"
	"slices"
	"time"

	"lapse/janitor/plan"
	"lapse/lease"
)

// removeMax is how many leftovers of a location one sweep removes: what EC2's limits allow within descriptionMax, so that
// no termination there waits for it.
const removeMax = 25

// cleanUp removes leftovers of one location: what was never tried first, so that what cannot be removed delays nothing else,
// and of that the spot requests, because they may make more.
func (a Armed) cleanUp(ctx context.Context, reg lease.Registry, vs []plan.Verdict) Report {
	order := map[lease.LeftoverKind]int{lease.LeftoverSpot: 1, lease.LeftoverInterface: 2, lease.LeftoverVolume: 3, lease.LeftoverKeyPair: 4}
	slices.SortStableFunc(vs, func(a, b plan.Verdict) int {
		return cmp.Or(a.Launch.Removals[a.Leftover.ID].Compare(b.Launch.Removals[b.Leftover.ID]),
			cmp.Compare(order[a.Leftover.Kind], order[b.Leftover.Kind]), cmp.Compare(a.Token, b.Token))
	})
	vs = vs[:min(removeMax, len(vs))]
	var tokens []string
	byLaunch := map[string][]plan.Verdict{}
	for _, v := range vs {
		if byLaunch[v.Token] == nil {
			tokens = append(tokens, v.Token)
		}
		byLaunch[v.Token] = append(byLaunch[v.Token], v)
	}
	var total Report
	for _, token := range tokens {
		if ctx.Err() == nil {
			total.Add(a.remove(ctx, reg, byLaunch[token]))
		}
	}
	return total
}

// remove is the only function of Lapse that removes what outlived an instance. It takes leftovers of one launch through
// these steps, and one that fails any of them is spared:
//
//  1. EC2 describes it afresh, and EC2's clock agrees with ours.
//  2. It bears this registry's tag by value and that of an attempt of this launch, is not exempt, was made while the
//     launch could make it, and nothing uses it: all that it was judged by.
//  3. The registry notes that it is about to be removed. The write compares the launch that was judged, the election and
//     the registry, so whoever pauses, observes or leads first wins here. The audit log has it, too.
//  4. It was described within the last 10 s.
//  5. EC2 is asked to remove it. What something still uses is tried again later.
func (a Armed) remove(ctx context.Context, reg lease.Registry, batch []plan.Verdict) Report {
	launch := *batch[0].Launch
	cloud := a.Clouds[launch.Location()]
	if cloud == nil {
		return Report{}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), Deadline)
	defer cancel()
	described, dated := time.Now(), a.Wall().Round(0)
	able, report := a.recheckLeftovers(ctx, cloud, reg, launch, batch)
	if len(able) == 0 {
		return report
	}
	ids := make([]string, len(able))
	for n, v := range able {
		ids[n] = v.Leftover.ID
	}
	noted, err := launch.Removing(a.Date(), ids...)
	if err == nil {
		noted, err = a.Registry.PutLaunch(ctx, reg, noted)
	}
	switch {
	case isConflict(err):
		for _, v := range able {
			report.Add(a.spareLeftover(v, "its launch has changed"))
		}
		return report
	case err != nil:
		a.Log.Error("nothing removed: write failed", "launch", launch.Token, "leftovers", len(ids), "error", err)
		report.Add(a.failed(able, err))
		return report
	}
	for n, v := range able {
		if lease.Elapsed(described, dated, a.Wall()) > descriptionMax {
			a.Log.Info("left for the next sweep", "launch", launch.Token, "leftovers", len(able)-n)
			break
		}
		e := eventOf(v, lease.ActionAuthorise)
		e.Revision = noted.Revision
		if err := a.Record(a.signed(e)); err != nil {
			report.Add(a.failed([]plan.Verdict{v}, err))
			continue
		}
		report.Add(a.answeredRemoval(v, cloud.Remove(ctx, *v.Leftover)))
	}
	return report
}

// recheckLeftovers describes leftovers afresh and keeps those that may be removed by what EC2 says now.
func (a Armed) recheckLeftovers(ctx context.Context, cloud Cloud, reg lease.Registry, launch lease.Launch, batch []plan.Verdict) ([]plan.Verdict, Report) {
	judged := make([]lease.Leftover, len(batch))
	for n, v := range batch {
		judged[n] = *v.Leftover
	}
	listing, err := cloud.DescribeLeftovers(ctx, judged)
	if err != nil {
		a.Log.Error("nothing removed: cannot describe", "launch", launch.Token, "leftovers", len(batch), "error", err)
		return nil, a.failed(batch, err)
	}
	clock := plan.LocationView{Skew: listing.Skew, Dated: listing.Dated}
	why := clock.ClockTrouble(a.Policy.MaxSkew)
	fresh := map[string]*lease.Leftover{}
	for n := range listing.Leftovers {
		fresh[listing.Leftovers[n].ID] = &listing.Leftovers[n]
	}
	var able []plan.Verdict
	var report Report
	for _, v := range batch {
		x := fresh[v.Leftover.ID]
		switch why := cmp.Or(why, a.brake(), plan.OutdatedLeftover(reg, launch, *v.Leftover, x)); {
		case why != "":
			report.Add(a.spareLeftover(v, why))
		default:
			v.Leftover = x
			able = append(able, v)
		}
	}
	return able, report
}

func (a Armed) spareLeftover(v plan.Verdict, why string) Report {
	a.Log.Info("spared", "leftover", v.Leftover.ID, "kind", string(v.Leftover.Kind), "launch", v.Token, "reason", why)
	a.emit(sparedOf(v, why))
	return Report{Spared: 1}
}

// answeredRemoval takes in EC2's answer about one leftover.
func (a Armed) answeredRemoval(v plan.Verdict, r lease.Removal) Report {
	log := a.Log.With("leftover", r.ID, "kind", string(v.Leftover.Kind), "launch", v.Token, "request", r.RequestID)
	e := eventOf(v, lease.ActionRemove)
	e.RequestID, e.Code = r.RequestID, r.Code
	report := Report{Removed: 1}
	switch {
	case r.Err == nil:
		log.Info("removed")
	case r.Busy:
		log.Info("not removed yet", "code", r.Code, "reason", "something still uses it")
		e.Kind, e.Reason = lease.ActionSpare, r.Err.Error()
		report = Report{Spared: 1}
	default:
		log.Error("not removed", "code", r.Code, "error", r.Err)
		e.Kind, e.Reason = lease.ActionFail, r.Err.Error()
		if r.Code != "" {
			e.Kind = lease.ActionRefuse
		}
		report = Report{Failed: 1}
	}
	a.emit(e)
	return report
}
