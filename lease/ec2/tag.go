package ec2

import (
	"context"
	"maps"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// maxTagged is how many resources one CreateTags or DeleteTags call names at most.
//
// Source: https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateTags.html
const maxTagged = 1000

// Tag sets tags on instances and leaves their other tags alone. After an error some may have been tagged; setting a tag
// again changes nothing.
//
// Errors: [UnreachableError], or AWS's own, which blames all ids for one that it does not know.
func (c *Cloud) Tag(ctx context.Context, ids []string, tags map[string]string) error {
	for chunk := range slices.Chunk(ids, maxTagged) {
		in := &ec2.CreateTagsInput{Resources: chunk, Tags: tagList(tags)}
		bounded, cancel := context.WithTimeout(ctx, answerTimeout)
		_, err := c.ec2.CreateTags(bounded, in)
		cancel()
		if err != nil {
			return failed(ctx, "tag instances", err)
		}
	}
	return nil
}

// Untag removes tags from instances, whatever their values. After an error some may have been removed.
//
// Errors: [UnreachableError], or AWS's own, which blames all ids for one that it does not know.
func (c *Cloud) Untag(ctx context.Context, ids, keys []string) error {
	tags := make([]types.Tag, 0, len(keys))
	for _, key := range keys {
		tags = append(tags, types.Tag{Key: aws.String(key)}) // without a value: any
	}
	for chunk := range slices.Chunk(ids, maxTagged) {
		bounded, cancel := context.WithTimeout(ctx, answerTimeout)
		_, err := c.ec2.DeleteTags(bounded, &ec2.DeleteTagsInput{Resources: chunk, Tags: tags})
		cancel()
		if err != nil {
			return failed(ctx, "untag instances", err)
		}
	}
	return nil
}

// tagList is the SDK's form of tags, in a fixed order: a replayed request must be the same to the letter.
func tagList(tags map[string]string) []types.Tag {
	list := make([]types.Tag, 0, len(tags))
	for _, key := range slices.Sorted(maps.Keys(tags)) {
		list = append(list, types.Tag{Key: aws.String(key), Value: aws.String(tags[key])})
	}
	return list
}

// tagSet holds tags by the kind of resource that they are for.
type tagSet map[types.ResourceType]map[string]string

func tagSets(specifications []types.TagSpecification) tagSet {
	sets := tagSet{}
	for _, s := range specifications {
		tags := make(map[string]string, len(s.Tags))
		for _, t := range s.Tags {
			tags[aws.ToString(t.Key)] = aws.ToString(t.Value)
		}
		sets.add(s.ResourceType, tags)
	}
	return sets
}

// add sets tags of a kind, which is there from now on even if it has none.
func (s tagSet) add(kind types.ResourceType, tags map[string]string) {
	if s[kind] == nil {
		s[kind] = map[string]string{}
	}
	maps.Copy(s[kind], tags)
}

func (s tagSet) specifications() []types.TagSpecification {
	list := make([]types.TagSpecification, 0, len(s))
	for _, kind := range slices.Sorted(maps.Keys(s)) {
		list = append(list, types.TagSpecification{ResourceType: kind, Tags: tagList(s[kind])})
	}
	return list
}
