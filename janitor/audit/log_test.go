package audit_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lapse/janitor/audit"
	"lapse/lease"
)

// eventsIn are the events in an audit log.
func eventsIn(t *testing.T, log []byte) (all []audit.Event) {
	t.Helper()
	for line := range strings.Lines(string(log)) {
		var e audit.Event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		all = append(all, e)
	}
	return all
}

func TestARenamedAuditLogIsReopened(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "audit.log")
	a, err := audit.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = a.Close() }()
	write := func(id string) {
		if err := a.Write(audit.Event{Time: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), Kind: lease.ActionMark, InstanceID: id}); err != nil {
			t.Fatal(err)
		}
	}
	read := func(path string) []audit.Event {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return eventsIn(t, data)
	}
	write("i-1")
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	write("i-2")
	write("i-3")
	if old, now := read(path+".1"), read(path); len(old) != 1 || len(now) != 2 {
		t.Errorf("%v, then %v", old, now)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm()&^0o640 != 0 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	write("i-4")
	if now := read(path); len(now) != 1 {
		t.Errorf("%v", now)
	}
}

// tearing writes half of the first line.
type tearing struct {
	bytes.Buffer
	torn bool
}

func (w *tearing) Write(p []byte) (int, error) {
	if !w.torn {
		w.torn = true
		n, _ := w.Buffer.Write(p[:len(p)/2])
		return n, errors.New("no space left on device")
	}
	return w.Buffer.Write(p)
}

func TestATornLineAffectsNoOtherLine(t *testing.T) {
	t.Parallel()
	var w tearing
	a := audit.To(&w)
	if err := a.Write(audit.Event{Time: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), Kind: lease.ActionMark, InstanceID: "i-1"}); err == nil {
		t.Error("no error")
	}
	for _, id := range []string{"i-2", "i-3"} {
		if err := a.Write(audit.Event{Time: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), Kind: lease.ActionMark, InstanceID: id}); err != nil {
			t.Error(err)
		}
	}
	_, whole, _ := bytes.Cut(w.Bytes(), []byte("\n"))
	if got := eventsIn(t, whole); len(got) != 2 {
		t.Errorf("%v in %q", got, w.String())
	}
}
