package iam_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const (
	registryTag = "lapse:registry"
	placeholder = "REPLACE-WITH-REGISTRY-UUID"
)

type policy struct {
	Version   string
	Statement []statement
}

type statement struct {
	Sid       string
	Effect    string
	Action    list
	Resource  list
	Condition map[string]map[string]list
}

// list is one string or several, as IAM allows both wherever it takes either.
type list []string

func (l *list) UnmarshalJSON(data []byte) error {
	var one string
	if json.Unmarshal(data, &one) == nil {
		*l = list{one}
		return nil
	}
	return json.Unmarshal(data, (*[]string)(l))
}

func readPolicy(t *testing.T, name string) policy {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields() // IAM refuses them too
	var p policy
	if err := decoder.Decode(&p); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return p
}

// requires reports whether the statement applies only where the given tag has the registry's value.
func (s statement) requires(key string) bool {
	return slices.Equal(s.Condition["StringEquals"][key], list{placeholder})
}

func TestEveryPolicyIsPlain(t *testing.T) {
	names, err := filepath.Glob("*.json")
	if err != nil || len(names) != 9 {
		t.Fatalf("policies: %v, %v; want api, launcher, launcher-key-pair, janitor, janitor-adopt, janitor-key-pair, observer, operator and guard", names, err)
	}
	for _, name := range names {
		if name == guard {
			continue // it denies
		}
		p := readPolicy(t, name)
		if p.Version != "2012-10-17" {
			t.Errorf("%s: version %q", name, p.Version)
		}
		sids := map[string]bool{}
		for _, s := range p.Statement {
			if s.Effect != "Allow" || s.Sid == "" || sids[s.Sid] || len(s.Resource) == 0 {
				t.Errorf("%s: statement %q: want a Sid of its own, Allow and a resource", name, s.Sid)
			}
			sids[s.Sid] = true
			for _, action := range s.Action {
				if strings.Contains(action, "*") {
					t.Errorf("%s: %s: %q: name each action", name, s.Sid, action)
				}
				if slices.Equal(s.Resource, list{"*"}) && !strings.HasPrefix(action, "ec2:Describe") {
					t.Errorf("%s: %s: %s on every resource", name, s.Sid, action)
				}
			}
		}
	}
}

func TestObserverOnlyReads(t *testing.T) {
	for _, s := range readPolicy(t, "observer.json").Statement {
		for _, action := range s.Action {
			if !strings.HasPrefix(action, "ec2:Describe") {
				t.Errorf("observer may %s", action)
			}
		}
	}
}

func TestLauncherCreatesOnlyWithTheRegistrysTag(t *testing.T) {
	created := []string{"instance", "volume", "network-interface", "spot-instances-request"}
	allowed := []string{"ec2:RunInstances", "ec2:CreateTags", "iam:PassRole", "ssm:GetParameter", "ssm:GetParameters"}
	for _, s := range readPolicy(t, "launcher.json").Statement {
		for _, action := range s.Action {
			if !slices.Contains(allowed, action) && !strings.HasPrefix(action, "ec2:Describe") {
				t.Errorf("launcher may %s", action)
			}
		}
		if slices.Contains(s.Action, "ec2:CreateTags") && len(s.Condition["StringEquals"]["ec2:CreateAction"]) == 0 {
			t.Errorf("%s: tags may be put on what exists", s.Sid)
		}
		for _, resource := range s.Resource {
			kind, _, _ := strings.Cut(resource[strings.LastIndex(resource, ":")+1:], "/")
			if slices.Contains(created, kind) && !s.requires("aws:RequestTag/"+registryTag) {
				t.Errorf("%s: %s without the registry's tag", s.Sid, resource)
			}
		}
	}
}

func TestJanitorTerminatesOnlyManagedInstancesThatAreNotExempt(t *testing.T) {
	ends := []string{
		"ec2:TerminateInstances", "ec2:DeleteVolume", "ec2:DeleteNetworkInterface", "ec2:CancelSpotInstanceRequests",
	}
	for _, s := range readPolicy(t, "janitor.json").Statement {
		for _, action := range s.Action {
			if strings.HasPrefix(action, "ec2:Describe") || s.Sid == "WriteTheSecondKey" {
				continue // what that allows is in allow_test.go
			}
			if !slices.Contains(ends, action) {
				t.Errorf("janitor may %s", action)
			}
			if !s.requires("aws:ResourceTag/" + registryTag) {
				t.Errorf("%s: %s without the registry's tag", s.Sid, action)
			}
			if !slices.Equal(s.Condition["Null"]["aws:ResourceTag/lapse:exempt"], list{"true"}) {
				t.Errorf("%s: %s of what is exempt", s.Sid, action)
			}
			if ofLaunch := slices.Equal(s.Condition["Null"]["aws:ResourceTag/lapse:launch"], list{"false"}); !ofLaunch && action != "ec2:TerminateInstances" {
				t.Errorf("%s: %s of what no launch made", s.Sid, action) // an adopted instance bears no such tag
			}
		}
	}
}

func TestOperatorSetsAndRemovesTagsOfTheRegistryAlone(t *testing.T) {
	want := map[string]string{"ec2:CreateTags": "aws:RequestTag/", "ec2:DeleteTags": "aws:ResourceTag/"}
	for _, s := range readPolicy(t, "operator.json").Statement {
		for _, action := range s.Action {
			if strings.HasPrefix(action, "ec2:Describe") || action == "ec2:CancelSpotInstanceRequests" {
				continue // what the latter allows is in allow_test.go
			}
			if action == "ec2:DeleteTags" && !slices.Equal(s.Condition["Null"]["aws:TagKeys"], list{"false"}) {
				t.Errorf("%s: operator may remove all tags at once, by naming none", s.Sid) // ForAllValues is true of nothing
			}
			tag, known := want[action]
			if !known || !s.requires(tag+registryTag) || len(s.Condition["ForAllValues:StringEquals"]["aws:TagKeys"]) == 0 {
				t.Errorf("%s: operator may %s without the registry's tag, or other tags", s.Sid, action)
			}
		}
	}
}

func TestEveryCallOfTheCodeIsAllowed(t *testing.T) {
	var allowed []string
	for _, name := range []string{"launcher.json", "launcher-key-pair.json", "janitor.json", "operator.json"} {
		for _, s := range readPolicy(t, name).Statement {
			allowed = append(allowed, s.Action...)
		}
	}
	files, err := filepath.Glob("../../lease/ec2/*.go")
	if err != nil {
		t.Fatal(err)
	}
	calls := regexp.MustCompile(`\b(ec2|ssm)\.([A-Z]\w+)Input\b`)
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, call := range calls.FindAllSubmatch(source, -1) {
			if action := string(call[1]) + ":" + string(call[2]); !slices.Contains(allowed, action) {
				t.Errorf("%s calls %s, and none of launcher, janitor and operator may", filepath.Base(file), action)
			}
		}
	}
}
