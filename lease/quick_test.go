package lease

import (
	"encoding/json"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// fill sets every exported field of a struct, so that none is left out of its JSON.
func fill(v reflect.Value) {
	for field, value := range v.Fields() {
		switch {
		case !field.IsExported() || field.Tag.Get("json") == "-":
		case value.Type() == reflect.TypeFor[time.Time]():
			value.Set(reflect.ValueOf(time.Date(2026, 3, 1, 12, 0, 0, 7e6, time.UTC)))
		case value.Kind() == reflect.String:
			value.SetString("é <" + field.Name + "> \u2028 \"x\"")
		case value.CanInt():
			value.SetInt(int64(time.Minute))
		case value.Kind() == reflect.Bool:
			value.SetBool(true)
		case value.Type() == reflect.TypeFor[[]string]():
			value.Set(reflect.ValueOf([]string{"vol-1", "é"}))
		case value.Kind() == reflect.Map:
			value.Set(reflect.ValueOf(map[string]string{"team": "a b", "": ""}))
		case value.Kind() == reflect.Pointer:
			value.Set(reflect.New(value.Type().Elem()))
			if value = value.Elem(); value.CanInt() {
				value.SetInt(int64(time.Minute))
				continue
			}
			fill(value)
		case value.Kind() == reflect.Slice:
			value.Set(reflect.MakeSlice(value.Type(), 3, 3))
			for n := range value.Len() {
				fill(value.Index(n))
			}
		case value.Kind() == reflect.Struct:
			fill(value)
		}
	}
}

func full() (Lease, Heartbeat) {
	var l Lease
	var h Heartbeat
	fill(reflect.ValueOf(&l).Elem())
	fill(reflect.ValueOf(&h).Elem())
	l.Schema, l.State, h.Schema, l.TagNumber = Schema, StateActive, Schema, MaxTagNumber
	l.ExpiresNumber, l.ShortenedAt, l.Tries, h.Changes = MaxNumber, MaxNumber, maxTries, MaxHeartbeatChanges
	return l, h
}

func encoded(t interface{ Fatal(...any) }, record any) []byte {
	data, err := json.Marshal(record)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// What this version writes is what it reads quickly. A new field of a record has to be added there, in its place.
func TestRecordsOfThisVersionAreReadQuickly(t *testing.T) {
	t.Parallel()
	l, h := full()
	bare := Lease{Schema: Schema, InstanceID: "i-1", ExpiresNumber: 1, State: StateActive, History: []Transition{}}
	for name, want := range map[string]Lease{"every field": l, "only what must be": bare} {
		var got Lease
		if !got.readQuickly(encoded(t, want)) {
			t.Errorf("%s: left to encoding/json", name)
		} else if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: read as\n%+v, want\n%+v", name, got, want)
		}
	}
	var got Heartbeat
	if !got.readQuickly(encoded(t, h)) || !reflect.DeepEqual(got, h) {
		t.Errorf("heartbeat: read as\n%+v, want\n%+v", got, h)
	}
}

// Whatever is read quickly, encoding/json reads as the same record.
func TestQuickReadingNeverDiffers(t *testing.T) {
	t.Parallel()
	l, h := full()
	lease, heartbeat := encoded(t, l), encoded(t, h)
	rapid.Check(t, func(t *rapid.T) {
		text, other := mutilated(t, lease), mutilated(t, heartbeat)
		var quickLease Lease
		if quickLease.readQuickly(text) && quickLease.valid() == nil {
			if slow, err := decode[Lease]("lease", "i-1", text); err != nil || !reflect.DeepEqual(slow, quickLease) {
				t.Fatalf("%s\nis read quickly as\n%+v, else as\n%+v (%v)", text, quickLease, slow, err)
			}
		}
		var quickHeartbeat Heartbeat
		if quickHeartbeat.readQuickly(other) && quickHeartbeat.valid() == nil {
			if slow, err := decode[Heartbeat]("heartbeat", "i-1", other); err != nil || !reflect.DeepEqual(slow, quickHeartbeat) {
				t.Fatalf("%s\nis read quickly as\n%+v, else as\n%+v (%v)", other, quickHeartbeat, slow, err)
			}
		}
	})
}

// FuzzQuickReading: [Decode], which tries the quick way, says of any text what encoding/json says, errors included.
func FuzzQuickReading(f *testing.F) {
	l, h := full()
	f.Add(encoded(f, l))
	f.Add(encoded(f, h))
	for _, text := range []string{
		`{"schema":3,"instance_id":"i-1","state":"active","expires_number":1,"granted_at":"2026-03-01T24:00:00Z"}`,
		`{"schema":-0,"instance_id":"i-1","labels":{"a":"1","a":"2"},"state":"active","outlive":[]}`,
		`{"schema":3,"instance_id":"i-1","state":"ended","untagged":"true"}`,
		`{"schema":3,"instance_id":"i-1","state":"ended","untagged":false}`,
		`{"schema":3,"instance_id":"i-1","heartbeat_timeout":"1h","state":"active","mark":{"cause":"expired","since":"2026-03-01T12:00:00+01:00"}}`,
		`{"schema":3,"instance_id":"i-1","boot_id":"\ud83d\ude00","changes":-9223372036854775808,"heartbeat_timeout":"-1ns"}`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		agree[Lease](t, data)
		agree[Heartbeat](t, data)
	})
}

func agree[R record](t *testing.T, data []byte) {
	t.Helper()
	got, gotErr := Decode[R]("record", "x", data)
	want, wantErr := decode[R]("record", "x", data)
	if (gotErr == nil) != (wantErr == nil) || gotErr != nil && gotErr.Error() != wantErr.Error() {
		t.Fatalf("%q: %v, and by encoding/json %v", data, gotErr, wantErr)
	}
	if gotErr == nil && !reflect.DeepEqual(got, want) {
		t.Fatalf("%q is read as\n%+v, and by encoding/json as\n%+v", data, got, want)
	}
}

// What hardly ever comes about by chance: each is as near to what is written as it can be, and is not, or means something
// else than it seems to.
func TestTextThatOnlyResemblesARecordIsNotReadQuickly(t *testing.T) {
	t.Parallel()
	const begin = `{"schema":3,"instance_id":"i-1",`
	for name, text := range map[string]string{
		"text after it":                 begin + `"state":"active","expires_number":1}x`,
		"another after it":              begin + `"state":"active","expires_number":1}{}`,
		"false where only true is said": begin + `"state":"active","expires_number":1,"untagged":false}`,
		"neither true nor false":        begin + `"state":"active","expires_number":1,"untagged":frue}`,
		"an escape":                     begin + `"holder":"a\u0062\n\"c","state":"active","expires_number":1}`,
		"an escape that is none":        begin + `"holder":"a\x","state":"active","expires_number":1}`,
		"no UTF-8":                      begin + "\"holder\":\"a\xffb\",\"state\":\"active\",\"expires_number\":1}",
		"half a pair":                   begin + `"holder":"a\ud800","state":"active","expires_number":1}`,
		"a control character":           begin + "\"holder\":\"a\x01b\",\"state\":\"active\",\"expires_number\":1}",
		"a number with a zero before":   begin + `"state":"active","expires_number":1,"tries":01}`,
		"a negative one":                begin + `"state":"active","expires_number":1,"tries":-01}`,
		"no number":                     begin + `"state":"active","expires_number":1,"tries":}`,
		"too large a number":            begin + `"state":"active","expires_number":1,"changes":9223372036854775808}`,
		"no duration":                   begin + `"state":"active","expires_number":1,"heartbeat_timeout":"soon"}`,
		"no date":                       begin + `"state":"active","granted_at":"2026-02-30T00:00:00Z","expires_number":1}`,
		"no comma after a mark":         begin + `"state":"active","expires_number":1,"mark":{}"cause":"expired"}`,
		"no comma after a history":      begin + `"state":"active","expires_number":1,"history":[{}]"revision":3}`,
		"no comma in a history":         begin + `"state":"active","expires_number":1,"history":[{}{}]}`,
		"no comma in a list":            begin + `"state":"active","expires_number":1,"outlive":["vol-1""vol-2"]}`,
		"a comma before all":            `{,"schema":3,"instance_id":"i-1","state":"active","expires_number":1}`,
		"a field twice":                 begin + `"state":"active","state":"ended","expires_number":1}`,
		"a field in other letters":      begin + `"state":"active","STATE":"ended","expires_number":1}`,
		"a newer schema":                `{"schema":99,"instance_id":"i-1","state":"active","expires_number":1}`,
	} {
		var l Lease
		if l.readQuickly([]byte(text)) {
			if slow, err := decode[Lease]("lease", "i-1", []byte(text)); err != nil || !reflect.DeepEqual(slow, l) {
				t.Errorf("%s: read quickly as %+v, else as %+v (%v)", name, l, slow, err)
			}
		}
	}
	var h Heartbeat
	if h.readQuickly([]byte(`{"schema":99,"instance_id":"i-1"}`)) {
		t.Error("a heartbeat of a newer schema is read quickly: nothing may be concluded from it")
	}
}

// mutilated cuts pieces out of a record, doubles them, or puts others in their place.
func mutilated(t *rapid.T, record []byte) []byte {
	text := slices.Clone(record)
	for range rapid.IntRange(0, 3).Draw(t, "cuts") {
		if len(text) == 0 {
			break
		}
		from := rapid.IntRange(0, len(text)-1).Draw(t, "from")
		to := min(len(text), from+rapid.IntRange(0, 12).Draw(t, "length"))
		piece := rapid.SampledFrom([]string{
			"", string(text[from:to]), " ", ",", "\"", "\\", "{", "}", "[", "]", "{}", "null", "0", "-", "1e3", "01", "-0", "9223372036854775808",
			"\x01", "\xff", "\\u00e9", "\\ud800", "\"x\":1,", "\"State\":\"ended\",", "\"labels\":{},", "2026-03-01T24:00:00Z",
		}).Draw(t, "piece")
		text = slices.Concat(text[:from], []byte(piece), text[to:])
	}
	return text
}

func BenchmarkDecodeLease(b *testing.B) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 7e6, time.UTC)
	l := Lease{
		Schema: Schema, InstanceID: "i-0123456789abcdef0", Launch: "01920000-0000-7000-8000-000000000000",
		ClientToken: "01920000-0000-7000-8000-000000000000.1", Account: "123456789012", Region: "us-east-1", Zone: "us-east-1a",
		ZoneID: "use1-az1", Holder: "ada", State: StateActive, GrantedAt: now, ExpiresAt: now, ExpiresNumber: 6,
		MaxExpiresAt: now, HeartbeatTimeout: Duration(5 * time.Minute),
	}
	for range 5 {
		l = l.changed(now, "extend", By{Actor: "cli:ada@laptop", Reason: "the job takes longer"})
	}
	data := encoded(b, l)
	b.Run("quickly", func(b *testing.B) {
		for b.Loop() {
			if _, err := Decode[Lease]("lease", l.InstanceID, data); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("by encoding json", func(b *testing.B) {
		for b.Loop() {
			if _, err := decode[Lease]("lease", l.InstanceID, data); err != nil {
				b.Fatal(err)
			}
		}
	})
}
