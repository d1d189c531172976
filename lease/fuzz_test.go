package lease_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"lapse/lease"
)

// nearly are the transitions that a fuzzer may string together, in a fixed order.
func nearly() []string {
	var names []string
	for name := range allowed {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// FuzzTransitions: whatever a lease that was stored looks like, no order of transitions leads from a revocation back to
// an active lease, from unmanaged anywhere, or to a record that cannot be stored.
func FuzzTransitions(f *testing.F) {
	names := nearly()
	for _, l := range everyState() {
		f.Add([]byte(text(f, l)), []byte{0, 3, 7, 11, 5, 2}) // by their location in nearly()
		f.Add([]byte(text(f, l)), []byte{7, 3, 6, 4, 1})
	}
	f.Add([]byte(`{"schema":3,"instance_id":"i","state":"revoked","expires_number":1}`), []byte{3, 6})
	f.Add([]byte(`{"schema":3,"instance_id":"i","state":"ended","expires_number":1,"untagged":true,"revoked_at":"2026-03-01T12:00:00Z"}`), []byte{6, 0, 7})
	f.Fuzz(func(t *testing.T, data, steps []byte) {
		l, err := lease.Decode[lease.Lease]("lease", "i", data)
		if err != nil {
			return
		}
		for _, step := range steps[:min(len(steps), 32)] {
			from, name := l, names[int(step)%len(names)]
			l, err = allowed[name].do(l)
			gone := from.State == lease.StateRevoked || from.State == lease.StateEnded && !from.RevokedAt.IsZero() && !from.Untagged
			switch {
			case err != nil && text(t, l) != text(t, from):
				t.Fatalf("%s was refused (%v) and changed the lease to %s", name, err, text(t, l))
			case from.State == lease.StateUnmanaged && err == nil:
				t.Fatalf("%s led from unmanaged to %s", name, text(t, l))
			case gone && l.Live():
				t.Fatalf("%s led from %s to %s", name, text(t, from), text(t, l))
			case l.State == lease.StateRevoked && from.Live() && name != "Revoke", l.State == lease.StateEnded && from.State != l.State && name != "End":
				t.Fatalf("%s led from %s to %s", name, from.State, l.State)
			}
			if _, err := lease.Decode[lease.Lease]("lease", "i", []byte(text(t, l))); err != nil {
				t.Fatalf("%s led to %s, which cannot be read: %v", name, text(t, l), err)
			}
		}
	})
}

// FuzzUnknownFields: a field that this version does not know survives what an older program does, wherever it stands.
func FuzzUnknownFields(f *testing.F) {
	f.Add("x-new", []byte(`{"a":[1,2.50,"<"]}`))
	f.Add("statecode", []byte(`12345678901234567890123`))
	f.Add("", []byte(`null`))
	f.Add("ſtate", []byte(`"ended"`)) // a long s, which encoding/json takes for an s
	f.Add("Kind", []byte(`"\ud800"`))
	f.Fuzz(func(t *testing.T, name string, value []byte) {
		var key string
		if !json.Valid(value) || json.Unmarshal([]byte(quote(name)), &key) != nil || known(key) {
			return
		}
		field := "," + quote(name) + ":" + string(value) + "}"
		salted := func(record string) []byte { return []byte(strings.TrimSuffix(record, "}") + field) }
		l, err := lease.Decode[lease.Lease]("lease", "i-1", salted(text(t, held())))
		if err != nil {
			t.Fatal(err)
		}
		launch, err := lease.Decode[lease.Launch]("launch", token, salted(text(t, sent())))
		if err != nil {
			t.Fatal(err)
		}
		registry, err := lease.Decode[lease.Registry]("registry", "r", salted(text(t, lease.NewRegistry(noon, "uuid-1", lease.ModeArmed))))
		if err != nil {
			t.Fatal(err)
		}
		for what, written := range map[string]string{
			"lease": text(t, must(l.Unmark(noon, ada))), "launch": text(t, launch.Refused(capacity)),
			"registry": text(t, registry.To(noon, lease.ModePaused, lease.By{})),
		} {
			var fields map[string]json.RawMessage
			if err := json.Unmarshal([]byte(written), &fields); err != nil {
				t.Fatal(err)
			}
			if !equal(t, fields[key], value) {
				t.Errorf("%s: %q was %s and is %s", what, key, value, fields[key])
			}
		}
	})
}

// known reports whether a name is one of a record's own, in whatever letters. No field takes such an object but two.
func known(key string) bool {
	probe := []byte(`{` + quote(key) + `:{"no":["value"]}}`)
	for _, record := range []any{new(lease.Lease), new(lease.Launch), new(lease.Registry)} {
		if json.Unmarshal(probe, record) != nil {
			return true
		}
	}
	return strings.EqualFold(key, "mark") || strings.EqualFold(key, "request")
}

// equal reports whether two JSON values are the same, to the last digit.
func equal(t *testing.T, a, b []byte) bool {
	t.Helper()
	var values [2]any
	for n, data := range [][]byte{a, b} {
		d := json.NewDecoder(strings.NewReader(string(data)))
		d.UseNumber()
		if err := d.Decode(&values[n]); err != nil {
			return false
		}
	}
	return same(values[0], values[1])
}

// FuzzTags: tags are what anybody may have written on an instance. They never make it a launch's that did not make it, and
// a lease rebuilt from them is bound to it, lasts a day, and can be stored.
func FuzzTags(f *testing.F) {
	f.Add("uuid-1", token+".1", token+".1", "2026-03-04T12:00:00Z", "ada", "i-1", "")
	f.Add("uuid-1", token+".1", token+".2", "", "", "i-1", "")
	f.Add("uuid-2", "a.b.3", "a.b.3", "tomorrow", "\xff", "i-1", "")
	f.Add("uuid-1", "x.7", "x.7", "9999-12-31T23:59:59-23:59", "é", "i-2", "")
	f.Add("uuid-1", "x.7", "x.7", "none 999000000", "é", "i-2", "")
	f.Add("", "01920000-0000-7000-8000-000000000000.999", ".", "0000-01-01T00:00:00Z", "", "", "exempt")
	f.Fuzz(func(t *testing.T, registry, launchTag, clientToken, term, holder, id, exempt string) {
		for _, text := range []*string{&registry, &launchTag, &clientToken, &term, &holder, &id} {
			*text = strings.ToValidUTF8(*text, "?") // as all that EC2 says is
		}
		i := instance()
		i.ID, i.ClientToken = id, clientToken
		i.Tags = map[string]string{lease.TagRegistry: registry, lease.TagLaunch: launchTag, lease.TagHolder: holder, lease.TagExpires: term}
		if exempt != "" {
			i.Tags[lease.TagExempt] = exempt
		}
		made, ok := lease.LaunchToken(launchTag)
		if ok && (lease.CheckToken(made) != nil || !strings.HasPrefix(launchTag, made+".") || lease.IsInstanceID(made)) {
			t.Errorf("%q is of launch %q", launchTag, made)
		}
		if at, generated := lease.TokenTime(launchTag); generated && (lease.CheckToken(launchTag) != nil || at.Year() > 9999 || at.Year() < 1970) {
			t.Errorf("%q is a token of %s", launchTag, at)
		}
		if _, member := launched().Member(i); member && (clientToken != token+".1" || launchTag != clientToken) {
			t.Errorf("client token %q with the tag %q is of launch %s", clientToken, launchTag, token)
		}
		if i.ManagedBy("") || i.ManagedBy("uuid-1") != (registry == "uuid-1") {
			t.Errorf("%q is taken for uuid-1", registry)
		}
		l, err := lease.NewRecovery(emptied(), lease.RecoveryTerms{}).Lease(noon, i, ada)
		if err != nil {
			if _, why := errors.AsType[*lease.UnrecoverableError](err); !why {
				t.Errorf("%T: %v", err, err)
			}
			return
		}
		if registry != "uuid-1" || launchTag != clientToken || made != l.Launch || exempt != "" || !l.Binds(i) {
			t.Errorf("rebuilt from %+v: %+v", i, l)
		}
		tag := lease.ParseExpiry(term)
		if none := tag.Number > 0 && tag.At.IsZero(); none != l.ExpiresAt.IsZero() || !none && l.ExpiresAt.Before(noon.Add(lease.MinRecovery)) {
			t.Errorf("ends %s", l.ExpiresAt)
		}
		if l.ExpiresNumber != tag.Number+1 || l.ShortenedAt != l.ExpiresNumber {
			t.Errorf("rebuilt from %q with number %d, shortened at %d", term, l.ExpiresNumber, l.ShortenedAt)
		}
		if id == "" { // EC2's own, and never empty
			return
		}
		again, err := lease.Decode[lease.Lease]("lease", id, []byte(text(t, l)))
		if err != nil || text(t, again) != text(t, l) {
			t.Errorf("%v: stored as %s and read as %s", err, text(t, l), text(t, again))
		}
	})
}
