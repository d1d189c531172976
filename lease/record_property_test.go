package lease_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"lapse/lease"
)

// drawJSON draws any JSON value.
func drawJSON(t *rapid.T, depth int) string {
	kinds := []string{"null", "true", "number", "string"}
	if depth > 0 {
		kinds = append(kinds, "array", "object")
	}
	switch kind := rapid.SampledFrom(kinds).Draw(t, "kind"); kind {
	case "number":
		return rapid.SampledFrom([]string{
			"0", "-1", "12345678901234567890123", "0.1000000000000000055511151231257827", "1e400", "-0",
		}).Draw(t, "number")
	case "string":
		return quote(rapid.String().Draw(t, "string"))
	case "array":
		list := make([]string, rapid.IntRange(0, 3).Draw(t, "length"))
		for i := range list {
			list[i] = drawJSON(t, depth-1)
		}
		return "[" + strings.Join(list, ",") + "]"
	case "object":
		return object(drawFields(t, depth-1))
	default:
		return kind
	}
}

func quote(s string) string {
	data, _ := json.Marshal(s)
	return string(data)
}

// drawFields draws fields whose names no version of these records has.
func drawFields(t *rapid.T, depth int) map[string]string {
	fields := map[string]string{}
	for range rapid.IntRange(0, 3).Draw(t, "fields") {
		name := rapid.SampledFrom([]string{"", "x-new", "statecode", "Unknown", "<&>", "ttl ", "ñ", "mark.cause"}).Draw(t, "name")
		fields[name] = drawJSON(t, depth)
	}
	return fields
}

func object(fields map[string]string) string {
	list := []string{}
	for name, value := range fields {
		list = append(list, quote(name)+":"+value)
	}
	return "{" + strings.Join(list, ",") + "}"
}

// exact decodes JSON without losing a digit.
func exact(t *rapid.T, data string) any {
	d := json.NewDecoder(strings.NewReader(data))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%s: %v", data, err)
	}
	return v
}

// salted is a record with fields that this version does not know, at the top and in the objects of a list.
type salted struct {
	data string
	top  map[string]string
	each map[string]map[string]string // by the salt's number, which is one of the unknown fields
}

const saltName = "salt"

// salt adds unknown fields to a record, and to the objects below list and, if there is one, below mark.
func salt(t *rapid.T, record, list string) salted {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal([]byte(record), &fields); err != nil {
		t.Fatalf("%s: %v", record, err)
	}
	s := salted{each: map[string]map[string]string{}}
	add := func(raw json.RawMessage, number string) string {
		unknown := drawFields(t, 2)
		unknown[saltName] = number
		s.each[number] = unknown
		return strings.TrimSuffix(string(raw), "}") + "," + strings.TrimPrefix(object(unknown), "{")
	}
	var objects []json.RawMessage
	if err := json.Unmarshal(fields[list], &objects); err != nil {
		t.Fatalf("%s: %v", fields[list], err)
	}
	for i, raw := range objects {
		objects[i] = json.RawMessage(add(raw, fmt.Sprint(i)))
	}
	fields[list], _ = json.Marshal(objects)
	if mark, ok := fields["mark"]; ok {
		fields["mark"] = json.RawMessage(add(mark, "1000"))
	}
	s.top = drawFields(t, 2)
	for name, value := range s.top {
		fields[name] = json.RawMessage(value)
	}
	data, _ := json.Marshal(fields)
	s.data = string(data)
	return s
}

// checkFields fails unless got has all the unknown fields, unchanged.
func checkFields(t *rapid.T, where string, got map[string]any, want map[string]string) {
	for name, value := range want {
		if kept, ok := got[name]; !ok || !same(kept, exact(t, value)) {
			t.Fatalf("%s: %q was %s, and is %v", where, name, value, kept)
		}
	}
}

// check looks for what was salted, and returns how many of the salted objects are still there.
func (s salted) check(t *rapid.T, record, list string) (found int) {
	top := exact(t, record).(map[string]any)
	checkFields(t, "top", top, s.top)
	objects := top[list].([]any)
	if mark, ok := top["mark"]; ok {
		objects = append(objects, mark)
	}
	for _, o := range objects {
		fields := o.(map[string]any)
		if number, ok := fields[saltName]; ok {
			checkFields(t, list, fields, s.each[string(number.(json.Number))])
			found++
		}
	}
	return found
}

func TestUnknownFieldsOfALeaseSurviveEveryTransition(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		old := drawLease(t)
		s := salt(t, text(t, old), "history")
		l, err := lease.Decode[lease.Lease]("lease", "i-1", []byte(s.data))
		if err != nil {
			t.Fatalf("%s: %v", s.data, err)
		}
		steps := rapid.IntRange(0, 20).Draw(t, "steps")
		dropped := 0
		for range steps {
			from := l
			l, _ = drawStep(t).do(l)
			l = must(lease.Decode[lease.Lease]("lease", "i-1", []byte(text(t, l)))) // an older program writes it back
			if from.Mark != nil && !same(from.Mark, l.Mark) {
				dropped = 1 // the mark went, and its fields with it
			}
		}
		want := len(s.each)
		if old.Mark != nil {
			want -= dropped
		}
		want -= max(0, len(old.History)+int(l.Changes-old.Changes)-historyMax)
		if found := s.check(t, text(t, l), "history"); found < want {
			t.Fatalf("unknown fields in %d of %d: %s", found, want, text(t, l))
		}
	})
}

func TestUnknownFieldsOfALaunchSurviveEveryStep(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := salt(t, text(t, must(opened().Sending(noon))), "attempts")
		l, err := lease.Decode[lease.Launch]("launch", token, []byte(s.data))
		if err != nil {
			t.Fatalf("%s: %v", s.data, err)
		}
		l, _ = l.Unsent().Sending(at(time.Minute))
		if rapid.Bool().Draw(t, "refused") {
			l = l.Refused(capacity)
		} else {
			l = l.Doubt().Launched([]string{"i-1"})
		}
		if more, ok := l.Next(); ok {
			l = more
		}
		l = must(lease.Decode[lease.Launch]("launch", token, []byte(text(t, l))))
		if rapid.Bool().Draw(t, "closed") {
			l = must(must(l.Close(at(time.Hour), "window over")).NoteFirstSeen(at(time.Hour), "i-2"))
		} else {
			l = must(l.Done(at(time.Hour)))
		}
		if found := s.check(t, text(t, l), "attempts"); found != 1 {
			t.Fatalf("unknown fields in %d attempts: %s", found, text(t, l))
		}
	})
}

func TestUnknownFieldsOfRegistryAndCheckpointSurvive(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		unknown := drawFields(t, 2)
		add := func(record string) []byte {
			return []byte(strings.TrimSuffix(record, "}") + strings.TrimSuffix(","+strings.TrimPrefix(object(unknown), "{"), ",}"))
		}
		if len(unknown) == 0 {
			add = func(record string) []byte { return []byte(record) }
		}
		r, err := lease.Decode[lease.Registry]("registry", "default",
			add(text(t, lease.NewRegistry(noon, "uuid-1", lease.ModeObserve))))
		if err != nil {
			t.Fatal(err)
		}
		checkFields(t, "registry", exact(t, text(t, r.To(at(time.Hour), lease.ModeArmed, lease.By{}))).(map[string]any), unknown)
		s, err := lease.Decode[lease.Checkpoint]("checkpoint", "default", add(text(t, lease.Checkpoint{Schema: lease.Schema, Time: noon})))
		if err != nil {
			t.Fatal(err)
		}
		s.Sequence++
		checkFields(t, "checkpoint", exact(t, text(t, s)).(map[string]any), unknown)
	})
}

func TestAKnownNameInAnotherCaseIsNotWrittenTwice(t *testing.T) {
	t.Parallel()
	l := must(lease.Decode[lease.Lease]("lease", "i-1",
		[]byte(`{"schema":3,"Instance_ID":"i-1","STATE":"active","Holder":"ada","new":1,"expires_number":1,"changes":1}`)))
	l = must(l.Unmark(noon, ada))
	var got map[string]any
	if err := json.Unmarshal([]byte(text(t, l)), &got); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"Instance_ID", "STATE", "Holder"} {
		if _, twice := got[name]; twice {
			t.Errorf("%s is written besides %s", name, strings.ToLower(name))
		}
	}
	if got["holder"] != "ada" || got["new"] != 1.0 || got["changes"] != 2.0 {
		t.Errorf("wrote %v", got)
	}
}

func TestALeaseIsReadAsItWasWritten(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		l := drawLease(t)
		again, err := lease.Decode[lease.Lease]("lease", "i-1", []byte(text(t, l)))
		if err != nil || !same(again, l) {
			t.Fatalf("%v: wrote %s\nand read %s", err, text(t, l), text(t, again))
		}
	})
}

// FuzzDecode: whatever is stored, reading it ends with a record that can be used and written back, or with one of the
// two errors.
func FuzzDecode(f *testing.F) {
	for _, l := range everyState() {
		f.Add([]byte(text(f, l)))
	}
	for _, r := range []any{
		full(), opened(), sent(), launched(), must(must(launched().Close(noon, "released")).NoteFirstSeen(noon, "i-1")),
		lease.NewRegistry(noon, "uuid-1", lease.ModePaused),
		lease.Checkpoint{Schema: lease.Schema, Time: noon},
		lease.Heartbeat{Schema: lease.Schema, InstanceID: "i-1"},
	} {
		f.Add([]byte(text(f, r)))
	}
	for _, data := range []string{
		"", "null", "{}", "[]", `{"schema":1}`, `{"schema":-1}`, `{"":null}`,
		`{"schema":3,"instance_id":"i","state":"active","expires_number":1,"mark":null}`,
		`{"schema":3,"instance_id":"i","state":"active","expires_number":1,"history":[null,{},{"x":1}],"mark":{"x":[]},"y":{"z":"<"}}`,
		`{"schema":3,"instance_id":"i","state":"active","expires_number":1000000000,"changes":9007199254740991,"expires_at":"9999-12-31T23:59:59-23:59"}`,
		`{"schema":3,"instance_id":"i","state":"revoked","expires_number":7,"tag_number":999000000,"tries":1000000000}`,
		`{"schema":3,"token":"t","state":"open","attempts":[{}],"request":null,"count":-1,"window":"-1h"}`,
		`{"schema":3,"token":"t","state":"open","attempts":[{}, null],"first_seen":{"i":"2026-03-01T12:00:00Z"},"REQUEST":[1,2]}`,
		`{"schema":3,"uuid":"u","mode":"armed","history":[],"history":{}}`,
	} {
		f.Add([]byte(data))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if l, ok := fuzzDecode[lease.Lease](t, data); ok {
			for _, transition := range allowed {
				_, _ = transition.do(l)
			}
			_, _ = l.Over(noon, time.Minute), l.Binds(instance())
		}
		if l, ok := fuzzDecode[lease.Launch](t, data); ok {
			_, _ = l.Sending(noon)
			_, _ = l.Launched(nil).Next()
			_, _ = l.Refused(capacity).Next()
			_, _ = l.Unsent().Member(instance())
			_, _ = must(l.Close(noon, "")).NoteFirstSeen(noon, "i-1")
			_, _ = l.Doubt().Done(noon)
			_ = l.Bind(noon, instance(), l.Last(), ada)
		}
		fuzzDecode[lease.Registry](t, data)
		fuzzDecode[lease.Checkpoint](t, data)
		fuzzDecode[lease.Heartbeat](t, data)
		if e, ok := fuzzDecode[lease.Enrolment](t, data); ok {
			_, _ = e.Use(noon, "a")
			_, _ = e.Enrol(noon, noon, lease.EnrolledKey{SHA256: "a"})
		}
	})
}

// fuzzDecode reads data as R, and checks what it says and that what was read can be written and read again.
func fuzzDecode[R record](t *testing.T, data []byte) (r R, ok bool) {
	t.Helper()
	r, err := decode[R](data)
	if err != nil {
		var malformed *lease.MalformedError
		var newer *lease.SchemaError
		if !errors.As(err, &malformed) && !errors.As(err, &newer) {
			t.Fatalf("%T: %v", err, err)
		}
		return r, false
	}
	written := text(t, r)
	again, err := decode[R]([]byte(written))
	if err != nil {
		t.Fatalf("%q was read, written as %s and then refused: %v", data, written, err)
	}
	if second := text(t, again); second != written {
		t.Fatalf("written as %s and then as %s", written, second)
	}
	return r, true
}

type record interface {
	lease.Lease | lease.Launch | lease.Registry | lease.Checkpoint | lease.Heartbeat | lease.Enrolment
}

// decode is lease.Decode for any of the records.
func decode[R record](data []byte) (r R, err error) {
	switch r := any(&r).(type) {
	case *lease.Lease:
		*r, err = lease.Decode[lease.Lease]("record", "x", data)
	case *lease.Launch:
		*r, err = lease.Decode[lease.Launch]("record", "x", data)
	case *lease.Registry:
		*r, err = lease.Decode[lease.Registry]("record", "x", data)
	case *lease.Checkpoint:
		*r, err = lease.Decode[lease.Checkpoint]("record", "x", data)
	case *lease.Heartbeat:
		*r, err = lease.Decode[lease.Heartbeat]("record", "x", data)
	case *lease.Enrolment:
		*r, err = lease.Decode[lease.Enrolment]("record", "x", data)
	}
	return r, err
}

func decodeError[R record](data []byte) error {
	_, err := decode[R](data)
	return err
}
