package launch

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"lapse/lease"
	"lapse/lease/ec2/ec2test"
)

// FuzzRequest: any --request file is refused for what is wrong with it, or it is the same request however it is laid out,
// and stays the same when it is frozen, read from the record, and frozen again. What is sent is a launch of ours.
func FuzzRequest(f *testing.F) {
	for _, text := range []string{
		`{"ImageId":"ami-1","InstanceType":"t3.micro"}`,
		`{"ImageId":"resolve:ssm:/x","InstanceType":"t3.micro","MinCount":2,"MaxCount":5,"DryRun":true,"UserData":"#!/bin/sh"}`,
		`{"LaunchTemplate":{"LaunchTemplateName":"t","Version":"$Latest"},"SubnetId":"","EbsOptimized":false,"MaxCount":0}`,
		`{"ImageId":"ami-1","InstanceType":"t3.micro","NetworkInterfaces":[{"DeviceIndex":0,"Groups":["sg-1",""]},{"DeviceIndex":1}]}`,
		`{"ImageId":"ami-1","InstanceType":"a","BlockDeviceMappings":[{"DeviceName":"/dev/sdb","NoDevice":""},{"Ebs":{"VolumeSize":8e0}}]}`,
		`{"ImageId":"ami-1","InstanceType":"a","TagSpecifications":[{"ResourceType":"instance","Tags":[{"Key":"Name","Value":"x"},{"Key":"lapse:exempt"}]}]}`,
		`{"ImageId":"ami-1","InstanceType":"a","InstanceMarketOptions":{"MarketType":"spot","SpotOptions":{"ValidUntil":"2027-01-01T00:00:00Z"}}}`,
		`{"ImageId":"ami-1","InstanceType":"a","MaxCount":99999999999,"ImageId":"ami-2"}`, `{"ImageId":"ami-1","InstanceType":"a","DisableApiTermination":true}`, `[]`, `null`, `{"ImageId":null}`, ` `, `{"ImageId":"\ud800"}`,
		`{"ImageId":"ami-1","InstanceType":"a","MetadataOptions":{"HttpTokens":"optional"},"InstanceInitiatedShutdownBehavior":"stop"}`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, skeleton []byte) {
		o, err := Request{Token: "fuzz", Skeleton: skeleton}.order()
		if err != nil {
			wantRefused(t, err)
			return
		}
		var laidOut bytes.Buffer
		if json.Indent(&laidOut, skeleton, " ", "\t") == nil {
			if again, err := (Request{Token: "fuzz", Skeleton: laidOut.Bytes()}).order(); err != nil || again.digest != o.digest || again.Count != o.Count {
				t.Fatalf("laid out otherwise it is another request: %s, %v", again.digest, err)
			}
		}
		frozen, err := writeSkeleton(o.in)
		if err != nil {
			t.Fatal(err)
		}
		thawed, err := thaw(frozen)
		if err != nil {
			t.Fatalf("%s: %v", frozen, err)
		}
		if again, err := writeSkeleton(thawed); err != nil || !bytes.Equal(again, frozen) {
			t.Fatalf("frozen as %s and then as %s (%v)", frozen, again, err)
		}
		sent(t, o)
	})
}

// sent checks what a launch of the order asks of EC2.
func sent(t *testing.T, o order) {
	t.Helper()
	if err := complete(o.in, &types.ResponseLaunchTemplateData{}, lease.Launch{}, "uuid-1"); err != nil {
		wantRefused(t, err)
		return
	}
	frozen, err := writeSkeleton(o.in)
	if err != nil {
		t.Fatal(err)
	}
	a := lease.Attempt{ClientToken: "fuzz.1", Min: o.Count, Max: o.Count, Subnet: "subnet-1", InstanceType: "t3.nano"}
	in, err := input(lease.Launch{Token: "fuzz", Request: frozen, Attempts: []lease.Attempt{a}})
	if err != nil {
		t.Fatal(err)
	}
	if aws.ToString(in.ClientToken) != "fuzz.1" || int(aws.ToInt32(in.MaxCount)) != o.Count || aws.ToBool(in.DisableApiTermination) || aws.ToBool(in.DryRun) ||
		in.InstanceInitiatedShutdownBehavior != types.ShutdownBehaviorTerminate || in.MetadataOptions.HttpTokens != types.HttpTokensStateRequired {
		t.Fatalf("%s is sent as %+v", frozen, in)
	}
	tags := tagSets(in.TagSpecifications)[types.ResourceTypeInstance]
	if tags[lease.TagRegistry] != "uuid-1" || tags[lease.TagLaunch] != "fuzz.1" {
		t.Fatalf("%s is tagged %v", frozen, tags)
	}
}

// wantRefused wants an error that says what is wrong with a request.
func wantRefused(t *testing.T, err error) {
	t.Helper()
	var request *RequestError
	var limit *lease.LimitError
	if !errors.As(err, &request) && !errors.As(err, &limit) {
		t.Fatalf("%T: %v", err, err)
	}
}

// templates are those of an endpoint, whatever it answers.
type templates struct {
	Cloud
	client *awsec2.Client
}

func (c templates) LaunchTemplateVersions(ctx context.Context, in *awsec2.DescribeLaunchTemplateVersionsInput) ([]types.LaunchTemplateVersion, error) {
	out, err := c.client.DescribeLaunchTemplateVersions(ctx, in)
	if err != nil {
		return nil, err
	}
	return out.LaunchTemplateVersions, nil
}

// FuzzTemplate: whatever a launch template says, what is frozen names one version by number and bears no tag of ours that
// the template copied, but the one that spares.
func FuzzTemplate(f *testing.F) {
	version := func(data string) string {
		return `<DescribeLaunchTemplateVersionsResponse><requestId>1</requestId><launchTemplateVersionSet><item><launchTemplateId>lt-1</launchTemplateId>` +
			`<versionNumber>3</versionNumber><launchTemplateData>` + data + `</launchTemplateData></item></launchTemplateVersionSet></DescribeLaunchTemplateVersionsResponse>`
	}
	tag := `<tagSpecificationSet><item><resourceType>instance</resourceType><tagSet><item><key>lapse:registry</key><value>x</value></item>` +
		`<item><key>lapse:exempt</key></item></tagSet></item></tagSpecificationSet>`
	for _, body := range []string{
		version(""), version("<imageId>ami-1</imageId>" + tag), version("<disableApiTermination>true</disableApiTermination>"),
		version("<instanceMarketOptions><marketType>spot</marketType><spotOptions><spotInstanceType>persistent</spotInstanceType></spotOptions></instanceMarketOptions>"),
		version("<metadataOptions><httpEndpoint>enabled</httpEndpoint><httpPutResponseHopLimit>-2</httpPutResponseHopLimit></metadataOptions>"),
		"", "<a/>", "<a><launchTemplateVersionSet><item/></launchTemplateVersionSet></a>", "<a><launchTemplateVersionSet/></a>", "<a><b></a>",
	} {
		f.Add(body)
	}
	endpoint := &ec2test.Answering{}
	launcher := &Launcher{cloud: templates{client: awsec2.NewFromConfig(endpoint.AWS())}}
	f.Fuzz(func(t *testing.T, body string) {
		endpoint.Body.Store(&body)
		in := &awsec2.RunInstancesInput{LaunchTemplate: &types.LaunchTemplateSpecification{LaunchTemplateName: aws.String("t")}}
		if _, err := launcher.freeze(t.Context(), in); err != nil {
			return
		}
		n, err := strconv.ParseInt(aws.ToString(in.LaunchTemplate.Version), 10, 64)
		if err != nil || n < 1 || aws.ToString(in.LaunchTemplate.LaunchTemplateId) == "" || in.LaunchTemplate.LaunchTemplateName != nil {
			t.Fatalf("%q is frozen as %+v", body, in.LaunchTemplate)
		}
		for kind, tags := range tagSets(in.TagSpecifications) {
			for key := range tags {
				if strings.HasPrefix(key, lease.TagPrefix) && key != lease.TagExempt {
					t.Fatalf("%q puts the tag %s on %s", body, key, kind)
				}
			}
		}
		if persistent(in.InstanceMarketOptions) || aws.ToBool(in.DisableApiTermination) {
			t.Fatalf("%q is frozen as %+v", body, in)
		}
	})
}
