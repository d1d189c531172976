package plan_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"
)

// clocks are the functions of package time that read a clock, or wait for one.
func clocks() []string {
	return []string{"Now", "Since", "Until", "After", "AfterFunc", "NewTimer", "NewTicker", "Tick", "Sleep"}
}

func TestADecisionReadsNoClock(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	read := 0
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		read++
		set := token.NewFileSet()
		tree, err := parser.ParseFile(set, file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range selected(tree, "time", clocks()) {
			t.Errorf("%s: time.%s", set.Position(found.Pos()), found.Sel.Name)
		}
	}
	if read == 0 {
		t.Fatal("found no file to read")
	}
}

func TestAClockThatIsReadIsFound(t *testing.T) {
	t.Parallel()
	for _, name := range clocks() {
		tree, err := parser.ParseFile(token.NewFileSet(), "x.go", "package x\nvar f = time."+name+"\nvar g = c.Now", 0)
		if err != nil {
			t.Fatal(err)
		}
		if found := selected(tree, "time", clocks()); len(found) != 1 {
			t.Errorf("time.%s: found %d times, want once", name, len(found))
		}
	}
}

// selected are the selectors of these names of a package.
func selected(tree ast.Node, pkg string, names []string) (found []*ast.SelectorExpr) {
	ast.Inspect(tree, func(n ast.Node) bool {
		s, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		from, ok := s.X.(*ast.Ident)
		if !ok || from.Name != pkg {
			return true
		}
		for _, name := range names {
			if s.Sel.Name == name {
				found = append(found, s)
			}
		}
		return true
	})
	return found
}
