package ec2test

import (
	"io"
	"net/http"
	"strings"
	"sync/atomic"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// Answering is an endpoint that gives the same answer to every call.
type Answering struct{ Body atomic.Pointer[string] }

// Do answers.
func (a *Answering) Do(r *http.Request) (*http.Response, error) {
	return &http.Response{
		StatusCode: http.StatusOK, Request: r, Body: io.NopCloser(strings.NewReader(*a.Body.Load())),
		Header: http.Header{"Content-Type": {"text/xml"}, "Date": {"Sun, 01 Mar 2026 12:00:00 GMT"}},
	}, nil
}

// AWS are settings that find the endpoint, and ask it once for each call.
func (a *Answering) AWS() aws.Config {
	return aws.Config{Region: Region, Credentials: Keys(), HTTPClient: a, Retryer: func() aws.Retryer { return aws.NopRetryer{} }}
}
