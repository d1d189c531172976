package lease_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"lapse/lease"
)

// full has something in every field, although no lease would have it all at once.
func full() lease.Lease {
	l := must(revoked().Absent(at(90 * time.Minute)))
	l.ClaimedAt, l.CuredAt, l.EndedAt = at(time.Minute), at(2*time.Minute), at(2*time.Hour)
	l.Mark = &lease.Mark{Cause: lease.CauseHeartbeatLost, Since: at(time.Hour), Deadline: at(time.Hour + 1500*time.Millisecond)}
	l.Tries, l.TriedAt, l.Stuck = 2, at(80*time.Minute), "protected"
	l.ExpiresNumber, l.ShortenedAt, l.TagNumber = 7, 3, 9
	l.KeptSince, l.KeptReason = at(70*time.Minute), lease.KeptByTag
	l.Revision = 77
	return l
}

const fullJSON = `{
  "schema": 3,
  "instance_id": "i-1",
  "launch": "nightly-build",
  "client_token": "nightly-build.1",
  "account": "123456789012",
  "region": "eu-west-1",
  "zone": "eu-west-1a",
  "zone_id": "euw1-az2",
  "holder": "ada",
  "labels": {
    "job": "42"
  },
  "state": "revoked",
  "granted_at": "2026-03-01T12:00:00Z",
  "expires_at": "2026-03-02T12:00:00Z",
  "expires_number": 7,
  "shortened_at": 3,
  "max_expires_at": "2026-03-08T12:00:00Z",
  "heartbeat_timeout": "1m0s",
  "claimed_at": "2026-03-01T12:01:00Z",
  "cured_at": "2026-03-01T12:02:00Z",
  "kept_since": "2026-03-01T13:10:00Z",
  "kept_reason": "tag",
  "mark": {
    "cause": "heartbeat-lost",
    "since": "2026-03-01T13:00:00Z",
    "deadline": "2026-03-01T13:00:01.5Z"
  },
  "cause": "release",
  "revoked_at": "2026-03-01T13:00:00Z",
  "tag_number": 9,
  "ended_at": "2026-03-01T14:00:00Z",
  "absent_since": "2026-03-01T13:30:00Z",
  "tries": 2,
  "tried_at": "2026-03-01T13:20:00Z",
  "stuck": "protected",
  "changes": 2,
  "history": [
    {
      "time": "2026-03-01T12:00:00Z",
      "actor": "cli:ada@laptop",
      "action": "bind",
      "reason": "because"
    },
    {
      "time": "2026-03-01T13:00:00Z",
      "actor": "cli:ada@laptop",
      "action": "revoke",
      "reason": "because"
    }
  ],
  "revision": 77
}`

func TestALeaseIsWrittenWithTheseNames(t *testing.T) {
	t.Parallel()
	var got bytes.Buffer
	if err := json.Indent(&got, []byte(text(t, full())), "", "  "); err != nil {
		t.Fatal(err)
	}
	if got.String() != fullJSON {
		t.Errorf("wrote %s", got.String())
	}
	again, err := lease.Decode[lease.Lease]("lease", "i-1", []byte(fullJSON))
	if err != nil || !same(again, full()) {
		t.Errorf("read %s, %v", text(t, again), err)
	}
}

func TestALeaseHasEveryDocumentedName(t *testing.T) {
	t.Parallel()
	var got struct {
		Fields  map[string]json.RawMessage
		Mark    map[string]json.RawMessage   `json:"mark"`
		History []map[string]json.RawMessage `json:"history"`
	}
	if err := errors.Join(json.Unmarshal([]byte(fullJSON), &got), json.Unmarshal([]byte(fullJSON), &got.Fields)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		in    map[string]json.RawMessage
		names string
	}{
		{got.Fields, "instance_id launch account region zone holder labels state granted_at expires_at max_expires_at heartbeat_timeout mark cause " +
			"revision history"},
		{got.Mark, "cause since deadline"},
		{got.History[0], "time actor action reason"},
	} {
		for name := range strings.FieldsSeq(c.names) {
			if len(c.in[name]) == 0 {
				t.Errorf("there is no %s", name)
			}
		}
	}
}

func TestListsAreArraysNeverNull(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		record any
		want   string
	}{
		"a lease without history":        {lease.Lease{}, `"history":[]`},
		"a launch without attempts":      {lease.Launch{}, `"attempts":[]`},
		"a checkpoint without locations": {lease.Checkpoint{}, `"locations":[]`},
		"leases, by pointer":             {&lease.Lease{}, `"history":[]`},
		"a lease inside of a change":     {lease.Change{Lease: &lease.Lease{}}, `"history":[]`},
	} {
		if got := text(t, c.record); !strings.Contains(got, c.want) {
			t.Errorf("%s is written as %s", name, got)
		}
	}
	for _, record := range []any{lease.Lease{}, lease.Checkpoint{}, held(), opened()} {
		if got := text(t, record); strings.Contains(got, "null") {
			t.Errorf("null in %s", got)
		}
	}
	if ids := (lease.Launch{}).Instances(); ids == nil {
		t.Error("no instances are a null list")
	}
}

func TestDurationsAreWrittenAsGoPrintsThem(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{
		`"1h30m0s"`: 90 * time.Minute, `"0s"`: 0, `"250ms"`: 250 * time.Millisecond, `"168h0m0s"`: 7 * 24 * time.Hour,
	} {
		data, err := json.Marshal(lease.Duration(want))
		if err != nil || string(data) != text {
			t.Errorf("%s is written as %s, %v", want, data, err)
		}
		var got lease.Duration
		if err := json.Unmarshal([]byte(text), &got); err != nil || time.Duration(got) != want || got.String() != want.String() {
			t.Errorf("%s is read as %s, %v", text, got, err)
		}
	}
	for _, bad := range []string{`60`, `"60"`, `""`, `"1d"`, `{}`} {
		var d lease.Duration
		if err := json.Unmarshal([]byte(bad), &d); err == nil {
			t.Errorf("%s is read as %s", bad, d)
		}
	}
}

func TestEveryKindOfRecordIsReadAsItWasWritten(t *testing.T) {
	t.Parallel()
	launch := must(must(launched().Close(at(time.Hour), "window over")).NoteFirstSeen(at(2*time.Hour), "i-2"))
	launch.Subnets, launch.InstanceTypes = []string{"s1"}, []string{"t1", "t2"}
	roundTrip(t, full())
	roundTrip(t, launch)
	roundTrip(t, lease.NewRegistry(noon, "uuid-1", lease.ModeArmed))
	roundTrip(t, lease.Checkpoint{
		Schema: lease.Schema, Sequence: 7, Nonce: "n", Time: noon, NextSweep: at(time.Minute), Leader: "host-1",
		Locations: []lease.Location{{Account: "1", Region: "eu-west-1"}},
		Brakes:    []lease.Brake{{Name: lease.BrakeHeartbeats, Scope: "euw1-az2", Since: noon, Reason: "7 of 10 lost"}},
	})
	roundTrip(t, lease.Heartbeat{
		Schema: lease.Schema, InstanceID: "i-1", BootID: "b", Address: "10.0.0.1", Version: "1", Changes: 3,
		HeartbeatTimeout: lease.Duration(time.Minute), Since: noon,
	})
}

func roundTrip[R record](t *testing.T, r R) {
	t.Helper()
	data := text(t, r)
	got, err := decode[R]([]byte(data))
	if err != nil || !same(got, r) {
		t.Errorf("%T: %v: wrote %s\nand read %s", r, err, data, text(t, got))
	}
}

func TestAnotherSchemaIsRefusedWhateverElseIsInIt(t *testing.T) {
	t.Parallel()
	for _, data := range []string{
		`{"schema":1}`,
		`{"schema":1,"instance_id":"i-1","state":"active","history":[]}`,
		`{"schema":1,"uuid":"u","mode":"armed"}`,
		`{"schema":1,"token":"t","state":"open","attempts":[{}]}`,
		`{"schema":2,"instance_id":"i-1","state":"active"}`,
		`{"schema":4,"instance_id":"i-1","state":"active"}`,
		`{"schema":99,"instance_id":{"new":"form"},"state":["active"],"history":7}`,
	} {
		for _, decode := range []func([]byte) error{
			decodeError[lease.Lease], decodeError[lease.Launch], decodeError[lease.Registry], decodeError[lease.Checkpoint],
			decodeError[lease.Heartbeat], decodeError[lease.Enrolment],
		} {
			err := decode([]byte(data))
			var other *lease.SchemaError
			if !errors.As(err, &other) || other.Kind != "record" || other.ID != "x" || other.Schema == lease.Schema {
				t.Errorf("%s: %v", data, err)
			}
		}
	}
}

func TestTextThatIsNoRecordIsMalformed(t *testing.T) {
	t.Parallel()
	decode := map[string]func([]byte) error{
		"lease":      decodeError[lease.Lease],
		"launch":     decodeError[lease.Launch],
		"registry":   decodeError[lease.Registry],
		"checkpoint": decodeError[lease.Checkpoint],
		"heartbeat":  decodeError[lease.Heartbeat],
		"enrolment":  decodeError[lease.Enrolment],
	}
	anywhere := []string{
		"", " ", "x", "{", `"text"`, "[]", "7", `{"schema":"1"}`, `{"schema":1.5}`, "{}{}", `{"schema":99999999999999999999}`,
		strings.Repeat(`{"a":`, 20000), "\xff\xfe",
	}
	for kind, bad := range map[string][]string{
		"lease": {
			"{}", "null", `{"schema":3,"state":"active"}`, `{"schema":3,"instance_id":"i-1"}`, `{"schema":3,"expires_number":1,"instance_id":"i-1","state":"Active"}`,
			`{"schema":3,"expires_number":1,"instance_id":"i-1","state":"held"}`, `{"schema":3,"expires_number":1,"instance_id":"i-1","state":"active","expires_at":"tomorrow"}`,
			`{"schema":3,"expires_number":1,"instance_id":"i-1","state":"active","heartbeat_timeout":60}`, `{"schema":3,"expires_number":1,"instance_id":"i-1","state":"active","mark":"soon"}`,
			`{"schema":3,"expires_number":1,"instance_id":"i-1","state":"active","history":{}}`, `{"schema":3,"expires_number":1,"instance_id":"i-1","state":"active","labels":["a"]}`,
			`{"schema":3,"expires_number":1,"instance_id":"i-1","state":"active","granted_at":"2026-03-01 12:00"}`,
			`{"schema":3,"expires_number":1,"instance_id":"i-1","state":"active","new_field":1,"heartbeat_timeout":60}`,
			`{"schema":3,"expires_number":1,"instance_id":"i-1","state":"active","history":[{"new_field":1,"time":1}]}`,
		},
		"launch": {
			"{}", "null", `{"schema":3,"token":"t"}`, `{"schema":3,"state":"open","attempts":[{}]}`, `{"schema":3,"token":"t","state":"lost","attempts":[{}]}`,
			`{"schema":3,"token":"t","state":"open"}`, `{"schema":3,"token":"t","state":"open","attempts":[]}`,
			`{"schema":3,"token":"t","state":"open","attempts":[{"sends":"1"}]}`,
		},
		"registry":   {"{}", "null", `{"schema":3,"uuid":"u"}`, `{"schema":3,"mode":"armed"}`, `{"schema":3,"uuid":"u","mode":"ARMED"}`},
		"checkpoint": {`{"schema":3,"time":"noon"}`, `{"schema":3,"locations":"all"}`},
		"enrolment":  {"{}", "null", `{"schema":3,"keys":[]}`, `{"schema":3,"instance_id":"i-1","keys":[{},{},{},{}]}`},
		"heartbeat":  {"{}", "null", `{"schema":3,"boot_id":"b"}`, `{"schema":3,"instance_id":"i-1","heartbeat_timeout":7}`},
	} {
		for _, data := range append(bad, anywhere...) {
			var malformed *lease.MalformedError
			err := decode[kind]([]byte(data))
			if !errors.As(err, &malformed) || malformed.Kind != "record" || malformed.ID != "x" || malformed.Err == nil {
				t.Errorf("%s %.60q: %v", kind, data, err)
			}
		}
	}
}

func TestAReusedValueKeepsNothingOfTheOlderRecord(t *testing.T) {
	t.Parallel()
	for name, data := range map[string]string{
		"known fields only":  `{"schema":3,"instance_id":"i-2","state":"active","expires_number":1,"granted_at":"2026-03-01T12:00:00Z","history":[]}`,
		"with unknown ones":  `{"schema":3,"instance_id":"i-2","state":"active","expires_number":1,"granted_at":"2026-03-01T12:00:00Z","history":[],"new":1}`,
		"another's unknowns": `{"schema":3,"instance_id":"i-2","state":"active","expires_number":1,"granted_at":"2026-03-01T12:00:00Z","history":[],"newer":1}`,
	} {
		fresh := must(lease.Decode[lease.Lease]("lease", "i-2", []byte(data)))
		used := must(lease.Decode[lease.Lease]("lease", "i-1", []byte(strings.Replace(fullJSON, "{", `{"new":2,`, 1))))
		if err := json.Unmarshal([]byte(data), &used); err != nil || !same(used, fresh) {
			t.Errorf("%s: %v: %s, want %s", name, err, text(t, used), text(t, fresh))
		}
	}
}
