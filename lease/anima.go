package lease

import (
	"slices"
	"strings"
	"time"
)

// Anima is what ties instances to the attempt that creates them, in the very call that creates them: so they can be found,
// whatever becomes of its answer.
type Anima string

// Animas.
const (
	AnimaClientToken Anima = ""         // EC2 creates once for a client token, however often the call is sent
	AnimaKeyPair     Anima = "key-pair" // where client tokens are ignored: a key pair of the attempt's own, whose call is sent once
)

// keyPrefix begins the names of key pairs that are animas.
const keyPrefix = "lapse-"

// KeyName is the name of the key pair of an attempt, of 107 characters at most.
func KeyName(registry, clientToken string) string { return keyPrefix + registry + "-" + clientToken }

// KeyOf is the client token of the attempt whose key pair has that name, in that registry; false for any other name.
func KeyOf(registry, name string) (clientToken string, is bool) {
	clientToken, is = strings.CutPrefix(name, KeyName(registry, ""))
	if _, made := LaunchToken(clientToken); registry == "" || !is || !made {
		return "", false
	}
	return clientToken, true
}

// keyedBy is the client token of the attempt whose key pair has that name, in whatever registry; empty for any other name.
func keyedBy(name string) string {
	const uuid = 36 // characters
	rest, is := strings.CutPrefix(name, keyPrefix)
	if !is || len(rest) < uuid {
		return ""
	}
	clientToken, _ := KeyOf(rest[:uuid], name)
	return clientToken
}

// KeyNames are the names of the key pairs of its attempts, as far as they were about to be made.
func (l Launch) KeyNames() (names []string) {
	for _, a := range l.Attempts {
		if !a.KeyAt.IsZero() {
			names = append(names, KeyName(l.Registry, a.ClientToken))
		}
	}
	return names
}

// DefaultConsistency is for how long an endpoint may go on showing what was before a call, unless a launch says otherwise.
const DefaultConsistency = 5 * time.Minute

// MakingKey notes that the key pair of the last attempt is about to be made, of a public key that has these fingerprints.
// Write the result before the call. What the attempt creates is younger than that.
//
// Errors: [LaunchStateError], [WindowError].
func (l Launch) MakingKey(now time.Time, prints ...string) (Launch, error) {
	switch {
	case l.Anima != AnimaKeyPair || l.State != LaunchOpen || l.Last().Outcome != "" || l.Last().KeyID != "":
		return l, l.refuse("make a key pair for")
	case l.WindowOver(now):
		return l, &WindowError{Token: l.Token, Since: l.LastSend().Add(time.Duration(l.Window))}
	}
	return l.withLast(func(a *Attempt) {
		if a.KeyAt.IsZero() { // otherwise it may be there since then, of another public key
			a.KeyAt = recorded(now)
		}
		a.KeyPrints = append(slices.Clone(a.KeyPrints), prints...)
	}), nil
}

// KeyMade notes the id of the key pair of the last attempt. Only then is it sent.
func (l Launch) KeyMade(id string) Launch { return l.withLast(func(a *Attempt) { a.KeyID = id }) }

// NoKey notes that the last attempt cannot have a key pair of its own, because one of that name is not known to be ours.
// It was never sent, so it has created nothing.
func (l Launch) NoKey() Launch {
	if l.Last().Sends > 0 {
		return l
	}
	return l.withLast(func(a *Attempt) { a.Outcome = OutcomeNone })
}

// Found notes what a search found of the last attempt, whose outcome was not known: its instances, up to the number asked
// for, or nothing. It was searched for longer than the endpoint may be inconsistent.
func (l Launch) Found(ids []string) Launch {
	if len(ids) == 0 {
		return l.withLast(func(a *Attempt) { a.Outcome = OutcomeNone })
	}
	return l.Launched(ids[:min(len(ids), l.Last().Max)]).withLast(func(a *Attempt) { a.Doubtful = true })
}

// Finds reports whether the outcome of the last attempt has to be searched for: it was sent, it is not sent again, and
// what came of it is not known.
func (l Launch) Finds() bool {
	return l.Anima == AnimaKeyPair && l.Last().Outcome == "" && (l.Last().Sends > 0 || l.Last().Doubtful)
}

// keyed is the attempt whose key pair an instance shows. An instance belongs to it only if no other registry's tag is on it,
// no other client token or launch tag either, and it was launched between the making of the key pair and the last send, with
// the endpoint's consistency after that, or for as long as the signature of the call is valid: anything else may be a copy
// that somebody made of it. A later start moves the LaunchTime, and not when it is known to have been there.
func (l Launch) keyed(i Instance) (Attempt, bool) {
	clientToken, is := KeyOf(l.Registry, i.KeyName)
	if registry, tagged := i.Tags[TagRegistry]; !is || tagged && registry != l.Registry {
		return Attempt{}, false
	}
	for _, shown := range []string{i.ClientToken, i.Tags[TagLaunch]} {
		if shown != "" && shown != clientToken {
			return Attempt{}, false // where the endpoint shows any, it is that of the call
		}
	}
	n := slices.IndexFunc(l.Attempts, func(a Attempt) bool { return a.ClientToken == clientToken })
	if n < 0 {
		return Attempt{}, false
	}
	a := l.Attempts[n]
	if _, seen := l.FirstSeen[i.ID]; seen || slices.Contains(a.Instances, i.ID) {
		return a, true // as it was found out before it was started again
	}
	first := a.KeyAt.Add(-MaxSkew).Truncate(time.Second).Add(-time.Second)  // EC2 counts in seconds, by its own clock
	last := a.LastSend.Add(max(time.Duration(l.Consistency), signatureMax)) // a call that was under way for so long creates still
	within := func(t time.Time) bool { return !t.Before(first) && !t.After(last.Add(MaxSkew)) }
	if a.KeyAt.IsZero() || a.LastSend.IsZero() || !within(i.LaunchTime) && !within(i.Existed) {
		return Attempt{}, false
	}
	return a, true
}
