package ec2sim_test

import (
	"compress/gzip"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode"
)

// model is a service as AWS publishes it, in the form that botocore, and with
// it the AWS CLI, carries.
type model struct {
	Operations map[string]struct {
		Input, Output struct{ Shape string }
	}
	Shapes map[string]shape
}

type shape struct {
	Type    string
	Members map[string]member // of a structure
	Member  member            // of a list
	Enum    []string
}

type member struct{ Shape, LocationName, QueryName string }

// loadModel reads EC2's model. Where there is no botocore the test is skipped,
// unless CI is set: there a suite that could not run has failed.
func loadModel(t *testing.T) model {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "python3", "-c", "import botocore; print(botocore.__path__[0])").Output()
	if err != nil {
		missing(t, "botocore", "whether the answers fit EC2's model")
	}
	file, err := os.Open(filepath.Join(strings.TrimSpace(string(out)), "data/ec2/2016-11-15/service-2.json.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	text, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	var m model
	if err := json.NewDecoder(text).Decode(&m); err != nil {
		t.Fatal(err)
	}
	return m
}

// missing skips a test if a tool is missing, or fails it in CI.
func missing(t *testing.T, tool, untested string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s is not installed", tool)
	}
	t.Skipf("%s is not installed: %s is NOT tested", tool, untested)
}

// element is a piece of an answer.
type element struct {
	XMLName  xml.Name
	Text     string    `xml:",chardata"`
	Children []element `xml:",any"`
}

// accepts returns what is wrong with an element, and with those inside it, by
// the model: a name that is no member's, a text of another type.
func (m model) accepts(path string, e element, shapeName string) []string {
	s := m.Shapes[shapeName]
	text := strings.TrimSpace(e.Text)
	switch {
	case s.Type != "structure" && s.Type != "list":
		if fault := s.misreads(text); len(e.Children) > 0 || fault != "" {
			return []string{fmt.Sprintf("%s: %q %s", path, text, fault)}
		}
		return nil
	case text != "":
		return []string{fmt.Sprintf("%s: text %q in a %s", path, text, s.Type)}
	}
	var wrong []string
	seen := map[string]bool{}
	for n, child := range e.Children {
		name := child.XMLName.Local
		inner, known := s.memberNamed(name)
		switch {
		case !known:
			wrong = append(wrong, path+" has no member "+name)
		case s.Type == "structure" && seen[name]:
			wrong = append(wrong, path+" has "+name+" twice")
		default:
			wrong = append(wrong, m.accepts(fmt.Sprintf("%s.%s[%d]", path, name, n), child, inner)...)
		}
		seen[name] = true
	}
	return wrong
}

// memberNamed returns the shape of the member that is written as an element of
// that name.
func (s shape) memberNamed(element string) (string, bool) {
	if s.Type == "list" {
		return s.Member.Shape, element == s.Member.LocationName
	}
	for name, m := range s.Members {
		if element == m.LocationName || m.LocationName == "" && element == name {
			return m.Shape, true
		}
	}
	return "", false
}

// misreads says why a text is none of a simple shape's, or nothing.
func (s shape) misreads(text string) string {
	var err error
	switch s.Type {
	case "boolean":
		if text != "true" && text != "false" {
			return "is no truth value"
		}
	case "integer", "long":
		_, err = strconv.ParseInt(text, 10, 64)
	case "timestamp":
		_, err = time.Parse(time.RFC3339, text)
	case "string":
		if len(s.Enum) > 0 && !slices.Contains(s.Enum, text) {
			return fmt.Sprintf("is none of %v", s.Enum)
		}
	default:
		return "of the unknown type " + s.Type
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

// parameters returns the names of all that a request of an operation may say,
// with N for every number, by the rules of EC2's protocol:
// https://smithy.io/2.0/aws/protocols/aws-ec2-query-protocol.html
func (m model) parameters(operation string) map[string]bool {
	names := map[string]bool{}
	var walk func(prefix, shapeName string, depth int)
	walk = func(prefix, shapeName string, depth int) {
		s := m.Shapes[shapeName]
		names[prefix] = true
		switch {
		case depth > 8:
		case s.Type == "list":
			walk(prefix+".N", s.Member.Shape, depth+1)
		case s.Type == "structure":
			for name, inner := range s.Members {
				switch {
				case inner.QueryName != "":
					name = inner.QueryName
				case inner.LocationName != "":
					name = string(unicode.ToUpper(rune(inner.LocationName[0]))) + inner.LocationName[1:]
				}
				walk(strings.TrimPrefix(prefix+"."+name, "."), inner.Shape, depth+1)
			}
		}
	}
	walk("", m.Operations[operation].Input.Shape, 0)
	return names
}
