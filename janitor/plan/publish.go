package plan

import (
	"slices"
	"unicode/utf8"

	"lapse/lease"
)

// Bounds of a published plan, which is one value in etcd: in all, it stays below 200 kB.
const (
	publishedMax       = 100 // verdicts
	publishedBrakesMax = 20
	publishedTextMax   = 300 // bytes of a reason
)

// Marked is the action of a judgement about an instance that is kept until the deadline of its mark, and then terminated. It
// must not surprise whoever arms.
const Marked Action = "marked"

// shown is the action as people are shown it.
func (v Verdict) shown() Action {
	if v.Action == ActNone && v.Lease != nil && v.Lease.Live() && v.Lease.Mark != nil {
		return Marked
	}
	return v.Action
}

// Published is what people see of the plan before they arm: counts of everything, and the first verdicts. Terminations and
// other changes come before what is kept.
func (p Plan) Published(registry lease.Registry, policy Policy, locations []LocationView) lease.Plan {
	first := make([][]Verdict, weights)
	made := p.counted(registry.UUID, func(v Verdict, foreign bool) {
		if w := weight(v.shown(), foreign); len(first[w]) < publishedMax {
			first[w] = append(first[w], v)
		}
	})
	made.HeartbeatsJudged, made.RegistryRevision = !policy.SkipHeartbeats, registry.Revision
	for _, v := range slices.Concat(first...)[:min(len(p.Verdicts), publishedMax)] {
		j := v.judgement(registry.UUID)
		j.Reason = cut(j.Reason)
		made.Verdicts = append(made.Verdicts, j)
	}
	made.Omitted = len(p.Verdicts) - len(made.Verdicts)
	made.Brakes = made.Brakes[:min(len(made.Brakes), publishedBrakesMax)]
	for n := range made.Brakes {
		made.Brakes[n].Reason = cut(made.Brakes[n].Reason)
	}
	for _, location := range locations {
		made.Locations = append(made.Locations, lease.LocationStatus{Location: location.Location, Error: cut(location.Err)})
	}
	return made
}

// Judged is all of the plan, as people and programs read it. registry is the UUID by which instances of others are told.
func (p Plan) Judged(registry string) (made lease.Plan) {
	all := make([]lease.Judgement, 0, len(p.Verdicts))
	made = p.counted(registry, func(v Verdict, _ bool) { all = append(all, v.judgement(registry)) })
	made.Verdicts = all
	return made
}

// counted counts the verdicts, and tells each whether it is about an instance of another registry.
func (p Plan) counted(registry string, each func(v Verdict, foreign bool)) lease.Plan {
	made := lease.Plan{
		Schema: lease.Schema, Counts: map[string]int{}, Verdicts: []lease.Judgement{}, Locations: []lease.LocationStatus{},
		Brakes: append([]lease.Brake{}, p.Brakes...),
	}
	for _, v := range p.Verdicts {
		foreign := v.foreign(registry)
		if foreign {
			made.Foreign++
		} else {
			made.Counts[string(v.shown())]++
		}
		each(v, foreign)
	}
	return made
}

// judgement is the verdict without what it was made of.
func (v Verdict) judgement(registry string) lease.Judgement {
	j := lease.Judgement{
		Action: string(v.shown()), InstanceID: v.InstanceID, Leftover: v.LeftoverID(), Launch: v.Token, Location: v.Location.String(),
		Cause: v.Cause, Brake: v.Brake, Overdue: v.Overdue, Reason: v.Reason, Foreign: v.foreign(registry),
	}
	if v.Leftover != nil {
		j.Kind = v.Leftover.Kind
	}
	return j
}

// foreign reports whether this reports an instance that bears the tag of another registry, and has no lease in ours.
func (v Verdict) foreign(registry string) bool {
	return v.Action == ActReport && v.Instance != nil && v.Lease == nil && v.Instance.Tags[lease.TagRegistry] != "" && !v.Instance.ManagedBy(registry)
}

// weights is how many values weight has.
const weights = 8

// weight orders verdicts by what a person must have seen before arming: the lowest first.
func weight(action Action, foreign bool) int {
	switch action {
	case ActTerminate, ActOrphan:
		return 0
	case Marked, ActMark:
		return 1
	case ActRemove:
		return 2
	case ActHold:
		return 3
	case ActReport:
		if foreign {
			return weights - 1
		}
		return 4
	case ActNone:
		return weights - 2
	default:
		return 5
	}
}

// cut shortens a text that a record keeps many of.
func cut(text string) string {
	if len(text) <= publishedTextMax {
		return text
	}
	end := publishedTextMax
	for !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + "…"
}
