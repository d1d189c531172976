package sim

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"lapse/lease/etcd/etcdsim"
)

const (
	// answering is how long the API works on one call at most, and etcd on its last write.
	answering = 12 * time.Second
	// underWay is for how long after the first use of a newer key calls of an older one mean nothing.
	underWay = 30 * time.Second
)

// calling is what the checker knows of who calls the API in the name of one instance.
type calling struct {
	keys      []string // that are enrolled, in the order of their enrolment
	contested time.Time
	dropped   map[string]time.Time // keys that are not enrolled any more, by when they went
	used      map[string]time.Time // when the present keys were first used, as far as that is on record
	inUse     string               // the key of which the record says so
	last      string               // key of the last renewal, or of one that got no further than that
	renewed   time.Time            // when that was answered
	told      map[string]int64     // the highest change counter that each replica has told
	stolen    bool                 // somebody else than its sidecar has called
}

func (t *truth) calling(id string) *calling {
	if t.callers[id] == nil {
		t.callers[id] = &calling{dropped: map[string]time.Time{}, used: map[string]time.Time{}, told: map[string]int64{}}
	}
	return t.callers[id]
}

// takeEnrolment: there are three keys at most; the API never drops the one that renewed last, and never says that what was contested is
// settled.
func (t *truth) takeEnrolment(e event, id string, c etcdsim.Change) {
	k := t.calling(id)
	after, err := read[enrolmentRecord](c.Value)
	if err != nil {
		t.find("records", id, "is not JSON: %v", err)
		return
	}
	before, contested := k.keys, k.contested
	k.keys, k.contested = nil, time.Time{}
	if after != nil {
		for _, key := range after.Keys {
			k.keys = append(k.keys, key.SHA256)
		}
		if k.contested = contested; after.Contested.IsZero() {
			k.contested = time.Time{}
		} else if contested.IsZero() {
			k.contested = t.now
		}
	}
	for _, key := range before {
		if !slices.Contains(k.keys, key) {
			k.dropped[key] = t.now
			delete(k.used, key)
		}
	}
	inUse := k.inUse
	if k.inUse = ""; after != nil {
		k.inUse = after.InUse
	}
	if len(k.keys) > 3 {
		t.find("P5", id, "%d keys are enrolled", len(k.keys))
	}
	if e.who == "" { // set back: what was used before need not be on record
		clear(k.used)
		k.last = ""
		return
	}
	if t.roles[e.who] != "api" {
		return
	}
	wrong := t.now.Before(t.skewed.Add(time.Minute)) // by such a clock a key may seem to have rested for long
	if k.last != "" && slices.Contains(before, k.last) && !slices.Contains(k.keys, k.last) && !wrong {
		t.find("P5", id, "the key that renewed last is not enrolled any more")
	}
	if k.inUse != inUse {
		k.last = k.inUse
		if k.last != "" && k.used[k.last].IsZero() {
			k.used[k.last] = t.now
		}
	}
	if !contested.IsZero() && k.contested.IsZero() {
		t.find("P5", id, "was contested, and the API has settled it")
	}
}

// takeCalled: the API answers only keys that are enrolled, each about its own instance, and notes if an older one is used after a newer.
func (t *truth) takeCalled(e event) {
	parts := strings.Fields(e.text)
	call, of, key := parts[0]+" "+parts[1], parts[2], parts[3]
	k := t.calling(e.id)
	k.stolen = k.stolen || t.roles[e.who] == "thief"
	if of != e.id {
		t.find("P5", e.id, "%s of %s was answered: %s", e.who, of, call)
	}
	at := slices.Index(k.keys, key)
	if at < 0 {
		if gone := k.dropped[key]; gone.IsZero() || t.now.Sub(gone) > answering {
			t.find("P5", e.id, "%s was answered by a key that is not enrolled: %s", e.who, call)
		}
		return
	}
	if call == "POST enrolment" {
		return
	}
	superseded := false // by a newer one, just now
	for _, newer := range k.keys[at+1:] {
		used := k.used[newer]
		superseded = superseded || !used.IsZero() && t.now.Sub(used) <= underWay+answering
		if !used.IsZero() && t.now.Sub(used) > underWay+answering && k.contested.IsZero() && used.After(t.skewed) {
			t.find("P5", e.id, "%s used an older key %s after a newer one, and it is not contested: %s", e.who, t.now.Sub(used), call)
		}
	}
	if k.used[key].IsZero() {
		k.used[key] = t.now
	}
	if call == "PUT heartbeat" {
		if k.renewed = t.now; !superseded {
			k.last = key
		}
		t.checkTold(e.id, parts[4], parts[5], parts[6])
	}
}

// checkTold: what a replica has told an instance of its lease it believes when the instance says so, and notes beside its heartbeat. One
// who changes that too often is kept from it.
func (t *truth) checkTold(id, replica, said, told string) {
	k, heartbeat := t.calling(id), t.heartbeats[id]
	seen, _ := strconv.ParseInt(said, 10, 64)
	if heartbeat != nil && heartbeat.there && seen <= k.told[replica] && heartbeat.changes < seen && !k.stolen && !t.lost(t.now.Add(-answering)) {
		t.find("P1", id, "%s has told it of change %d, and notes that it has seen %d", replica, seen, heartbeat.changes)
	}
	now, _ := strconv.ParseInt(told, 10, 64)
	k.told[replica] = max(k.told[replica], now)
}

// checkOwn: what an instance does with its own lease, and what its renewals protect it from.
func (t *truth) checkOwn(who, id string, before, after *leaseRecord) {
	switch {
	case before == nil:
	case t.roles[who] == "janitor" && after.Mark != nil && inferred(after.Mark.Cause) && (before.Mark == nil || !inferred(before.Mark.Cause)):
		t.checkMark(id, before)
	case t.roles[who] != "api":
	case before.live() && after.State == "revoked":
		k := t.calling(id)
		if !before.ContestedAt.IsZero() || !k.contested.IsZero() && t.now.Sub(k.contested) > answering {
			t.find("P5", id, "released while it is contested")
		}
	case before.ExpiresNumber != after.ExpiresNumber:
		t.checkSelfExtend(id, before, after)
	}
}

// checkMark: a heartbeat that says nothing is not judged, nor one that is there and renewed. A renewal counts from when etcd took it,
// which may be as long before its answer as an answer takes.
func (t *truth) checkMark(id string, before *leaseRecord) {
	if !before.ContestedAt.IsZero() || !before.VouchedAt.IsZero() {
		t.find("P1", id, "marked for a lost heartbeat, although that says nothing: contested, or proved to run")
	}
	heartbeat, renewed := t.heartbeats[id], t.calling(id).renewed
	if heartbeat == nil || renewed.IsZero() {
		return
	}
	if heartbeat.there && (t.now.Sub(heartbeat.claimed) < time.Minute || t.wasStopped(t.now.Add(-time.Minute))) { // written while the mark was on its way
		return
	}
	timeout := min(before.timeout(), heartbeat.timeout) // a thief may have named a shorter one
	if ago := t.now.Sub(renewed); ago < timeout-answering && renewed.After(t.upset.Add(before.timeout())) {
		t.find("P1", id, "marked for a lost heartbeat %s after it renewed through the API, within its timeout", ago)
	}
}

// checkSelfExtend: never to an earlier date, past the maximum, or further from now than the lease allows.
func (t *truth) checkSelfExtend(id string, before, after *leaseRecord) {
	if after.until().Before(before.until()) {
		t.find("P5", id, "brought forward by its instance, from %s to %s", before.until(), after.until())
	}
	if !after.until().After(before.until()) {
		return
	}
	if limit := before.MaxExpiresAt; !limit.IsZero() && after.until().After(limit) {
		t.find("P5", id, "extended by its instance to %s, past its maximum %s", after.until(), limit)
	}
	if before.SelfExtend == nil || t.now.Before(t.skewed.Add(time.Minute)) {
		return
	}
	limit, err := time.ParseDuration(*before.SelfExtend)
	if err != nil || after.until().After(t.now.Add(limit+maxSkew)) {
		t.find("P5", id, "extended by its instance to %s, which is more than %s from now", after.until(), *before.SelfExtend)
	}
}

// checkSeen: the API writes no later change than an instance can have been told of.
func (t *truth) checkSeen(who, id string, c etcdsim.Change) {
	hb, err := read[heartbeatRecord](c.Value)
	if t.roles[who] != "api" || err != nil || hb == nil {
		return
	}
	var most int64
	if f := t.leases[id]; f != nil {
		most = f.changes
	}
	if hb.Changes > most {
		t.find("P5", id, "its heartbeat says that it has seen change %d of %d", hb.Changes, most)
	}
}

// upsets notes until when a fault may take heartbeats away, and until when a clock of the API is wrong.
func (t *truth) upsets(e event) {
	later := func(at *time.Time) {
		if e.until.After(*at) {
			*at = e.until
		}
	}
	switch e.id {
	case apiClockSteps:
		later(&t.skewed)
	case "heartbeats deleted", "etcd emptied", "etcd restored", allSetBack, "etcd stalls", "etcd freezes", "etcd elects", "ghost heartbeats", "hostile heartbeats":
		later(&t.upset)
	}
}
