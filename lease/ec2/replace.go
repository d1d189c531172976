package ec2

import (
	"context"
	"maps"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"lapse/lease"
)

// ReplacerKind is what starts another instance when one of its own is terminated.
type ReplacerKind string

// Kinds of replacers.
const (
	ReplacerGroup     ReplacerKind = "Auto Scaling group"
	ReplacerFleet     ReplacerKind = "EC2 Fleet"
	ReplacerSpotFleet ReplacerKind = "Spot Fleet"
	ReplacerSpot      ReplacerKind = "persistent spot request"
)

// Replacer starts a new instance when the one that belongs to it is terminated: then a lease is useless.
type Replacer struct {
	Kind ReplacerKind
	ID   string
	Err  error // why it is not known whether it replaces instances; nil if it is known that it does
}

func (r Replacer) String() string { return string(r.Kind) + " " + r.ID }

// replacerTags are the tags with which AWS itself names what an instance belongs to. Nobody else can set them.
//
// Sources: https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-tagging.html and
// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/tag-ec2-fleet.html
func replacerTags() map[ReplacerKind]string {
	return map[ReplacerKind]string{
		ReplacerGroup: "aws:autoscaling:groupName", ReplacerFleet: "aws:ec2:fleet-id", ReplacerSpotFleet: "aws:ec2spot:fleet-request-id",
	}
}

// Replacers returns what replaces instances when they are terminated, by instance id. A fleet counts unless EC2 says that
// it does not replace; a spot request only if EC2 says that it does, for EC2 soon forgets one that was cancelled.
func (c *Cloud) Replacers(ctx context.Context, instances []lease.Instance) map[string]Replacer {
	found, spot, asked := map[string]Replacer{}, map[string][]string{}, map[Replacer]Replacer{}
	for _, i := range instances {
		if i.Spot != "" {
			spot[i.Spot] = append(spot[i.Spot], i.ID)
		}
		for kind, tag := range replacerTags() {
			r := Replacer{Kind: kind, ID: i.Tags[tag]}
			if r.ID == "" {
				continue
			}
			answer, before := asked[r]
			if !before {
				answer = c.askReplacer(ctx, r)
				asked[r] = answer
			}
			if answer.ID != "" {
				found[i.ID] = answer
			}
		}
	}
	for _, r := range c.persistentRequests(ctx, slices.Sorted(maps.Keys(spot))) {
		for _, id := range spot[r.ID] {
			if _, other := found[id]; !other {
				found[id] = r
			}
		}
	}
	return found
}

// askReplacer asks EC2 whether a group or fleet replaces its instances; the zero Replacer says that it does not.
func (c *Cloud) askReplacer(ctx context.Context, r Replacer) Replacer {
	bounded, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	replaces := true
	switch r.Kind {
	case ReplacerFleet:
		replaces, r.Err = c.fleetReplaces(bounded, r.ID)
	case ReplacerSpotFleet:
		replaces, r.Err = c.spotFleetReplaces(bounded, r.ID)
	case ReplacerGroup, ReplacerSpot:
	}
	if !replaces && r.Err == nil {
		return Replacer{}
	}
	r.Err = failed(ctx, "look up "+r.String(), r.Err)
	return r
}

// fleetReplaces reports whether a fleet maintains its number of instances.
//
// Source: https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_FleetData.html
func (c *Cloud) fleetReplaces(ctx context.Context, id string) (bool, error) {
	out, err := c.ec2.DescribeFleets(ctx, &ec2.DescribeFleetsInput{FleetIds: []string{id}})
	if err != nil {
		return true, err
	}
	for _, f := range out.Fleets {
		over := f.FleetState == types.FleetStateCodeDeleted || f.FleetState == types.FleetStateCodeDeletedRunning
		once := f.Type == types.FleetTypeInstant || f.Type == types.FleetTypeRequest
		if aws.ToString(f.FleetId) == id && (over || once) {
			return false, nil
		}
	}
	return true, nil
}

// spotFleetReplaces is the same for the older kind of fleet.
//
// Source: https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_SpotFleetRequestConfig.html
func (c *Cloud) spotFleetReplaces(ctx context.Context, id string) (bool, error) {
	out, err := c.ec2.DescribeSpotFleetRequests(ctx, &ec2.DescribeSpotFleetRequestsInput{SpotFleetRequestIds: []string{id}})
	if err != nil {
		return true, err
	}
	for _, f := range out.SpotFleetRequestConfigs {
		over := f.SpotFleetRequestState == types.BatchStateCancelled || f.SpotFleetRequestState == types.BatchStateCancelledRunning
		once := f.SpotFleetRequestConfig != nil && f.SpotFleetRequestConfig.Type == types.FleetTypeRequest
		if aws.ToString(f.SpotFleetRequestId) == id && (over || once) {
			return false, nil
		}
	}
	return true, nil
}

// persistentRequests returns those of some spot requests that start another instance, or may.
//
// Source: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-request-status.html
func (c *Cloud) persistentRequests(ctx context.Context, ids []string) []Replacer {
	wanted := make([]lease.Leftover, 0, len(ids))
	for _, id := range ids {
		wanted = append(wanted, lease.Leftover{Kind: lease.LeftoverSpot, ID: id})
	}
	listing, err := c.DescribeLeftovers(ctx, wanted)
	if err != nil {
		listing.Leftovers = wanted
	}
	var some []Replacer
	for _, x := range listing.Leftovers {
		if err != nil || x.Persistent && !x.Gone() {
			some = append(some, Replacer{Kind: ReplacerSpot, ID: x.ID, Err: err})
		}
	}
	return some
}
