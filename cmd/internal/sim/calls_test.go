package sim

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

// refused is an answer of EC2 that is none.
type refused struct {
	code   string
	status int
}

func refusal(code string) *refused {
	status := http.StatusBadRequest
	if slices.Contains([]string{"InternalError", "Unavailable", "InsufficientInstanceCapacity", "RequestLimitExceeded"}, code) {
		status = http.StatusServiceUnavailable
	}
	return &refused{code, status}
}

// serve does one call.
func (f *fleet) serve(p *process, sent time.Time, in any) (any, *refused) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, whoAmI := in.(*sts.GetCallerIdentityInput); whoAmI {
		return &sts.GetCallerIdentityOutput{Account: aws.String(account), Arn: aws.String("arn:aws:iam::" + account + ":user/sim")}, nil
	}
	for _, code := range []string{"InternalError", "RequestLimitExceeded", "Unavailable"} {
		until := f.refusing[code]
		r := f.w.dice.of(p.name+" refused "+code, int(sent.UnixNano()/1e6))
		if time.Now().Before(until) && r.chance(0.6) {
			return nil, refusal(code)
		}
	}
	switch in := in.(type) {
	case *ec2.DescribeInstancesInput:
		return f.describe(p, sent, in)
	case *ec2.RunInstancesInput:
		f.w.trace.add(event{kind: requested, who: p.name, id: aws.ToString(in.ClientToken)})
		return f.run(in)
	case *ec2.TerminateInstancesInput:
		return f.terminate(p, sent, in)
	case *ec2.CreateTagsInput:
		return f.createTags(p, sent, in)
	case *ec2.DeleteTagsInput:
		return f.deleteTags(p, sent, in)
	}
	return f.servePieces(p, sent, in)
}

// subject is what a call is about, for chance to tell calls apart.
func subject(in any) string {
	switch in := in.(type) {
	case *ec2.DescribeInstancesInput:
		return filtered(in.Filters) + aws.ToString(in.NextToken)
	case *ec2.RunInstancesInput:
		return aws.ToString(in.ClientToken)
	case *ec2.TerminateInstancesInput:
		return strings.Join(in.InstanceIds, " ")
	case *ec2.CreateTagsInput:
		text := strings.Join(in.Resources, " ")
		for _, t := range in.Tags { // whoever asks has them in order
			text += " " + aws.ToString(t.Key) + "=" + aws.ToString(t.Value)
		}
		return text
	case *ec2.DeleteTagsInput:
		return strings.Join(in.Resources, " ")
	}
	return ""
}

func filtered(filters []types.Filter) (text string) {
	for _, f := range filters {
		text += aws.ToString(f.Name) + "=" + strings.Join(f.Values, ",") + " "
	}
	return text
}

// describe lists by tag, or looks up by id. Only the latter shows what is out of reach as such.
func (f *fleet) describe(p *process, sent time.Time, in *ec2.DescribeInstancesInput) (any, *refused) {
	now, filter := time.Now(), types.Filter{}
	if len(in.Filters) > 0 {
		filter = in.Filters[0]
	}
	byID := aws.ToString(filter.Name) == "instance-id"
	byTag := aws.ToString(filter.Name) == "tag-key"
	if byTag && in.NextToken == nil && p.role == "janitor" {
		f.w.trace.add(event{kind: listed, who: p.name, sent: sent})
	}
	var stale time.Duration
	if now.Before(f.staleUntil) {
		stale = f.stale
	}
	var fit []*machine
	for _, m := range f.machines {
		seen := m.shown(stale)
		if seen == nil || seen.state == types.InstanceStateNameTerminated && now.Sub(lastChange(m)) > f.w.shape.remembers {
			continue
		}
		if f.selects(filter, seen) {
			if now.Before(f.away[m.zone]) {
				return nil, refusal("Unavailable")
			}
			fit = append(fit, seen)
		}
	}
	if now.Before(f.shortUntil) && (!byID || now.Before(f.blindUntil)) {
		fit = fit[:int(float64(len(fit))*f.short)]
	}
	from, _ := strconv.Atoi(aws.ToString(in.NextToken))
	fit = fit[min(from, len(fit)):]
	out := &ec2.DescribeInstancesOutput{}
	if len(fit) > f.pageSize {
		fit = fit[:f.pageSize]
		out.NextToken = aws.String(strconv.Itoa(from + f.pageSize))
	}
	for _, m := range fit {
		out.Reservations = append(out.Reservations, types.Reservation{Instances: []types.Instance{f.item(m)}})
	}
	return out, nil
}

func lastChange(m *machine) time.Time { return m.past[len(m.past)-1].until }

func (f *fleet) item(m *machine) types.Instance {
	i := types.Instance{
		InstanceId: aws.String(m.id), State: &types.InstanceState{Name: m.state}, LaunchTime: aws.Time(m.launched),
		PrivateIpAddress: aws.String(m.address()), ClientToken: aws.String(f.shownToken(m)), KeyName: aws.String(m.keyName), Placement: &types.Placement{AvailabilityZone: aws.String(m.zone), AvailabilityZoneId: aws.String(zoneID(m.zone))},
		Tags: tagList(m.tags),
	}
	if m.spot != "" {
		i.SpotInstanceRequestId = aws.String(m.spot)
	}
	for _, x := range m.has {
		switch {
		case x.machine != m.id:
		case strings.HasPrefix(x.id, "vol-"):
			i.BlockDeviceMappings = append(i.BlockDeviceMappings, types.InstanceBlockDeviceMapping{
				Ebs: &types.EbsInstanceBlockDevice{VolumeId: aws.String(x.id), AttachTime: aws.Time(x.made), DeleteOnTermination: aws.Bool(x.goes)},
			})
		case strings.HasPrefix(x.id, "eni-"):
			i.NetworkInterfaces = append(i.NetworkInterfaces, types.InstanceNetworkInterface{
				NetworkInterfaceId: aws.String(x.id), Attachment: &types.InstanceNetworkInterfaceAttachment{AttachTime: aws.Time(x.made), DeleteOnTermination: aws.Bool(x.goes)},
			})
		}
	}
	return i
}

func tagList(tags map[string]string) []types.Tag {
	list := make([]types.Tag, 0, len(tags))
	for key, value := range tags {
		list = append(list, types.Tag{Key: aws.String(key), Value: aws.String(value)})
	}
	return list
}

// run launches, or shows again what the client token has launched.
func (f *fleet) run(in *ec2.RunInstancesInput) (any, *refused) {
	token := aws.ToString(in.ClientToken)
	asked := *in
	asked.ClientToken = nil
	text, err := json.Marshal(asked)
	if err != nil {
		return nil, refusal("InvalidParameterValue")
	}
	made := f.launches[token]
	switch now := time.Now(); {
	case made != nil && !f.w.shape.quirks.ignoresTokens && (made.request != string(text) || now.Before(f.mismatchUntil)):
		return nil, refusal("IdempotentParameterMismatch")
	case now.Before(f.deniedUntil):
		return nil, &refused{"UnauthorizedOperation", http.StatusForbidden}
	}
	keyName := aws.ToString(in.KeyName)
	if keyName != "" && f.keyPairNamed(keyName) == nil && f.w.shape.quirks.validatesKeys {
		return nil, refusal("InvalidKeyPair.NotFound")
	}
	if made == nil || f.w.shape.quirks.ignoresTokens {
		zone := zones[f.serial%len(zones)]
		if subnet := aws.ToString(in.SubnetId); subnet != "" {
			zone = strings.TrimPrefix(subnet, "subnet-")
		}
		n := int(aws.ToInt32(in.MaxCount))
		if room, limited := f.capacity[zone]; limited {
			n = min(n, room)
		}
		if n < int(aws.ToInt32(in.MinCount)) {
			return nil, refusal("InsufficientInstanceCapacity")
		}
		if _, limited := f.capacity[zone]; limited {
			f.capacity[zone] -= n
		}
		made = &reservation{id: f.newID("r"), request: string(text)}
		for range n {
			m := &machine{zone: zone, token: token, reservation: made.id, keyName: keyName, role: launchedRole, tags: f.tagsFor(in, types.ResourceTypeInstance), boots: f.random.IntN(8) > 0, caller: caller{userData: aws.ToString(in.UserData)}}
			f.add(m)
			f.furnish(m, in)
			made.machines = append(made.machines, m)
		}
		if token != "" {
			f.launches[token] = made
		}
	}
	out := &ec2.RunInstancesOutput{ReservationId: aws.String(made.id)}
	for _, m := range made.machines {
		out.Instances = append(out.Instances, f.item(m))
	}
	return out, nil
}

func (f *fleet) tagsFor(in *ec2.RunInstancesInput, kind types.ResourceType) map[string]string {
	tags := map[string]string{}
	if f.w.shape.quirks.dropsTags {
		return tags
	}
	for _, s := range in.TagSpecifications {
		if s.ResourceType == kind {
			for _, t := range s.Tags {
				tags[aws.ToString(t.Key)] = aws.ToString(t.Value)
			}
		}
	}
	return tags
}

// terminate ends what it names. A protected machine keeps the others of its zone alive, and the call fails.
func (f *fleet) terminate(p *process, sent time.Time, in *ec2.TerminateInstancesInput) (any, *refused) {
	guarded := map[string]bool{}
	for _, id := range in.InstanceIds {
		m := f.byID[id]
		if m == nil {
			return nil, refusal("InvalidInstanceID.NotFound")
		}
		if time.Now().Before(f.away[m.zone]) {
			return nil, refusal("Unavailable")
		}
		guarded[m.zone] = guarded[m.zone] || m.protected && !m.ending()
	}
	out := &ec2.TerminateInstancesOutput{}
	failed := false
	for _, id := range in.InstanceIds {
		m := f.byID[id]
		if guarded[m.zone] {
			failed = true
			continue
		}
		if !m.ending() {
			f.w.trace.add(event{kind: asked, who: p.name, id: id, text: fmt.Sprintf("sent %s ago", time.Since(sent)), sent: sent})
			f.enter(m, types.InstanceStateNameShuttingDown)
		}
		out.TerminatingInstances = append(out.TerminatingInstances, types.InstanceStateChange{
			InstanceId: aws.String(id), CurrentState: &types.InstanceState{Name: m.state},
		})
	}
	if failed {
		return nil, refusal("OperationNotPermitted")
	}
	return out, nil
}
