package lease

import (
	"cmp"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Enrolment is what the registry knows of the keys with which an instance calls the API. It holds no secret.
//
// An instance has a new key at each boot, and proves each anew. So a newer key takes the place of an older one, and an older one
// that is used after that shows that two claim to be this instance.
type Enrolment struct {
	Schema      int           `json:"schema"`
	InstanceID  string        `json:"instance_id"`
	PendingTime time.Time     `json:"pending_time,omitzero"` // of the newest identity document that it was enrolled by
	Keys        []EnrolledKey `json:"keys"`                  // at most three, in the order of their enrolment
	InUse       string        `json:"in_use,omitzero"`       // SHA-256 of the key that was used last, while nothing is contested
	Contested   time.Time     `json:"contested,omitzero"`    // since when more than one key is in use
	Invitation  *Invitation   `json:"invitation,omitempty"`  // an operator's, in place of the launch's join token
	Last        *Transition   `json:"last,omitempty"`        // the enrolment or invitation, if that was the last change of this record

	// Revision is the store's revision of this record; 0 means that it is not stored yet. Written by stores only.
	Revision int64 `json:"revision,omitzero"`

	unknown unknownFields
}

// EnrolledKey is a key that an instance has proved to be its own.
type EnrolledKey struct {
	SHA256     string    `json:"sha256"` // of its SubjectPublicKeyInfo, in hex
	EnrolledAt time.Time `json:"enrolled_at"`
	From       string    `json:"from,omitzero"` // the address that it was enrolled from
	Proof      Proof     `json:"proof"`
	UsedAt     time.Time `json:"used_at,omitzero"` // when it was first used after another
	LeftAt     time.Time `json:"left_at,omitzero"` // when another was first used after it; zero: it is in use, or never was

	unknown unknownFields
}

// Proof is what an instance showed beside its identity document.
type Proof string

// Proofs.
const (
	ProofLaunch     Proof = "launch"     // the join token of the attempt that made it
	ProofInvitation Proof = "invitation" // an operator's
	ProofAddress    Proof = "address"    // none: it called from its own address, soon after it was launched, or after it was let in before
)

// Invitation is a join token that an operator made for one instance.
type Invitation struct {
	SHA256 string    `json:"sha256"` // of the token, in hex
	Until  time.Time `json:"until"`
}

const (
	maxKeys = 3
	// keyRest is how long after another key was first used a key may be replaced. Whoever still has it uses it at least once in
	// a quarter of the longest heartbeat timeout, and that contests the enrolment.
	keyRest = MaxHeartbeatTimeout/4 + 5*time.Minute
	// contestSlack is for calls of an older key that were under way when a newer one was first used.
	contestSlack = 30 * time.Second
)

// InvitationTime is how long an [Invitation] is good.
const InvitationTime = time.Hour

// Key finds an enrolled key.
func (e Enrolment) Key(sha string) (EnrolledKey, bool) {
	if n := e.index(sha); n >= 0 {
		return e.Keys[n], true
	}
	return EnrolledKey{}, false
}

func (e Enrolment) index(sha string) int {
	return slices.IndexFunc(e.Keys, func(k EnrolledKey) bool { return k.SHA256 == sha })
}

// Enrol adds a key that was proved by a document of pendingTime. Of four keys the one goes that was never used or, of those
// that were, has rested longest: never the one that is in use, and none that was used while the enrolment is contested.
//
// Errors: [UnprovedError] if the document is older than one before; [KeysError] if all keys are in use.
func (e Enrolment) Enrol(now, pendingTime time.Time, k EnrolledKey) (Enrolment, error) {
	if pendingTime.Before(e.PendingTime) {
		return e, &UnprovedError{ID: e.InstanceID, Why: "its document is of an earlier start than one that was shown before"}
	}
	was := e
	e.Schema, e.PendingTime, e.Keys = Schema, pendingTime.UTC(), slices.Clone(e.Keys)
	if k.Proof == ProofInvitation {
		e.Invitation = nil
	}
	if e.index(k.SHA256) >= 0 {
		return e, nil
	}
	if len(e.Keys) >= maxKeys {
		n, again := e.spare(now)
		if n < 0 {
			return was, &KeysError{ID: e.InstanceID, Again: again}
		}
		e.Keys = slices.Delete(e.Keys, n, n+1)
	}
	k.EnrolledAt, k.UsedAt, k.LeftAt = recorded(now), time.Time{}, time.Time{}
	e.Keys = append(e.Keys, k)
	e.Last = &Transition{
		Time: k.EnrolledAt, Action: ActionEnrol, Actor: "instance:" + e.InstanceID,
		Reason: fmt.Sprintf("key %.12s, from %s, proved by %s", k.SHA256, cmp.Or(k.From, "nowhere"), k.Proof),
	}
	return e, nil
}

// spare is the key to be replaced; -1 if there is none, and when there will be one.
func (e Enrolment) spare(now time.Time) (n int, again time.Time) {
	if n := slices.IndexFunc(e.Keys, func(k EnrolledKey) bool { return k.UsedAt.IsZero() }); n >= 0 {
		return n, again
	}
	n = -1
	for i, k := range e.Keys {
		if k.LeftAt.IsZero() || k.SHA256 == e.InUse || !e.Contested.IsZero() {
			continue
		}
		if n < 0 || k.LeftAt.Before(e.Keys[n].LeftAt) {
			n = i
		}
	}
	if n >= 0 && now.Sub(e.Keys[n].LeftAt) < keyRest {
		return -1, e.Keys[n].LeftAt.Add(keyRest)
	}
	return n, again
}

// Use notes that a key was used. It changes nothing if the last call was made with the same key.
//
// Errors: [NotEnrolledError].
func (e Enrolment) Use(now time.Time, sha string) (Enrolment, error) {
	n := e.index(sha)
	if n < 0 {
		return e, &NotEnrolledError{ID: e.InstanceID}
	}
	last := e.index(e.InUse)
	if n == last || !e.Contested.IsZero() && !e.Keys[n].UsedAt.IsZero() {
		return e, nil
	}
	at := recorded(now)
	followed := e.Keys[n].LeftAt // the first key after it counts, not the last: whoever enrols one after the other gains no time
	if n < last && followed.IsZero() {
		followed = e.Keys[last].UsedAt
	}
	switch older := n < last && e.Contested.IsZero(); {
	case older && now.Sub(followed).Abs() < contestSlack: // a date that is far ahead is of a wrong clock, and says nothing
		return e, nil
	case older:
		e.Contested = at
	}
	e.Keys, e.Last = slices.Clone(e.Keys), nil
	e.Keys[n].UsedAt, e.Keys[n].LeftAt = at, time.Time{}
	if e.Contested.IsZero() {
		if e.InUse = sha; last >= 0 {
			e.Keys[last].LeftAt = at
		}
	}
	return e, nil
}

// Settle keeps one key and forgets the others. Whoever has one of those has to prove itself anew.
//
// Errors: [NotEnrolledError] if there is no such key.
func (e Enrolment) Settle(sha string) (Enrolment, error) {
	k, found := e.Key(sha)
	if !found {
		return e, &NotEnrolledError{ID: e.InstanceID}
	}
	k.LeftAt = time.Time{}
	e.Keys, e.InUse, e.Contested, e.Last = []EnrolledKey{k}, sha, time.Time{}, nil
	return e, nil
}

// Invite lets the instance enrol by a token of which this is the SHA-256.
func (e Enrolment) Invite(now time.Time, sha string, by By) Enrolment {
	e.Schema, e.Invitation = Schema, &Invitation{SHA256: sha, Until: recorded(now.Add(InvitationTime))}
	e.Last = &Transition{
		Time: recorded(now), Action: ActionInvite, Actor: by.Actor, Reason: "one key may enrol until " + e.Invitation.Until.Format(time.RFC3339),
	}
	return e
}

// Invites reports whether an operator has let the instance enrol by this token.
func (e Enrolment) Invites(now time.Time, token string) bool {
	return e.Invitation != nil && !now.After(e.Invitation.Until) &&
		subtle.ConstantTimeCompare([]byte(HashToken(token)), []byte(e.Invitation.SHA256)) == 1
}

// HashToken is what the registry keeps of a join token: its SHA-256, in hex.
func HashToken(token string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(token))) }

// plainEnrolment and plainKey have the fields and none of the methods.
type (
	plainEnrolment Enrolment
	plainKey       EnrolledKey
)

// MarshalJSON writes the record with the fields that this version does not know.
func (e Enrolment) MarshalJSON() ([]byte, error) {
	if e.Keys == nil {
		e.Keys = []EnrolledKey{}
	}
	return encodeObject(plainEnrolment(e), e.unknown)
}

// UnmarshalJSON reads the record and keeps the fields that this version does not know.
func (e *Enrolment) UnmarshalJSON(data []byte) (err error) {
	e.unknown, err = decodeObject(data, (*plainEnrolment)(e))
	return err
}

// MarshalJSON writes the key with the fields that this version does not know.
func (k EnrolledKey) MarshalJSON() ([]byte, error) { return encodeObject(plainKey(k), k.unknown) }

// UnmarshalJSON reads the key and keeps the fields that this version does not know.
func (k *EnrolledKey) UnmarshalJSON(data []byte) (err error) {
	k.unknown, err = decodeObject(data, (*plainKey)(k))
	return err
}

func (e Enrolment) valid() error {
	switch {
	case e.InstanceID == "":
		return errors.New("no instance_id")
	case len(e.Keys) > maxKeys:
		return within("keys", int64(len(e.Keys)), 0, maxKeys)
	}
	return nil
}
