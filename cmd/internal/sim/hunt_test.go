//go:build mutants

package sim

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
)

// limit is within how many schedules each planted bug must be caught.
const limit = 2000

// caught is what became of a bug.
type caught struct {
	bug       bug
	schedules int // until it was; 0: it was not
	by        string
}

// TestPlantedBugs builds the simulator with each bug in turn and runs it until it is caught: BUGS=all, or some by name.
func TestPlantedBugs(t *testing.T) {
	wanted := os.Getenv("BUGS")
	var mu sync.Mutex
	var all []caught
	t.Run("bugs", func(t *testing.T) {
		for _, b := range bugs(t) {
			if wanted != "all" && !slices.Contains(strings.Fields(wanted), b.name) {
				continue
			}
			t.Run(b.name, func(t *testing.T) {
				t.Parallel()
				c := b.hunt(t)
				if c.schedules == 0 {
					t.Errorf("not caught within %d schedules: %s", limit, b.what)
				}
				fmt.Printf("%s: %d schedules: %s\n", b.name, c.schedules, c.by)
				mu.Lock()
				defer mu.Unlock()
				all = append(all, c)
			})
		}
	})
	slices.SortFunc(all, func(a, b caught) int { return cmp.Compare(a.bug.name, b.bug.name) })
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "\nbug\tschedules\tcaught by\n")
	for _, c := range all {
		fmt.Fprintf(table, "%s\t%d\t%s\n", c.bug.name, c.schedules, c.by)
	}
	_ = table.Flush()
	if len(all) == 0 {
		t.Errorf("there is no bug named %s", wanted)
	}
}

// hunt builds and runs the simulator with the bug in it.
func (b bug) hunt(t *testing.T) caught {
	t.Helper()
	run := exec.CommandContext(t.Context(), b.build(t), "-test.run", "^TestSim$", "-test.timeout", "30m")
	run.Env = append(os.Environ(), "SEED=0", fmt.Sprint("SEEDS=", limit), "SIM_FIRST=1", "GOMAXPROCS=1", "SIM_TRACE=", "SIM_LOG=")
	out, err := run.CombinedOutput()
	found := regexp.MustCompile(`seed (\d+): (\S+) at \S+ (.*) \(again`).FindSubmatch(out)
	if found == nil {
		if err != nil {
			t.Errorf("it broke down instead: %v\n%s", err, out[max(0, len(out)-2000):])
		}
		return caught{bug: b}
	}
	n, err := strconv.Atoi(string(found[1]))
	if err != nil {
		t.Fatal(err)
	}
	return caught{b, n + 1, string(found[2]) + " " + string(found[3])}
}

// build makes the simulator's test binary, with the bug in what it is made from.
func (b bug) build(t *testing.T) (binary string) {
	t.Helper()
	files, err := b.planted()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	overlay := struct{ Replace map[string]string }{map[string]string{}}
	for file, text := range files {
		at, err := filepath.Abs(filepath.Join(root, file))
		if err != nil {
			t.Fatal(err)
		}
		overlay.Replace[at] = filepath.Join(dir, strings.ReplaceAll(file, "/", "_"))
		if err := os.WriteFile(overlay.Replace[at], []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	list, err := json.Marshal(overlay)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "overlay.json"), list, 0o600); err != nil {
		t.Fatal(err)
	}
	binary = filepath.Join(dir, "sim.test")
	build := exec.CommandContext(t.Context(), "go", "test", "-c", "-overlay", filepath.Join(dir, "overlay.json"), "-o", binary, "lapse/cmd/internal/sim")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return binary
}
