package ec2

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/smithy-go/middleware"

	"lapse/lease"
)

// leftoverPage is how many leftovers are asked for in one call. DescribeVolumes gives 500 at most where it once gave
// more.
const leftoverPage = 500

// Leftovers returns the volumes, interfaces and spot requests whose launch tag is one of these client tokens, and the key
// pairs that have one of these names, whosever they are, whatever their state. A listing is complete, or it is an error. It
// takes a call for each kind and 200 tokens.
//
// Errors: [UnreachableError], or AWS's own.
func (c *Cloud) Leftovers(ctx context.Context, clientTokens, keyNames []string) (lease.LeftoverListing, error) {
	all := lease.LeftoverListing{Leftovers: []lease.Leftover{}, Dated: len(clientTokens)+len(keyNames) > 0}
	tag := selection{"tag:" + lease.TagLaunch, func(x lease.Leftover) string { return x.Tags[lease.TagLaunch] }}
	for chunk := range slices.Chunk(clientTokens, maxFilterValues) {
		for _, kind := range []lease.LeftoverKind{lease.LeftoverSpot, lease.LeftoverInterface, lease.LeftoverVolume} {
			if err := c.addLeftovers(ctx, &all, kind, tag, chunk); err != nil {
				return lease.LeftoverListing{}, err
			}
		}
	}
	name := selection{"key-name", func(x lease.Leftover) string { return x.Name }}
	for chunk := range slices.Chunk(keyNames, maxFilterValues) {
		if err := c.addLeftovers(ctx, &all, lease.LeftoverKeyPair, name, chunk); err != nil {
			return lease.LeftoverListing{}, err
		}
	}
	return all, nil
}

// selection is a filter, and what of a leftover has to be one of its values: not every endpoint has filters.
type selection struct {
	filter string
	of     func(lease.Leftover) string
}

// byID selects by id: unlike a list of ids it is no error where one is not there.
func byID(kind lease.LeftoverKind) selection {
	return selection{map[lease.LeftoverKind]string{
		lease.LeftoverSpot: "spot-instance-request-id", lease.LeftoverInterface: "network-interface-id",
		lease.LeftoverVolume: "volume-id", lease.LeftoverKeyPair: "key-pair-id",
	}[kind], func(x lease.Leftover) string { return x.ID }}
}

// DescribeLeftovers looks leftovers up by kind and id. One that EC2 does not know any more is absent from the answer and
// no error.
//
// Errors: [UnreachableError], or AWS's own.
func (c *Cloud) DescribeLeftovers(ctx context.Context, wanted []lease.Leftover) (lease.LeftoverListing, error) {
	ids := map[lease.LeftoverKind][]string{}
	for _, x := range wanted {
		ids[x.Kind] = append(ids[x.Kind], x.ID)
	}
	all := lease.LeftoverListing{Leftovers: []lease.Leftover{}, Dated: len(wanted) > 0}
	for _, kind := range []lease.LeftoverKind{lease.LeftoverSpot, lease.LeftoverInterface, lease.LeftoverVolume, lease.LeftoverKeyPair} {
		for chunk := range slices.Chunk(ids[kind], maxFilterValues) {
			if err := c.addLeftovers(ctx, &all, kind, byID(kind), chunk); err != nil {
				return lease.LeftoverListing{}, err
			}
		}
	}
	return all, nil
}

// addLeftovers reads all pages of one kind that are selected. Of several clocks the one that is furthest off counts.
func (c *Cloud) addLeftovers(ctx context.Context, all *lease.LeftoverListing, kind lease.LeftoverKind, by selection, values []string) error {
	q := leftoverQuery{
		filters: []types.Filter{{Name: aws.String(by.filter), Values: values}}, most: aws.Int32(leftoverPage),
	}
	for {
		answer, err := c.leftoverPage(ctx, kind, q)
		if err != nil {
			return err
		}
		for _, x := range answer.found {
			if slices.Contains(values, by.of(x)) {
				all.Leftovers = append(all.Leftovers, x)
			}
		}
		skew, dated := skewOf(answer.metadata)
		all.Dated = all.Dated && dated
		if skew.Abs() > all.Skew.Abs() {
			all.Skew = skew
		}
		if aws.ToString(answer.next) == "" {
			return nil
		}
		if aws.ToString(answer.next) == aws.ToString(q.next) {
			return errors.New("list leftovers: EC2 keeps returning the same page; try again")
		}
		q.next = answer.next
	}
}

// leftoverQuery asks for one page, leftoverAnswer is that page.
type leftoverQuery struct {
	filters []types.Filter
	most    *int32
	next    *string
}

type leftoverAnswer struct {
	found    []lease.Leftover
	next     *string
	metadata middleware.Metadata
}

func (c *Cloud) leftoverPage(ctx context.Context, kind lease.LeftoverKind, q leftoverQuery) (leftoverAnswer, error) {
	op := fmt.Sprintf("list %ss", kind)
	if err := c.pace.describes.Wait(ctx); err != nil {
		return leftoverAnswer{}, fmt.Errorf("%s: %w", op, err)
	}
	bounded, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	read := c.volumes
	switch kind {
	case lease.LeftoverSpot:
		read = c.spotRequests
	case lease.LeftoverInterface:
		read = c.interfaces
	case lease.LeftoverKeyPair:
		read = c.keyPairs
	case lease.LeftoverVolume:
	}
	answer, err := read(bounded, q)
	return answer, failed(ctx, op, err)
}

func (c *Cloud) volumes(ctx context.Context, q leftoverQuery) (answer leftoverAnswer, err error) {
	in := &ec2.DescribeVolumesInput{Filters: q.filters, MaxResults: q.most, NextToken: q.next}
	out, err := c.ec2.DescribeVolumes(ctx, in, c.withSkew)
	if err != nil {
		return answer, err
	}
	for _, v := range out.Volumes {
		x := c.leftover(lease.LeftoverVolume, v.VolumeId, string(v.State), v.CreateTime, v.Tags)
		x.Service = v.Operator != nil && aws.ToBool(v.Operator.Managed)
		for _, a := range v.Attachments {
			x.Attached, x.InstanceID = true, aws.ToString(a.InstanceId)
		}
		answer.found = append(answer.found, x)
	}
	answer.next, answer.metadata = out.NextToken, out.ResultMetadata
	return answer, nil
}

func (c *Cloud) interfaces(ctx context.Context, q leftoverQuery) (answer leftoverAnswer, err error) {
	in := &ec2.DescribeNetworkInterfacesInput{Filters: q.filters, MaxResults: q.most, NextToken: q.next}
	out, err := c.ec2.DescribeNetworkInterfaces(ctx, in, c.withSkew)
	if err != nil {
		return answer, err
	}
	for _, n := range out.NetworkInterfaces {
		x := c.leftover(lease.LeftoverInterface, n.NetworkInterfaceId, string(n.Status), nil, n.TagSet)
		x.Service = aws.ToBool(n.RequesterManaged) || n.Operator != nil && aws.ToBool(n.Operator.Managed)
		if n.Attachment != nil {
			x.Attached, x.InstanceID = true, aws.ToString(n.Attachment.InstanceId)
		}
		answer.found = append(answer.found, x)
	}
	answer.next, answer.metadata = out.NextToken, out.ResultMetadata
	return answer, nil
}

func (c *Cloud) spotRequests(ctx context.Context, q leftoverQuery) (answer leftoverAnswer, err error) {
	in := &ec2.DescribeSpotInstanceRequestsInput{Filters: q.filters, MaxResults: q.most, NextToken: q.next}
	out, err := c.ec2.DescribeSpotInstanceRequests(ctx, in, c.withSkew)
	if err != nil {
		return answer, err
	}
	for _, r := range out.SpotInstanceRequests {
		x := c.leftover(lease.LeftoverSpot, r.SpotInstanceRequestId, string(r.State), r.CreateTime, r.Tags)
		x.InstanceID, x.Persistent = aws.ToString(r.InstanceId), r.Type == types.SpotInstanceTypePersistent
		answer.found = append(answer.found, x)
	}
	answer.next, answer.metadata = out.NextToken, out.ResultMetadata
	return answer, nil
}

// leftover is what all kinds have.
func (c *Cloud) leftover(kind lease.LeftoverKind, id *string, state string, created *time.Time, tags []types.Tag) lease.Leftover {
	x := lease.Leftover{
		Kind: kind, ID: aws.ToString(id), Location: c.location, State: state, CreatedAt: aws.ToTime(created), Tags: make(map[string]string, len(tags)),
	}
	for _, t := range tags {
		x.Tags[aws.ToString(t.Key)] = aws.ToString(t.Value)
	}
	return x
}
