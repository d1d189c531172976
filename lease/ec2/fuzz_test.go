package ec2

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/ssm"

	"lapse/lease"
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

// answering is an endpoint that gives the same answer to every call.
type answering struct{ body atomic.Pointer[string] }

func (a *answering) Do(r *http.Request) (*http.Response, error) {
	return &http.Response{
		StatusCode: http.StatusOK, Request: r, Body: io.NopCloser(strings.NewReader(*a.body.Load())),
		Header: http.Header{"Content-Type": {"text/xml"}, "Date": {"Sun, 01 Mar 2026 12:00:00 GMT"}},
	}, nil
}

// cloud asks the endpoint, once for each call.
func (a *answering) cloud() *Cloud {
	cfg := aws.Config{
		Region: "us-east-1", Credentials: credentials.NewStaticCredentialsProvider("a", "s", ""), HTTPClient: a,
		Retryer: func() aws.Retryer { return aws.NopRetryer{} },
	}
	return &Cloud{location: lease.Location{Account: "1", Region: "us-east-1"}, ec2: ec2.NewFromConfig(cfg), ssm: ssm.NewFromConfig(cfg), pace: newPace(1, math.Inf(1)), now: time.Now}
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
	endpoint := &answering{}
	cloud := endpoint.cloud()
	f.Fuzz(func(t *testing.T, body string) {
		endpoint.body.Store(&body)
		in := &ec2.RunInstancesInput{LaunchTemplate: &types.LaunchTemplateSpecification{LaunchTemplateName: aws.String("t")}}
		if _, err := cloud.freeze(t.Context(), in); err != nil {
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

// FuzzListing: any answer to DescribeInstances is a listing in which each instance is once, or an error.
func FuzzListing(f *testing.F) {
	item := `<reservationSet><item><instancesSet><item><instanceId>i-1</instanceId><instanceState><name>running</name></instanceState>` +
		`<tagSet><item><key>lapse:registry</key><value>u</value></item><item/></tagSet><blockDeviceMapping><item><ebs><deleteOnTermination>false</deleteOnTermination></ebs></item></blockDeviceMapping>` +
		`<networkInterfaceSet><item><attachment/></item></networkInterfaceSet></item><item/></instancesSet></item></reservationSet>`
	for _, body := range []string{
		"<DescribeInstancesResponse>" + item + "</DescribeInstancesResponse>", "<a>" + item + item + "<nextToken>x</nextToken></a>", "<a><nextToken/></a>", "", "<a>",
	} {
		f.Add(body)
	}
	endpoint := &answering{}
	cloud := endpoint.cloud()
	f.Fuzz(func(t *testing.T, body string) {
		endpoint.body.Store(&body)
		listing, err := cloud.List(t.Context())
		if err != nil {
			if listing.Instances != nil {
				t.Fatalf("%q: %+v beside %v", body, listing, err)
			}
			return
		}
		seen := map[string]bool{}
		for _, i := range listing.Instances {
			if seen[i.ID] || i.Location != cloud.location || i.Tags == nil {
				t.Fatalf("%q: %+v", body, i)
			}
			seen[i.ID] = true
		}
	})
}
