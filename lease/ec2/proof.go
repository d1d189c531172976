package ec2

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"golang.org/x/sync/singleflight"
)

// proved hands on the credentials of one account alone, so that whatever a [Cloud] sends is signed by that account. Long
// after the start a role, a profile or a credential process can turn to another account; there, nothing is listed and
// every instance is absent. So STS is asked once for each new access key, with that very key. It is asked only when a
// call is about to be signed, and what the SDK keeps of the source's credentials is kept before it comes here.
type proved struct {
	source  aws.CredentialsProvider // nil if nothing is signed, for an endpoint that asks for no key
	ask     func(context.Context, aws.Credentials) (identity, error)
	account string // the only one; empty until the first proof

	asking singleflight.Group
	mu     sync.Mutex
	last   identity // of the key that was proved last
}

// identity is whose an access key is.
type identity struct {
	key          accessKey
	account, arn string
}

// accessKey is all that a key consists of.
type accessKey struct{ id, secret, token string }

func keyOf(c aws.Credentials) accessKey {
	return accessKey{c.AccessKeyID, c.SecretAccessKey, c.SessionToken}
}

// firstProof takes the account that the credentials belong to now for the only one.
func firstProof(ctx context.Context, cfg aws.Config) (*proved, error) {
	p := &proved{source: cfg.Credentials, ask: askSTS(cfg)}
	if cfg.Credentials == nil || aws.IsCredentialsProvider(cfg.Credentials, (*aws.AnonymousCredentials)(nil)) {
		who, err := p.ask(ctx, aws.Credentials{}) // unsigned, too; no key can change where there is none
		if err != nil {
			return nil, &ProofError{Err: err}
		}
		p.source, p.last, p.account = nil, who, who.account
		return p, nil
	}
	_, who, err := p.prove(ctx)
	p.account = who.account
	return p, err
}

// Retrieve returns the source's credentials, with their date of expiry, if they are of the account.
//
// Errors: [ProofError], [AccountError].
func (p *proved) Retrieve(ctx context.Context) (aws.Credentials, error) {
	credentials, who, err := p.prove(ctx)
	if err != nil {
		return aws.Credentials{}, err
	}
	if who.account != p.account {
		return aws.Credentials{}, &AccountError{Want: p.account, Have: who.account, ARN: who.arn}
	}
	return credentials, nil
}

// prove retrieves credentials and finds out whose they are. Whoever needs the same new key at the same time waits for the same
// answer. One that did not come is asked for again by the next call.
func (p *proved) prove(ctx context.Context) (aws.Credentials, identity, error) {
	credentials, err := p.source.Retrieve(ctx)
	if err != nil {
		return credentials, identity{}, &ProofError{Err: fmt.Errorf("get AWS credentials: %w", err)}
	}
	key := keyOf(credentials)
	if who := p.latest(); who.key == key {
		return credentials, who, nil
	}
	answer := p.asking.DoChan(fmt.Sprintf("%q", key), func() (any, error) {
		who, err := p.ask(context.WithoutCancel(ctx), credentials) // others wait for it, too
		if err != nil {
			return who, err
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		p.last = who
		return who, nil
	})
	select {
	case <-ctx.Done():
		return credentials, identity{}, &ProofError{Err: ctx.Err()}
	case got := <-answer:
		if got.Err != nil {
			return credentials, identity{}, &ProofError{Err: got.Err}
		}
		who, _ := got.Val.(identity)
		return credentials, who, nil
	}
}

func (p *proved) latest() identity {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.last
}

// askSTS asks whose credentials are, at the endpoint, in the region and by the client of cfg, for 10 s at most. Nobody can
// be forbidden to ask.
//
// Source: https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html
func askSTS(cfg aws.Config) func(context.Context, aws.Credentials) (identity, error) {
	return func(ctx context.Context, credentials aws.Credentials) (identity, error) {
		cfg := cfg.Copy()
		if credentials.HasKeys() {
			cfg.Credentials = aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) { return credentials, nil })
		}
		bounded, cancel := context.WithTimeout(ctx, reachTimeout)
		defer cancel()
		out, err := sts.NewFromConfig(cfg).GetCallerIdentity(bounded, &sts.GetCallerIdentityInput{})
		if err != nil {
			return identity{}, failed(ctx, "check the account of the AWS credentials", err)
		}
		if aws.ToString(out.Account) == "" {
			return identity{}, errors.New("STS names no account")
		}
		return identity{key: keyOf(credentials), account: aws.ToString(out.Account), arn: aws.ToString(out.Arn)}, nil
	}
}

// ProofError says that no call was made, because it is not known to which account the AWS credentials belong. What EC2
// would have answered stays open, so it settles nothing, although Err may be an answer of STS.
type ProofError struct {
	Err error
	// NoSTS says that it may be the endpoint that has no STS: it is not AWS's own, and answered otherwise.
	NoSTS bool
}

func (e *ProofError) Error() string { return e.Err.Error() }

func (e *ProofError) Unwrap() error { return e.Err }

// RetryableError tells the SDK that STS was asked often enough.
func (e *ProofError) RetryableError() bool { return false }

// AccountError says that no call was made, because the AWS credentials have become those of another account.
type AccountError struct {
	Want, Have string // account ids
	ARN        string // whose the credentials are
}

func (e *AccountError) Error() string {
	return fmt.Sprintf("the AWS credentials now belong to account %s (%s), but this process started with account %s: restore credentials of that account, "+
		"or restart with the present ones", e.Have, e.ARN, e.Want)
}

// RetryableError tells the SDK that the same credentials come to the same.
func (e *AccountError) RetryableError() bool { return false }

// unsigned returns why a call was never signed, or nil if err is about something else.
func unsigned(err error) error {
	if other, is := errors.AsType[*AccountError](err); is {
		return other
	}
	if unproved, is := errors.AsType[*ProofError](err); is {
		return unproved
	}
	return nil
}
