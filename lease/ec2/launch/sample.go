package launch

import (
	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"lapse/lease"
	"lapse/lease/ec2"
)

// Sample is the call of a launch of one instance, tags included, for a rehearsal that says from which image and of which
// type; nil where no image is known.
func Sample(r ec2.Rehearsal) (*awsec2.RunInstancesInput, error) {
	if r.ImageID == "" {
		return nil, nil
	}
	in := &awsec2.RunInstancesInput{ImageId: aws.String(r.ImageID)}
	l := lease.Launch{Token: "doctor", Attempts: []lease.Attempt{{ClientToken: "doctor.1", Min: 1, Max: 1, InstanceType: r.InstanceType}}}
	err := complete(in, &types.ResponseLaunchTemplateData{}, l, r.Registry)
	if err != nil {
		return nil, err
	}
	if l.Request, err = writeSkeleton(in); err != nil {
		return nil, err
	}
	return input(l)
}
