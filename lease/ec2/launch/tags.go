package launch

import (
	"maps"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"lapse/lease"
	"lapse/lease/ec2"
)

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
		list = append(list, types.TagSpecification{ResourceType: kind, Tags: ec2.TagList(s[kind])})
	}
	return list
}

// registry is the UUID with which instances are tagged; empty if they are not.
func (s tagSet) registry() string { return s[types.ResourceTypeInstance][lease.TagRegistry] }

// replace sets the value of a tag wherever it is.
func (s tagSet) replace(key, value string) {
	for _, tags := range s {
		if _, there := tags[key]; there {
			tags[key] = value
		}
	}
}
