package ec2sim

type changesAnswer struct {
	head
	Changes set[changeItem] `xml:"instancesSet"`
}

type changeItem struct {
	ID       string    `xml:"instanceId"`
	Current  stateItem `xml:"currentState"`
	Previous stateItem `xml:"previousState"`
}

// maxBatch is the most instances that one call may name:
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_TerminateInstances.html
const maxBatch = 1000

// named returns the instances that a request names, each once. One that is
// not there refuses the whole call.
func (s *Sim) named(q *request) ([]*Instance, error) {
	ids := q.list("InstanceId")
	q.touch(ids...)
	switch {
	case q.err != nil:
		return nil, q.err
	case len(ids) == 0:
		return nil, refusal("InvalidParameterCombination", "No instances specified")
	case len(ids) > maxBatch:
		return nil, refusal("InvalidParameterValue", "%d instance ids in one call; at most %d are allowed", len(ids), maxBatch)
	}
	instances, err := s.instanceLookup(q).byID(ids)
	if err != nil {
		return nil, err
	}
	return instances, q.dryRun()
}

// change puts an instance into a state and notes it in the answer.
func (s *Sim) change(q *request, answer *changesAnswer, i *Instance, to State) {
	before := i.State
	if before != to {
		s.enter(q.region, i, to, q.now)
	}
	answer.Changes.Items = append(answer.Changes.Items, changeItem{
		i.ID, stateItem{to.code(), string(to)}, stateItem{before.code(), string(before)},
	})
}

// guard is the attribute that keeps a protected instance from being terminated.
func (i *Instance) guard() string {
	if i.Protected {
		return "disableApiTermination"
	}
	return "disableApiStop"
}

// terminateInstances ends instances. It is idempotent. A protected instance
// fails the call and keeps the named instances of its own zone alive; those
// of other zones do end:
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_TerminateInstances.html
func (s *Sim) terminateInstances(q *request) (body, error) {
	instances, err := s.named(q)
	if err != nil {
		return nil, err
	}
	guarded := make(map[string]*Instance) // by the zone of the protected instance
	for _, i := range instances {
		if (i.Protected || i.Unstoppable) && !i.State.ending() {
			guarded[i.Zone] = i
		}
	}
	answer := new(changesAnswer)
	for _, i := range instances {
		switch guard := guarded[i.Zone]; {
		case guard != nil:
			err = refusal("OperationNotPermitted",
				"The instance '%s' may not be terminated. Modify its '%s' instance attribute and try again.", guard.ID, guard.guard())
		case i.State.ending():
			s.change(q, answer, i, i.State)
		default:
			s.change(q, answer, i, ShuttingDown)
			i.reason = userInitiated(q.now)
		}
	}
	if err != nil {
		return nil, err
	}
	return answer, nil
}
