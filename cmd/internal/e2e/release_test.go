//go:build e2e

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
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

// sources extracts a commit from the history of this checkout.
func sources(t *testing.T, commit string) string {
	t.Helper()
	const how = "the tests of upgrades build %s from the git history of this checkout, which lacks it: " +
		"run them in a whole clone (git fetch --unshallow; in GitHub's checkout action, fetch-depth: 0), not in a tarball"
	dir := t.TempDir()
	archive := filepath.Join(dir, "release.tar")
	git := exec.Command("git", "-c", "safe.directory=*", "archive", "-o", archive, commit)
	git.Dir = root(t)
	if out, err := git.CombinedOutput(); err != nil {
		t.Fatalf(how+"\ngit: %v: %s", commit, err, out)
	}
	tree := filepath.Join(dir, "tree")
	if err := os.Mkdir(tree, 0o750); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("tar", "-xf", archive, "-C", tree).CombinedOutput(); err != nil {
		t.Fatalf("extract what was before: %v: %s", err, out)
	}
	return tree
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
