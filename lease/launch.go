package lease

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Launch is the record of one creation. It is stored before anything is sent to EC2, so that whatever was created can
// always be found again, and is written again before every call.
type Launch struct {
	Schema           int               `json:"schema"`
	Token            string            `json:"token"`
	State            LaunchState       `json:"state"`
	Account          string            `json:"account"`
	Region           string            `json:"region"`
	Count            int               `json:"count"`
	Term             Duration          `json:"term,omitzero"`     // zero: none
	MaxTerm          Duration          `json:"max_term,omitzero"` // zero: none
	HeartbeatTimeout Duration          `json:"heartbeat_timeout,omitzero"`
	SelfExtend       *Duration         `json:"self_extend,omitempty"` // of its leases: see [Lease]
	Window           Duration          `json:"window"`                // how long after the last send a launcher may still send
	Holder           string            `json:"holder,omitzero"`
	Labels           map[string]string `json:"labels,omitempty"`
	Anima            Anima             `json:"anima,omitzero"`
	Registry         string            `json:"registry,omitzero"`        // UUID of the registry, with [AnimaKeyPair]: it is in the names of key pairs
	Consistency      Duration          `json:"consistency,omitzero"`     // with [AnimaKeyPair]: how late the endpoint may show what a call created
	Asked            string            `json:"asked"`                    // digest of what the user asked for
	Request          json.RawMessage   `json:"request"`                  // frozen RunInstances request, JSON of the AWS CLI's form
	Subnets          []string          `json:"subnets,omitempty"`        // to try, in this order
	InstanceTypes    []string          `json:"instance_types,omitempty"` // to try in each subnet, in this order
	API              string            `json:"api,omitzero"`             // URL at which its instances enrol; empty: they get no join token
	Attempts         []Attempt         `json:"attempts"`
	CreatedAt        time.Time         `json:"created_at"` // the term counts from here
	SettledAt        time.Time         `json:"settled_at,omitzero"`
	Reason           string            `json:"reason,omitzero"` // why it was closed
	// FirstSeen has, for each instance of a closed launch that has no lease, and for each leftover of it, the time of the
	// first full listing that showed it.
	FirstSeen map[string]time.Time `json:"first_seen,omitempty"`
	Removals  map[string]time.Time `json:"removals,omitempty"`  // when the removal of a leftover was last authorised, by its id
	ClearedAt time.Time            `json:"cleared_at,omitzero"` // when a full listing found no more leftovers of it, once it was settled

	// Revision is the store's revision of this record; 0 means that it is not stored yet. Written by stores only.
	Revision int64 `json:"revision,omitzero"`

	unknown unknownFields
}

// LaunchState is the state of a launch.
type LaunchState string

// States of a launch. From closed on, an instance of it without a lease is an orphan.
const (
	LaunchOpen   LaunchState = "open"
	LaunchDone   LaunchState = "done"   // every instance that EC2 answered with has its lease
	LaunchClosed LaunchState = "closed" // nothing more may be sent or bound for it
)

// Attempt is one RunInstances request of a launch, however often it was sent. Its ClientToken makes EC2 create at most
// one set of instances for it.
type Attempt struct {
	ClientToken  string    `json:"client_token"`
	Min          int       `json:"min"` // MinCount
	Max          int       `json:"max"` // MaxCount
	Subnet       string    `json:"subnet,omitzero"`
	InstanceType string    `json:"instance_type,omitzero"`
	Sends        int       `json:"sends"`                // times it was sent, or about to be
	LastSend     time.Time `json:"last_send,omitzero"`   // stored before the call
	Outcome      Outcome   `json:"outcome,omitzero"`     // empty: not known
	Doubtful     bool      `json:"doubtful,omitzero"`    // some send of it has an unknown outcome: no refusal is definite, and what was found may not be all
	Code         string    `json:"code,omitzero"`        // EC2's error code of a refusal
	Instances    []string  `json:"instances,omitempty"`  // ids that EC2 answered with, or that a search found
	KeyAt        time.Time `json:"key_at,omitzero"`      // with [AnimaKeyPair]: stored before its key pair is made
	KeyID        string    `json:"key_id,omitzero"`      // of its key pair
	KeyPrints    []string  `json:"key_prints,omitempty"` // fingerprints of the public keys that it was made of, or was to be
	// JoinToken is what its instances prove with that it launched them: see [Launch.WithoutSecrets]. It is stored before anything
	// is sent, so that a replay has the identical user-data; once the launch is settled, its SHA-256 (hex) is there instead.
	JoinToken       string `json:"join_token,omitzero"`
	JoinTokenSHA256 string `json:"join_token_sha256,omitzero"`

	unknown unknownFields
}

// Outcome of an attempt: what EC2 itself answered. No look-up is an outcome, except with [AnimaKeyPair].
type Outcome string

// Outcomes of an attempt.
const (
	OutcomeLaunched Outcome = "launched" // EC2 answered with ids
	OutcomeRefused  Outcome = "refused"  // EC2 refused, and no earlier send is in doubt: nothing was created
	OutcomeNone     Outcome = "none"     // with [AnimaKeyPair]: a search has found nothing of it, or it was never sent
)

// maxAttempts is the last attempt number with which every launch token still makes a client token of 64 characters.
const maxAttempts = 999

// ClientToken of attempt number n, counted from 1. At most 64 characters, which is EC2's limit.
func ClientToken(token string, n int) string { return token + "." + strconv.Itoa(n) }

// LaunchToken is the launch token in a client token that [ClientToken] made; false for any other.
func LaunchToken(clientToken string) (string, bool) {
	dot := strings.LastIndexByte(clientToken, '.')
	if dot < 0 {
		return "", false
	}
	token := clientToken[:dot]
	n, err := strconv.Atoi(clientToken[dot+1:])
	return token, err == nil && n > 0 && CheckToken(token) == nil && ClientToken(token, n) == clientToken
}

// Location of the launch.
func (l Launch) Location() Location { return Location{Account: l.Account, Region: l.Region} }

// Instances are the ids with which EC2 answered, in the order of the attempts.
func (l Launch) Instances() []string {
	ids := []string{}
	for _, a := range l.Attempts {
		ids = append(ids, a.Instances...)
	}
	return ids
}

// Missing is how many instances were asked for and not answered with.
func (l Launch) Missing() int { return max(0, l.Count-len(l.Instances())) }

// LastSend is the time of the last send of any attempt, or of the creation of the record if nothing was sent.
func (l Launch) LastSend() time.Time {
	last := l.CreatedAt
	for _, a := range l.Attempts {
		if a.LastSend.After(last) {
			last = a.LastSend
		}
	}
	return last
}

// WindowOver reports whether the window has closed at now: no launcher sends anything for the launch any longer.
func (l Launch) WindowOver(now time.Time) bool {
	return !now.Before(l.LastSend().Add(time.Duration(l.Window)))
}

// Attempt returns the attempt with the given client token.
func (l Launch) Attempt(clientToken string) (Attempt, bool) {
	i := slices.IndexFunc(l.Attempts, func(a Attempt) bool { return a.ClientToken == clientToken })
	if i < 0 {
		return Attempt{}, false
	}
	return l.Attempts[i], true
}

// Last is the attempt at hand. A launch has at least one.
func (l Launch) Last() Attempt { return l.Attempts[len(l.Attempts)-1] }

// withLast returns a copy in which change was applied to the last attempt.
func (l Launch) withLast(change func(*Attempt)) Launch {
	l.Attempts = slices.Clone(l.Attempts)
	change(&l.Attempts[len(l.Attempts)-1])
	return l
}

// Sending notes that the last attempt is about to be sent. Write the result before the call. If an earlier send has
// no outcome, it is in doubt from here on. An attempt that EC2 has answered for good is never sent again: after a
// refusal that would create instances under a client token that already counts as nothing.
//
// Errors: [LaunchStateError], [WindowError].
func (l Launch) Sending(now time.Time) (Launch, error) {
	if l.State != LaunchOpen {
		return l, l.refuse("send")
	}
	if l.WindowOver(now) {
		return l, &WindowError{Token: l.Token, Since: l.LastSend().Add(time.Duration(l.Window))}
	}
	if l.Last().Outcome != "" {
		return l, l.refuse("repeat the answered attempt of")
	}
	if l.Anima == AnimaKeyPair && (l.Last().KeyID == "" || l.Last().Sends > 0) {
		return l, l.refuse("send without a key pair of its own, or again,")
	}
	return l.withLast(func(a *Attempt) {
		a.Doubtful = a.Doubtful || a.Sends > 0
		a.Sends++
		a.LastSend = recorded(now)
	}), nil
}

// Launched notes that EC2 answered the last attempt with these ids. It settles every doubt about the attempt.
func (l Launch) Launched(ids []string) Launch {
	return l.withLast(func(a *Attempt) {
		a.Outcome, a.Code, a.Instances = OutcomeLaunched, "", slices.Clone(ids)
	})
}

// Refused notes that EC2 refused the last attempt with an error code. Only if no earlier send is in doubt does that
// prove that nothing was created; otherwise the outcome stays unknown. It takes back no ids that EC2 answered with.
func (l Launch) Refused(code string) Launch {
	if l.Last().Outcome == OutcomeLaunched {
		return l
	}
	return l.withLast(func(a *Attempt) {
		a.Code = code
		if !a.Doubtful {
			a.Outcome = OutcomeRefused
		}
	})
}

// Unsent notes that EC2 rejected the last send before it processed it, as it does when it throttles. The send leaves
// no doubt.
func (l Launch) Unsent() Launch {
	return l.withLast(func(a *Attempt) { a.Sends = max(0, a.Sends-1) })
}

// Doubt notes that the outcome of the last send is not known: a time-out, a reset, a server's error.
func (l Launch) Doubt() Launch {
	return l.withLast(func(a *Attempt) { a.Doubtful = true })
}

// Next appends the attempt that follows: the rest of the count, with MinCount 1, in the first subnet and type that has
// not refused such an attempt yet. It reports false, and changes nothing, when the launch is settled, when nothing is
// missing, when the last outcome is not known, or when there is nowhere left to try. Write the result before it is sent.
func (l Launch) Next() (Launch, bool) {
	if l.State == LaunchDone || l.State == LaunchClosed || len(l.Attempts) == maxAttempts {
		return l, false
	}
	if l.Missing() == 0 || len(l.Attempts) > 0 && l.Last().Outcome == "" {
		return l, false
	}
	subnets, types := orEmpty(l.Subnets), orEmpty(l.InstanceTypes)
	for _, subnet := range subnets {
		for _, instanceType := range types {
			if l.exhausted(subnet, instanceType) {
				continue
			}
			a := Attempt{
				ClientToken: ClientToken(l.Token, len(l.Attempts)+1),
				Min:         1, Max: l.Missing(), Subnet: subnet, InstanceType: instanceType,
			}
			if len(l.Attempts) == 0 {
				a.Min = l.Count
			}
			l.Attempts = append(slices.Clone(l.Attempts), a)
			return l, true
		}
	}
	return l, false
}

// exhausted reports whether one instance alone was refused there. The first attempt wants all at once, so its refusal
// says little.
func (l Launch) exhausted(subnet, instanceType string) bool {
	for _, a := range l.Attempts {
		if a.Subnet == subnet && a.InstanceType == instanceType && a.Outcome == OutcomeRefused && a.Min == 1 {
			return true
		}
	}
	return false
}

func orEmpty(list []string) []string {
	if len(list) == 0 {
		return []string{""}
	}
	return list
}

// Done settles a launch whose instances are all bound. No replay needs its secrets any longer, so they leave the record.
func (l Launch) Done(now time.Time) (Launch, error) {
	if l.State == LaunchDone {
		return l, nil
	}
	if l.State != LaunchOpen {
		return l, l.refuse("complete")
	}
	l.State, l.SettledAt = LaunchDone, recorded(now)
	return l.WithoutSecrets(), nil
}

// Close settles a launch for good: whatever it made that has no lease is an orphan from here on. Its secrets leave the record.
func (l Launch) Close(now time.Time, reason string) (Launch, error) {
	if l.State == LaunchClosed {
		return l, nil
	}
	l.State, l.SettledAt, l.Reason = LaunchClosed, recorded(now), reason
	return l.WithoutSecrets(), nil
}

// NoteFirstSeen notes the first full listing that showed an instance of a closed launch without a lease, or one beyond the
// number asked for of a launch with [AnimaKeyPair]. A sighting that was
// noted with a date after now, by a wrong clock, is noted again.
func (l Launch) NoteFirstSeen(now time.Time, ids ...string) (Launch, error) {
	if !l.MayLeave() {
		return l, l.refuse("judge orphans of")
	}
	looks := maps.Clone(l.FirstSeen)
	if looks == nil {
		looks = map[string]time.Time{}
	}
	for _, id := range ids {
		if first, seen := looks[id]; !seen || first.After(now) {
			looks[id] = recorded(now)
		}
	}
	l.FirstSeen = looks
	return l, nil
}

func (l Launch) refuse(verb string) error {
	since := l.SettledAt
	if l.State == LaunchOpen {
		since = l.CreatedAt
	}
	return &LaunchStateError{Token: l.Token, Verb: verb, State: l.State, Since: since, Reason: l.Reason}
}
