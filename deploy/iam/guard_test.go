package iam_test

import (
	"os"
	"path"
	"slices"
	"strings"
	"testing"
)

const guard = "guard.json"

// maxControlPolicy is how many characters a service control policy may have:
// https://docs.aws.amazon.com/organizations/latest/userguide/orgs_reference_limits.html
const maxControlPolicy = 5120

// request is what AWS knows when it decides. A key that is not there has no values.
type request struct {
	action, resource string
	keys             map[string][]string
}

// applies reports whether a statement is about the request: each of its operators, each of their keys.
func (s statement) applies(t *testing.T, r request) bool {
	t.Helper()
	if !slices.ContainsFunc(s.Action, func(a string) bool { return like(a, r.action) }) ||
		!slices.ContainsFunc(s.Resource, func(a string) bool { return like(a, r.resource) }) {
		return false
	}
	for operator, keys := range s.Condition {
		for key, want := range keys {
			if !holds(t, operator, want, r.keys[key]) {
				return false
			}
		}
	}
	return true
}

// holds is one condition, by the rules of
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html
func holds(t *testing.T, operator string, want list, have []string) bool {
	t.Helper()
	matches := func(value string) bool {
		return slices.ContainsFunc(want, func(pattern string) bool { return like(pattern, value) })
	}
	switch operator {
	case "ForAnyValue:StringLike":
		return slices.ContainsFunc(have, matches)
	case "StringEquals": // * and ? mean themselves, but no value here has them
		return slices.ContainsFunc(have, func(value string) bool { return slices.Contains(want, value) })
	case "StringEqualsIfExists":
		return len(have) == 0 || holds(t, "StringEquals", want, have)
	case "StringLike":
		return slices.ContainsFunc(have, matches)
	case "ForAllValues:StringEquals": // true of a request without any
		return !slices.ContainsFunc(have, func(value string) bool { return !slices.Contains(want, value) })
	case "ArnNotLike": // a negated operator is true of a key that is not there
		return !slices.ContainsFunc(have, matches)
	case "Null":
		return (len(have) == 0) == slices.Equal(want, list{"true"})
	}
	t.Fatalf("a policy uses %s, which this test does not understand", operator)
	return false
}

// like matches * and ? across slashes, as IAM does.
func like(pattern, value string) bool {
	slash := strings.NewReplacer("/", "\x00", "[", `\[`)
	ok, err := path.Match(slash.Replace(pattern), slash.Replace(value))
	return err == nil && ok
}

func TestGuard(t *testing.T) {
	const (
		account  = "arn:aws:iam::123456789012:"
		janitor  = account + "role/lapse/REPLACE-WITH-JANITOR-ROLE"
		launcher = account + "role/lapse/REPLACE-WITH-LAUNCHER-ROLE"
		operator = account + "role/lapse/REPLACE-WITH-OPERATOR-ROLE"
		chief    = account + "role/REPLACE-WITH-ADMINISTRATOR-ROLE"
		instance = "arn:aws:ec2:eu-west-1:123456789012:instance/i-0123456789abcdef0"
	)
	managed := map[string][]string{"aws:ResourceTag/lapse:registry": {"some-uuid"}}
	for _, test := range []struct {
		name, by, action, resource string
		tags                       []string
		resourceTags               map[string][]string
		denied                     bool
	}{
		{name: "a launcher sets tags", by: launcher, action: "ec2:CreateTags", resource: instance, tags: []string{"lapse:registry", "lapse:launch"}},
		{name: "a janitor writes the second key", by: janitor, action: "ec2:CreateTags", resource: instance, tags: []string{"lapse:expires"}, resourceTags: managed},
		{name: "anybody writes the second key", by: account + "role/dev", action: "ec2:CreateTags", resource: instance, tags: []string{"lapse:expires"}, resourceTags: managed, denied: true},
		{name: "a janitor of that name elsewhere", by: account + "role/REPLACE-WITH-JANITOR-ROLE", action: "ec2:CreateTags", resource: instance, tags: []string{"lapse:expires"}, resourceTags: managed, denied: true},
		{name: "a janitor removes all tags by naming none", by: janitor, action: "ec2:DeleteTags", resource: instance, resourceTags: managed, denied: true},
		{name: "an operator removes tags", by: operator, action: "ec2:DeleteTags", resource: instance, tags: []string{"lapse:registry"}, resourceTags: managed},
		{name: "anybody sets other tags", by: account + "role/dev", action: "ec2:CreateTags", resource: instance, tags: []string{"team"}, resourceTags: managed},
		{name: "anybody removes other tags", by: account + "role/dev", action: "ec2:DeleteTags", resource: instance, tags: []string{"team"}, resourceTags: managed},
		{name: "anybody removes all tags of what is not managed", by: account + "role/dev", action: "ec2:DeleteTags", resource: instance},
		{name: "anybody sets the registry's tag", by: account + "role/dev", action: "ec2:CreateTags", resource: instance, tags: []string{"lapse:registry"}, denied: true},
		{name: "anybody hides it among others", by: account + "user/eve", action: "ec2:CreateTags", resource: instance, tags: []string{"team", "lapse:launch", "zone"}, denied: true},
		{name: "anybody exempts an instance", by: account + "role/dev", action: "ec2:CreateTags", resource: instance, tags: []string{"lapse:exempt"}, resourceTags: managed, denied: true},
		{name: "anybody takes the registry's tag off", by: account + "role/dev", action: "ec2:DeleteTags", resource: instance, tags: []string{"lapse:registry"}, resourceTags: managed, denied: true},
		{name: "anybody removes all tags by naming none", by: account + "role/dev", action: "ec2:DeleteTags", resource: instance, resourceTags: managed, denied: true},
		{name: "an operator removes all tags by naming none", by: operator, action: "ec2:DeleteTags", resource: instance, resourceTags: managed, denied: true},
		{name: "the account's root sets the registry's tag", by: account + "root", action: "ec2:CreateTags", resource: instance, tags: []string{"lapse:registry"}, denied: true},
		{name: "a role of that name elsewhere", by: account + "role/REPLACE-WITH-LAUNCHER-ROLE", action: "ec2:CreateTags", resource: instance, tags: []string{"lapse:registry"}, denied: true},
		{name: "a user of that name", by: account + "user/lapse/REPLACE-WITH-LAUNCHER-ROLE", action: "ec2:CreateTags", resource: instance, tags: []string{"lapse:registry"}, denied: true},
		{name: "volumes too", by: account + "role/dev", action: "ec2:CreateTags", resource: "arn:aws:ec2:eu-west-1:123456789012:volume/vol-1", tags: []string{"lapse:launch"}, denied: true},
		{name: "an Auto Scaling group passes it on", by: account + "role/dev", action: "autoscaling:CreateAutoScalingGroup", resource: "arn:aws:autoscaling:eu-west-1:123456789012:autoScalingGroup:*", tags: []string{"lapse:registry"}, denied: true},
		{name: "anybody makes such a role", by: account + "role/dev", action: "iam:CreateRole", resource: launcher, denied: true},
		{name: "anybody lets himself into such a role", by: account + "role/dev", action: "iam:UpdateAssumeRolePolicy", resource: operator, denied: true},
		{name: "anybody makes another role", by: account + "role/dev", action: "iam:CreateRole", resource: account + "role/app"},
		{name: "an administrator makes such a role", by: chief, action: "iam:CreateRole", resource: launcher},
		{name: "an administrator sets tags all the same only as such a role", by: chief, action: "ec2:CreateTags", resource: instance, tags: []string{"lapse:registry"}, denied: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			keys := map[string][]string{"aws:PrincipalArn": {test.by}, "aws:TagKeys": test.tags}
			for key, values := range test.resourceTags {
				keys[key] = values
			}
			var by []string
			for _, s := range readPolicy(t, guard).Statement {
				if s.applies(t, request{test.action, test.resource, keys}) {
					by = append(by, s.Sid)
				}
			}
			if got := len(by) > 0; got != test.denied {
				t.Errorf("denied: %v by %v, want %v", got, by, test.denied)
			}
		})
	}
}

func TestGuardIsAServiceControlPolicy(t *testing.T) {
	data, err := os.ReadFile(guard)
	if err != nil {
		t.Fatal(err)
	}
	if len(data) > maxControlPolicy { // white space counts where the AWS CLI sends the file
		t.Errorf("%d characters; AWS takes %d", len(data), maxControlPolicy)
	}
	for _, s := range readPolicy(t, guard).Statement {
		if s.Effect != "Deny" || s.Sid == "" {
			t.Errorf("statement %q: want Deny and a Sid: a service control policy that allows nothing else must only deny", s.Sid)
		}
	}
}
