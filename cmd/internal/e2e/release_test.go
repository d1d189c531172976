//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// Commits whose binaries run in the tests of upgrades.
const (
	// releaseBefore runs beside the present ones: with records of the present schema, 3. It moves when
	// a release is made.
	releaseBefore = "fa74c68204dac6ad71ac2c92fbec3bf7443ddd5b"
	// schemaBefore is the last commit whose records have schema 2.
	schemaBefore = "6b4b85a218969e26f074333cf92009a0ae0f8b84"
)

// Each is built once, for whichever test asks first.
var (
	theRelease = sync.OnceValues(func() (release, error) { return buildRelease(releaseBefore) })
	theSchema  = sync.OnceValues(func() (release, error) { return buildRelease(schemaBefore) })
)

// release is what was before: its sources and its commands.
type release struct{ tree, bin string }

// before returns what was before, built.
func before(t *testing.T, made func() (release, error)) release {
	t.Helper()
	r, err := made()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// buildRelease extracts a commit from the history of this checkout, and makes its commands.
func buildRelease(commit string) (release, error) {
	const how = "the tests of upgrades build %s from the git history of this checkout, which lacks it: " +
		"run them in a whole clone (git fetch --unshallow; in GitHub's checkout action, fetch-depth: 0), not in a tarball"
	archive, tree := filepath.Join(built, commit+".tar"), filepath.Join(built, commit)
	git := exec.Command("git", "-c", "safe.directory=*", "archive", "-o", archive, commit)
	git.Dir = filepath.Join("..", "..", "..")
	if out, err := git.CombinedOutput(); err != nil {
		return release{}, fmt.Errorf(how+"\ngit: %w: %s", commit, err, out)
	}
	if err := os.Mkdir(tree, 0o750); err != nil {
		return release{}, err
	}
	if out, err := exec.Command("tar", "-xf", archive, "-C", tree).CombinedOutput(); err != nil {
		return release{}, fmt.Errorf("extract what was before: %w: %s", err, out)
	}
	bin, err := buildIn(tree)
	return release{tree, bin}, err
}

// root is the directory of this checkout, of which the package is the third one down.
func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// fieldsOf are the names of all fields of records that some sources know.
func fieldsOf(t *testing.T, tree string) map[string]bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(tree, "lease", "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no sources in %s (%v)", tree, err)
	}
	known := map[string]bool{}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, tag := range regexp.MustCompile("json:\"([a-z_]+)").FindAllSubmatch(text, -1) {
			known[string(tag[1])] = true
		}
	}
	return known
}
