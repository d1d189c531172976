package ec2

import (
	"context"
	"errors"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
)

// codeSource gives the SDK the code of an MFA device while the settings are read. Whoever waits for a call of EC2 later, or
// for a janitor at night, is not asked.
type codeSource struct {
	ask func(context.Context, string) (string, error)
	ctx func() context.Context // of who reads the settings: the SDK hands on none

	mu     sync.Mutex
	closed bool
}

// of has the SDK ask here for the device of a profile.
func (s *codeSource) of(o *stscreds.AssumeRoleOptions) {
	device := aws.ToString(o.SerialNumber)
	o.TokenProvider = func() (string, error) {
		s.mu.Lock()
		ask := s.ask
		if s.closed {
			ask = nil
		}
		s.mu.Unlock()
		if ask == nil {
			return "", &codeError{errors.New("there is no terminal to ask for it")}
		}
		code, err := ask(s.ctx(), device)
		if err != nil {
			return "", &codeError{err}
		}
		return code, nil
	}
}

// codeError says why nobody gave the code.
type codeError struct{ err error }

func (e *codeError) Error() string { return "no code of an MFA device: " + e.err.Error() }

func (s *codeSource) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
}
