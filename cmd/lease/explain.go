package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"lapse/cmd/internal/cli"
	"lapse/janitor/plan"
	"lapse/lease"
)

// tellLease tells what the record of a lease says: why the instance is kept or terminated, when, and what would change
// that.
func tellLease(l lease.Lease, heartbeats map[string]lease.Heartbeat, t timeWords) *account {
	a := &account{}
	switch l.State {
	case lease.StateRevoked:
		a.tellRevoked(l, t)
	case lease.StateEnded:
		a.lead = fmt.Sprintf("%s has ended, %s: %s.", l.InstanceID, t.exact(l.EndedAt), causeWords(l.Cause))
		a.tellLast(l, t, lease.ActionRevoke, lease.ActionOrphan)
		a.say("change", "A terminated instance cannot be restored: launch another.")
	case lease.StateUnmanaged:
		a.lead = fmt.Sprintf("%s is left alone: it was unmanaged %s, and Lapse does not touch it.", l.InstanceID, t.exact(l.EndedAt))
		a.tellLast(l, t, lease.ActionUnmanage)
		a.say("change", "Terminate it in EC2 yourself, with the console or `aws ec2 terminate-instances`, or let Lapse manage it again with `lease adopt %s`.", l.InstanceID)
	case lease.StateAdopting:
		a.lead = fmt.Sprintf("%s is kept: it is being adopted%s, and is not terminated until a sweep has seen its tag.", l.InstanceID, forWhom(l))
		a.say("change", "The next sweep that sees its tag makes the lease active; if the tag is missing, run `lease adopt %s` again.", l.InstanceID)
	case lease.StateActive:
		a.tellActive(l, heartbeats, t)
	}
	return a
}

func (a *account) tellActive(l lease.Lease, heartbeats map[string]lease.Heartbeat, t timeWords) {
	over := l.Over(t.now, 0)
	switch {
	case l.Mark != nil && l.Mark.Cause.Inferred() && heartbeats[l.InstanceID].Held:
		a.lead = fmt.Sprintf("%s is kept: it was marked because %s, but it renews again.", l.InstanceID, causeWords(l.Mark.Cause))
	case l.Mark != nil:
		a.lead = fmt.Sprintf("%s is marked for termination: %s.", l.InstanceID, causeWords(l.Mark.Cause))
		a.say("mark", "%s", strings.Join(markWords(l, t), " "))
	case over:
		a.lead = fmt.Sprintf("%s is due for termination: its lease expired %s.", l.InstanceID, t.exact(l.ExpiresAt))
	case l.ExpiresAt.IsZero():
		a.lead = fmt.Sprintf("%s is kept: its lease is valid%s, without an expiry, until somebody releases it.", l.InstanceID, forWhom(l))
	default:
		a.lead = fmt.Sprintf("%s is kept: its lease is valid%s until %s.", l.InstanceID, forWhom(l), t.exact(l.ExpiresAt))
	}
	if l.Mark != nil && !l.ExpiresAt.IsZero() {
		expires := "expires"
		if over {
			expires = "expired"
		}
		a.say("expiry", "Its lease %s %s.", expires, t.exact(l.ExpiresAt))
	}
	a.tellKeys(l, t)
	a.say("renewal", "%s", heartbeatWords(l, heartbeats, t))
	a.say("change", "%s", changeWords(l, t))
	a.say("record", "Granted %s%s.%s", t.when(l.GrantedAt), by(l), lastWords(l, t))
}

func forWhom(l lease.Lease) string {
	if l.Holder == "" {
		return ""
	}
	return " for " + l.Holder
}

func by(l lease.Lease) string {
	switch {
	case len(l.History) > 0 && l.History[0].Action == "recover":
		return ", rebuilt from its tags"
	case l.Launch == "":
		return " by adoption"
	}
	return " by launch " + l.Launch
}

// changeWords say what a person can type to move the expiry, or to terminate the instance.
func changeWords(l lease.Lease, t timeWords) string {
	id := l.InstanceID
	end := fmt.Sprintf("`lease release %s` terminates it now.", id)
	stuck := !l.MaxExpiresAt.IsZero() && (!l.MaxExpiresAt.After(t.now) || l.MaxExpiresAt.Equal(l.ExpiresAt))
	limit := ""
	if !l.MaxExpiresAt.IsZero() {
		limit = fmt.Sprintf(", to %s at most", t.exact(l.MaxExpiresAt))
	}
	inferred := l.Mark != nil && l.Mark.Cause.Inferred()
	switch {
	case inferred:
		return fmt.Sprintf("A sidecar that renews, `lease extend %s --for 4h` or `lease unmark %s` cancels the mark.", id, id)
	case stuck:
		return fmt.Sprintf("It has reached its maximum, which an operator can move with `lease extend %s --max-term 14d --for 4h`. %s", id, end)
	case l.Mark != nil, l.Over(t.now, 0):
		return fmt.Sprintf("`lease extend %s --for 4h` keeps it%s.", id, limit)
	case l.ExpiresAt.IsZero():
		return fmt.Sprintf("`lease extend %s --for 4h --allow-shorten` gives it an expiry%s. %s", id, limit, end)
	}
	return fmt.Sprintf("`lease extend %s --for 4h` moves the expiry%s. %s", id, limit, end)
}

// lastWords tell the last change of a lease, unless that is its creation.
func lastWords(l lease.Lease, t timeWords) string {
	n := len(l.History) - 1
	if n < 1 {
		return ""
	}
	last := l.History[n]
	return fmt.Sprintf(" Last change: %s by %s, %s%s; `lease history %s` has the rest.",
		last.Action, last.Actor, t.when(last.Time), because(last.Reason), l.InstanceID)
}

// tellLast tells who made the last of these changes that is in the history.
func (a *account) tellLast(l lease.Lease, t timeWords, actions ...lease.Action) {
	for _, h := range slices.Backward(l.History) {
		if slices.Contains(actions, h.Action) {
			a.say("by", "That was done by %s, %s%s.", h.Actor, t.when(h.Time), because(h.Reason))
			return
		}
	}
}

// heartbeatWords tell whether a sidecar must renew the lease, and whether one does.
func heartbeatWords(l lease.Lease, heartbeats map[string]lease.Heartbeat, t timeWords) string {
	heartbeat, there := heartbeats[l.InstanceID]
	there = there && heartbeat.Held
	every := orNone(l.HeartbeatTimeout)
	switch {
	case l.HeartbeatTimeout == 0 && there:
		return fmt.Sprintf("No heartbeat is required. A sidecar has renewed it anyway since %s.", t.when(heartbeat.Since))
	case l.HeartbeatTimeout == 0:
		return "No heartbeat is required."
	case there:
		from := ""
		if heartbeat.Address != "" {
			from = " from " + heartbeat.Address
		}
		return fmt.Sprintf("A sidecar must renew it every %s, and one has renewed it%s since %s.", every, from, t.when(heartbeat.Since))
	case l.ClaimedAt.IsZero():
		return fmt.Sprintf("A sidecar must renew it every %s, but none ever has. Run `sidecar status` on the instance.", every)
	}
	return fmt.Sprintf("A sidecar must renew it every %s; one first did %s, but none does now. Run `sidecar status` on the instance.",
		every, t.when(l.ClaimedAt))
}

func (a *account) tellRevoked(l lease.Lease, t timeWords) {
	being := "is being terminated"
	if l.Stuck != "" {
		being = "should be terminated, and cannot be"
	}
	a.lead = fmt.Sprintf("%s %s: its lease was revoked %s, because %s.", l.InstanceID, being, t.exact(l.RevokedAt), causeWords(l.Cause))
	a.tellLast(l, t, lease.ActionRevoke, lease.ActionOrphan)
	if l.Tries > 0 {
		a.say("tries", "Termination was tried %s, last %s. The audit log has each attempt, and EC2's answers.", times(l.Tries), t.when(l.TriedAt))
	}
	if !l.AbsentSince.IsZero() {
		a.say("absent", "EC2 has not found it since %s; after an hour of that its lease ends.", t.when(l.AbsentSince))
	}
	if l.Stuck != "" {
		a.say("stuck", "It cannot be terminated: %s. %s", l.Stuck, stuckAdvice(l))
	}
	a.tellKeys(l, t)
	a.say("change", "A revoked lease cannot be restored. While the instance runs, `lease unmanage %s` keeps it, without a lease.", l.InstanceID)
}

// stuckAdvice says how to fix that an instance cannot be terminated, for the known reasons.
func stuckAdvice(l lease.Lease) string {
	switch {
	case l.StuckCode == "OperationNotPermitted": // EC2 gives it for either attribute
		return fmt.Sprintf("DisableApiTermination or DisableApiStop protects it. Turn both off, with `aws ec2 modify-instance-attribute "+
			"--instance-id %s --no-disable-api-termination` and the same with --no-disable-api-stop; the janitor then tries again.", l.InstanceID)
	case l.KeptReason == lease.KeptByExempt:
		return "Remove that tag; the janitor then tries again."
	case l.StuckCode == "UnauthorizedOperation":
		return "Give the janitor its policy (see `lease doctor --as janitor`); it then tries again."
	}
	return "The janitor tries again, at growing intervals."
}

func because(reason string) string {
	if reason == "" {
		return ""
	}
	return " (" + reason + ")"
}

func causeWords(c lease.Cause) string {
	words := map[lease.Cause]string{
		lease.CauseExpired:        "its lease expired",
		lease.CauseRelease:        "its holder released it",
		lease.CauseRevoke:         "an operator revoked it",
		lease.CauseHeartbeatLost:  "its heartbeat is lost",
		lease.CauseNoHeartbeat:    "no sidecar ever renewed it",
		lease.CauseFailedCreation: "its launch was closed before it was bound",
		lease.CauseGone:           "somebody else terminated it, or it shut itself down",
	}
	return cmp.Or(words[c], string(c))
}

func verdictWords(v plan.Verdict) string {
	switch {
	case lost(v):
		return "It is " + v.Reason + "."
	case v.Action == plan.ActNone && v.Lease != nil && v.Lease.State == lease.StateRevoked:
		return "There is nothing to do now: " + v.Reason + "."
	}
	return fmt.Sprintf("A janitor would now %s: %s.", cmp.Or(deed(v), string(v.Action)), v.Reason)
}

func deed(v plan.Verdict) string {
	return map[plan.Action]string{
		plan.ActNone: "keep it", plan.ActReport: "only report it", plan.ActMark: "mark it", plan.ActUnmark: "unmark it",
		plan.ActTerminate: "terminate it", plan.ActOrphan: "terminate it", plan.ActHold: "act, but brake " + v.Brake + " holds it back",
		plan.ActFirstSeen: "note that it was seen, and terminate it after a second sighting", plan.ActPurge: "delete its record",
		plan.ActStuck: "note that it is stuck", plan.ActNoteAbsent: "note that it is not found", plan.ActNoteSeen: "note that it is found again",
		plan.ActEnd: "note that it has ended", plan.ActReopen: "reopen its lease", plan.ActActivate: "make its lease active",
		plan.ActComplete: "note that its launch is done", plan.ActClose: "close its launch", plan.ActRemove: "remove it",
		plan.ActClear: "note that nothing is left of its launch", plan.ActRaise: "raise its record to the date of its tag",
		plan.ActNoteTag: "note the number of its tag", plan.ActKeep: "note what keeps it",
	}[v.Action]
}

// lost reports whether the verdict is that nothing renews now: a single look cannot tell for how long.
func lost(v plan.Verdict) bool {
	return v.Action == plan.ActReport && v.Renewal != nil
}

// adds reports whether a verdict adds to the record of the lease. That a marked lease is still valid, or that an ended
// one is kept on record, would only confuse.
func adds(v plan.Verdict, l *lease.Lease) bool {
	switch {
	case l == nil:
		return true
	case l.Live() && l.Mark != nil:
		return v.Action != plan.ActNone && !lost(v)
	case l.State == lease.StateEnded || l.State == lease.StateUnmanaged:
		return v.Action == plan.ActReopen || v.Action == plan.ActReport
	}
	return true
}

// registry tells what applies to every instance: whether anything is terminated at all.
func (k knowledge) registry(now time.Time) string {
	r, s := k.snapshot.Registry, k.snapshot.Checkpoint
	var words []string
	switch until := cli.UntilArmed(r); {
	case until == "":
		words = append(words, "The registry is armed.")
	case r.Mode == lease.ModePaused:
		words = append(words, fmt.Sprintf("The registry has been paused since %s, so nothing is terminated until %s.",
			strings.TrimSpace(cli.When(r.ModeSince, now)+" "+cli.WhoSet(r)), until))
	default:
		words = append(words, "The registry observes, so nothing is terminated until "+until+".")
	}
	switch {
	case s.Time.IsZero():
		words = append(words, "No janitor has swept yet.")
	case s.Fresh(now):
		words = append(words, fmt.Sprintf("The last sweep was %s.", cli.Away(s.Time.Sub(now))))
	default:
		words = append(words, fmt.Sprintf("No janitor has swept since %s.", cli.When(s.Time, now)))
	}
	lines := []string{strings.Join(words, " ")}
	for _, b := range s.Brakes {
		if b.Starting {
			lines = append(lines, "The janitor has just started: it judges heartbeats after its next sweep.")
			continue
		}
		lines = append(lines, fmt.Sprintf("Brake %s has been engaged (%s) since %s: %s. %s",
			b.Name, cmp.Or(b.Scope, "everywhere"), cli.When(b.Since, now), b.Reason, liftWords(b)))
	}
	if n := len(s.Behind); n > 0 {
		lines = append(lines, fmt.Sprintf("Brake rollback holds %s back, whose sidecars have seen a later change than the registry has.", count(n, "lease")))
	}
	return strings.Join(lines, "\n")
}

// liftWords say what a brake holds back, and when it is released.
func liftWords(b lease.Brake) string {
	if b.Standing() {
		return "Nothing is terminated until somebody has checked and runs `janitor release-brake " + b.Name + "`."
	}
	words := map[string]string{
		lease.BrakeHeartbeats: "No instance is terminated for its heartbeat until fewer are lost, or somebody runs `janitor release-brake heartbeats`.",
		"rate":                "Terminations for inferred causes wait until there are fewer in ten minutes; expiries and releases go on.",
		"clock":               "Nothing is terminated by date until the janitor's clock is right.",
		"health":              "Terminations wait until etcd and EC2 answer in full again.",
	}
	return cmp.Or(words[b.Name], "See `janitor status`.")
}

func launchWords(l lease.Launch, now time.Time) string {
	if l.Token == "" {
		return ""
	}
	words := fmt.Sprintf("Launch %s asked for %s %s and got %d; ", l.Token, count(l.Count, "instance"), cli.When(l.CreatedAt, now), len(l.Instances()))
	switch l.State {
	case lease.LaunchOpen:
		return words + fmt.Sprintf("it is in progress: `lease launch --id %s` resumes it, and the janitor settles it %s.", l.Token, cli.When(l.LastSend().Add(time.Duration(l.Window)), now))
	case lease.LaunchClosed:
		return words + fmt.Sprintf("it was closed %s%s: instances that it left without a lease are terminated, unless `lease adopt` gives them one.", cli.When(l.SettledAt, now), because(l.Reason))
	case lease.LaunchDone:
	}
	return words + fmt.Sprintf("it was done %s.", cli.When(l.SettledAt, now))
}
