package ec2

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ssm"

	"lapse/lease"
)

// Cloud is one region of one account, and sends nothing that is signed by another. It is safe for use by many goroutines.
type Cloud struct {
	location lease.Location
	proof    *proved // nil if the account was configured and not proved
	ec2      *ec2.Client
	ssm      *ssm.Client
	pace     pace
	now      func() time.Time
	product  atomic.Pointer[string] // that answers, if it ignores client tokens
}

// Options of a [Cloud]. The zero value is usable.
type Options struct {
	// Account takes the place of the proof at an endpoint that is not AWS's own and has no STS; empty everywhere else.
	Account string
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
	Observed func(location lease.Location, action, code string, took time.Duration)
}

// Open asks STS which account the credentials belong to. Every later call is signed by credentials of that account: for
// each access key that is new STS is asked again, and one of another account is refused with an [AccountError]. An empty
// region means that of cfg.
//
// Errors: [SettingsError] without a region, or for an account where none is to be given; [ProofError]
// within 10 s.
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
	cfg.APIOptions = append(slices.Clone(cfg.APIOptions), withOwnAnswers)
	if o.Now == nil {
		o.Now = time.Now
	}
	location, proof, err := locate(ctx, cfg, o.Account)
	if err != nil {
		return nil, err
	}
	if proof != nil && proof.source != nil {
		cfg.Credentials = proof
	}
	return &Cloud{
		location: location,
		proof:    proof,
		ec2:      ec2.NewFromConfig(cfg, withObserved(location, o.Observed)),
		ssm:      ssm.NewFromConfig(cfg),
		pace:     newPace(o.Share, o.Speed),
		now:      o.Now,
	}, nil
}

// locate finds out in which account the Cloud is, by proof unless an account is given.
func locate(ctx context.Context, cfg aws.Config, account string) (lease.Location, *proved, error) {
	location := lease.Location{Account: account, Region: cfg.Region}
	custom := ec2.NewFromConfig(cfg).Options().BaseEndpoint != nil
	if account != "" {
		return location, nil, checkAccount(account, custom)
	}
	proof, err := firstProof(ctx, cfg)
	answered, unproved := (*AnswerError)(nil), (*ProofError)(nil)
	switch {
	case !errors.As(err, &answered):
	case unauthenticated(answered.Err): // as in a Region that is none, or that the account has not enabled
		err = fmt.Errorf("%w; correct the region, %s, or the credentials", err, cfg.Region)
	case errors.As(err, &unproved):
		unproved.NoSTS = custom
	}
	if err != nil {
		return location, nil, err
	}
	location.Account = proof.account
	return location, proof, nil
}

// checkAccount refuses what is no account, and any at AWS itself, which proves it.
func checkAccount(account string, custom bool) error {
	const allowed = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	switch {
	case strings.Trim(account, allowed) != "":
		return &SettingsError{What: "account", Err: fmt.Errorf("%q has characters other than letters, digits, - and _", account)}
	case !custom:
		return &SettingsError{What: "account", Err: errors.New("it is only for a custom endpoint without STS, and AWS_ENDPOINT_URL names none")}
	}
	return nil
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

// Location is the account and region.
func (c *Cloud) Location() lease.Location { return c.location }

// Caller is the ARN of whose the latest credentials are; empty if the account was configured and not proved.
func (c *Cloud) Caller() string {
	if c.proof == nil {
		return ""
	}
	return c.proof.latest().arn
}
