package ec2

import (
	"context"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/smithy-go/middleware"

	"lapse/lease"
)

// Codes of calls that EC2 answered with no error code.
const (
	CodeOK          = "OK"
	CodeUnreachable = "unreachable" // no answer, or none of EC2's own
)

// withObserved tells, after each attempt of each call to EC2, how it went. The retries that the SDK makes by itself are
// attempts too, so that what EC2 counts is counted here.
func withObserved(location lease.Location, observed func(location lease.Location, action, code string, took time.Duration)) func(*ec2.Options) {
	observe := func(ctx context.Context, in middleware.DeserializeInput, next middleware.DeserializeHandler) (
		middleware.DeserializeOutput, middleware.Metadata, error,
	) {
		began := time.Now()
		out, metadata, err := next.HandleDeserialize(ctx, in)
		code := CodeOK
		if err != nil {
			if code = codeOf(err); code == "" {
				code = CodeUnreachable
			}
		}
		observed(location, middleware.GetOperationName(ctx), code, time.Since(began))
		return out, metadata, err
	}
	return func(o *ec2.Options) {
		if observed == nil {
			return
		}
		o.APIOptions = append(o.APIOptions, func(stack *middleware.Stack) error {
			// The outermost of the steps that the SDK repeats: a call is counted when it was sent, and its answer read.
			return stack.Deserialize.Add(middleware.DeserializeMiddlewareFunc("lapse.observed", observe), middleware.Before)
		})
	}
}
