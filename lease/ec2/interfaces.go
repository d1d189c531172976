package ec2

import (
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// creates are the kinds of resources that the call creates, of those that it can tag. EC2 refuses tags for any other.
// data is what its launch template says; the request replaces a list of interfaces, and market options, as a whole.
//
// Source: https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_RunInstances.html (TagSpecification.N)
func creates(in *ec2.RunInstancesInput, data *types.ResponseLaunchTemplateData) []types.ResourceType {
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
func createsInterface(in *ec2.RunInstancesInput, data *types.ResponseLaunchTemplateData) bool {
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
func overrideNetwork(in *ec2.RunInstancesInput, groups []string) error {
	if len(groups) == 0 {
		return nil
	}
	if len(in.NetworkInterfaces) == 0 {
		in.SecurityGroupIds, in.SecurityGroups = groups, nil
		return nil
	}
	first := primary(in.NetworkInterfaces)
	if first == nil || first.NetworkInterfaceId != nil {
		return &RequestError{Field: "NetworkInterfaces", Why: "attach an interface that exists and has its security groups; leave out --security-group-id"}
	}
	first.Groups = groups
	return nil
}
