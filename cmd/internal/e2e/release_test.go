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

// releaseBefore is the commit whose binaries run beside the present ones in the upgrade test: the last one before the
// present format of the records. It moves when a release is made.
const releaseBefore = "2554ff04f02548e022470fcd4e798acda0cf2610"

// sources extracts the release before this one from the history of this checkout.
func sources(t *testing.T) string {
	t.Helper()
	const how = "the upgrade test builds commit " + releaseBefore + " from the git history of this checkout, which lacks it: " +
		"run it in a whole clone (git fetch --unshallow; in GitHub's checkout action, fetch-depth: 0), not in a tarball"
	dir := t.TempDir()
	archive := filepath.Join(dir, "release.tar")
	git := exec.Command("git", "-c", "safe.directory=*", "archive", "-o", archive, releaseBefore)
	git.Dir = root(t)
	if out, err := git.CombinedOutput(); err != nil {
		t.Fatalf("%s\ngit: %v: %s", how, err, out)
	}
	tree := filepath.Join(dir, "tree")
	if err := os.Mkdir(tree, 0o750); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("tar", "-xf", archive, "-C", tree).CombinedOutput(); err != nil {
		t.Fatalf("extract the release before this one: %v: %s", err, out)
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
