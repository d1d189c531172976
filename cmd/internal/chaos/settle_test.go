//go:build chaos

package chaos

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"lapse/lease/ec2/ec2sim"
)

// bound is X: how long after everything was healed something may take that is to end.
func (w *world) bound() time.Duration {
	const (
		reactions = 10 * interval // sweeps, reactions, and looks at leftovers
		leaders   = electionTTL + heartbeatTimeout
		loss      = bootGrace + heartbeatTimeout + loneGrace // longer than mark grace
		brakes    = lostMemory + leaderWindow
		creation  = launchWindow + 2*orphanGrace
	)
	rated := rateWindow * time.Duration(1+w.tally.of("fault: kill sidecars for good")/5)
	x := reactions + leaders + loss + brakes + creation + rated + retryMax + absentFor + shutdown
	w.t.Logf("X = %s: sweeps and listings %s, a new leader %s, a lost heartbeat with boot and lone grace %s, memory of the brakes %s, "+
		"window and listings of a failed creation %s, rate limit %s, retries %s, absence %s, EC2's shutdown %s",
		x, reactions, leaders, loss, brakes, creation, rated, retryMax, absentFor, shutdown)
	return x
}

// settle waits until nothing is left over, now that everything is healed. What holds then has to hold.
func (w *world) settle() {
	w.over() // nobody launches or extends any more
	w.crowd.working.Wait()
	w.liftBrakes()
	w.lastActs(2)
	began, x := time.Now(), w.bound()
	var left []string
	lifted := time.Now()
	for {
		if left = w.leftOver(); left == nil {
			w.t.Logf("everything settled %s after the faults ended; X is %s", time.Since(began).Round(time.Second), x)
			return
		}
		if time.Since(began) > 3*x { // a busy machine is no leak
			break
		}
		w.revokeBehind()
		if w.history.braked("heartbeats", nothing) && time.Since(lifted) > lostMemory { // they are dead indeed
			w.must("janitor", "release-brake", "heartbeats", "--yes")
			w.tally.add("brake heartbeats released by the operator", 1)
			lifted = time.Now()
		}
		time.Sleep(500 * time.Millisecond)
	}
	w.tally.add("leaks", len(left))
	w.t.Errorf("leaked: not settled within 3 × X = %s:\n%s", 3*x, strings.Join(left, "\n"))
}

// revokeBehind does what `lease why` says of a lease that was given back right after a restore, before its record was raised to
// its tag: that is newer, and holds the termination back until an operator revokes the lease.
func (w *world) revokeBehind() {
	for _, l := range current[leaseRecord](w.history, "leases/") {
		if i, known := w.sim.Instance(l.InstanceID); l.State == "revoked" && l.TagNumber > l.ExpiresNumber && known && i.State == ec2sim.Running {
			w.must("lease", "revoke", l.InstanceID, "--yes")
			w.tally.add("revoked by the operator, because the tag was newer", 1)
		}
	}
}

// lastActs kills some sidecars for good whose instances nothing else terminates soon, releases a lease and revokes one,
// makes an instance exempt that expires soon, kills a launcher, and resumes another launch: with little else going
// wrong, the consequences are sure to be seen.
func (w *world) lastActs(dead int) {
	all := w.lasting()
	for _, m := range all[:min(dead, len(all))] {
		w.fleet.kill(m, true)
		w.tally.add("sidecars killed for good at the end", 1)
	}
	for n, verb := range []string{"release", "revoke"} {
		if dead+n < len(all) {
			id := all[dead+n].id
			w.diary.wished(id, verb)
			w.must("lease", verb, id, "--yes")
		}
	}
	w.makeExempt()
	w.crowd.working.Wait()
	w.crowd.doom(1000)
	w.crowd.resume(w.t.Context(), 9002) // of the kind that never gets a sidecar
}

// leftOver says what is not as it has to be in the end.
func (w *world) leftOver() []string {
	var left []string
	say := func(format string, args ...any) { left = append(left, fmt.Sprintf(format, args...)) }
	for _, i := range w.sim.Instances() {
		if why := w.unsettled(i); why != "" {
			say("instance %s of %s: %s", i.ID, i.ClientToken, why)
		}
	}
	known := w.diary.lastRestore() // what launches from before the last release of a brake that stands left behind is kept
	for _, said := range w.history.registry().Resumed {
		if said.Name != "heartbeats" && said.At.After(known) {
			known = said.At
		}
	}
	closed := map[string]bool{} // of which records can tell whether a lease ever held
	for _, l := range current[launchRecord](w.history, "launches/") {
		if l.State == "open" {
			say("launch %s is open", l.Token)
		}
		for _, a := range l.Attempts {
			closed[a.ClientToken] = l.State == "closed" && l.Created.After(known)
		}
	}
	held := w.everHeld()
	for _, v := range w.sim.Volumes() {
		tag := v.Tags["lapse:launch"]
		if token, _, _ := strings.Cut(tag, "."); w.nobody.volumes[v.ID] == "" && v.Instance == "" && closed[tag] && !held[token] {
			say("volume %s of %s", v.ID, tag)
		}
	}
	for _, n := range w.sim.Interfaces() {
		tag := n.Tags["lapse:launch"]
		if token, _, _ := strings.Cut(tag, "."); n.Instance == "" && closed[tag] && !held[token] {
			say("interface %s of %s", n.ID, tag)
		}
	}
	return left
}

// unsettled says why an instance can not stay as it is, or is empty.
func (w *world) unsettled(i ec2sim.Instance) string {
	if w.nobody.instances[i.ID] != "" || w.isExempt(i.ID) || i.State == ec2sim.Terminated {
		return ""
	}
	l, ok := w.history.leaseOf(i.ID)
	switch {
	case !ok:
		return "it has no lease"
	case l.State != "active":
		return "its lease is " + l.State + " (" + l.Cause + ") and EC2 reports it as " + string(i.State) + "; " + l.Stuck
	case l.Mark != nil:
		return "it is marked: " + l.Mark.Cause
	case !l.ExpiresAt.IsZero() && time.Now().After(l.ExpiresAt):
		return "its lease expired at " + l.ExpiresAt.Format(time.RFC3339)
	case l.HeartbeatTimeout != "" && l.HeartbeatTimeout != "0s" && !w.history.heartbeats(i.ID):
		return "nothing renews it"
	}
	return ""
}

// everHeld are the launches of which a lease ever held, by token.
func (w *world) everHeld() map[string]bool {
	held := map[string]bool{}
	events, _ := w.history.everything()
	for _, e := range events {
		if l, ok := e.lease(); ok && l.Cause != "failed-creation" {
			held[l.Launch] = true
		}
	}
	return held
}

// countLeftovers counts what was removed beside instances.
func (w *world) countLeftovers() {
	for _, call := range w.sim.Calls() {
		if call.Code != "" || len(call.IDs) == 0 {
			continue
		}
		switch call.Action {
		case "DeleteVolume":
			w.tally.add("volumes removed", 1)
		case "DeleteNetworkInterface":
			w.tally.add("interfaces removed", 1)
		}
	}
}

// intact checks that bystanders are as they were.
func (w *world) intact() {
	volumes := w.sim.Volumes()
	for id, what := range w.nobody.instances {
		if i, ok := w.sim.Instance(id); !ok || i.State != ec2sim.Running {
			w.wrong("%s, an instance that is %s, is %s", id, what, i.State)
		}
	}
	for id, what := range w.nobody.volumes {
		if !slices.ContainsFunc(volumes, func(v ec2sim.Volume) bool { return v.ID == id }) {
			w.wrong("%s, a volume that is %s, is gone", id, what)
		}
	}
	w.tally.add("checks", len(w.nobody.instances)+len(w.nobody.volumes))
}
