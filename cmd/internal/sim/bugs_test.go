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

	"golang.org/x/tools/txtar"
)

// limit is within how many schedules each planted bug must be caught.
const limit = 2000

// root of the module, from here.
const root = "../../.."

// bug is a mistake that somebody could make in what is judged.
type bug struct {
	name, what string
	edits      []edit
}

// edit puts one text in the place of another, which must be there once.
type edit struct{ file, old, instead string }

// bugs reads testdata/bugs: a sentence, then pairs of what is there and what is planted instead.
func bugs(t *testing.T) []bug {
	t.Helper()
	files, err := filepath.Glob("testdata/bugs/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	var all []bug
	for _, name := range files {
		a, err := txtar.ParseFile(name)
		if err != nil {
			t.Fatal(err)
		}
		b := bug{name: strings.TrimSuffix(filepath.Base(name), ".txt"), what: strings.TrimSpace(string(a.Comment))}
		for pair := range slices.Chunk(a.Files, 2) {
			if len(pair) != 2 || pair[1].Name != "instead" {
				t.Fatalf("%s: want pairs of a file and what is instead", name)
			}
			b.edits = append(b.edits, edit{pair[0].Name, string(pair[0].Data), string(pair[1].Data)})
		}
		all = append(all, b)
	}
	return all
}

// planted are the files with the bug in them, by the files that they stand for.
func (b bug) planted() (map[string]string, error) {
	files := map[string]string{}
	for _, e := range b.edits {
		text, seen := files[e.file]
		if !seen {
			read, err := os.ReadFile(filepath.Join(root, e.file))
			if err != nil {
				return nil, err
			}
			text = string(read)
		}
		// A text ends with a line break in the archive; in the middle of a line it has none.
		old, instead := strings.TrimSuffix(e.old, "\n"), strings.TrimSuffix(e.instead, "\n")
		if n := strings.Count(text, old); n != 1 {
			return nil, fmt.Errorf("%s has %d times what is to be replaced, want once: %q", e.file, n, old)
		}
		files[e.file] = strings.Replace(text, old, instead, 1)
	}
	return files, nil
}

func TestEveryPlantedBugFitsTheCode(t *testing.T) {
	t.Parallel()
	all := bugs(t)
	if len(all) < 24 {
		t.Errorf("%d bugs, want at least 24", len(all))
	}
	for _, b := range all {
		if _, err := b.planted(); err != nil || b.what == "" {
			t.Errorf("%s: %v", b.name, err)
		}
	}
}

// caught is what became of a bug.
type caught struct {
	bug       bug
	schedules int // until it was; 0: it was not
	by        string
}

// TestPlantedBugs builds the simulator with each bug in turn and runs it until it is caught: BUGS=all, or some by name.
func TestPlantedBugs(t *testing.T) {
	wanted := os.Getenv("BUGS")
	if wanted == "" {
		t.Skip("takes an hour: make sim-mutants")
	}
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
	binary := filepath.Join(dir, "sim.test")
	build := exec.CommandContext(t.Context(), "go", "test", "-c", "-overlay", filepath.Join(dir, "overlay.json"), "-o", binary, "lapse/cmd/internal/sim")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	run := exec.CommandContext(t.Context(), binary, "-test.run", "^TestSim$", "-test.timeout", "30m")
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
