package ec2_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"lapse/lease"
	"lapse/lease/ec2"
	"lapse/lease/ec2/ec2sim"
	"lapse/lease/ec2/ec2test"
)

// leftoversByID lists and sorts into a map.
func leftoversByID(t *testing.T, cloud *ec2.Cloud, tokens ...string) map[string]lease.Leftover {
	t.Helper()
	listing, err := cloud.Leftovers(t.Context(), tokens, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !listing.Dated || listing.Skew.Abs() > 5*time.Second {
		t.Errorf("skew %s, dated %v", listing.Skew, listing.Dated)
	}
	found := map[string]lease.Leftover{}
	for _, x := range listing.Leftovers {
		found[x.ID] = x
	}
	if len(found) != len(listing.Leftovers) {
		t.Errorf("%d leftovers, of which %d differ", len(listing.Leftovers), len(found))
	}
	return found
}

func TestLeftoversDescribesEachKind(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ec2sim.Config{})
	cloud := w.Cloud(t, w.AWS(), ec2.Options{})
	made := time.Now().Add(-time.Hour).UTC().Truncate(time.Millisecond)
	v := w.Sim.AddVolume(ec2sim.Volume{Tags: ourTags("web.1"), Created: made})
	used := w.Sim.AddVolume(ec2sim.Volume{Tags: ourTags("web.2"), State: "in-use", Instance: "i-00000001"})
	n := w.Sim.AddInterface(ec2sim.Interface{Tags: ourTags("web.1")})
	service := w.Sim.AddInterface(ec2sim.Interface{Tags: ourTags("web.1"), RequesterManaged: true, Status: "in-use", Instance: "i-00000002"})
	q := w.Sim.AddSpotRequest(ec2sim.SpotRequest{Tags: ourTags("web.1"), State: "active", Instance: "i-00000003"})
	w.Sim.AddVolume(ec2sim.Volume{Tags: ourTags("other.1")})
	w.Sim.AddVolume(ec2sim.Volume{Tags: map[string]string{lease.TagRegistry: ec2test.UUID}})
	w.Sim.AddVolume(ec2sim.Volume{Region: "eu-west-1", Tags: ourTags("web.1")})

	found := leftoversByID(t, cloud, "web.1", "web.2")
	if x := found[v.ID]; x.Kind != lease.LeftoverVolume || x.State != "available" || !x.CreatedAt.Equal(made) || x.Attached ||
		x.Location != ec2test.Here() || !x.ManagedBy(ec2test.UUID) || x.Tags[lease.TagLaunch] != "web.1" || !x.Loose() {
		t.Errorf("volume %+v", x)
	}
	if x := found[used.ID]; !x.Attached || x.InstanceID != "i-00000001" || x.Loose() {
		t.Errorf("volume in use %+v", x)
	}
	if x := found[n.ID]; x.Kind != lease.LeftoverInterface || x.State != "available" || !x.CreatedAt.IsZero() || x.Attached || x.Service || !x.Loose() {
		t.Errorf("interface %+v", x)
	}
	if x := found[service.ID]; !x.Service || !x.Attached || x.InstanceID != "i-00000002" {
		t.Errorf("interface of a service %+v", x)
	}
	if x := found[q.ID]; x.Kind != lease.LeftoverSpot || x.State != "active" || x.InstanceID != "i-00000003" || x.CreatedAt.IsZero() || !x.Loose() {
		t.Errorf("spot request %+v", x)
	}
	if len(found) != 5 {
		t.Errorf("%d leftovers, want those of the two tokens here: %v", len(found), found)
	}
}

func TestLeftoversAsksForEveryPageAndEveryToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ec2sim.Config{})
	cloud := w.Cloud(t, w.AWS(), ec2.Options{})
	var tokens []string
	for n := range 201 {
		tokens = append(tokens, fmt.Sprintf("web-%d.1", n))
	}
	for range 501 {
		w.Sim.AddVolume(ec2sim.Volume{Tags: ourTags("web-0.1")})
	}
	w.Sim.AddInterface(ec2sim.Interface{Tags: ourTags("web-200.1")})
	if found := leftoversByID(t, cloud, tokens...); len(found) != 502 {
		t.Errorf("%d leftovers, want 502", len(found))
	}
	if counts := w.Sim.CallCounts(); counts["DescribeVolumes"] != 3 || counts["DescribeNetworkInterfaces"] != 2 || counts["DescribeSpotInstanceRequests"] != 2 {
		t.Errorf("calls %v", counts)
	}
	if listing, err := cloud.Leftovers(t.Context(), nil, nil); err != nil || len(listing.Leftovers) > 0 || listing.Dated {
		t.Errorf("without tokens: %+v, %v", listing, err)
	}
}

func TestLeftoversIsCompleteOrAnError(t *testing.T) {
	t.Parallel()
	for _, action := range []string{"DescribeVolumes", "DescribeNetworkInterfaces", "DescribeSpotInstanceRequests"} {
		w := newWorld(t, ec2sim.Config{})
		cloud := w.Cloud(t, w.AWS(), ec2.Options{})
		w.Sim.AddVolume(ec2sim.Volume{Tags: ourTags("web.1")})
		w.Sim.Inject(ec2sim.Fault{Action: action, Effect: ec2sim.Refuse, Code: "UnauthorizedOperation", Status: 403})
		listing, err := cloud.Leftovers(t.Context(), []string{"web.1"}, nil)
		if answer, refused := errors.AsType[*ec2.AnswerError](err); !refused || answer.Code != "UnauthorizedOperation" || len(listing.Leftovers) > 0 {
			t.Errorf("%s refused: %+v, %v", action, listing, err)
		}
	}
}

func TestDescribeLeftoversOmitsDeletedOnes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ec2sim.Config{})
	cloud := w.Cloud(t, w.AWS(), ec2.Options{})
	v := w.Sim.AddVolume(ec2sim.Volume{Tags: map[string]string{"Name": "bare"}})
	n := w.Sim.AddInterface(ec2sim.Interface{})
	q := w.Sim.AddSpotRequest(ec2sim.SpotRequest{})
	listing, err := cloud.DescribeLeftovers(t.Context(), []lease.Leftover{
		{Kind: lease.LeftoverVolume, ID: v.ID},
		{Kind: lease.LeftoverVolume, ID: "vol-0123456789abcdef0"},
		{Kind: lease.LeftoverInterface, ID: n.ID},
		{Kind: lease.LeftoverSpot, ID: q.ID},
	})
	if err != nil || !listing.Dated || len(listing.Leftovers) != 3 {
		t.Errorf("%+v, %v; want the three that are there", listing, err)
	}
}

func TestRemoveRemovesEachKind(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ec2sim.Config{})
	cloud := w.Cloud(t, w.AWS(), ec2.Options{})
	v, n := w.Sim.AddVolume(ec2sim.Volume{}), w.Sim.AddInterface(ec2sim.Interface{})
	q := w.Sim.AddSpotRequest(ec2sim.SpotRequest{})
	for _, x := range []lease.Leftover{
		{Kind: lease.LeftoverVolume, ID: v.ID}, {Kind: lease.LeftoverInterface, ID: n.ID}, {Kind: lease.LeftoverSpot, ID: q.ID},
	} {
		for _, again := range []string{"", "again: "} { // removing twice is no error
			if r := cloud.Remove(t.Context(), x); r.Err != nil || r.Busy || r.ID != x.ID || r.RequestID == "" {
				t.Errorf("%s%s: %+v", again, x.Kind, r)
			}
		}
	}
	if len(w.Sim.Volumes()) > 0 || len(w.Sim.Interfaces()) > 0 || w.Sim.SpotRequests()[0].State != "cancelled" {
		t.Errorf("left: %v %v %v", w.Sim.Volumes(), w.Sim.Interfaces(), w.Sim.SpotRequests())
	}
	if r := cloud.Remove(t.Context(), lease.Leftover{Kind: "snapshot", ID: "snap-1"}); r.Err == nil {
		t.Errorf("a snapshot: %+v", r)
	}
}

func TestRemoveDistinguishesTransientFailuresFromRefusals(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		kind lease.LeftoverKind
		code string
		http int
		want lease.Removal // ID and Err left out
	}{
		{"a volume in use", lease.LeftoverVolume, "VolumeInUse", 400, lease.Removal{Busy: true, Code: "VolumeInUse"}},
		{"an interface in use", lease.LeftoverInterface, "InvalidNetworkInterface.InUse", 400, lease.Removal{Busy: true, Code: "InvalidNetworkInterface.InUse"}},
		{"an interface in use, in other words", lease.LeftoverInterface, "InvalidParameterValue", 400, lease.Removal{Busy: true, Code: "InvalidParameterValue"}},
		{"something depends on it", lease.LeftoverInterface, "DependencyViolation", 400, lease.Removal{Busy: true, Code: "DependencyViolation"}},
		{"not permitted", lease.LeftoverInterface, "OperationNotPermitted", 400, lease.Removal{Code: "OperationNotPermitted"}},
		{"not allowed to", lease.LeftoverVolume, "UnauthorizedOperation", 403, lease.Removal{Code: "UnauthorizedOperation"}},
		{"throttled: nothing reported about this one", lease.LeftoverVolume, "RequestLimitExceeded", 503, lease.Removal{}},
		{"the caller is not known", lease.LeftoverSpot, "AuthFailure", 401, lease.Removal{}},
		{"a server's error", lease.LeftoverSpot, "InternalError", 500, lease.Removal{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, ec2sim.Config{})
			cloud := w.Cloud(t, w.AWS(), ec2.Options{})
			w.Sim.Inject(ec2sim.Fault{
				Match:  func(v url.Values) bool { return v.Get("Action") != "GetCallerIdentity" },
				Effect: ec2sim.Refuse, Code: c.code, Status: c.http,
			})
			r := cloud.Remove(t.Context(), lease.Leftover{Kind: c.kind, ID: "x-1"})
			if r.Err == nil || r.Busy != c.want.Busy || r.Code != c.want.Code || r.RequestID == "" {
				t.Errorf("got %+v, want %+v", r, c.want)
			}
		})
	}
}

func TestRemoveStopsWithItsContext(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ec2sim.Config{})
	cloud := w.Cloud(t, w.AWS(), ec2.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if r := cloud.Remove(ctx, lease.Leftover{Kind: lease.LeftoverVolume, ID: "vol-1"}); !errors.Is(r.Err, context.Canceled) || w.Sim.CallCounts()["DeleteVolume"] > 0 {
		t.Errorf("%+v", r)
	}
}

func TestInstancesShowWhatOutlivesThem(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ec2sim.Config{})
	w.run(t, func(in *awsec2.RunInstancesInput) {
		in.BlockDeviceMappings = []types.BlockDeviceMapping{
			{DeviceName: aws.String("/dev/sdf"), Ebs: &types.EbsBlockDevice{VolumeSize: aws.Int32(1), DeleteOnTermination: aws.Bool(false)}},
		}
		in.NetworkInterfaces = []types.InstanceNetworkInterfaceSpecification{{DeviceIndex: aws.Int32(0), DeleteOnTermination: aws.Bool(false)}}
	})
	listing, err := w.Cloud(t, w.AWS(), ec2.Options{}).List(t.Context())
	if err != nil || len(listing.Instances) != 1 {
		t.Fatalf("%+v, %v", listing, err)
	}
	var want []string
	for _, v := range w.Sim.Volumes() {
		if !v.DeleteOnTermination {
			want = append(want, v.ID)
		}
	}
	for _, n := range w.Sim.Interfaces() {
		want = append(want, n.ID)
	}
	if got := listing.Instances[0].Outlive; !slices.Equal(got, want) || len(want) != 2 {
		t.Errorf("outlive %v, want %v", got, want)
	}
}

// dated is a transport that alters the Date of what one action answers; nil removes it.
type dated struct {
	next   http.RoundTripper
	action string
	by     *time.Duration
}

func (d dated) RoundTrip(req *http.Request) (*http.Response, error) {
	form, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	again := req.Clone(req.Context())
	again.Body = io.NopCloser(bytes.NewReader(form))
	resp, err := d.next.RoundTrip(again)
	if err != nil || !strings.Contains(string(form), "Action="+d.action+"&") {
		return resp, err
	}
	if d.by == nil {
		resp.Header.Del("Date")
		return resp, nil
	}
	at, err := http.ParseTime(resp.Header.Get("Date"))
	resp.Header.Set("Date", at.Add(*d.by).UTC().Format(http.TimeFormat))
	return resp, err
}

func TestLeftoversUseTheWorstClockSkew(t *testing.T) {
	t.Parallel()
	for _, action := range []string{"DescribeVolumes", "DescribeNetworkInterfaces", "DescribeSpotInstanceRequests"} {
		for name, by := range map[string]*time.Duration{"none": nil, "an hour back": new(-time.Hour), "an hour ahead": new(time.Hour)} {
			t.Run(action+"/"+name, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, ec2sim.Config{})
				cfg := w.AWS()
				cfg.HTTPClient = &http.Client{Transport: dated{http.DefaultTransport, action, by}}
				cloud := w.Cloud(t, cfg, ec2.Options{})
				listing, err := cloud.Leftovers(t.Context(), []string{"web.1"}, nil)
				if err != nil || listing.Dated != (by != nil) {
					t.Fatalf("dated %t, %v", listing.Dated, err)
				}
				if by != nil && (listing.Skew+*by).Abs() > 5*time.Second {
					t.Errorf("our clock is %s ahead of three of EC2's, of which one is %s ahead", listing.Skew, *by)
				}
			})
		}
	}
}
