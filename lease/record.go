package lease

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// Schema is the version of the records that this code writes, and the only one that it reads: those of version 1 have no
// number to their dates, and zero would say that no date was ever agreed on.
const Schema = 3

// Duration is a time.Duration whose JSON is what Go prints, for example "1h30m0s".
type Duration time.Duration

// String prints d as time.Duration does.
func (d Duration) String() string { return time.Duration(d).String() }

// MarshalText prints d as time.Duration does.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads what time.ParseDuration reads.
func (d *Duration) UnmarshalText(text []byte) error {
	parsed, err := time.ParseDuration(string(text))
	*d = Duration(parsed)
	return err
}

// unknownFields are the fields of a stored object that this version does not know. They are written back, so that an
// older program beside a newer one loses nothing of the newer one's.
type unknownFields map[string]json.RawMessage

// decodeObject reads data into known, a pointer to a struct without methods, and returns the fields that it lacks.
// What known held before is forgotten, so that a value which is read into again keeps nothing of an older record.
func decodeObject(data []byte, known any) (unknownFields, error) {
	struc := reflect.ValueOf(known).Elem()
	struc.SetZero()
	strict := json.NewDecoder(bytes.NewReader(data))
	strict.DisallowUnknownFields()
	if strict.Decode(known) == nil { // nearly always: one pass, nothing unknown
		return nil, nil
	}
	struc.SetZero()
	if err := json.Unmarshal(data, known); err != nil {
		return nil, err
	}
	var unknown unknownFields
	if err := json.Unmarshal(data, &unknown); err != nil {
		return nil, err
	}
	for field := range struc.Type().Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		for key := range unknown {
			if name != "" && strings.EqualFold(key, name) { // encoding/json matches names so
				delete(unknown, key)
			}
		}
	}
	return unknown, nil
}

// encodeObject writes known, a struct without methods, with the unknown fields beside it.
func encodeObject(known any, unknown unknownFields) ([]byte, error) {
	data, err := json.Marshal(known)
	if err != nil || len(unknown) == 0 {
		return data, err
	}
	var all map[string]json.RawMessage
	if err := json.Unmarshal(data, &all); err != nil {
		return nil, err
	}
	for key, value := range unknown {
		if _, taken := all[key]; !taken {
			all[key] = value
		}
	}
	return json.Marshal(all)
}

// The plain types have the fields of the records and none of their methods.
type (
	plainLease      Lease
	plainMark       Mark
	plainTransition Transition
	plainLaunch     Launch
	plainAttempt    Attempt
	plainRegistry   Registry
	plainCheckpoint Checkpoint
)

// MarshalJSON writes the record with the fields that this version does not know.
func (l Lease) MarshalJSON() ([]byte, error) {
	if l.History == nil {
		l.History = []Transition{}
	}
	return encodeObject(plainLease(l), l.unknown)
}

// UnmarshalJSON reads the record and keeps the fields that this version does not know.
func (l *Lease) UnmarshalJSON(data []byte) (err error) {
	l.unknown, err = decodeObject(data, (*plainLease)(l))
	return err
}

// MarshalJSON writes the record with the fields that this version does not know.
func (m Mark) MarshalJSON() ([]byte, error) { return encodeObject(plainMark(m), m.unknown) }

// UnmarshalJSON reads the record and keeps the fields that this version does not know.
func (m *Mark) UnmarshalJSON(data []byte) (err error) {
	m.unknown, err = decodeObject(data, (*plainMark)(m))
	return err
}

// MarshalJSON writes the record with the fields that this version does not know.
func (t Transition) MarshalJSON() ([]byte, error) { return encodeObject(plainTransition(t), t.unknown) }

// UnmarshalJSON reads the record and keeps the fields that this version does not know.
func (t *Transition) UnmarshalJSON(data []byte) (err error) {
	t.unknown, err = decodeObject(data, (*plainTransition)(t))
	return err
}

// MarshalJSON writes the record with the fields that this version does not know.
func (a Attempt) MarshalJSON() ([]byte, error) { return encodeObject(plainAttempt(a), a.unknown) }

// UnmarshalJSON reads the record and keeps the fields that this version does not know.
func (a *Attempt) UnmarshalJSON(data []byte) (err error) {
	a.unknown, err = decodeObject(data, (*plainAttempt)(a))
	return err
}

// MarshalJSON writes the record with the fields that this version does not know.
func (r Registry) MarshalJSON() ([]byte, error) { return encodeObject(plainRegistry(r), r.unknown) }

// UnmarshalJSON reads the record and keeps the fields that this version does not know.
func (r *Registry) UnmarshalJSON(data []byte) (err error) {
	r.unknown, err = decodeObject(data, (*plainRegistry)(r))
	return err
}

// MarshalJSON writes the record with the fields that this version does not know.
func (s Checkpoint) MarshalJSON() ([]byte, error) {
	if s.Locations == nil {
		s.Locations = []Location{}
	}
	return encodeObject(plainCheckpoint(s), s.unknown)
}

// UnmarshalJSON reads the record and keeps the fields that this version does not know.
func (s *Checkpoint) UnmarshalJSON(data []byte) (err error) {
	s.unknown, err = decodeObject(data, (*plainCheckpoint)(s))
	return err
}

// MarshalJSON writes the record with the fields that this version does not know.
func (l Launch) MarshalJSON() ([]byte, error) {
	if l.Attempts == nil {
		l.Attempts = []Attempt{}
	}
	return encodeObject(plainLaunch(l), l.unknown)
}

// UnmarshalJSON reads the record and keeps the fields that this version does not know.
func (l *Launch) UnmarshalJSON(data []byte) (err error) {
	l.unknown, err = decodeObject(data, (*plainLaunch)(l))
	return err
}

// record is what Decode reads.
type record interface {
	valid() error
}

func (l Lease) valid() error {
	switch l.State {
	case StateAdopting, StateActive, StateRevoked, StateEnded, StateUnmanaged:
	default:
		return errors.New("unknown state " + strconv.Quote(string(l.State)))
	}
	if l.InstanceID == "" {
		return errors.New("no instance_id")
	}
	if l.SelfExtend != nil && *l.SelfExtend < 0 {
		return errors.New("self_extend " + l.SelfExtend.String() + " is negative")
	}
	return cmp.Or(
		within("expires_number", l.ExpiresNumber, 1, MaxNumber), within("shortened_at", l.ShortenedAt, 0, l.ExpiresNumber),
		within("tag_number", l.TagNumber, 0, MaxTagNumber), within("changes", l.Changes, 0, maxChanges), within("history_dropped", l.HistoryDropped, 0, maxChanges),
		within("tries", int64(l.Tries), 0, maxTries))
}

// within refuses a number on which nothing can be counted.
func within(name string, n, least, most int64) error {
	if n < least || n > most {
		return fmt.Errorf("%s %d is not between %d and %d", name, n, least, most)
	}
	return nil
}

func (l Launch) valid() error {
	switch l.State {
	case LaunchOpen, LaunchDone, LaunchClosed:
	default:
		return errors.New("unknown state " + strconv.Quote(string(l.State)))
	}
	if l.Token == "" {
		return errors.New("no token")
	}
	if len(l.Attempts) == 0 {
		return errors.New("no attempts")
	}
	return nil
}

func (r Registry) valid() error {
	switch r.Mode {
	case ModeObserve, ModeArmed, ModePaused:
	default:
		return errors.New("unknown mode " + strconv.Quote(string(r.Mode)))
	}
	if r.UUID == "" {
		return errors.New("no uuid")
	}
	return nil
}

func (s Checkpoint) valid() error { return within("sequence", s.Sequence, 0, maxChanges) }

// Check refuses a heartbeat that no record can hold.
//
// Errors: [LimitError].
func (h Heartbeat) Check() error {
	err := h.valid()
	if err == nil {
		err = CheckHeartbeatTimeout(time.Duration(h.HeartbeatTimeout))
	}
	if err == nil || errors.As(err, new(*LimitError)) {
		return err
	}
	return &LimitError{What: "heartbeat", Why: "must not have " + err.Error()}
}

func (h Heartbeat) valid() error {
	if h.InstanceID == "" {
		return errors.New("no instance_id")
	}
	if size := max(len(h.BootID), len(h.Address), len(h.Version)); size > maxHeartbeatText {
		return fmt.Errorf("a text of %d bytes, and %d are allowed", size, maxHeartbeatText)
	}
	return cmp.Or(
		within("changes", h.Changes, 0, MaxHeartbeatChanges), within("heartbeat_timeout", int64(h.HeartbeatTimeout), 0, int64(MaxHeartbeatTimeout)))
}

// Decode reads a stored record. kind and id name it in errors.
//
// Errors: [MalformedError], and [SchemaError] for a record of another version, of which nothing may be concluded.
func Decode[R record](kind, id string, data []byte) (R, error) {
	var r R
	quick, can := any(&r).(interface{ readQuickly(data []byte) bool })
	if can && quick.readQuickly(data) && r.valid() == nil {
		return r, nil
	}
	return decode[R](kind, id, data)
}

// decode reads whatever a record may look like, and says what is wrong with it.
func decode[R record](kind, id string, data []byte) (R, error) {
	var r R
	var probe struct {
		Schema int `json:"schema"`
	}
	if err := json.Unmarshal(data, &probe); err != nil {
		return r, &MalformedError{Kind: kind, ID: id, Err: err}
	}
	if probe.Schema < 1 {
		return r, &MalformedError{Kind: kind, ID: id, Err: errors.New("no schema")}
	}
	if probe.Schema != Schema {
		return r, &SchemaError{Kind: kind, ID: id, Schema: probe.Schema}
	}
	if err := json.Unmarshal(data, &r); err != nil {
		return r, &MalformedError{Kind: kind, ID: id, Err: err}
	}
	if err := r.valid(); err != nil {
		return r, &MalformedError{Kind: kind, ID: id, Err: err}
	}
	return r, nil
}
