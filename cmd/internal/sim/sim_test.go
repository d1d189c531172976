package sim

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// few is how many schedules `go test` runs; `make sim SEEDS=n` runs more, and SEED=n begins with that one.
const few = 40

// enough findings, and there is no use in looking for more; SIM_FIRST=1 means one.
const enough = 25

// TestSim runs schedules, each by its seed alone, and judges each. SIM_TRACE=1 prints what happened, SIM_LOG=1 what the
// programs logged.
func TestSim(t *testing.T) {
	t.Parallel()
	first, n := number(t, "SEED", 0), number(t, "SEEDS", few)
	if n > few {
		defer debug.SetGCPercent(debug.SetGCPercent(400))
	}
	most := int64(enough)
	if os.Getenv("SIM_FIRST") != "" {
		most = 1
	}
	total := newReport()
	var next, found atomic.Int64
	var mu sync.Mutex
	began := time.Now()
	t.Run("schedules", func(t *testing.T) {
		for range runtime.GOMAXPROCS(0) {
			t.Run("worker", func(t *testing.T) {
				t.Parallel()
				for k := next.Add(1) - 1; k < int64(n) && found.Load() < most; k = next.Add(1) - 1 {
					seed := uint64(first) + uint64(k)
					v := judge(simulate(t, seed))
					tell(t, v)
					found.Add(int64(len(v.findings)))
					mu.Lock()
					total.add(v)
					if total.schedules%1000 == 0 {
						fmt.Printf("%d schedules in %s\n", total.schedules, time.Since(began).Round(time.Second))
					}
					mu.Unlock()
				}
			})
		}
	})
	if n > few || testing.Verbose() {
		total.print(os.Stdout, time.Since(began))
	}
	if total.voids*2 > total.schedules {
		t.Errorf("in %d of %d schedules too little happened", total.voids, total.schedules)
	}
}

// tell says what a schedule has broken, and how to see it again.
func tell(t *testing.T, v *truth) {
	t.Helper()
	if os.Getenv("SIM_TRACE") != "" {
		fmt.Println(v.trace)
	}
	for _, f := range v.findings {
		t.Errorf("seed %d: %s (again: make sim SEED=%d SEEDS=1 SIM_TRACE=1)", v.seed, f, v.seed)
	}
}

func number(t *testing.T, name string, otherwise int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		t.Fatalf("%s=%s must be a number", name, text)
	}
	return n
}

// TestTheSameSeedGivesTheSameTrace runs schedules twice, on as many threads as there are.
func TestTheSameSeedGivesTheSameTrace(t *testing.T) {
	t.Parallel()
	first := uint64(number(t, "SEED", 0))
	for seed := first; seed < first+uint64(max(few/4, number(t, "SEEDS", 0)/40)); seed++ {
		one, two := simulate(t, seed), simulate(t, seed)
		if one.trace.sum() != two.trace.sum() {
			t.Errorf("seed %d: two runs differ: %s", seed, difference(one.trace, two.trace))
		}
	}
}

// difference is the first thing in which two traces differ.
func difference(one, two *trace) string {
	for n, e := range one.events {
		if n >= len(two.events) {
			return "the second ends before " + e.line(one.began)
		}
		if a, b := e.line(one.began), two.events[n].line(two.began); a != b {
			return fmt.Sprintf("\n%s\n%s", a, b)
		}
	}
	return "the first ends sooner"
}
