//go:build e2e

package scenario

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"lapse/lease"
)

// status is `janitor status -o json`.
type status struct {
	Swept      bool             `json:"swept"`
	Checkpoint lease.Checkpoint `json:"checkpoint"`
	Brakes     []lease.Brake    `json:"brakes"`
	Leases     map[string]int   `json:"leases"`
	Marked     []lease.Lease    `json:"marked"`
}

// status asks the real command, which answers with an error while the registry cannot be read.
func (w *world) status() (s status, said string) {
	w.t.Helper()
	out, said, code := w.exits("janitor", "status", "-o", "json")
	if code != 0 {
		return s, said
	}
	if err := json.Unmarshal([]byte(out), &s); err != nil {
		w.t.Fatalf("%v: %s", err, out)
	}
	return s, ""
}

// of returns the brake of that name and scope, if it is held.
func (s status) of(name, scope string) *lease.Brake {
	for _, b := range s.Brakes {
		if b.Name == name && b.Scope == scope {
			return &b
		}
	}
	return nil
}

// named waits until an operator can see that a brake is held, there, and why: in the status for programs and for people,
// in the metrics, and once in the log. metrics may be nil. It returns what the status says of it.
func (w *world) named(log *journal, metrics func() string, name, scope, why string) lease.Brake {
	w.t.Helper()
	var held lease.Brake
	w.until(fmt.Sprintf("brake %s engaged at %q because %s", name, scope, why), func() bool {
		s, _ := w.status()
		if b := s.of(name, scope); b != nil {
			held = *b
		}
		return strings.Contains(held.Reason, why)
	})
	where := scope
	if scope == "" {
		where = "everywhere"
	}
	line := ""
	for said := range strings.Lines(w.run("janitor", "status")) {
		if strings.HasPrefix(said, fmt.Sprintf("brake %s engaged (%s): ", name, where)) {
			line = strings.TrimSpace(said)
		}
	}
	if !strings.Contains(line, why) {
		w.t.Errorf("`janitor status` says %q of brake %s, want why: %s", line, name, why)
	}
	lifts := map[string]string{
		lease.BrakeRollback: "; released by `janitor release-brake rollback`", lease.BrakeUnwatched: "; released by `janitor release-brake unwatched`",
		lease.BrakeHeartbeats: ", by `janitor release-brake heartbeats`",
	}[name]
	if !strings.HasSuffix(line, cmp.Or(lifts, "; released when its cause ends")) {
		w.t.Errorf("`janitor status` says %q, and not what releases it", line)
	}
	w.t.Log("janitor status: " + line)
	if gauge := fmt.Sprintf("lapse_brake_engaged{brake=%q,scope=%q} 1\n", name, scope); metrics != nil && !strings.Contains(metrics(), gauge) {
		w.t.Errorf("the metrics lack %s", gauge)
	}
	w.loggedInTurn(log, "brake engaged", name, scope)
	return held
}

// loggedInTurn checks that the last of these changes of a brake was logged, and every change of it once: that it is
// engaged, and then that it is released. Each leader reports the brakes that are engaged, also the same janitor when it
// is elected again.
func (w *world) loggedInTurn(log *journal, message, name, scope string) {
	w.t.Helper()
	if scope == "" {
		scope = `""`
	}
	about := regexp.MustCompile(`msg="(brake engaged|brake released)" brake=` + name + " scope=" + regexp.QuoteMeta(scope) + "( |$)")
	var said []string
	elected := false
	for _, line := range log.all() {
		elected = elected || strings.Contains(line, " msg=elected ")
		found := about.FindStringSubmatch(line)
		if found == nil {
			continue
		}
		again := elected && found[1] == "brake engaged" && len(said) > 0 && said[len(said)-1] == found[1]
		if elected = false; !again {
			said = append(said, found[1])
		}
	}
	for n, change := range said {
		if change != [2]string{"brake engaged", "brake released"}[n%2] {
			w.t.Errorf("not every change of brake %s at %s was logged once: %q", name, scope, said)
			return
		}
	}
	if !slices.Contains(said, message) {
		w.t.Errorf("of brake %s at %s were logged %q, want %q", name, scope, said, message)
	}
}

// lifted waits until a brake is no longer engaged, and the log says so once.
func (w *world) lifted(log *journal, metrics func() string, name, scope string) {
	w.t.Helper()
	w.until("brake "+name+" lifted", func() bool {
		s, said := w.status()
		return said == "" && s.of(name, scope) == nil
	})
	if metrics != nil && strings.Contains(metrics(), fmt.Sprintf("lapse_brake_engaged{brake=%q,scope=%q}", name, scope)) {
		w.t.Errorf("the metrics still show brake %s", name)
	}
	w.loggedInTurn(log, "brake released", name, scope)
}

// says waits until a line of `janitor status` has all of these texts, and returns it.
func (w *world) says(texts ...string) string {
	w.t.Helper()
	var line string
	w.until("`janitor status` saying "+strings.Join(texts, " … "), func() bool {
		out, _, _ := w.exits("janitor", "status")
		for said := range strings.Lines(out) {
			if !slices.ContainsFunc(texts, func(text string) bool { return !strings.Contains(said, text) }) {
				line = strings.TrimSpace(said)
				return true
			}
		}
		return false
	})
	w.t.Log("janitor status: " + line)
	return line
}

// watch looks at the status again and again until stop is called, which returns the lines about brakes that were ever to
// be read there, each once, without the figures.
func (w *world) watch() (stop func() []string) {
	w.t.Helper()
	seen, done := map[string]bool{}, make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() {
		for {
			s, said := w.status()
			if said != "" {
				seen[strings.TrimSpace(said)] = true
			}
			for _, b := range s.Brakes {
				seen[b.Name+" ("+b.Scope+"): "+strings.Trim(b.Reason, "0123456789")] = true
			}
			select {
			case <-done:
				return
			case <-time.After(100 * time.Millisecond):
			}
		}
	})
	once := sync.OnceFunc(func() { close(done); watching.Wait() })
	w.t.Cleanup(once)
	return func() []string {
		once()
		return slices.Sorted(maps.Keys(seen))
	}
}
