package ec2

import (
	"context"
	"slices"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"lapse/lease"
)

// maxHops is the highest hop limit of a metadata service.
//
// Source: https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_InstanceMetadataOptionsRequest.html
const maxHops = 64

// FarMetadata returns the running instances of a registry whose metadata service answers over more than one hop, so that a
// container on them may read the user-data and prove to be the instance; the first thousand of them. Those whose service is
// switched off are not among them.
//
// Source: https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeInstances.html (filters)
//
// Errors: [UnreachableError], or AWS's own, as of an endpoint that does not know the filter.
func (c *Cloud) FarMetadata(ctx context.Context, registry string) ([]string, error) {
	bounded, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	var far []string
	for hops := 2; hops <= maxHops; hops++ {
		far = append(far, strconv.Itoa(hops))
	}
	out, err := c.ec2.DescribeInstances(bounded, &ec2.DescribeInstancesInput{Filters: []types.Filter{
		{Name: aws.String("tag:" + lease.TagRegistry), Values: []string{registry}},
		{Name: aws.String("instance-state-name"), Values: []string{string(types.InstanceStateNamePending), string(types.InstanceStateNameRunning)}},
		{Name: aws.String("metadata-options.http-put-response-hop-limit"), Values: far},
	}, MaxResults: aws.Int32(pageSize)})
	if err != nil {
		return nil, failed(ctx, "list instances by hop limit", err)
	}
	var ids []string
	for _, reservation := range out.Reservations {
		for _, i := range reservation.Instances {
			options := i.MetadataOptions
			if options == nil || aws.ToInt32(options.HttpPutResponseHopLimit) < 2 || options.HttpEndpoint == types.InstanceMetadataEndpointStateDisabled {
				continue // an endpoint that only resembles EC2 may ignore the filter
			}
			if seen := c.instance(i); seen.ManagedBy(registry) {
				ids = append(ids, seen.ID)
			}
		}
	}
	slices.Sort(ids)
	return ids, nil
}
