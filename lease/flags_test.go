package lease_test

import (
	"go/ast"
	"go/parser"
	gotoken "go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// What a command line takes is said in cmd. Below it, errors carry facts: they are also for programs that import a package
// or ask the sidecar, which have no flags.
func TestNothingBelowTheCommandsNamesAFlagOrACommand(t *testing.T) {
	t.Parallel()
	others := regexp.MustCompile("`(aws|eval) [^`]*`") // commands of AWS
	ours := regexp.MustCompile("--[a-z]|`(lease|janitor|sidecar) ")
	files := 0
	for _, below := range []string{".", "../sidecar"} {
		err := filepath.WalkDir(below, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
				return err
			}
			files++
			set := gotoken.NewFileSet()
			file, err := parser.ParseFile(set, path, nil, parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			ast.Inspect(file, func(n ast.Node) bool {
				if text, is := n.(*ast.BasicLit); is && text.Kind == gotoken.STRING && ours.MatchString(others.ReplaceAllString(text.Value, "")) {
					t.Errorf("%s: %s", set.Position(text.Pos()), text.Value)
				}
				return true
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if files < 50 {
		t.Errorf("only %d files were read", files)
	}
}
