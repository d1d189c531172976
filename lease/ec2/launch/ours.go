package launch

import (
	"fmt"
	"maps"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"lapse/lease"
)

// maxTags is how many tags a resource has at most.
//
// Source: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/Using_Tags.html#tag-restrictions
const maxTags = 50

// complete puts into a request what Lapse itself decides of the call: its tags, IMDSv2, a metadata service that is one hop away at
// most unless somebody says otherwise, and the termination of an instance that shuts itself down. It is done once, before the request is stored: a launcher of another version, which may decide
// otherwise, repeats what is on record. data is what the launch template says.
//
// Errors: [RequestError] if a resource would get more tags than EC2 takes.
func complete(in *awsec2.RunInstancesInput, data *types.ResponseLaunchTemplateData, l lease.Launch, registry string) error {
	if in.MetadataOptions == nil {
		in.MetadataOptions = &types.InstanceMetadataOptionsRequest{}
	}
	in.MetadataOptions.HttpTokens = types.HttpTokensStateRequired
	if given := data != nil && data.MetadataOptions != nil && data.MetadataOptions.HttpPutResponseHopLimit != nil; !given && in.MetadataOptions.HttpPutResponseHopLimit == nil {
		in.MetadataOptions.HttpPutResponseHopLimit = aws.Int32(1) // what can read the metadata service is the instance; containers are not
	}
	in.InstanceInitiatedShutdownBehavior = types.ShutdownBehaviorTerminate
	sets := ours(l, registry, tagSets(in.TagSpecifications), creates(in, data))
	for _, kind := range slices.Sorted(maps.Keys(sets)) {
		if n := len(sets[kind]); n > maxTags {
			return &RequestError{Field: fmt.Sprintf("TagSpecifications (%s)", kind), Why: fmt.Sprintf(
				"would have %d tags including those of Lapse, but EC2 allows %d; leave out %d", n, maxTags, n-maxTags)}
		}
	}
	in.TagSpecifications = sets.specifications()
	return nil
}

// taggable are the kinds of resources that RunInstances can tag.
func taggable() []types.ResourceType {
	return []types.ResourceType{
		types.ResourceTypeInstance, types.ResourceTypeVolume, types.ResourceTypeNetworkInterface, types.ResourceTypeSpotInstancesRequest,
	}
}

// ours adds the tags of Lapse to everything that the call creates, and removes all tags for what it does not create.
// Those that only an attempt or a leader knows are empty, and hold their location.
func ours(l lease.Launch, registry string, sets tagSet, created []types.ResourceType) tagSet {
	for _, kind := range taggable() {
		if !slices.Contains(created, kind) {
			delete(sets, kind)
			continue
		}
		sets.add(kind, map[string]string{lease.TagRegistry: registry, lease.TagLaunch: ""})
		if kind != types.ResourceTypeSpotInstancesRequest {
			sets.add(kind, map[string]string{lease.TagLeased: ""})
		}
	}
	sets.add(types.ResourceTypeInstance, map[string]string{lease.TagExpires: l.Expiry().String()})
	if l.Holder != "" {
		sets.add(types.ResourceTypeInstance, map[string]string{lease.TagHolder: l.Holder})
	}
	return sets
}
