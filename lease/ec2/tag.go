package ec2

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"lapse/lease"
)

// maxTagged is how many resources one CreateTags call names at most.
//
// Source: https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateTags.html
const maxTagged = 1000

// maxDenied is how many resources in a row EC2 may deny to the caller before the rest is not tried: likelier than so many
// bad ones, a policy lacks the action. Without that, 1,000 resources would cost 2,000 calls.
const maxDenied = 16

// Tag sets the same tags on instances, volumes and interfaces, leaves their other tags alone, and returns one
// [lease.Tagging] for each resource, in the order given. Setting a tag again changes nothing.
//
// Up to 1,000 resources go into one call. One that EC2 refuses is halved until the resources that it blames stand alone,
// so one bad id costs O(log n) calls and spoils no other; where EC2 denies 16 in a row and has taken none, the rest fails,
// to be tried again. Each call waits for a share of EC2's bucket for CreateTags, from which nothing else here takes: so
// no termination waits for a tag.
//
// Source: https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateTags.html
func (c *Cloud) Tag(ctx context.Context, resources []string, tags map[string]string) []lease.Tagging {
	fates := make(map[string]lease.Tagging, len(resources))
	requestID, taken, denied := "", 0, 0
	halve(resources, maxTagged, func(batch []string) (err error) {
		if taken == 0 && denied >= maxDenied {
			return fmt.Errorf("tag resources: EC2 denied %d in a row, so the others were not tried; check the caller's policy", denied)
		}
		requestID, err = c.tag(ctx, batch, tags)
		return err
	}, func(batch []string, err error, blamed bool) {
		for _, id := range batch {
			fates[id] = lease.Tagging{ID: id, RequestID: cmp.Or(requestIDOf(err), requestID), Err: err}
			switch {
			case err == nil:
				taken++
			case blamed:
				fates[id] = lease.Tagging{ID: id, Code: codeOf(err), RequestID: requestIDOf(err), Err: err}
				if unauthorized(err) {
					denied++
				}
			}
		}
	})
	taggings := make([]lease.Tagging, 0, len(resources))
	for _, id := range resources {
		taggings = append(taggings, fates[id])
	}
	return taggings
}

// tag makes one call.
func (c *Cloud) tag(ctx context.Context, resources []string, tags map[string]string) (requestID string, err error) {
	if err := c.pace.tags.Wait(ctx); err != nil {
		return "", fmt.Errorf("tag resources: %w", err)
	}
	bounded, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	out, err := c.ec2.CreateTags(bounded, &ec2.CreateTagsInput{Resources: resources, Tags: TagList(tags)})
	if err != nil {
		return "", failed(ctx, "tag resources", err)
	}
	requestID, _ = awsmiddleware.GetRequestIDMetadata(out.ResultMetadata)
	return requestID, nil
}

// Untag removes tags from one resource, each only where it has that value, in one call: what somebody else has written
// there in between stays.
//
// Errors: [UnreachableError], or AWS's own.
//
// Source: https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DeleteTags.html
func (c *Cloud) Untag(ctx context.Context, resource string, tags map[string]string) error {
	if len(tags) == 0 { // which EC2 takes for all
		return nil
	}
	bounded, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	_, err := c.ec2.DeleteTags(bounded, &ec2.DeleteTagsInput{Resources: []string{resource}, Tags: TagList(tags)})
	return failed(ctx, "untag "+resource, err)
}

// TagList is the SDK's form of tags, in a fixed order: a replayed request must be the same to the letter.
func TagList(tags map[string]string) []types.Tag {
	list := make([]types.Tag, 0, len(tags))
	for _, key := range slices.Sorted(maps.Keys(tags)) {
		list = append(list, types.Tag{Key: aws.String(key), Value: aws.String(tags[key])})
	}
	return list
}
