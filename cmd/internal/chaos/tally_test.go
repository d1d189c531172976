//go:build chaos

package chaos

import (
	"maps"
	"slices"
	"sync"
	"testing"
)

// tally counts what happened. What was to happen and did not makes the run void.
type tally struct {
	mu     sync.Mutex
	counts map[string]int
}

func newTally() *tally {
	c := &tally{counts: map[string]int{}}
	for _, cause := range []string{"expired", "release", "revoke", "heartbeat-lost", "no-heartbeat", "failed-creation"} {
		c.expect("ended by " + cause)
	}
	c.expect("fault: restore all of etcd from an older snapshot", "launches", "launches resumed", "launchers killed between action and answer",
		"extensions acknowledged", "renewals", "volumes removed", "interfaces removed", "exempt instances whose lease expired", "linearizable operations")
	return c
}

// expect says that something has to happen at least once.
func (c *tally) expect(names ...string) {
	for _, name := range names {
		c.add(name, 0)
	}
}

func (c *tally) add(name string, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counts[name] += n
}

func (c *tally) of(name string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.counts[name]
}

// print says what happened, and fails the test if too little did.
func (c *tally) print(t *testing.T) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(c.counts)) {
		t.Logf("%8d  %s", c.counts[name], name)
		if c.counts[name] == 0 {
			t.Errorf("void: %s: never", name)
		}
	}
}
