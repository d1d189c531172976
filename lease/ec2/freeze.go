package ec2

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/ssm"

	"lapse/lease"
)

// imageAlias is how an image is named that SSM knows.
//
// Source: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/using-systems-manager-parameter-to-find-AMI.html
const imageAlias = "resolve:ssm:"

// freeze resolves in place what AWS would resolve anew at every call: the version of a launch template and an image's
// alias. A replay of a request that changed meanwhile would be refused, or create other instances. It returns what the
// template says; nothing, if there is none.
//
// Errors: [RequestError], [UnreachableError], or AWS's own.
func (c *Cloud) freeze(ctx context.Context, in *ec2.RunInstancesInput) (*types.ResponseLaunchTemplateData, error) {
	data := &types.ResponseLaunchTemplateData{}
	if in.LaunchTemplate != nil {
		var err error
		if data, err = c.freezeTemplate(ctx, in); err != nil {
			return nil, err
		}
	}
	if name, alias := strings.CutPrefix(aws.ToString(in.ImageId), imageAlias); alias {
		image, err := c.parameter(ctx, name)
		if err != nil {
			return nil, err
		}
		in.ImageId = aws.String(image)
	}
	return data, nil
}

// freezeTemplate names the template by its id and one version of it by number, which nobody can change. From the
// version it takes over what the request's own tags and metadata options would otherwise push aside.
func (c *Cloud) freezeTemplate(ctx context.Context, in *ec2.RunInstancesInput) (*types.ResponseLaunchTemplateData, error) {
	version := aws.ToString(in.LaunchTemplate.Version)
	if version == "" {
		version = "$Default"
	}
	found, err := c.templateVersion(ctx, &ec2.DescribeLaunchTemplateVersionsInput{
		LaunchTemplateId: in.LaunchTemplate.LaunchTemplateId, LaunchTemplateName: in.LaunchTemplate.LaunchTemplateName,
		Versions: []string{version}, ResolveAlias: aws.Bool(aws.ToString(in.ImageId) == ""),
	})
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
func allowedByTemplate(in *ec2.RunInstancesInput, data *types.ResponseLaunchTemplateData) error {
	refuse := func(why string) error { return &RequestError{Field: "LaunchTemplate", Why: why} }
	market := data.InstanceMarketOptions
	switch {
	case aws.ToBool(data.DisableApiTermination) && in.DisableApiTermination == nil:
		return refuse("sets DisableApiTermination: " + protected + `; say "DisableApiTermination": false in the request`)
	case aws.ToBool(data.DisableApiStop) && in.DisableApiStop == nil:
		return refuse("sets DisableApiStop: " + protected + `; say "DisableApiStop": false in the request`)
	case data.Operator != nil && aws.ToString(data.Operator.Principal) != "":
		return refuse("sets Operator.Principal: " + operated + "; use another template, or version of it")
	case market != nil && market.SpotOptions != nil && market.SpotOptions.SpotInstanceType == types.SpotInstanceTypePersistent && !oneTime(in):
		return refuse("asks for a persistent spot request, which starts another instance when a lease ends one; " +
			`say "InstanceMarketOptions": {"MarketType": "spot", "SpotOptions": {"SpotInstanceType": "one-time"}} in the request`)
	}
	return nil
}

// oneTime reports whether the request itself says that no spot request of its launch starts a second instance.
func oneTime(in *ec2.RunInstancesInput) bool {
	m := in.InstanceMarketOptions
	return m != nil && (!isSpot(m) || m.SpotOptions != nil && m.SpotOptions.SpotInstanceType == types.SpotInstanceTypeOneTime)
}

func (c *Cloud) templateVersion(ctx context.Context, in *ec2.DescribeLaunchTemplateVersionsInput) (types.LaunchTemplateVersion, error) {
	bounded, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	out, err := c.ec2.DescribeLaunchTemplateVersions(bounded, in)
	if err != nil {
		return types.LaunchTemplateVersion{}, failed(ctx, "read the launch template", err)
	}
	if len(out.LaunchTemplateVersions) != 1 {
		return types.LaunchTemplateVersion{}, &RequestError{Field: "LaunchTemplate", Why: "has no version " + in.Versions[0]}
	}
	found := out.LaunchTemplateVersions[0]
	if aws.ToString(found.LaunchTemplateId) == "" || aws.ToInt64(found.VersionNumber) < 1 {
		return types.LaunchTemplateVersion{}, &RequestError{Field: "LaunchTemplate", Why: "cannot be pinned down: the answer names no id and version"}
	}
	return found, nil
}

// parameter reads the image id that an SSM parameter holds.
func (c *Cloud) parameter(ctx context.Context, name string) (string, error) {
	bounded, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	out, err := c.ssm.GetParameter(bounded, &ssm.GetParameterInput{Name: aws.String(name)})
	if err != nil {
		return "", failed(ctx, "read the SSM parameter "+name, err)
	}
	if out.Parameter == nil || !strings.HasPrefix(aws.ToString(out.Parameter.Value), "ami-") {
		return "", &RequestError{Field: "ImageId", Why: fmt.Sprintf("names SSM parameter %s, which holds no image id", name)}
	}
	return aws.ToString(out.Parameter.Value), nil
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
