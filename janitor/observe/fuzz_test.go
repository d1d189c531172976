package observe

import (
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"lapse/lease"

	. "lapse/janitor/plan/plantest"
)

// FuzzWatermark: whatever is in the file of the state directory, it is either a memory, from which nothing that stands is lost and
// by which an older checkpoint is noticed, or none, as if there were no file. No registry's name leads out of the directory.
func FuzzWatermark(f *testing.F) {
	dated := func(age time.Duration) string { return Ago(age).Format(time.RFC3339) }
	for _, text := range []string{
		`{"sequence":7,"nonce":"a","time":"` + dated(time.Minute) + `"}`, `{"sequence":9,"nonce":"a","time":"` + dated(time.Hour) + `"}`,
		`{"sequence":9,"standing":[{"name":"rollback","since":"2026-03-01T11:00:00Z","reason":"then"},{"name":"","scope":"x"}]}`,
		`{}`, `null`, ``, `{"sequence":-1}`, `{"sequence":9223372036854775807}`, `[]`, `{"sequence":7`, `{"standing":null,"time":"9999-12-31T23:59:59-23:59"}`,
	} {
		f.Add([]byte(text), int64(7), "a", int64(60), Ours)
		f.Add([]byte(text), int64(7), "b", int64(7200), "../../../x")
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte, sequence int64, nonceOf string, age int64, uuid string) {
		state := filepath.Join(dir, "state")
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		p, err := OpenWatermark(state, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		p.uuid = uuid
		if err := os.WriteFile(p.file(p.uuid), data, 0o600); err != nil {
			if len(uuid) > 100 || strings.ContainsRune(uuid, 0) {
				return // no name of a file
			}
			t.Fatal(err)
		}
		p.uuid = ""
		read := checkpointed(max(sequence, 0), time.Duration(age%int64(time.Hour/time.Second*24))*time.Second, nonce(nonceOf))
		read.Registry.UUID = uuid
		takesIn(p, Noon, read, true)
		var was watermark
		known := json.Unmarshal(data, &was) == nil && uuid != ""
		if uuid != "" {
			wantNoticed(t, p.Standing(), was, known, read.Checkpoint)
		}
		_ = p.Flush(t.Context()) // there may be no such name of a file
		wantInside(t, dir, state)
	})
}

// wantNoticed checks which brakes stand after a leader saw a checkpoint.
func wantNoticed(t *testing.T, standing []lease.Brake, was watermark, known bool, checkpoint lease.Checkpoint) {
	t.Helper()
	stands := func(name, scope string) bool {
		return slices.ContainsFunc(standing, func(b lease.Brake) bool { return b.Name == name && b.Scope == scope })
	}
	if !known {
		was = watermark{}
	}
	for _, b := range was.Standing {
		if !stands(b.Name, b.Scope) {
			t.Errorf("%s (%s) is forgotten: %+v", b.Name, b.Scope, standing)
		}
	}
	older := checkpoint.Sequence < was.Sequence || checkpoint.Sequence == was.Sequence && checkpoint.Nonce != was.Nonce
	if known && older && !stands(lease.BrakeRollback, "") {
		t.Errorf("checkpoint %d (%s) after %d (%s) is not noticed: %+v", checkpoint.Sequence, checkpoint.Nonce, was.Sequence, was.Nonce, standing)
	}
	if !known && checkpoint.Sequence > 0 && !checkpoint.Fresh(Noon) && !stands(lease.BrakeUnwatched, "") {
		t.Errorf("a checkpoint of %s is taken over without a memory: %+v", checkpoint.Time, standing)
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
		`{"instance_id":"i-1","heartbeat_timeout":"1m"}`, `{"instance_id":"i-1","heartbeat_timeout":"2562047h47m16.854775807s"}`, `{"instance_id":"i-1","heartbeat_timeout":"2562047h47m16s"}`,
		`{"instance_id":"i-1","heartbeat_timeout":"-2562047h47m16.854775808s"}`, `{"instance_id":"i-1"}`, `{"instance_id":"i-1","heartbeat_timeout":"1h","changes":9223372036854775807}`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		hb, err := lease.Decode[lease.Heartbeat]("heartbeat", "i-1", data)
		if err != nil {
			return
		}
		m := NewRenewals()
		m.testify(Noon, "z", hb)
		if renewed, told := m.witness["z"]; told && (renewed.After(Noon) || renewed.Before(Ago(lease.MaxHeartbeatTimeout+time.Minute))) {
			t.Errorf("%s testifies of a renewal at %s", data, renewed)
		}
	})
}
