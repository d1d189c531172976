package lease_test

import (
	"go/ast"
	"go/parser"
	gotoken "go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// gone are words that the code used before it took those of its field, with the word in their place. They are looked for
// as whole parts of identifiers, fields, flags and metrics; in sentences they may be ordinary English.
func gone() map[string]string {
	return map[string]string{
		"place": "location", "places": "locations", "office": "leadership", "offices": "leaderships", "stamp": "checkpoint",
		"stamps": "checkpoints", "stamped": "checkpointed", "ttl": "heartbeat timeout", "beat": "heartbeat", "beats": "heartbeats",
		"beating": "renewing", "pardon": "unmark", "pardoned": "unmarked", "stranger": "unwatched", "restored": "rollback",
		"silence": "lost heartbeat", "silences": "lost heartbeats", "silent": "lost", "situation": "planner", "estate": "closed launch",
		"estates": "closed launches", "sight": "listings", "heed": "follow", "vet": "recheck", "stood": "engaged", "overtaken": "outdated",
		"acting": "enforcing", "knock": "ping", "teller": "writer", "company": "group",
		"unexplained": "untracked", "vacant": "known empty", "strewn": "remains", "twin": "replica", "zombie": "deposed",
		"tenure": "leadership", "tenures": "leaderships",
	}
}

// meantOtherwise are files in which such a word has the meaning that the field gives it, with what it means there.
func meantOtherwise() map[string]string {
	return map[string]string{
		"ttl lease/etcd/etcdsim/":          "the TTL of an etcd lease, which etcd's interface calls so",
		"ttl cmd/janitor/":                 "the TTL of an etcd lease, that of the election",
		"ttl cmd/internal/chaos/":          "the TTL of an etcd lease, that of the election",
		"ttl sidecar/imds/":                "AWS calls the life of a session token so",
		"ttl lease/dnstest/":               "the TTL of a DNS record",
		"ttl lease/ec2/ec2sim/":            "AWS calls the life of a session token so",
		"silence lease/ec2/ec2sim/":        "an endpoint that gives no answer",
		"silence sidecar/imds/":            "an endpoint that gives no answer",
		"office janitor/timetable_test.go": "hours in which people are at work",
	}
}

func TestNoAbandonedWordIsLeftInANameOfTheCode(t *testing.T) {
	t.Parallel()
	root, words, exceptions := "..", gone(), meantOtherwise()
	used := map[string]bool{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".go" {
			return err
		}
		file := filepath.ToSlash(strings.TrimPrefix(path, root+string(filepath.Separator)))
		names, err := namesIn(path)
		for _, name := range names {
			for _, part := range partsOf(name) {
				instead, is := words[part]
				if !is {
					continue
				}
				allowed := false
				for exception := range exceptions {
					if word, where, _ := strings.Cut(exception, " "); word == part && strings.HasPrefix(file, where) {
						allowed, used[exception] = true, true
					}
				}
				if !allowed {
					t.Errorf("%s: %s says %q; the word is %q", file, name, part, instead)
				}
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for exception := range exceptions {
		if !used[exception] {
			t.Errorf("nothing needs the exception %q", exception)
		}
	}
}

// namesIn are the identifiers that a file declares, and the names of fields, flags and metrics in it.
func namesIn(path string) (names []string, err error) {
	file, err := parser.ParseFile(gotoken.NewFileSet(), path, nil, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	field := regexp.MustCompile(`json:"([a-z0-9_]+)`)
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.Ident:
			names = append(names, n.Name)
		case *ast.Field:
			if n.Tag != nil {
				if found := field.FindStringSubmatch(n.Tag.Value); found != nil {
					names = append(names, found[1])
				}
			}
		case *ast.KeyValueExpr:
			if key, is := n.Key.(*ast.Ident); is && key.Name == "Name" {
				names = append(names, literalOf(n.Value))
			}
		case *ast.BasicLit:
			if said := literalOf(n); strings.HasPrefix(said, "lapse_") && !strings.ContainsAny(said, " {(") {
				names = append(names, said)
			}
		}
		return true
	})
	slices.Sort(names)
	return slices.Compact(names), nil
}

func literalOf(e ast.Expr) string {
	if literal, is := e.(*ast.BasicLit); is && literal.Kind == gotoken.STRING {
		said, _ := strconv.Unquote(literal.Value)
		return said
	}
	return ""
}

// partsOf are the words of a name in camel case, or with lines or dashes between them.
func partsOf(name string) (parts []string) {
	for _, part := range regexp.MustCompile(`[A-Z]+(?:[a-z0-9]+)?|[a-z0-9]+`).FindAllString(name, -1) {
		parts = append(parts, strings.ToLower(part))
	}
	return parts
}
