package ec2sim

import (
	"cmp"
	"strings"
)

// Fleet is an EC2 Fleet, or, where its id begins with sfr-, a Spot Fleet. It is there to be described: what it makes and
// replaces is not simulated.
type Fleet struct {
	ID     string
	Region string
	Type   string // maintain, request or instant
	State  string // such as active or deleted_running; cancelled_running of a Spot Fleet
}

func (f *Fleet) key() string { return f.ID }

// AddFleet makes a fleet. What f leaves empty is filled in: active, and one that maintains its instances.
func (s *Sim) AddFleet(f Fleet) Fleet {
	s.mu.Lock()
	defer s.mu.Unlock()
	f.Region = cmp.Or(f.Region, s.config.Region)
	if f.ID == "" {
		f.ID = s.newID("fleet")
	}
	f.Type = cmp.Or(f.Type, "maintain")
	f.State = cmp.Or(f.State, "active")
	s.regionNamed(f.Region).fleets.add(&f)
	return f
}

type fleetAnswer struct {
	head
	Fleets set[fleetItem] `xml:"fleetSet"`
}

// fleetItem is a fleet in an answer: https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_FleetData.html
type fleetItem struct {
	ID    string `xml:"fleetId"`
	State string `xml:"fleetState"`
	Type  string `xml:"type"`
}

type spotFleetAnswer struct {
	head
	Fleets set[spotFleetItem] `xml:"spotFleetRequestConfigSet"`
}

// spotFleetItem is a Spot Fleet in an answer:
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_SpotFleetRequestConfig.html
type spotFleetItem struct {
	ID    string `xml:"spotFleetRequestId"`
	State string `xml:"spotFleetRequestState"`
	Type  string `xml:"spotFleetRequestConfig>type"`
}

func (s *Sim) describeFleets(q *request) (body, error) {
	found, err := q.fleetsNamed("FleetId", "fleet-")
	answer := new(fleetAnswer)
	for _, f := range found {
		answer.Fleets.Items = append(answer.Fleets.Items, fleetItem{f.ID, f.State, f.Type})
	}
	return answer, err
}

func (s *Sim) describeSpotFleets(q *request) (body, error) {
	found, err := q.fleetsNamed("SpotFleetRequestId", "sfr-")
	answer := new(spotFleetAnswer)
	for _, f := range found {
		answer.Fleets.Items = append(answer.Fleets.Items, spotFleetItem{f.ID, f.State, f.Type})
	}
	return answer, err
}

// fleetsNamed are the fleets of one kind whose ids a call names.
func (q *request) fleetsNamed(param, prefix string) ([]*Fleet, error) {
	var found []*Fleet
	for _, id := range q.list(param) {
		f, known := q.region.fleets.get(id)
		if !known || !strings.HasPrefix(id, prefix) {
			return nil, refusal("InvalidParameterValue", "The ID '%s' does not exist", id)
		}
		found = append(found, f)
	}
	return found, q.err
}
