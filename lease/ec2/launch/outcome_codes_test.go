package launch

import (
	"errors"
	"net/http"
	"testing"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"lapse/lease/ec2"
)

// answered is an error answer of EC2.
func answered(status int, code string) error {
	return &ec2.AnswerError{Code: code, Err: &awshttp.ResponseError{ResponseError: &smithyhttp.ResponseError{
		Response: &smithyhttp.Response{Response: &http.Response{StatusCode: status}}, Err: &smithy.GenericAPIError{Code: code},
	}}}
}

// The codes that RunInstances may answer with, of https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html
// and, for AMIs that forbid a type, of API_ReplaceImageInstanceTypeSpecification there.
func TestEveryErrorCodeIsClassified(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		want   outcome
		status int
		typed  bool // another instance type may do
		codes  []string
	}{
		{want: full, status: http.StatusBadRequest, codes: []string{ // elsewhere, or fewer, may do
			"IncompatibleHostRequirements", "InsufficientCapacityOnHost", "InsufficientFreeAddressesInSubnet", "InstanceLimitExceeded",
			"MaxIOPSLimitExceeded", "MaxSpotInstanceCountExceeded", "NetworkInterfaceLimitExceeded", "ReservationCapacityExceeded",
			"SpotMaxPriceTooLow", "UnavailableHostRequirements", "UnfulfillableCapacity", "Unsupported", "VcpuLimitExceeded", "VolumeLimitExceeded",
		}},
		{want: full, status: http.StatusInternalServerError, codes: []string{
			"InsufficientAddressCapacity", "InsufficientCapacity", "InsufficientHostCapacity", "InsufficientInstanceCapacity",
			"InsufficientReservedInstanceCapacity", "InsufficientVolumeCapacity",
		}},
		{want: denied, status: http.StatusBadRequest, typed: true, codes: []string{
			"AttachmentLimitExceeded", "InstanceCreditSpecification.NotSupported", "InvalidInstanceType", "InvalidParameterCombination",
			"InvalidParameterValue", "PrivateIpAddressLimitExceeded", "UnsupportedHibernationConfiguration",
			"UnsupportedHostConfiguration", "UnsupportedInstanceTypeOnHost", "UnsupportedOperation", "UnsupportedTenancy",
		}},
		{want: denied, status: http.StatusBadRequest, codes: []string{
			"AuthFailure", "Blocked", "BootForVolumeTypeUnsupported", "DryRunOperation", "EncryptedVolumesNotSupported", "ExpiredToken",
			"IncompleteSignature", "InvalidAMIID.Malformed", "InvalidAMIID.NotFound", "InvalidAMIID.Unavailable", "InvalidAction",
			"InvalidAvailabilityZone", "InvalidBlockDeviceMapping", "InvalidCapacityReservationId.NotFound", "InvalidCharacter",
			"InvalidClientToken", "InvalidClientTokenId", "InvalidGroup.NotFound", "InvalidGroupId.Malformed", "InvalidHostID.NotFound",
			"InvalidHostState", "InvalidIPAddress.InUse", "InvalidInput", "InvalidInterface.IpAddressLimitExceeded", "InvalidKeyPair.NotFound",
			"InvalidLaunchTemplateId.NotFound", "InvalidLaunchTemplateId.VersionNotFound", "InvalidLaunchTemplateName.NotFoundException",
			"InvalidNetworkInterface.InUse", "InvalidNetworkInterfaceID.NotFound", "InvalidParameter", "InvalidPlacementGroup.Unknown",
			"InvalidQueryParameter", "InvalidRequest", "InvalidSecurityGroupID.NotFound", "InvalidSecurity.RequestHasExpired",
			"InvalidSnapshot.NotFound", "InvalidSubnet", "InvalidSubnetID.NotFound", "InvalidTagKey.Malformed", "InvalidUserData.Malformed",
			"KmsKeyNotAccessible", "MalformedQueryString", "MaxSpotFleetRequestCountExceeded", "MissingAction",
			"MissingAuthenticationToken", "MissingParameter", "NonDefaultVPC", "OperationNotPermitted", "OptInRequired", "ParameterNotFound",
			"PendingVerification", "RequestExpired", "RequestResourceCountExceeded", "SecurityGroupLimitExceeded",
			"SecurityGroupsPerInstanceLimitExceeded", "SignatureDoesNotMatch", "TagLimitExceeded", "TagPolicyViolation", "UnauthorizedOperation",
			"UnknownParameter", "UnknownVolumeType", "UnsupportedProtocol", "VPCIdNotSpecified", "VPCResourceNotSpecified",
		}},
		{want: unsent, status: http.StatusServiceUnavailable, codes: []string{"RequestLimitExceeded", "Throttling", "EC2ThrottledException"}},
		{want: spent, status: http.StatusBadRequest, codes: []string{"IdempotentParameterMismatch", "IdempotentInstanceTerminated"}},
		{want: unknown, status: http.StatusInternalServerError, codes: []string{"InternalError", "InternalFailure", "ServerInternal", "OfTomorrow"}},
		{want: unknown, status: http.StatusServiceUnavailable, codes: []string{"ServiceUnavailable", "Unavailable"}},
		{want: unknown, status: http.StatusRequestTimeout, codes: []string{"RequestTimeout"}},
		{want: unknown, status: http.StatusForbidden, codes: []string{"UnknownError"}}, // a proxy's
	} {
		for _, code := range c.codes {
			if got := judge(nil, answered(c.status, code)); got != c.want {
				t.Errorf("%s: outcome %d, want %d", code, got, c.want)
			}
			if got := isOfType(code); got != c.typed {
				t.Errorf("%s: another type may do: %t", code, got)
			}
		}
	}
	unreachable := &ec2.UnreachableError{Op: "run instances", Err: errors.New("connection reset")}
	if judge(nil, unreachable) != unknown || judge(nil, nil) != unknown {
		t.Error("no answer, or an answer without instances, is no outcome")
	}
}
