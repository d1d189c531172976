package launch

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// creates are the kinds of resources that the call creates, of those that it can tag. EC2 refuses tags for any other.
// data is what its launch template says; the request replaces a list of interfaces, and market options, as a whole.
//
// Source: https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_RunInstances.html (TagSpecification.N)
func creates(in *awsec2.RunInstancesInput, data *types.ResponseLaunchTemplateData) []types.ResourceType {
	kinds := []types.ResourceType{types.ResourceTypeInstance, types.ResourceTypeVolume}
	if createsInterface(in, data) {
		kinds = append(kinds, types.ResourceTypeNetworkInterface)
	}
	if isSpot(in.InstanceMarketOptions) || in.InstanceMarketOptions == nil && data.InstanceMarketOptions != nil &&
		data.InstanceMarketOptions.MarketType == types.MarketTypeSpot {
		kinds = append(kinds, types.ResourceTypeSpotInstancesRequest)
	}
	return kinds
}

// createsInterface reports whether the call creates a network interface: it does unless all that are described exist.
func createsInterface(in *awsec2.RunInstancesInput, data *types.ResponseLaunchTemplateData) bool {
	switch {
	case len(in.NetworkInterfaces) > 0:
		return slices.ContainsFunc(in.NetworkInterfaces, func(i types.InstanceNetworkInterfaceSpecification) bool {
			return i.NetworkInterfaceId == nil
		})
	case len(data.NetworkInterfaces) > 0:
		return slices.ContainsFunc(data.NetworkInterfaces, func(i types.LaunchTemplateInstanceNetworkInterfaceSpecification) bool {
			return i.NetworkInterfaceId == nil
		})
	}
	return true
}

// primary is the first of the interfaces that are described, on which what is said of the instance's network counts; nil
// if none is described.
func primary(interfaces []types.InstanceNetworkInterfaceSpecification) *types.InstanceNetworkInterfaceSpecification {
	for n := range interfaces {
		if i := &interfaces[n]; aws.ToInt32(i.DeviceIndex) == 0 && aws.ToInt32(i.NetworkCardIndex) == 0 {
			return i
		}
	}
	return nil
}

// overrideNetwork puts security groups where EC2 takes them: into the first interface, if the request describes any.
func overrideNetwork(in *awsec2.RunInstancesInput, groups []string) error {
	if len(groups) == 0 {
		return nil
	}
	if len(in.NetworkInterfaces) == 0 {
		in.SecurityGroupIds, in.SecurityGroups = groups, nil
		return nil
	}
	first := primary(in.NetworkInterfaces)
	if first == nil || first.NetworkInterfaceId != nil {
		return &RequestError{Field: "NetworkInterfaces", Why: "attach an existing interface, which has its own security groups", Option: "SecurityGroups"}
	}
	first.Groups = groups
	return nil
}

// intoInterfaces puts what is said of the instance's network where EC2 takes it. Beside interfaces EC2 takes no subnet and
// no security groups of the instance: so where the template describes interfaces, and the request or a flag says one of
// these, the interfaces are taken over into the request. What cannot be combined is refused before anything is stored.
//
// Source: https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_RunInstances.html (SubnetId, SecurityGroupId.N)
func intoInterfaces(in *awsec2.RunInstancesInput, data *types.ResponseLaunchTemplateData, subnets []string, count int) error {
	ofTemplate := len(in.NetworkInterfaces) == 0 && len(data.NetworkInterfaces) > 0
	if ofTemplate && (len(subnets) > 0 || besideInterfaces(in) != "") {
		if err := takeInterfaces(in, data); err != nil {
			return err
		}
	}
	if len(in.NetworkInterfaces) == 0 {
		return nil
	}
	if field := besideInterfaces(in); field != "" {
		return &RequestError{Field: field, Why: "cannot be combined with NetworkInterfaces; put it into the first interface"}
	}
	if !ofTemplate && len(data.SecurityGroupIds)+len(data.SecurityGroups) > 0 { // which no request takes back
		return &RequestError{Field: "NetworkInterfaces", Why: "cannot be combined with the security groups of the launch template; use a version without them, or no interfaces"}
	}
	for n, i := range in.NetworkInterfaces {
		field := fmt.Sprintf("NetworkInterfaces[%d].NetworkInterfaceId", n)
		switch first := aws.ToInt32(i.DeviceIndex) == 0; {
		case i.NetworkInterfaceId == nil:
		case count > 1:
			return &RequestError{Field: field, Why: fmt.Sprintf("names an existing interface, which cannot be attached to %d instances; launch one", count)}
		case first && len(subnets) > 0:
			return &RequestError{Field: field, Why: "names an existing interface, which has its own subnet", Option: "Subnets"}
		}
	}
	return nil
}

// besideInterfaces is a field of the request about the instance's network that EC2 does not take beside interfaces; empty if
// it has none.
func besideInterfaces(in *awsec2.RunInstancesInput) string {
	for _, beside := range []struct {
		field string
		given bool
	}{
		{"SubnetId", in.SubnetId != nil},
		{"SecurityGroupIds", len(in.SecurityGroupIds) > 0},
		{"SecurityGroups", len(in.SecurityGroups) > 0},
		{"PrivateIpAddress", in.PrivateIpAddress != nil},
		{"Ipv6AddressCount", in.Ipv6AddressCount != nil},
		{"Ipv6Addresses", len(in.Ipv6Addresses) > 0},
	} {
		if beside.given {
			return beside.field
		}
	}
	return ""
}

// takeInterfaces copies the interfaces of a template into the request, with the request's own subnet and security groups
// in the first of them.
func takeInterfaces(in *awsec2.RunInstancesInput, data *types.ResponseLaunchTemplateData) error {
	text, err := json.Marshal(data.NetworkInterfaces) // the fields of both types have the same names
	if err == nil {
		err = json.Unmarshal(text, &in.NetworkInterfaces)
	}
	if err != nil {
		return fmt.Errorf("take over the interfaces of the launch template: %w", err)
	}
	first := primary(in.NetworkInterfaces)
	if first == nil || first.NetworkInterfaceId != nil {
		return &RequestError{Field: "LaunchTemplate", Why: "attaches an existing interface, which has its own subnet and security groups; leave out those of the launch"}
	}
	if in.SubnetId != nil {
		first.SubnetId, in.SubnetId = in.SubnetId, nil
	}
	if len(in.SecurityGroupIds) > 0 {
		first.Groups, in.SecurityGroupIds = in.SecurityGroupIds, nil
	}
	return nil
}
