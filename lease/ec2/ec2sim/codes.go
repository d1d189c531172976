package ec2sim

import "net/http"

// statusOf returns the HTTP status of an error code, and whether the code is
// one of those that are looked up here: all that the Sim uses by itself, each
// under the heading of the page where AWS lists it, and the server errors that
// a [Fault] may want. Of a code that is not listed the status is 400.
func statusOf(code string) (status int, listed bool) {
	switch code {
	// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html#CommonErrors
	// Statuses other than 400 are those that the service has been seen to send.
	case "AuthFailure":
		return http.StatusUnauthorized, true
	case "DryRunOperation":
		return http.StatusPreconditionFailed, true
	case "MissingAuthenticationToken", "UnauthorizedOperation":
		return http.StatusForbidden, true
	case "IdempotentParameterMismatch", "InvalidAction", "InvalidPaginationToken", "InvalidParameterCombination",
		"InvalidParameterValue", "MalformedQueryString", "MissingAction", "MissingParameter", "UnsupportedOperation":
		return http.StatusBadRequest, true

	// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html#api-error-codes-table-client
	case "FilterLimitExceeded", "InvalidAMIID.Malformed", "InvalidClientToken", "InvalidID",
		"InvalidInstanceID.Malformed", "InvalidInstanceID.NotFound", "InvalidKey.Format", "InvalidKeyPair.Duplicate", "InvalidKeyPair.NotFound",
		"InvalidLaunchTemplateId.Malformed", "InvalidLaunchTemplateId.NotFound", "InvalidLaunchTemplateId.VersionNotFound",
		"InvalidLaunchTemplateName.NotFoundException", "InvalidNetworkInterface.InUse", "InvalidNetworkInterfaceID.NotFound",
		"InvalidNetworkInterfaceId.Malformed", "InvalidSpotInstanceRequestID.Malformed",
		"InvalidSpotInstanceRequestID.NotFound", "InvalidSubnetID.NotFound", "InvalidVolume.NotFound",
		"InvalidVolumeID.Malformed", "OperationNotPermitted", "TagLimitExceeded", "Unsupported", "VolumeInUse":
		return http.StatusBadRequest, true

	// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html#api-error-codes-table-server
	case "InsufficientAddressCapacity", "InsufficientCapacity", "InsufficientHostCapacity", "InsufficientInstanceCapacity",
		"InsufficientReservedInstanceCapacity", "InsufficientVolumeCapacity", "InternalError", "InternalFailure", "ServerInternal":
		return http.StatusInternalServerError, true
	case "RequestLimitExceeded", "ServiceUnavailable", "Unavailable":
		return http.StatusServiceUnavailable, true

	// https://docs.aws.amazon.com/STS/latest/APIReference/CommonErrors.html
	case "AccessDenied":
		return http.StatusForbidden, true

	// https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_GetParameter.html#API_GetParameter_Errors
	case "ParameterNotFound":
		return http.StatusBadRequest, true
	// https://smithy.io/2.0/aws/protocols/aws-json-1_1-protocol.html, what SSM speaks, for what it cannot read
	case "SerializationException":
		return http.StatusBadRequest, true
	}
	return http.StatusBadRequest, false
}
