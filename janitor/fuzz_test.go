package janitor

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"lapse/lease"
)

// FuzzPast: whatever is in the file of the state directory, it is either a memory, from which nothing that stands is lost and
// by which an older stamp is noticed, or none, as if there were no file. No registry's name leads out of the directory.
func FuzzPast(f *testing.F) {
	dated := func(age time.Duration) string { return ago(age).Format(time.RFC3339) }
	for _, text := range []string{
		`{"sequence":7,"nonce":"a","time":"` + dated(time.Minute) + `"}`, `{"sequence":9,"nonce":"a","time":"` + dated(time.Hour) + `"}`,
		`{"sequence":9,"standing":[{"name":"restored","since":"2026-03-01T11:00:00Z","reason":"then"},{"name":"","scope":"x"}]}`,
		`{}`, `null`, ``, `{"sequence":-1}`, `{"sequence":9223372036854775807}`, `[]`, `{"sequence":7`, `{"standing":null,"time":"9999-12-31T23:59:59-23:59"}`,
	} {
		f.Add([]byte(text), int64(7), "a", int64(60), ours)
		f.Add([]byte(text), int64(7), "b", int64(7200), "../../../x")
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte, sequence int64, nonceOf string, age int64, uuid string) {
		state := filepath.Join(dir, "state")
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		p, err := openPast(state, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		p.uuid = uuid
		if err := os.WriteFile(p.file(), data, 0o600); err != nil {
			if len(uuid) > 100 || strings.ContainsRune(uuid, 0) {
				return // no name of a file
			}
			t.Fatal(err)
		}
		p.uuid = ""
		read := stamped(max(sequence, 0), time.Duration(age%int64(time.Hour/time.Second*24))*time.Second, nonce(nonceOf))
		read.Registry.UUID = uuid
		p.see(noon, read, true)
		var was remembered
		known := json.Unmarshal(data, &was) == nil && uuid != ""
		if uuid != "" {
			wantNoticed(t, p.standing(), was, known, read.Sweep)
		}
		wantInside(t, dir, state)
	})
}

// wantNoticed checks which brakes stand after a leader saw a stamp.
func wantNoticed(t *testing.T, standing []lease.Brake, was remembered, known bool, stamp lease.Sweep) {
	t.Helper()
	stands := func(name, scope string) bool {
		return slices.ContainsFunc(standing, func(b lease.Brake) bool { return b.Name == name && b.Scope == scope })
	}
	if !known {
		was = remembered{}
	}
	for _, b := range was.Standing {
		if !stands(b.Name, b.Scope) {
			t.Errorf("%s (%s) is forgotten: %+v", b.Name, b.Scope, standing)
		}
	}
	older := stamp.Sequence < was.Sequence || stamp.Sequence == was.Sequence && stamp.Nonce != was.Nonce
	if known && older && !stands(lease.BrakeRestored, "") {
		t.Errorf("stamp %d (%s) after %d (%s) is not noticed: %+v", stamp.Sequence, stamp.Nonce, was.Sequence, was.Nonce, standing)
	}
	if !known && stamp.Sequence > 0 && !stamp.Fresh(noon) && !stands(lease.BrakeStranger, "") {
		t.Errorf("a stamp of %s is taken over without a memory: %+v", stamp.Time, standing)
	}
}

// wantInside checks that nothing was written beside the state directory.
func wantInside(t *testing.T, dir, state string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && path != dir && !strings.HasPrefix(path+"/", state+"/") {
			t.Errorf("%s is beside %s", path, state)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// FuzzWitness: no heartbeat, whatever it says of itself, is taken for a renewal that is yet to come.
func FuzzWitness(f *testing.F) {
	for _, text := range []string{
		`{"instance_id":"i-1","ttl":"1m"}`, `{"instance_id":"i-1","ttl":"2562047h47m16.854775807s"}`, `{"instance_id":"i-1","ttl":"2562047h47m16s"}`,
		`{"instance_id":"i-1","ttl":"-2562047h47m16.854775808s"}`, `{"instance_id":"i-1"}`, `{"instance_id":"i-1","ttl":"1h","changes":9223372036854775807}`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		hb, err := lease.Decode[lease.Heartbeat]("heartbeat", "i-1", data)
		if err != nil {
			return
		}
		m := newMemory(noon)
		m.testify(noon, "z", hb)
		if renewed, told := m.witness["z"]; told && (renewed.After(noon) || renewed.Before(ago(lease.MaxTTL+time.Minute))) {
			t.Errorf("%s testifies of a renewal at %s", data, renewed)
		}
	})
}

// FuzzJudge: whatever the record of a lease and of its heartbeat say, nothing is ended but for a cause that the record names
// or that has run its full time, and nothing that is exempt, foreign or bound otherwise.
func FuzzJudge(f *testing.F) {
	add := func(s subject, hb string) {
		data, err := json.Marshal(s.lease)
		if err != nil {
			f.Fatal(err)
		}
		for _, world := range []uint8{0, 1, 2, 4, 255 &^ 7} {
			f.Add(data, []byte(hb), world)
		}
	}
	const beating = `{"instance_id":"i-1","ttl":"1m0s"}`
	add(holds("i-1"), "")
	add(holds("i-1", over(time.Minute)), beating)
	add(holds("i-1", silent(2*time.Hour), marked(lease.CauseSilence, ago(time.Minute))), "")
	add(holds("i-1", revoked(lease.CauseRelease, time.Minute)), "")
	add(holds("i-1", over(time.Minute), marked(lease.CauseTerm, ago(time.Second))), beating)
	for _, text := range []string{
		`{"instance_id":"i-1","state":"active","account":"111122223333","region":"eu-west-1","ttl":"2562047h47m16.854775807s","mark":{"cause":"silence"}}`,
		`{"instance_id":"i-1","state":"active","account":"111122223333","region":"eu-west-1","ttl":"1ns","claimed_at":"9999-12-31T23:59:59-23:59","mark":{"cause":"never-beat"}}`,
		`{"instance_id":"i-1","state":"revoked","account":"111122223333","region":"eu-west-1","tries":9223372036854775807,"tried_at":"2026-03-01T12:00:00Z"}`,
		`{"instance_id":"i-1","state":"adopting","account":"111122223333","region":"eu-west-1","expires_at":"2020-03-01T12:00:00Z"}`,
	} {
		f.Add([]byte(text), []byte(beating), uint8(3))
		f.Add([]byte(text), []byte(nil), uint8(8))
	}
	f.Fuzz(func(t *testing.T, record, heartbeat []byte, world uint8) {
		l, err := lease.Decode[lease.Lease]("lease", "i-1", record)
		if err != nil || l.InstanceID != "i-1" {
			return
		}
		s := holds("i-1")
		s.instance.ClientToken, s.instance.Tags[lease.TagLaunch] = l.ClientToken, l.ClientToken
		s.lease = &l
		for bit, change := range []func(*subject){exempt, foreign, func(s *subject) { s.instance.ClientToken += "x" }} {
			if world&(1<<bit) != 0 {
				change(&s)
			}
		}
		v := viewOf(s)
		v.Snapshot.Heartbeats, v.Silences = map[string]lease.Heartbeat{}, map[string]Silence{}
		hb, err := lease.Decode[lease.Heartbeat]("heartbeat", "i-1", heartbeat)
		if present := err == nil; present {
			hb.Held = true
			v.Snapshot.Heartbeats["i-1"] = hb
			v.Silences["i-1"] = Silence{Broken: true, Seen: true}
		} else {
			v.Silences["i-1"] = Silence{For: time.Duration(world>>3) * 3 * time.Minute, Seen: world&8 != 0, Witness: world&16 != 0}
		}
		for _, verdict := range decide(v).Verdicts {
			if verdict.Action == ActEnd || verdict.Action == ActOrphan {
				wantDue(t, l, s, v.Silences["i-1"], world)
			}
		}
	})
}

// wantDue checks that an end is due by what is on record.
func wantDue(t *testing.T, l lease.Lease, s subject, quiet Silence, world uint8) {
	t.Helper()
	over := !l.ExpiresAt.IsZero() && !l.ExpiresAt.After(noon)
	silent := l.TTL > 0 && !quiet.Broken && l.Mark != nil && l.Mark.Cause.Inferred() && !l.Mark.Deadline.After(noon) &&
		quiet.For >= DefaultPolicy().MarkGrace && (quiet.Witness || quiet.For >= time.Hour) && (quiet.Seen || quiet.For >= time.Duration(l.TTL))
	var told bytes.Buffer
	_ = json.NewEncoder(&told).Encode(l)
	switch {
	case world&1 != 0, world&2 != 0, l.ClientToken != "" && s.instance.ClientToken != l.ClientToken:
		t.Fatalf("an instance that may not be touched is ended: %s", &told)
	case l.State == lease.StateRevoked:
	case l.State == lease.StateActive && (over || silent):
	default:
		t.Fatalf("ended by %s, silent for %s", &told, quiet.For)
	}
}
