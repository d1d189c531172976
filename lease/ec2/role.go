package ec2

import "slices"

// Role is a part that somebody plays towards EC2, with a policy of its own in deploy/iam.
type Role string

// Roles.
const (
	RoleLauncher Role = "launcher" // lease launch
	RoleJanitor  Role = "janitor"  // an armed janitor
	RoleOperator Role = "operator" // lease adopt, unmanage
	RoleObserver Role = "observer" // a janitor that observes, lease why, list --unexplained
)

// Roles are all of them.
func Roles() []Role { return []Role{RoleLauncher, RoleJanitor, RoleOperator, RoleObserver} }

// Needs are the actions without which the role cannot be played, of those that [Cloud.Rehearse] rehearses.
func (r Role) Needs() []string {
	look := []string{"DescribeInstances", "DescribeNetworkInterfaces", "DescribeSpotInstanceRequests", "DescribeVolumes"}
	return map[Role][]string{
		RoleLauncher: {"DescribeInstances", "RunInstances"},
		RoleJanitor:  append(slices.Clone(look), "TerminateInstances"),
		RoleOperator: {"DescribeInstances", "CreateTags", "DeleteTags"},
		RoleObserver: look,
	}[r]
}

// Lacks are the rehearsals that say that the role cannot be played, and those that leave it open.
func (r Role) Lacks(all []Rehearsed) (refused, unclear []Rehearsed) {
	for _, one := range all {
		switch {
		case !slices.Contains(r.Needs(), one.Action):
		case one.Answer == AnswerRefused:
			refused = append(refused, one)
		case one.Answer == AnswerUnclear:
			unclear = append(unclear, one)
		}
	}
	return refused, unclear
}
