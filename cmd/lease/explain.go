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
func leaseWords(l lease.Lease, beats map[string]lease.Heartbeat, now time.Time) string {
	whose := ""
	if l.Holder != "" {
		whose = " for " + l.Holder
	}
	switch l.State {
	case lease.StateRevoked:
		return strings.Join(revokedWords(l, now), " ")
	case lease.StateEnded:
		return fmt.Sprintf("%s ended, as EC2 confirmed %s: %s.", l.InstanceID, cli.When(l.EndedAt, now), causeWords(l.Cause))
	case lease.StateUnmanaged:
		return fmt.Sprintf("%s was unmanaged %s: nothing of ours touches it.", l.InstanceID, cli.When(l.EndedAt, now))
	case lease.StateAdopting:
		return fmt.Sprintf("%s is being adopted%s: its lease is on record, and its tag was not seen yet, so nothing ends it.", l.InstanceID, whose)
	case lease.StateActive:
	}
	words := []string{fmt.Sprintf("%s holds a lease%s, granted %s%s.", l.InstanceID, whose, cli.When(l.GrantedAt, now), by(l))}
	words = append(words, termWords(l, now)...)
	if l.TTL > 0 {
		words = append(words, beatWords(l, beats, now))
	}
	if l.Mark != nil {
		words = append(words, fmt.Sprintf("It is marked since %s because %s; it is revoked %s unless it is renewed, extended or pardoned.",
			cli.When(l.Mark.Since, now), causeWords(l.Mark.Cause), cli.When(l.Mark.Deadline, now)))
	}
	return strings.Join(words, " ")
}

func by(l lease.Lease) string {
	if l.Launch == "" {
		return " by adoption"
	}
	return " by launch " + l.Launch
}

func termWords(l lease.Lease, now time.Time) []string {
	words := []string{"It has no term."}
	if !l.ExpiresAt.IsZero() {
		words = []string{fmt.Sprintf("Its term ends %s.", cli.When(l.ExpiresAt, now))}
		if l.Over(now, 0) {
			words = []string{fmt.Sprintf("Its term ended %s.", cli.When(l.ExpiresAt, now))}
		}
	}
	if !l.NotAfter.IsZero() {
		words = append(words, fmt.Sprintf("It can be extended to %s at most.", cli.When(l.NotAfter, now)))
	}
	return words
}

// beatWords tells who beats for a lease that wants it.
func beatWords(l lease.Lease, beats map[string]lease.Heartbeat, now time.Time) string {
	beat, there := beats[l.InstanceID]
	switch {
	case there && beat.Held:
		return fmt.Sprintf("A sidecar beats for it, since %s.", cli.When(beat.Since, now))
	case l.ClaimedAt.IsZero():
		return fmt.Sprintf("A sidecar should beat for it every %s, and none ever did.", l.TTL)
	}
	return fmt.Sprintf("A sidecar should beat for it every %s, and none does at present.", l.TTL)
}

func revokedWords(l lease.Lease, now time.Time) []string {
	words := []string{fmt.Sprintf("The lease of %s was revoked %s: %s.", l.InstanceID, cli.When(l.RevokedAt, now), causeWords(l.Cause))}
	for _, t := range l.History {
		if t.Action == "revoke" || t.Action == "orphan" {
			words = append(words, fmt.Sprintf("That was done by %s%s.", t.Actor, because(t.Reason)))
		}
	}
	if l.Tries > 0 {
		words = append(words, fmt.Sprintf("EC2 was asked %d times to end it, last %s.", l.Tries, cli.When(l.TriedAt, now)))
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
	words := ""
	if v.Instance != nil {
		words = fmt.Sprintf("EC2 says %s. ", v.Instance.State)
	}
	would := map[janitor.Action]string{
		janitor.ActKeep: "keep it", janitor.ActReport: "only report it", janitor.ActMark: "mark it", janitor.ActUnmark: "take its mark back",
		janitor.ActEnd: "end it", janitor.ActOrphan: "end it", janitor.ActHold: "act, did brake " + v.Brake + " not hold",
		janitor.ActLook: "note that it saw it, and end it after a second look", janitor.ActPurge: "let go of its record",
		janitor.ActStuck: "note that it is stuck", janitor.ActAbsent: "note that it is not found", janitor.ActConfirm: "note that it has ended",
		janitor.ActReopen: "take back that it has ended", janitor.ActActivate: "let its lease count from now on",
	}
	return words + fmt.Sprintf("A janitor would %s now: %s.", cmp.Or(would[v.Action], string(v.Action)), v.Reason)
}

// registry tells what holds for every instance: whether anything is ended at all.
func (k knowledge) registry(now time.Time) string {
	r, s := k.snapshot.Registry, k.snapshot.Sweep
	var words []string
	switch r.Mode {
	case lease.ModeObserve:
		words = append(words, "The registry observes, so nothing is ended until `janitor arm`.")
	case lease.ModePaused:
		words = append(words, fmt.Sprintf("The registry is paused since %s, so nothing is ended until `janitor resume`.", cli.When(r.ModeSince, now)))
	case lease.ModeArmed:
		words = append(words, "The registry is armed.")
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
	words := fmt.Sprintf("Launch %s asked for %d instances %s and got %d; ", l.Token, l.Count, cli.When(l.CreatedAt, now), len(l.Instances()))
	switch l.State {
	case lease.LaunchOpen:
		return words + fmt.Sprintf("it is under way, and is settled %s.", cli.When(l.LastSend().Add(time.Duration(l.Window)), now))
	case lease.LaunchClosed:
		return words + fmt.Sprintf("it was closed %s%s: whatever it left without a lease is ended.", cli.When(l.SettledAt, now), because(l.Reason))
	case lease.LaunchDone:
	}
	return words + fmt.Sprintf("it is done since %s.", cli.When(l.SettledAt, now))
}
