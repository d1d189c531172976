package sim

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// piece is a volume, an interface or a spot request, told apart by its id.
type piece struct {
	id, machine string
	of          string // the machine that it was made for
	state       string
	made        time.Time
	tags        map[string]string
	goes        bool // with its machine
}

// furnish makes what a launch makes beside a machine: a root volume and an interface at least.
func (f *fleet) furnish(m *machine, in *ec2.RunInstancesInput) {
	add := func(prefix, state string, kind types.ResourceType, goes bool) string {
		x := &piece{id: f.newID(prefix), machine: m.id, of: m.id, state: state, made: time.Now(), tags: f.tagsFor(in, kind), goes: goes}
		f.pieces, m.has = append(f.pieces, x), append(m.has, x)
		return x.id
	}
	add("vol", "in-use", types.ResourceTypeVolume, true)
	if len(in.NetworkInterfaces) == 0 {
		add("eni", "in-use", types.ResourceTypeNetworkInterface, true)
	}
	for _, b := range in.BlockDeviceMappings {
		add("vol", "in-use", types.ResourceTypeVolume, b.Ebs == nil || aws.ToBool(b.Ebs.DeleteOnTermination) || b.Ebs.DeleteOnTermination == nil)
	}
	for _, n := range in.NetworkInterfaces {
		add("eni", "in-use", types.ResourceTypeNetworkInterface, n.DeleteOnTermination == nil || *n.DeleteOnTermination)
	}
	if market := in.InstanceMarketOptions; market != nil && market.MarketType == types.MarketTypeSpot {
		m.spot = add("sir", "active", types.ResourceTypeSpotInstancesRequest, true)
	}
}

// release lets go of what a machine had.
func (f *fleet) release(m *machine) {
	for _, x := range f.pieces {
		switch {
		case x.machine != m.id:
		case strings.HasPrefix(x.id, "sir-"):
			if x.state == "active" {
				x.state = "closed"
			}
		case x.goes:
			x.state, x.machine = "deleted", ""
		default:
			x.state, x.machine = "available", ""
		}
	}
	f.pieces = slices.DeleteFunc(f.pieces, func(x *piece) bool { return x.state == "deleted" })
}

// piece is that of an id; nil if there is none.
func (f *fleet) piece(id string) *piece {
	n := slices.IndexFunc(f.pieces, func(x *piece) bool { return x.id == id })
	if n < 0 {
		return nil
	}
	return f.pieces[n]
}

// found are the pieces of a kind that a filter selects.
func (f *fleet) found(prefix string, filters []types.Filter) []*piece {
	var fit []*piece
	for _, x := range f.pieces {
		name, values := aws.ToString(filters[0].Name), filters[0].Values
		key, byTag := strings.CutPrefix(name, "tag:")
		wanted := x.id
		if byTag {
			wanted = x.tags[key]
		}
		if strings.HasPrefix(x.id, prefix+"-") && slices.Contains(values, wanted) {
			fit = append(fit, x)
		}
	}
	return fit
}

// servePieces does the calls about what is made beside machines.
func (f *fleet) servePieces(p *process, sent time.Time, in any) (any, *refused) {
	switch in := in.(type) {
	case *ec2.DescribeVolumesInput:
		out := &ec2.DescribeVolumesOutput{}
		for _, x := range f.found("vol", in.Filters) {
			v := types.Volume{VolumeId: aws.String(x.id), State: types.VolumeState(x.state), CreateTime: aws.Time(x.made), Tags: tagList(x.tags)}
			if x.machine != "" {
				v.Attachments = []types.VolumeAttachment{{InstanceId: aws.String(x.machine)}}
			}
			out.Volumes = append(out.Volumes, v)
		}
		return out, nil
	case *ec2.DescribeNetworkInterfacesInput:
		out := &ec2.DescribeNetworkInterfacesOutput{}
		for _, x := range f.found("eni", in.Filters) {
			n := types.NetworkInterface{NetworkInterfaceId: aws.String(x.id), Status: types.NetworkInterfaceStatus(x.state), TagSet: tagList(x.tags)}
			if x.machine != "" {
				n.Attachment = &types.NetworkInterfaceAttachment{InstanceId: aws.String(x.machine)}
			}
			out.NetworkInterfaces = append(out.NetworkInterfaces, n)
		}
		return out, nil
	case *ec2.DescribeSpotInstanceRequestsInput:
		out := &ec2.DescribeSpotInstanceRequestsOutput{}
		for _, x := range f.found("sir", in.Filters) {
			out.SpotInstanceRequests = append(out.SpotInstanceRequests, types.SpotInstanceRequest{
				SpotInstanceRequestId: aws.String(x.id), State: types.SpotInstanceState(x.state), CreateTime: aws.Time(x.made),
				InstanceId: aws.String(x.machine), Tags: tagList(x.tags),
			})
		}
		return out, nil
	case *ec2.DeleteVolumeInput:
		return &ec2.DeleteVolumeOutput{}, f.remove(p, sent, aws.ToString(in.VolumeId), "InvalidVolume.NotFound", "VolumeInUse")
	case *ec2.DeleteNetworkInterfaceInput:
		return &ec2.DeleteNetworkInterfaceOutput{}, f.remove(p, sent, aws.ToString(in.NetworkInterfaceId), "InvalidNetworkInterfaceID.NotFound", "InvalidNetworkInterface.InUse")
	case *ec2.CancelSpotInstanceRequestsInput:
		for _, x := range f.pieces {
			if slices.Contains(in.SpotInstanceRequestIds, x.id) && x.state == "active" {
				x.state = "cancelled"
				f.tellRemoved(p, sent, x)
			}
		}
		return &ec2.CancelSpotInstanceRequestsOutput{}, nil
	}
	return f.serveKeyPairs(p, in)
}

func (f *fleet) remove(p *process, sent time.Time, id, unknown, busy string) *refused {
	n := slices.IndexFunc(f.pieces, func(x *piece) bool { return x.id == id })
	switch {
	case n < 0:
		return refusal(unknown)
	case f.pieces[n].machine != "":
		return refusal(busy)
	}
	f.tellRemoved(p, sent, f.pieces[n])
	f.pieces = slices.Delete(f.pieces, n, n+1)
	return nil
}

func (f *fleet) tellRemoved(p *process, sent time.Time, x *piece) {
	f.w.trace.add(event{kind: removed, who: p.name, id: x.id, text: x.tags[launchTag], sent: sent, tags: maps.Clone(x.tags)})
}

// strand makes a launch leave both a lease, and instances without a record, with interfaces that outlive them. Its
// zones have room for two and one: the first attempt asks for all three at once and is refused, the second launches
// one, and the launcher dies when it has sent the third.
func (w *world) strand(q request) request {
	q.Count, q.InstanceTypes = 3, []string{"t3.micro", "t3.small"}
	q.Subnets, q.Skeleton = []string{"subnet-" + zones[0], "subnet-" + zones[1]}, []byte(outliving)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stranded[q.Token] = true
	return q
}

// strands reports whether a launch is one of these.
func (w *world) strands(token string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.stranded[token]
}

// killLater kills a process in a while.
func (w *world) killLater(name string, in time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if p := w.alive[name]; p != nil {
		time.AfterFunc(in, p.kill)
	}
}
