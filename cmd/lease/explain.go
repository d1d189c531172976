package main

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"lapse/cmd/internal/cli"
	"lapse/janitor"
	"lapse/lease"
)

// leaseWords tells what the record of a lease says.
func leaseWords(l lease.Lease, beats map[string]lease.Heartbeat, t teller) string {
	whose := ""
	if l.Holder != "" {
		whose = " for " + l.Holder
	}
	switch l.State {
	case lease.StateRevoked:
		return strings.Join(revokedWords(l, t), " ")
	case lease.StateEnded:
		return fmt.Sprintf("%s ended, as EC2 confirmed %s: %s.", l.InstanceID, t.when(l.EndedAt), causeWords(l.Cause))
	case lease.StateUnmanaged:
		return fmt.Sprintf("%s was unmanaged %s: nothing of ours touches it.", l.InstanceID, t.when(l.EndedAt))
	case lease.StateAdopting:
		return fmt.Sprintf("%s is being adopted%s: its lease is on record, and its tag was not seen yet, so nothing ends it.", l.InstanceID, whose)
	case lease.StateActive:
	}
	words := []string{fmt.Sprintf("%s holds a lease%s, granted %s%s.", l.InstanceID, whose, t.when(l.GrantedAt), by(l))}
	words = append(words, termWords(l, t)...)
	if l.TTL > 0 {
		words = append(words, beatWords(l, beats, t))
	}
	if l.Mark != nil {
		words = append(words, markWords(l, t)...)
	}
	return strings.Join(words, " ")
}

func by(l lease.Lease) string {
	if l.Launch == "" {
		return " by adoption"
	}
	return " by launch " + l.Launch
}

func termWords(l lease.Lease, t teller) []string {
	words := []string{"It has no term."}
	if !l.ExpiresAt.IsZero() {
		words = []string{fmt.Sprintf("Its term ends %s.", t.when(l.ExpiresAt))}
		if l.Over(t.now, 0) {
			words = []string{fmt.Sprintf("Its term ended %s.", t.when(l.ExpiresAt))}
		}
	}
	if !l.NotAfter.IsZero() {
		words = append(words, fmt.Sprintf("It can be extended to %s at most.", t.when(l.NotAfter)))
	}
	return words
}

// beatWords tells who beats for a lease that wants it.
func beatWords(l lease.Lease, beats map[string]lease.Heartbeat, t teller) string {
	beat, there := beats[l.InstanceID]
	switch {
	case there && beat.Held:
		return fmt.Sprintf("A sidecar beats for it, since %s.", t.when(beat.Since))
	case l.ClaimedAt.IsZero():
		return fmt.Sprintf("A sidecar should beat for it every %s, and none ever did.", orNone(l.TTL))
	}
	return fmt.Sprintf("A sidecar should beat for it every %s, and none does at present.", orNone(l.TTL))
}

func revokedWords(l lease.Lease, t teller) []string {
	words := []string{fmt.Sprintf("The lease of %s was revoked %s: %s.", l.InstanceID, t.when(l.RevokedAt), causeWords(l.Cause))}
	for _, h := range l.History {
		if h.Action == "revoke" || h.Action == "orphan" {
			words = append(words, fmt.Sprintf("That was done by %s%s.", h.Actor, because(h.Reason)))
		}
	}
	if l.Tries > 0 {
		words = append(words, fmt.Sprintf("EC2 was asked %s to end it, last %s.", times(l.Tries), t.when(l.TriedAt)))
	}
	if l.Stuck != "" {
		words = append(words, fmt.Sprintf("It is stuck: %s. `lease unmanage %s` forgets it.", l.Stuck, l.InstanceID))
	}
	return words
}

func because(reason string) string {
	if reason == "" {
		return ""
	}
	return " (" + reason + ")"
}

func causeWords(c lease.Cause) string {
	words := map[lease.Cause]string{
		lease.CauseTerm:           "its term has passed",
		lease.CauseRelease:        "its holder gave it back",
		lease.CauseOperator:       "an operator took it away",
		lease.CauseSilence:        "its sidecar has fallen silent",
		lease.CauseNeverBeat:      "no sidecar ever beat for it",
		lease.CauseFailedCreation: "its launch was closed before it was bound",
		lease.CauseGone:           "somebody else terminated it",
	}
	return cmp.Or(words[c], string(c))
}

// verdictWords tells what a janitor would do now.
func verdictWords(v janitor.Verdict) string {
	switch {
	case silent(v):
		return "It is " + v.Reason + "."
	case v.Action == janitor.ActKeep && v.Lease != nil && v.Lease.State == lease.StateRevoked:
		return "Nothing is to be done just now: " + v.Reason + "."
	}
	would := map[janitor.Action]string{
		janitor.ActKeep: "keep it", janitor.ActReport: "only report it", janitor.ActMark: "mark it", janitor.ActUnmark: "take its mark back",
		janitor.ActEnd: "end it", janitor.ActOrphan: "end it", janitor.ActHold: "act, did brake " + v.Brake + " not hold",
		janitor.ActLook: "note that it saw it, and end it after a second look", janitor.ActPurge: "let go of its record",
		janitor.ActStuck: "note that it is stuck", janitor.ActAbsent: "note that it is not found", janitor.ActConfirm: "note that it has ended",
		janitor.ActReopen: "take back that it has ended", janitor.ActActivate: "let its lease count",
	}
	return fmt.Sprintf("A janitor would now %s: %s.", cmp.Or(would[v.Action], string(v.Action)), v.Reason)
}

// silent reports whether the verdict is that nothing beats just now: a single look can judge no silence.
func silent(v janitor.Verdict) bool {
	return v.Action == janitor.ActReport && strings.HasPrefix(v.Reason, "silent")
}

// adds reports whether a verdict adds to what the record of the lease says. That a marked lease still holds, or that
// one that is over is kept on record, would only confuse.
func adds(v janitor.Verdict, l *lease.Lease) bool {
	switch {
	case l == nil:
		return true
	case l.Live() && l.Mark != nil:
		return v.Action != janitor.ActKeep && !silent(v)
	case l.State == lease.StateEnded || l.State == lease.StateUnmanaged:
		return v.Action == janitor.ActReopen || v.Action == janitor.ActReport
	}
	return true
}

// registry tells what holds for every instance: whether anything is ended at all.
func (k knowledge) registry(now time.Time) string {
	r, s := k.snapshot.Registry, k.snapshot.Sweep
	var words []string
	switch until := untilArmed(r); {
	case until == "":
		words = append(words, "The registry is armed.")
	case r.Mode == lease.ModePaused:
		words = append(words, fmt.Sprintf("The registry is paused since %s, so nothing is ended until %s.", cli.When(r.ModeSince, now), until))
	default:
		words = append(words, "The registry observes, so nothing is ended until "+until+".")
	}
	switch {
	case s.Time.IsZero():
		words = append(words, "No janitor has swept yet.")
	case s.Fresh(now):
		words = append(words, fmt.Sprintf("The last sweep was %s.", cli.Away(s.Time.Sub(now))))
	default:
		words = append(words, fmt.Sprintf("No janitor has swept since %s.", cli.When(s.Time, now)))
	}
	for _, b := range s.Brakes {
		words = append(words, fmt.Sprintf("Brake %s holds (%s): %s.", b.Name, cmp.Or(b.Scope, "everywhere"), b.Reason))
	}
	return strings.Join(words, " ")
}

// launchWords tells what became of a launch.
func launchWords(l lease.Launch, now time.Time) string {
	if l.Token == "" {
		return ""
	}
	words := fmt.Sprintf("Launch %s asked for %s %s and got %d; ", l.Token, count(l.Count, "instance"), cli.When(l.CreatedAt, now), len(l.Instances()))
	switch l.State {
	case lease.LaunchOpen:
		return words + fmt.Sprintf("it is under way, and is settled %s.", cli.When(l.LastSend().Add(time.Duration(l.Window)), now))
	case lease.LaunchClosed:
		return words + fmt.Sprintf("it was closed %s%s: whatever it left without a lease is ended.", cli.When(l.SettledAt, now), because(l.Reason))
	case lease.LaunchDone:
	}
	return words + fmt.Sprintf("it is done since %s.", cli.When(l.SettledAt, now))
}
