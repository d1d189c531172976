package sim

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"reflect"
	"strings"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"lapse/lease/ec2"
)

// cloud is EC2 as the process reaches it: the real client of the SDK, with its retries and its middleware. Only the XML
// is left out, which was nine tenths of the time: the transport is handed the input as it is, and its answer is the output.
func (p *process) cloud() (*ec2.Cloud, error) {
	cfg := aws.Config{
		Region: region, Credentials: p, HTTPClient: transport{p},
		BaseEndpoint: aws.String("http://ec2.invalid"), APIOptions: []func(*middleware.Stack) error{plain},
		Retryer: func() aws.Retryer {
			return retry.NewStandard(func(o *retry.StandardOptions) { o.Backoff = steady{} })
		},
	}
	return ec2.Open(p.ctx, cfg, "", ec2.Options{Now: p.clock.now})
}

// steady is the SDK's backoff without its own chance.
type steady struct{}

func (steady) BackoffDelay(attempt int, _ error) (time.Duration, error) {
	return 300*time.Millisecond<<min(attempt, 5) + 17*time.Microsecond, nil
}

type inputKey struct{}

// plain passes the input on to the transport, and takes its answer instead of reading XML.
func plain(stack *middleware.Stack) error {
	remember := middleware.InitializeMiddlewareFunc("sim.input", func(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (
		middleware.InitializeOutput, middleware.Metadata, error,
	) {
		return next.HandleInitialize(context.WithValue(ctx, inputKey{}, in.Parameters), in)
	})
	if err := stack.Initialize.Add(remember, middleware.After); err != nil {
		return err
	}
	answer := middleware.DeserializeMiddlewareFunc("OperationDeserializer", func(ctx context.Context, in middleware.DeserializeInput, next middleware.DeserializeHandler) (
		middleware.DeserializeOutput, middleware.Metadata, error,
	) {
		out, metadata, err := next.HandleDeserialize(ctx, in)
		if err != nil {
			return out, metadata, err
		}
		resp, ok := out.RawResponse.(*smithyhttp.Response)
		if !ok {
			return out, metadata, fmt.Errorf("a response of type %T", out.RawResponse)
		}
		body, ok := resp.Body.(answered)
		if !ok {
			return out, metadata, fmt.Errorf("a body of type %T", resp.Body)
		}
		out.Result = body.output
		return out, metadata, body.err
	})
	_, err := stack.Deserialize.Swap("OperationDeserializer", answer)
	return err
}

// answered is a body that is no text.
type answered struct {
	io.ReadCloser
	output any
	err    error
}

// transport is the process's way to EC2.
type transport struct{ p *process }

// Do sends a request, which may be lost, late, or not be answered. A caller that gives up goes on a moment later: two calls
// that are given 30 s each would end at the very instant at which what may last a minute ends, and the two would come in
// any order.
func (t transport) Do(r *http.Request) (*http.Response, error) {
	ctx, in := r.Context(), r.Context().Value(inputKey{})
	f := t.p.fate(toEC2, action(in)+" "+subject(in), 20*time.Millisecond, 250*time.Millisecond)
	defer func() {
		if ctx.Err() != nil {
			time.Sleep(f.noticed)
		}
	}()
	reset := &net.OpError{Op: "read", Net: "tcp", Err: syscall.ECONNRESET}
	sent := time.Now()
	if f.lost && f.reset {
		_ = wait(ctx, f.before)
		return nil, reset
	}
	if f.lost {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if !wait(ctx, f.before) { // it is on its way, and lands
		late := f.before - time.Since(sent)
		t.p.w.processes.Go(func() {
			time.Sleep(late)
			_, _ = t.serve(r, sent, in)
		})
		return nil, ctx.Err()
	}
	out, err := t.serve(r, sent, in)
	date := time.Now()
	wait(ctx, f.after)
	switch {
	case f.unanswered && f.reset:
		return nil, reset
	case f.unanswered:
		<-ctx.Done()
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	resp := &http.Response{
		StatusCode: http.StatusMultipleChoices, // no success, for there is no XML in it that could be checked
		Header:     http.Header{"Date": {date.UTC().Format(http.TimeFormat)}},
		Proto:      "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: r,
	}
	if err != nil {
		resp.StatusCode = err.status
		resp.Body = answered{ReadCloser: http.NoBody, err: &smithy.GenericAPIError{Code: err.code, Message: err.code}}
		return resp, nil
	}
	resp.Body = answered{ReadCloser: http.NoBody, output: out}
	return resp, nil
}

// serve does a call for the account whose key has signed it. AWS takes no signature that is older than five minutes.
//
// Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-troubleshooting.html
func (t transport) serve(r *http.Request, sent time.Time, in any) (any, *refused) {
	const signatureMax = 5 * time.Minute
	switch {
	case time.Since(sent) > signatureMax:
		return nil, refusal("RequestExpired")
	case strings.Contains(r.Header.Get("Authorization"), "AKIA"+otherAccount):
		return serveEmpty(in)
	}
	return t.p.w.fleet.serve(t.p, sent, in)
}

// serveEmpty answers as an account does in which there is nothing.
func serveEmpty(in any) (any, *refused) {
	switch in.(type) {
	case *sts.GetCallerIdentityInput:
		return &sts.GetCallerIdentityOutput{Account: aws.String(otherAccount), Arn: aws.String("arn:aws:iam::" + otherAccount + ":user/sim")}, nil
	case *awsec2.DescribeInstancesInput:
		return &awsec2.DescribeInstancesOutput{}, nil
	case *awsec2.DescribeVolumesInput:
		return &awsec2.DescribeVolumesOutput{}, nil
	case *awsec2.DescribeNetworkInterfacesInput:
		return &awsec2.DescribeNetworkInterfacesOutput{}, nil
	case *awsec2.DescribeSpotInstanceRequestsInput:
		return &awsec2.DescribeSpotInstanceRequestsOutput{}, nil
	}
	return nil, refusal("InvalidInstanceID.NotFound")
}

// Retrieve gives out the credentials that the process finds: at times those of another account. A key is never the same
// again after a change.
func (p *process) Retrieve(context.Context) (aws.Credentials, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	of := account
	if time.Now().Before(p.elsewhere) {
		of = otherAccount
	}
	return aws.Credentials{AccessKeyID: fmt.Sprintf("AKIA%sN%d", of, p.elsewhere.Unix()), SecretAccessKey: "secret"}, nil
}

// wait reports false if ctx ended first.
func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// action is the name of a call, by the type of its input.
func action(in any) string {
	return strings.TrimSuffix(reflect.TypeOf(in).Elem().Name(), "Input")
}
