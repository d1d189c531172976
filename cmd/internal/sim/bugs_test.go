package sim

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"
)

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
