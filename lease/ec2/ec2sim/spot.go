package ec2sim

import (
	"maps"
	"time"
)

// States of a spot request:
// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-request-status.html
const (
	spotOpen      = "open"
	spotActive    = "active"
	spotClosed    = "closed"
	spotCancelled = "cancelled"
)

// SpotRequest is a spot instance request.
type SpotRequest struct {
	ID       string
	Region   string
	State    string // open, active, closed or cancelled
	Instance string
	Tags     map[string]string
	Created  time.Time
	// Persistent is open again when its instance has ended, to make another.
	Persistent bool

	zone string
}

func (r *SpotRequest) key() string { return r.ID }

func (r *SpotRequest) clone() SpotRequest {
	c := *r
	c.Tags = maps.Clone(r.Tags)
	return c
}

// requestSpot makes the request that an instance about to be made fulfils, and
// returns its id.
func (s *Sim) requestSpot(r *region, i *Instance, tags map[string]string, now time.Time) string {
	spot := &SpotRequest{
		ID: s.newID("sir"), Region: r.name, State: spotActive, Instance: i.ID,
		Tags: maps.Clone(tags), Created: now, zone: i.Zone,
	}
	r.spots.add(spot)
	return spot.ID
}

type spotAnswer struct {
	head
	Requests set[spotItem] `xml:"spotInstanceRequestSet"`
	Next     string        `xml:"nextToken,omitempty"`
}

type cancelAnswer struct {
	head
	Requests set[cancelItem] `xml:"spotInstanceRequestSet"`
}

// cancelItem is a spot request in the answer to its cancellation:
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CancelledSpotInstanceRequest.html
type cancelItem struct {
	ID    string `xml:"spotInstanceRequestId"`
	State string `xml:"state"`
}

// spotItem is a spot request in an answer:
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_SpotInstanceRequest.html
type spotItem struct {
	ID       string       `xml:"spotInstanceRequestId"`
	Type     string       `xml:"type"`
	State    string       `xml:"state"`
	Instance string       `xml:"instanceId,omitempty"`
	Created  string       `xml:"createTime"`
	Zone     string       `xml:"launchedAvailabilityZone,omitempty"`
	Tags     set[tagItem] `xml:"tagSet"`
}

func (s *Sim) spotLookup(r *region) describe[*SpotRequest] {
	return describe[*SpotRequest]{
		unfiltered: s.config.Quirks.IgnoresFilters,
		table:      &r.spots, idParam: "SpotInstanceRequestId", prefix: "sir",
		notFound: "InvalidSpotInstanceRequestID.NotFound", malformed: "InvalidSpotInstanceRequestID.Malformed",
		tags: func(r *SpotRequest) *map[string]string { return &r.Tags },
		known: fields[*SpotRequest]{
			"spot-instance-request-id": func(r *SpotRequest) string { return r.ID },
			"state":                    func(r *SpotRequest) string { return r.State },
			"instance-id":              func(r *SpotRequest) string { return r.Instance },
		},
	}
}

func (s *Sim) describeSpotRequests(q *request) (body, error) {
	rows, next, err := s.spotLookup(q.region).run(q)
	requests := setOf(rows, func(r *SpotRequest) spotItem {
		kind := "one-time"
		if r.Persistent {
			kind = "persistent"
		}
		return spotItem{r.ID, kind, r.State, r.Instance, checkpoint(r.Created), r.zone, tagSet(r.Tags)}
	})
	return &spotAnswer{Requests: requests, Next: next}, err
}

// cancelSpotRequests cancels requests; the instances run on:
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CancelSpotInstanceRequests.html
func (s *Sim) cancelSpotRequests(q *request) (body, error) {
	ids := q.list("SpotInstanceRequestId")
	q.touch(ids...)
	if len(ids) == 0 {
		q.need("SpotInstanceRequestId")
		return nil, q.err
	}
	found, err := s.spotLookup(q.region).byID(ids)
	if err != nil {
		return nil, err
	}
	if err := q.dryRun(); err != nil {
		return nil, err
	}
	answer := new(cancelAnswer)
	for _, r := range found {
		if r.State == spotOpen || r.State == spotActive {
			r.State = spotCancelled
		}
		answer.Requests.Items = append(answer.Requests.Items, cancelItem{r.ID, r.State})
	}
	return answer, nil
}
