package ec2

import (
	"context"
	"fmt"
	"slices"

	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/smithy-go/middleware"

	"lapse/lease"
)

// Remove deletes a volume, an interface or a key pair, or cancels a spot request. A spot request that is cancelled makes no further
// instances, and the one that it made runs on. One that EC2 no longer knows is gone.
//
// Sources: API_DeleteVolume.html, API_DeleteNetworkInterface.html and API_CancelSpotInstanceRequests.html in
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/
func (c *Cloud) Remove(ctx context.Context, x lease.Leftover) lease.Removal {
	op := fmt.Sprintf("remove %s %s", x.Kind, x.ID)
	if err := c.pace.removes.Wait(ctx); err != nil {
		return lease.Removal{ID: x.ID, Err: fmt.Errorf("%s: %w", op, err)}
	}
	bounded, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	metadata, err := c.remove(bounded, x)
	switch {
	case err == nil:
		requestID, _ := awsmiddleware.GetRequestIDMetadata(metadata)
		return lease.Removal{ID: x.ID, RequestID: requestID}
	case forgotten(err):
		return lease.Removal{ID: x.ID, RequestID: requestIDOf(err)}
	}
	r := lease.Removal{ID: x.ID, RequestID: requestIDOf(err), Err: failed(ctx, op, err)}
	if refused(err) && !unauthenticated(err) {
		r.Code, r.Busy = codeOf(err), busy(err)
	}
	return r
}

// remove makes the one call that the kind takes.
func (c *Cloud) remove(ctx context.Context, x lease.Leftover) (middleware.Metadata, error) {
	switch x.Kind {
	case lease.LeftoverVolume:
		out, err := c.ec2.DeleteVolume(ctx, &ec2.DeleteVolumeInput{VolumeId: &x.ID})
		if err != nil {
			return middleware.Metadata{}, err
		}
		return out.ResultMetadata, nil
	case lease.LeftoverInterface:
		out, err := c.ec2.DeleteNetworkInterface(ctx, &ec2.DeleteNetworkInterfaceInput{NetworkInterfaceId: &x.ID})
		if err != nil {
			return middleware.Metadata{}, err
		}
		return out.ResultMetadata, nil
	case lease.LeftoverSpot:
		out, err := c.ec2.CancelSpotInstanceRequests(ctx, &ec2.CancelSpotInstanceRequestsInput{SpotInstanceRequestIds: []string{x.ID}})
		if err != nil {
			return middleware.Metadata{}, err
		}
		return out.ResultMetadata, nil
	case lease.LeftoverKeyPair:
		return c.deleteKeyPair(ctx, x)
	}
	return middleware.Metadata{}, fmt.Errorf("cannot remove a %q", x.Kind)
}

// forgotten reports whether EC2 does not know the leftover, or no longer knows it.
//
// Source: https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html
func forgotten(err error) bool {
	return slices.Contains([]string{
		"InvalidVolume.NotFound", "InvalidNetworkInterfaceID.NotFound", "InvalidSpotInstanceRequestID.NotFound",
		keyPairNotFound,
	}, codeOf(err))
}

// busy reports whether EC2 refuses because something still uses the leftover, or because it is in transition: that
// passes. InvalidParameterValue is what DeleteNetworkInterface says of an interface whose instance has just ended.
//
// Source: https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html
func busy(err error) bool {
	return slices.Contains([]string{
		"DependencyViolation", "IncorrectState", "InvalidNetworkInterface.InUse", "InvalidParameterValue", "ResourceInUse",
		"VolumeInUse",
	}, codeOf(err))
}
