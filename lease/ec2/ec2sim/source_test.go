package ec2sim_test

import (
	"go/ast"
	"go/parser"
	gotoken "go/token"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"lapse/lease/ec2/ec2sim"
)

// source calls look for every node of the package's code, tests left out.
func source(t *testing.T, look func(ast.Node)) {
	t.Helper()
	files := gotoken.NewFileSet()
	packages, err := parser.ParseDir(files, ".", nil, parser.SkipObjectResolution) //nolint:staticcheck // one package, no build tags
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range packages["ec2sim"].Files {
		if strings.HasSuffix(files.Position(file.Pos()).Filename, "_test.go") {
			continue
		}
		ast.Inspect(file, func(n ast.Node) bool { look(n); return true })
	}
}

// literal returns the text of a string, or of what is added to something.
func literal(e ast.Expr) (string, bool) {
	if sum, ok := e.(*ast.BinaryExpr); ok && sum.Op == gotoken.ADD {
		e = sum.Y
	}
	s, ok := e.(*ast.BasicLit)
	if !ok || s.Kind != gotoken.STRING {
		return "", false
	}
	text, err := strconv.Unquote(s.Value)
	return text, err == nil
}

// field returns the literal that a composite gives to one of these fields.
func field(n ast.Node, names ...string) (string, bool) {
	pair, ok := n.(*ast.KeyValueExpr)
	if !ok {
		return "", false
	}
	for _, name := range names {
		if key, is := pair.Key.(*ast.Ident); is && key.Name == name {
			return literal(pair.Value)
		}
	}
	return "", false
}

// called returns the first argument of a call of one of these functions or
// methods, if it is a literal.
func called(n ast.Node, names ...string) (string, bool) {
	call, ok := n.(*ast.CallExpr)
	if !ok || len(call.Args) == 0 {
		return "", false
	}
	name := ""
	switch f := call.Fun.(type) {
	case *ast.Ident:
		name = f.Name
	case *ast.SelectorExpr:
		name = f.Sel.Name
		if of, is := f.X.(*ast.SelectorExpr); is && of.Sel.Name == "Header" {
			return "", false
		}
	}
	for _, want := range names {
		if name == want {
			return literal(call.Args[0])
		}
	}
	return "", false
}

func TestEveryErrorCodeHasItsSource(t *testing.T) {
	t.Parallel()
	found := 0
	source(t, func(n ast.Node) {
		code, ok := called(n, "refusal", "fail")
		if !ok {
			code, ok = field(n, "notFound", "malformed", "Code")
		}
		if !ok {
			return
		}
		found++
		if !ec2sim.ListsCode(code) {
			t.Errorf("%s is not in the table of codes", code)
		}
	})
	if found < 60 {
		t.Errorf("only %d codes were found", found)
	}
}

func TestEveryParameterIsOneOfTheModel(t *testing.T) {
	t.Parallel()
	m := loadModel(t)
	known := map[string]bool{"Action": true, "Version": true}                // of the protocol
	for _, ofSTS := range []string{"RoleArn", "SerialNumber", "TokenCode"} { // the model is EC2's
		known[ofSTS] = true
	}
	for _, action := range ec2sim.New(ec2sim.Config{}).Actions() {
		for name := range m.parameters(action) {
			for ; name != ""; _, name, _ = strings.Cut(name, ".") {
				known[name] = true
			}
		}
	}
	number := regexp.MustCompile(`\.[0-9]+\b`)
	found := 0
	source(t, func(n ast.Node) {
		name, ok := called(n, "str", "need", "int", "bool", "oneOf", "list", "structs", "tags", "tagSpecifications", "Has", "Get")
		if !ok {
			name, ok = field(n, "idParam")
		}
		if !ok || name == strings.ToLower(name) { // what tagSpecifications takes are kinds of resources
			return
		}
		found++
		if name = strings.Trim(number.ReplaceAllString(name, ".N"), "."); !known[name] {
			t.Errorf("no action that is served has a parameter %s", name)
		}
	})
	if found < 50 {
		t.Errorf("only %d parameters were found", found)
	}
}
