package ec2

import (
	"cmp"
	"context"
	"io"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"lapse/lease"
)

// Cloud is one region of the account that its credentials belong to. It is safe for use by many goroutines.
type Cloud struct {
	place lease.Place
	arn   string // of the caller
	ec2   *ec2.Client
	ssm   *ssm.Client
	pace  pace
	now   func() time.Time
}

// Options of a [Cloud]. The zero value is usable.
type Options struct {
	// Now is the wall clock, which may be wrong; time.Now if nil.
	Now func() time.Time
	// Share of EC2's token buckets that this Cloud may use, above 0 and up to 1; one half if 0. The rest is left to
	// others in the account.
	Share float64
	// Speed is how many times faster than EC2's the endpoint's token buckets refill: 1 if 0, and math.Inf(1) for an
	// endpoint that limits no requests.
	Speed float64
	// Observed, if not nil, is told how each attempt of a call to EC2 went, the SDK's retries included: the action, EC2's
	// error code or [CodeOK] or [CodeUnreachable], and how long it took. It is called from many goroutines.
	Observed func(place lease.Place, action, code string, took time.Duration)
}

// Open verifies, by asking STS, which account the credentials belong to. An empty region means that of cfg.
//
// Errors: [SettingsError] without a region, [UnreachableError] within 10 s.
func Open(ctx context.Context, cfg aws.Config, region string, o Options) (*Cloud, error) {
	cfg = cfg.Copy()
	cfg.Region = cmp.Or(region, cfg.Region)
	if cfg.Region == "" {
		return nil, &SettingsError{What: "region"}
	}
	if cfg.HTTPClient == nil {
		cfg.HTTPClient = awshttp.NewBuildableClient()
	}
	cfg.HTTPClient = wholeAnswers{cfg.HTTPClient}
	if o.Now == nil {
		o.Now = time.Now
	}
	account, arn, err := caller(ctx, cfg)
	if err != nil {
		return nil, err
	}
	place := lease.Place{Account: account, Region: cfg.Region}
	return &Cloud{
		place: place,
		arn:   arn,
		ec2:   ec2.NewFromConfig(cfg, withObserved(place, o.Observed)),
		ssm:   ssm.NewFromConfig(cfg),
		pace:  newPace(o.Share, o.Speed),
		now:   o.Now,
	}, nil
}

// wholeAnswers keeps the SDK from losing answers. smithy-go 1.28 closes a request's body when the answer begins, and the
// WriteTo of a closed body is an error, so net/http, if it is still making sure that the body is at its end, closes the
// connection with the answer half read. That takes a fast server or a starved process, and then happens once in 10,000
// calls. Read, which is all that is left here, copes.
type wholeAnswers struct{ client aws.HTTPClient }

func (c wholeAnswers) Do(r *http.Request) (*http.Response, error) {
	if r.Body != nil && r.Body != http.NoBody {
		r.Body = struct{ io.ReadCloser }{r.Body}
	}
	return c.client.Do(r)
}

// caller asks whose the credentials are. Nobody can be forbidden to ask.
//
// Source: https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html
func caller(ctx context.Context, cfg aws.Config) (account, arn string, err error) {
	bounded, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	out, err := sts.NewFromConfig(cfg).GetCallerIdentity(bounded, &sts.GetCallerIdentityInput{})
	if err != nil {
		return "", "", failed(ctx, "ask whose the AWS credentials are", err)
	}
	return aws.ToString(out.Account), aws.ToString(out.Arn), nil
}

// Place is the account and region.
func (c *Cloud) Place() lease.Place { return c.place }

// Caller is the ARN of whose the credentials are.
func (c *Cloud) Caller() string { return c.arn }
