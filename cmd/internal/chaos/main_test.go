//go:build chaos

package chaos

import (
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	if text := os.Getenv(memberConfig); text != "" {
		if err := serveMember(text); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// TestChaos lets everything fail for a while, heals it, and judges what became of every instance.
func TestChaos(t *testing.T) {
	f := form{lasts: 10 * time.Minute, restores: 3, kinds: true, haste: 1, atOnce: 5}
	if os.Getenv("CHAOS") == "short" {
		f = form{lasts: time.Minute, restores: 1, haste: 2, atOnce: 6}
	}
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("SEED=%s is not a number", text)
		}
	}
	t.Logf("SEED=%d repeats the choices of this run; faults for %s", seed, f.lasts)
	w := newWorld(t, seed)
	w.populate()
	w.storm(f)
	w.settle()
	w.judge()
	w.tally.print(t)
}
