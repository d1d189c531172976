package ec2

import (
	"slices"

	"lapse/lease"
)

// Role is a part that somebody plays towards EC2, with a policy of its own in deploy/iam.
type Role string

// Roles.
const (
	RoleLauncher Role = "launcher" // lease launch
	RoleJanitor  Role = "janitor"  // an armed janitor
	RoleOperator Role = "operator" // lease adopt, unmanage
	RoleObserver Role = "observer" // a janitor that observes, lease why, list --untracked
)

// Roles are all of them.
func Roles() []Role { return []Role{RoleLauncher, RoleJanitor, RoleOperator, RoleObserver} }

// Need is an action that a role needs.
type Need struct {
	Action string // as in IAM policies, without "ec2:"
	Tag    string // which tag it sets or removes, because policies depend on its key; empty if none
}

// String prints the need as "CreateTags of lapse:registry".
func (n Need) String() string {
	if n.Tag == "" {
		return n.Action
	}
	return n.Action + " of " + n.Tag
}

// Needs are the actions without which the role cannot be played, of those that [Cloud.Rehearse] rehearses.
func (r Role) Needs() []Need {
	instances := Need{Action: "DescribeInstances"}
	look := []Need{instances, {Action: "DescribeNetworkInterfaces"}, {Action: "DescribeSpotInstanceRequests"}, {Action: "DescribeVolumes"}}
	return map[Role][]Need{
		RoleLauncher: {instances, {Action: "RunInstances"}},
		RoleJanitor:  append(slices.Clone(look), Need{Action: "TerminateInstances"}, Need{"CreateTags", lease.TagExpires}),
		RoleOperator: {instances, {"CreateTags", lease.TagRegistry}, {"DeleteTags", lease.TagRegistry}},
		RoleObserver: look,
	}[r]
}

// Lacks are the rehearsals that say that the role cannot be played, and those that leave it open.
func (r Role) Lacks(all []Rehearsed) (refused, unclear []Rehearsed) {
	for _, one := range all {
		switch {
		case !slices.Contains(r.Needs(), one.Need):
		case one.Answer == AnswerRefused:
			refused = append(refused, one)
		case one.Answer == AnswerUnclear:
			unclear = append(unclear, one)
		}
	}
	return refused, unclear
}
