package launch

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"lapse/lease"
)

// imageAlias is how an image is named that SSM knows.
//
// Source: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/using-systems-manager-parameter-to-find-AMI.html
const imageAlias = "resolve:ssm:"

// freeze resolves in place what AWS would resolve again at every call: the version of a launch template and an image's
// alias. A replay of a request that changed in between would be refused, or create other instances. It returns what the
// template says; nothing, if there is none.
//
// Errors: [RequestError], [lapse/lease/ec2.UnreachableError], or AWS's own.
func (l *Launcher) freeze(ctx context.Context, in *awsec2.RunInstancesInput) (*types.ResponseLaunchTemplateData, error) {
	data := &types.ResponseLaunchTemplateData{}
	if in.LaunchTemplate != nil {
		var err error
		if data, err = l.freezeTemplate(ctx, in); err != nil {
			return nil, err
		}
	}
	if name, alias := strings.CutPrefix(aws.ToString(in.ImageId), imageAlias); alias {
		image, err := l.cloud.Image(ctx, name)
		if err == nil && image == "" {
			err = &RequestError{Field: "ImageId", Why: fmt.Sprintf("names SSM parameter %s, which contains no image id", name)}
		}
		if err != nil {
			return nil, err
		}
		in.ImageId = aws.String(image)
	}
	return data, nil
}

// freezeTemplate names the template by its id and one version of it by number, which nobody can change. From the
// version it takes over what the request's own tags and metadata options would otherwise push aside.
func (l *Launcher) freezeTemplate(ctx context.Context, in *awsec2.RunInstancesInput) (*types.ResponseLaunchTemplateData, error) {
	version := aws.ToString(in.LaunchTemplate.Version)
	if version == "" {
		version = "$Default"
	}
	versions, err := l.cloud.LaunchTemplateVersions(ctx, &awsec2.DescribeLaunchTemplateVersionsInput{
		LaunchTemplateId: in.LaunchTemplate.LaunchTemplateId, LaunchTemplateName: in.LaunchTemplate.LaunchTemplateName,
		Versions: []string{version}, ResolveAlias: aws.Bool(aws.ToString(in.ImageId) == ""),
	})
	if err != nil {
		return nil, err
	}
	found, err := only(versions, version)
	if err != nil {
		return nil, err
	}
	in.LaunchTemplate = &types.LaunchTemplateSpecification{
		LaunchTemplateId: found.LaunchTemplateId,
		Version:          aws.String(strconv.FormatInt(aws.ToInt64(found.VersionNumber), 10)),
	}
	data := found.LaunchTemplateData
	if data == nil {
		return &types.ResponseLaunchTemplateData{}, nil
	}
	if err := allowedByTemplate(in, data); err != nil {
		return nil, err
	}
	if aws.ToString(in.ImageId) == "" {
		in.ImageId = data.ImageId
	}
	in.TagSpecifications = underlay(in.TagSpecifications, data.TagSpecifications)
	in.MetadataOptions = underlayMetadata(in.MetadataOptions, data.MetadataOptions)
	return data, nil
}

// allowedByTemplate refuses what a launch may not take over from its template. What the request says itself wins.
func allowedByTemplate(in *awsec2.RunInstancesInput, data *types.ResponseLaunchTemplateData) error {
	refuse := func(why string) error { return &RequestError{Field: "LaunchTemplate", Why: why} }
	market := data.InstanceMarketOptions
	switch {
	case aws.ToBool(data.DisableApiTermination) && in.DisableApiTermination == nil:
		return refuse("sets DisableApiTermination: " + protected + `; set "DisableApiTermination": false in the request`)
	case aws.ToBool(data.DisableApiStop) && in.DisableApiStop == nil:
		return refuse("sets DisableApiStop: " + protected + `; set "DisableApiStop": false in the request`)
	case data.Operator != nil && aws.ToString(data.Operator.Principal) != "":
		return refuse("sets Operator.Principal: " + operated + "; use another template or version")
	case market != nil && market.SpotOptions != nil && market.SpotOptions.SpotInstanceType == types.SpotInstanceTypePersistent && !oneTime(in):
		return refuse("asks for a persistent spot request, which starts a new instance when Lapse terminates one; " +
			`set "InstanceMarketOptions": {"MarketType": "spot", "SpotOptions": {"SpotInstanceType": "one-time"}} in the request`)
	}
	return nil
}

// oneTime reports whether the request itself says that no spot request of its launch starts a second instance.
func oneTime(in *awsec2.RunInstancesInput) bool {
	m := in.InstanceMarketOptions
	return m != nil && (!isSpot(m) || m.SpotOptions != nil && m.SpotOptions.SpotInstanceType == types.SpotInstanceTypeOneTime)
}

// only is the one version with which EC2 answered, as it must be to be pinned down.
func only(versions []types.LaunchTemplateVersion, asked string) (types.LaunchTemplateVersion, error) {
	if len(versions) != 1 {
		return types.LaunchTemplateVersion{}, &RequestError{Field: "LaunchTemplate", Why: "has no version " + asked}
	}
	if found := versions[0]; aws.ToString(found.LaunchTemplateId) != "" && aws.ToInt64(found.VersionNumber) >= 1 {
		return found, nil
	}
	return types.LaunchTemplateVersion{}, &RequestError{Field: "LaunchTemplate", Why: "cannot be resolved: EC2's answer has no id and version"}
}

// underlay puts a template's tags under those of the request, which win. Tags of ours that a template copied from an
// instance are dropped, except the one that spares.
func underlay(own []types.TagSpecification, template []types.LaunchTemplateTagSpecification) []types.TagSpecification {
	sets := tagSet{}
	for _, s := range template {
		tags := map[string]string{}
		for _, t := range s.Tags {
			if key := aws.ToString(t.Key); key == lease.TagExempt || !strings.HasPrefix(key, lease.TagPrefix) {
				tags[key] = aws.ToString(t.Value)
			}
		}
		sets.add(s.ResourceType, tags)
	}
	for kind, tags := range tagSets(own) {
		sets.add(kind, tags)
	}
	return sets.specifications()
}

// underlayMetadata puts a template's metadata options under those of the request, which win.
func underlayMetadata(own *types.InstanceMetadataOptionsRequest, data *types.LaunchTemplateInstanceMetadataOptions) *types.InstanceMetadataOptionsRequest {
	if data == nil {
		return own
	}
	if own == nil {
		own = &types.InstanceMetadataOptionsRequest{}
	}
	if own.HttpEndpoint == "" {
		own.HttpEndpoint = types.InstanceMetadataEndpointState(data.HttpEndpoint)
	}
	if own.HttpProtocolIpv6 == "" {
		own.HttpProtocolIpv6 = types.InstanceMetadataProtocolState(data.HttpProtocolIpv6)
	}
	if own.HttpPutResponseHopLimit == nil {
		own.HttpPutResponseHopLimit = data.HttpPutResponseHopLimit
	}
	if own.InstanceMetadataTags == "" {
		own.InstanceMetadataTags = types.InstanceMetadataTagsState(data.InstanceMetadataTags)
	}
	return own
}
