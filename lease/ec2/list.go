package ec2

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"lapse/lease"
)

// Limits of DescribeInstances.
//
// Source: https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeInstances.html and
// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/Using_Filtering.html
const (
	pageSize        = 1000
	maxFilterValues = 200
)

// List returns every instance of the location that bears a registry's tag, whosever it is. A listing is complete, or it is
// an error.
//
// Errors: [UnreachableError], or AWS's own.
func (c *Cloud) List(ctx context.Context) (lease.Listing, error) {
	found, err := c.list(ctx, "tag-key", []string{lease.TagRegistry})
	found.Instances = slices.DeleteFunc(found.Instances, func(i lease.Instance) bool { // not every endpoint has filters
		_, tagged := i.Tags[lease.TagRegistry]
		return !tagged
	})
	return found, err
}

// Describe looks instances up by id, whatever tags they bear. An id that EC2 does not know, or no longer knows, is absent
// from the answer and no error.
//
// Errors: [UnreachableError], or AWS's own.
func (c *Cloud) Describe(ctx context.Context, ids []string) (lease.Listing, error) {
	all := lease.Listing{Instances: []lease.Instance{}}
	for chunk := range slices.Chunk(ids, maxFilterValues) {
		some, err := c.list(ctx, filterID, chunk)
		if err != nil {
			return lease.Listing{}, err
		}
		for _, i := range some.Instances {
			if slices.Contains(chunk, i.ID) {
				all.Instances = append(all.Instances, i)
			}
		}
		all.Skew, all.Dated = some.Skew, some.Dated
	}
	return all, nil
}

// filterID is that of a description by id.
const filterID = "instance-id"

// list reads all pages of the instances that a filter selects, or of all where it has no name. The skew is that of the last
// page.
func (c *Cloud) list(ctx context.Context, filter string, values []string) (lease.Listing, error) {
	in := &ec2.DescribeInstancesInput{MaxResults: aws.Int32(pageSize)}
	if filter != "" {
		in.Filters = []types.Filter{{Name: aws.String(filter), Values: values}}
	}
	found := lease.Listing{Instances: []lease.Instance{}}
	at := map[string]int{}
	for {
		out, err := c.page(ctx, in)
		if err != nil {
			return lease.Listing{}, err
		}
		for _, i := range c.instances(out.Reservations, filter == filterID) {
			n, again := at[i.ID]
			if !again {
				n, at[i.ID] = len(found.Instances), len(found.Instances)
				found.Instances = append(found.Instances, i)
			}
			found.Instances[n] = i // pages are not one moment; of an instance that moved between them, the later word counts
		}
		found.Skew, found.Dated = skewOf(out.ResultMetadata)
		if aws.ToString(out.NextToken) == "" {
			return found, nil
		}
		if aws.ToString(out.NextToken) == aws.ToString(in.NextToken) {
			return lease.Listing{}, errors.New("list instances: EC2 keeps returning the same page; try again")
		}
		in.NextToken = out.NextToken
	}
}

func (c *Cloud) page(ctx context.Context, in *ec2.DescribeInstancesInput) (*ec2.DescribeInstancesOutput, error) {
	if err := c.pace.describes.Wait(ctx); err != nil {
		return nil, fmt.Errorf("list instances: %w", err)
	}
	bounded, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	out, err := c.ec2.DescribeInstances(bounded, in, c.withSkew)
	return out, failed(ctx, "list instances", err)
}

// instances are those of an answer. A whole listing needs no addresses, which take much memory.
func (c *Cloud) instances(reservations []types.Reservation, addressed bool) []lease.Instance {
	instances := []lease.Instance{}
	for _, r := range reservations {
		for _, i := range r.Instances {
			described := c.instance(i)
			if addressed {
				described.Addresses = addresses(i)
			}
			instances = append(instances, described)
		}
	}
	return instances
}

// instance is what EC2 says of an instance, in our words.
func (c *Cloud) instance(i types.Instance) lease.Instance {
	described := lease.Instance{
		ID: aws.ToString(i.InstanceId), Location: c.location,
		LaunchTime: aws.ToTime(i.LaunchTime), ClientToken: aws.ToString(i.ClientToken), KeyName: aws.ToString(i.KeyName),
		Spot: aws.ToString(i.SpotInstanceRequestId), Tags: make(map[string]string, len(i.Tags)),
	}
	if i.State != nil {
		described.State = lease.InstanceState(i.State.Name)
	}
	if i.Placement != nil {
		described.Zone = aws.ToString(i.Placement.AvailabilityZone)
		described.ZoneID = aws.ToString(i.Placement.AvailabilityZoneId)
	}
	if o := i.Operator; o != nil && aws.ToBool(o.Managed) {
		described.Operator = cmp.Or(aws.ToString(o.Principal), "an AWS service")
	}
	described.Attached, described.Outlive, described.Existed = attached(i), outlive(i), existed(i)
	for _, t := range i.Tags {
		described.Tags[aws.ToString(t.Key)] = aws.ToString(t.Value)
	}
	return described
}

// addresses are those under which the instance itself calls.
func addresses(i types.Instance) (all []string) {
	for _, address := range []*string{i.PrivateIpAddress, i.PublicIpAddress, i.Ipv6Address} {
		if address != nil && *address != "" {
			all = append(all, *address)
		}
	}
	for _, n := range i.NetworkInterfaces {
		for _, p := range n.PrivateIpAddresses {
			all = append(all, aws.ToString(p.PrivateIpAddress))
		}
		for _, six := range n.Ipv6Addresses {
			all = append(all, aws.ToString(six.Ipv6Address))
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// existed is the earliest time at which an instance is known to have been there: when it was last launched, or when something
// was attached to it that still is.
func existed(i types.Instance) time.Time {
	earliest := aws.ToTime(i.LaunchTime)
	earlier := func(t *time.Time) {
		if t != nil && !t.IsZero() && t.Before(earliest) {
			earliest = *t
		}
	}
	for _, m := range i.BlockDeviceMappings {
		if m.Ebs != nil {
			earlier(m.Ebs.AttachTime)
		}
	}
	for _, n := range i.NetworkInterfaces {
		if n.Attachment != nil {
			earlier(n.Attachment.AttachTime)
		}
	}
	return earliest
}

// attached are the ids of the volumes and interfaces of an instance.
func attached(i types.Instance) []string {
	var ids []string
	for _, m := range i.BlockDeviceMappings {
		if m.Ebs != nil && m.Ebs.VolumeId != nil && m.Ebs.Status != types.AttachmentStatusDetached {
			ids = append(ids, *m.Ebs.VolumeId)
		}
	}
	for _, n := range i.NetworkInterfaces {
		if a := n.Attachment; a != nil && n.NetworkInterfaceId != nil && a.Status != types.AttachmentStatusDetached {
			ids = append(ids, *n.NetworkInterfaceId)
		}
	}
	return ids
}

// outlive are the ids of the volumes and interfaces of an instance that are not deleted when it is terminated.
func outlive(i types.Instance) []string {
	var ids []string
	for _, m := range i.BlockDeviceMappings {
		if m.Ebs != nil && m.Ebs.DeleteOnTermination != nil && !*m.Ebs.DeleteOnTermination {
			ids = append(ids, aws.ToString(m.Ebs.VolumeId))
		}
	}
	for _, n := range i.NetworkInterfaces {
		if a := n.Attachment; a != nil && a.DeleteOnTermination != nil && !*a.DeleteOnTermination {
			ids = append(ids, aws.ToString(n.NetworkInterfaceId))
		}
	}
	return ids
}
