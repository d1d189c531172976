package ec2sim

import "strings"

// An action does one deed, with the Sim locked. A refusal is an *apiError and
// means that nothing was done.
type action func(*request) (body, error)

// actionTable lists all that the Sim can do.
func (s *Sim) actionTable() map[string]action {
	return map[string]action{
		"RunInstances":       s.runInstances,
		"DescribeInstances":  s.describeInstances,
		"TerminateInstances": s.terminateInstances,

		"CreateTags": s.createTags,
		"DeleteTags": s.deleteTags,

		"ImportKeyPair":    s.importKeyPair,
		"DescribeKeyPairs": s.describeKeyPairs,
		"DeleteKeyPair":    s.deleteKeyPair,

		"DescribeVolumes":              s.describeVolumes,
		"DeleteVolume":                 s.deleteVolume,
		"DescribeNetworkInterfaces":    s.describeInterfaces,
		"DeleteNetworkInterface":       s.deleteInterface,
		"DescribeSpotInstanceRequests": s.describeSpotRequests,
		"CancelSpotInstanceRequests":   s.cancelSpotRequests,
		"DescribeFleets":               s.describeFleets,
		"DescribeSpotFleetRequests":    s.describeSpotFleets,

		"DescribeLaunchTemplateVersions": s.describeTemplateVersions,

		"AssumeRole":        s.assumeRole,
		"GetCallerIdentity": s.getCallerIdentity,
		"GetParameter":      s.getParameter,
	}
}

// do carries out a request on a world brought up to date. Deeds happen one at
// a time, so that two calls with one client token can never both create.
func (s *Sim) do(q *request) (body, error) {
	if q.action == "" {
		return nil, refusal("MissingAction", "The request is missing an action or a required parameter.")
	}
	act := s.actions[q.action]
	if act == nil || (q.protocol == ssmJSON) != (q.action == "GetParameter") {
		return nil, refusal("InvalidAction", "The action %s is not valid for this web service.", q.action)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.throttle(q); err != nil {
		return nil, err
	}
	s.settle(q.region, q.now)
	if strings.HasPrefix(q.action, "Describe") {
		if err := q.dryRun(); err != nil {
			return nil, err
		}
	}
	return act(q)
}
