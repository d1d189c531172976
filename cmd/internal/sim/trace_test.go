package sim

import (
	"bytes"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"sync"
	"time"

	"lapse/lease/etcd/etcdsim"
)

// event is something that happened in the world, told by the models and never by what is judged.
type event struct {
	at   time.Time
	kind kind
	who  string // process
	id   string // instance, launch or fault
	text string // its new state, or what it is about
	sent time.Time

	commit *etcdsim.Commit
	when   time.Time // a date that somebody was promised
	tags   map[string]string
	until  time.Time // of a fault
}

// kind of an event.
type kind string

const (
	committed  kind = "committed"  // etcd's content changed
	requested  kind = "requested"  // somebody called RunInstances; id is the client token
	created    kind = "created"    // EC2 made an instance; text is its client token
	entered    kind = "entered"    // an instance entered a state
	tagged     kind = "tagged"     // an instance has these tags now
	wrote      kind = "wrote"      // somebody set these tags; text is the instance that a volume or an interface is attached to
	untagged   kind = "untagged"   // somebody removed these tags; text is one of which no value was named
	listed     kind = "listed"     // a janitor was shown the first page of a full listing
	asked      kind = "asked"      // somebody called TerminateInstances for an instance that was alive
	promised   kind = "promised"   // somebody was told that a lease holds until then
	unpromised kind = "unpromised" // somebody shortened it, gave it back or vouched for the registry as it is; id "" means all
	struck     kind = "struck"     // a fault
	lived      kind = "lived"      // a process began; text is its role
	died       kind = "died"
	beganCalm  kind = "calm"
	deletedKey kind = "deleted key pair" // text is its name, and who had made it
	removed    kind = "removed"          // a volume, interface or spot request went; text is its client token
	called     kind = "called"           // the API has done what somebody asked; text is what, who really asked, and by which key
	denied     kind = "denied"           // a launcher said that nothing was made, and never will be; id is its token
)

// trace is what happened, in the order in which it did.
type trace struct {
	mu     sync.Mutex
	began  time.Time
	events []event
	ended  bool // what comes of the end of the simulation itself is none of the story
}

func (t *trace) add(e event) {
	e.at = time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ended {
		return
	}
	n := len(t.events)
	for n > 0 && t.events[n-1].at.Equal(e.at) && atOnce(t.events[n-1], e) {
		n--
	}
	t.events = slices.Insert(t.events, n, e)
}

// atOnce reports whether e is told before what came before it: of those that die at once, none is the first.
func atOnce(before, e event) bool {
	name := func(e event) string { return string(e.kind) + e.id + e.who }
	either := func(e event) bool { return e.kind == died || e.kind == struck }
	return either(before) && either(e) && name(e) < name(before)
}

func (t *trace) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ended = true
}

func (t *trace) String() string {
	var b strings.Builder
	for _, e := range t.events {
		fmt.Fprintln(&b, e.line(t.began))
	}
	return b.String()
}

// sum is the same for two runs in which the same happened at the same times.
func (t *trace) sum() uint64 {
	h := fnv.New64a()
	for _, e := range t.events {
		_, _ = h.Write([]byte(e.line(t.began)))
	}
	return h.Sum64()
}

func (e event) line(began time.Time) string {
	s := fmt.Sprintf("%14s %-10s %-12s %s %s", e.at.Sub(began), e.kind, e.who, e.id, e.text)
	if !e.when.IsZero() {
		s += " until " + e.when.Format(time.RFC3339)
	}
	if !e.until.IsZero() {
		s += " for " + e.until.Sub(e.at).String()
	}
	if len(e.tags) > 0 {
		s += fmt.Sprint(" ", e.tags)
	}
	if e.commit == nil {
		return s
	}
	s += fmt.Sprintf("revision %d", e.commit.Revision)
	for _, c := range e.commit.Puts {
		s += fmt.Sprintf("\n%28s put %s %s", "", c.Key, withoutNonce(c.Value))
	}
	for _, c := range e.commit.Deletes {
		s += fmt.Sprintf("\n%28s delete %s", "", c.Key)
	}
	return s
}

// withoutNonce leaves out what is random on purpose.
func withoutNonce(value []byte) []byte {
	const name = `"nonce":"`
	at := bytes.Index(value, []byte(name))
	if at < 0 {
		return value
	}
	from := at + len(name)
	end := bytes.IndexByte(value[from:], '"')
	return append(bytes.Clone(value[:from]), value[from+end:]...)
}
