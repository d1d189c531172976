package ec2

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"
)

// SettingsError says that the AWS settings do not suffice to call AWS.
type SettingsError struct {
	What string // "region", "credentials", "process", "sso", "mfa", "account" or "settings"
	Err  error  // may be nil
}

func (e *SettingsError) Error() string {
	switch e.What {
	case "region":
		return "no AWS region: set AWS_REGION, or region in the profile that AWS_PROFILE names"
	case "credentials":
		return fmt.Sprintf("no AWS credentials: set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "+
			"or give this machine a role (%v)", e.Err)
	case "process":
		return fmt.Sprintf("the credential_process of the AWS profile returns no credentials (%v): run it by hand to see why, or set AWS_PROFILE to another profile", e.Err)
	case "sso":
		return fmt.Sprintf("AWS SSO returns no credentials for the AWS profile (%v): run `aws sso login` first", e.Err)
	case "mfa":
		return fmt.Sprintf("the AWS profile asks for the code of an MFA device (mfa_serial): %v; run "+
			"`eval \"$(aws configure export-credentials --format env)\"` first", e.Err)
	case "account":
		return fmt.Sprintf("cannot use the account: %v", e.Err)
	}
	return fmt.Sprintf("cannot read the AWS %s: %v; fix the files in ~/.aws or the AWS_ variables", e.What, e.Err)
}

func (e *SettingsError) Unwrap() error { return e.Err }

// UnreachableError says that no answer came from AWS in time.
type UnreachableError struct {
	Op  string // what was tried
	Err error
}

func (e *UnreachableError) Error() string {
	why := e.Err
	if sent, is := errors.AsType[*url.Error](e.Err); is {
		why = sent // without what the SDK wraps around it
	}
	return fmt.Sprintf("cannot %s: AWS does not answer; check the region, the network and AWS_ENDPOINT_URL (%v)", e.Op, why)
}

func (e *UnreachableError) Unwrap() error { return e.Err }

// AnswerError is a call that AWS answered with an error of its own. It wraps the SDK's.
type AnswerError struct {
	Op        string // what was tried
	Code      string // AWS's
	Message   string // AWS's, for people alone
	RequestID string // by which AWS knows the call
	Err       error
}

func (e *AnswerError) Error() string {
	return fmt.Sprintf("cannot %s: AWS answers %s: %s (request %s)", e.Op, e.Code, e.Message, e.RequestID)
}

func (e *AnswerError) Unwrap() error { return e.Err }

// Refused reports whether AWS understood the call and would not do it.
func (e *AnswerError) Refused() bool { return refused(e.Err) }

// Throttled reports whether AWS rejected the call for its rate, before it processed it.
func (e *AnswerError) Throttled() bool { return throttled(e.Err) }

// failed says what was tried when err came back. ctx is that of the caller: if it has ended, that is the reason.
func failed(ctx context.Context, op string, err error) error {
	if err == nil {
		return nil
	}
	answered := codeOf(err) != ""
	if answered {
		err = &AnswerError{Op: op, Code: codeOf(err), Message: messageOf(err), RequestID: requestIDOf(err), Err: err}
	}
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("%s: %w (%w)", op, ctx.Err(), err)
	case answered:
		return err
	case unsigned(err) != nil:
		return fmt.Errorf("cannot %s: %w", op, unsigned(err))
	}
	return &UnreachableError{Op: op, Err: err}
}

// codeOf returns the error code with which AWS answered the call, or "" if the answer was none of AWS's. What STS says of
// the credentials answers no other call.
func codeOf(err error) string {
	api, is := errors.AsType[smithy.APIError](err)
	if !is || api.ErrorCode() == unknownCode || unsigned(err) != nil {
		return ""
	}
	return api.ErrorCode()
}

// unknownCode is what the SDK puts where an answer names no code, as those of proxies do.
const unknownCode = "UnknownError"

// messageOf returns AWS's sentence about a refusal, for people to read.
func messageOf(err error) string {
	if api, is := errors.AsType[smithy.APIError](err); is {
		return api.ErrorMessage()
	}
	return err.Error()
}

// statusOf returns the HTTP status of the answer, or 0 if there was none.
func statusOf(err error) int {
	if resp, is := errors.AsType[*awshttp.ResponseError](err); is {
		return resp.HTTPStatusCode()
	}
	return 0
}

// requestIDOf returns the id by which AWS knows the call that failed.
func requestIDOf(err error) string {
	if resp, is := errors.AsType[*awshttp.ResponseError](err); is {
		return resp.ServiceRequestID()
	}
	return ""
}

// refused reports whether AWS understood the call and would not do it: a client's error with a code, other than that of
// throttling.
//
// Source: https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html
func refused(err error) bool {
	status := statusOf(err)
	return codeOf(err) != "" && status >= 400 && status < 500 && status != http.StatusRequestTimeout && !throttled(err)
}

// throttled reports whether AWS rejected the call for its rate, before it processed it.
//
// Source: https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-throttling.html
func throttled(err error) bool {
	return slices.Contains([]string{
		"RequestLimitExceeded", "Throttling", "ThrottlingException", "ThrottledException", "RequestThrottled",
		"RequestThrottledException", "TooManyRequestsException", "EC2ThrottledException",
	}, codeOf(err))
}

// unauthenticated reports whether AWS refused the caller rather than the call, so that no other call fares better.
//
// Source: https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html#CommonErrors
func unauthenticated(err error) bool {
	return slices.Contains([]string{
		"AuthFailure", "Blocked", "ExpiredToken", "ExpiredTokenException", "IncompleteSignature", "InvalidClientTokenId",
		"MissingAuthenticationToken", "OptInRequired", "PendingVerification", "RequestExpired", "SignatureDoesNotMatch",
		"UnrecognizedClientException",
	}, codeOf(err))
}

// unauthorized reports whether AWS denies the call to the caller: by a policy, which may depend on what the call names.
//
// Source: https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html#CommonErrors
func unauthorized(err error) bool {
	return slices.Contains([]string{"UnauthorizedOperation", "AccessDenied", "AccessDeniedException"}, codeOf(err))
}
