package sidecar

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"lapse/lease"
	"lapse/lease/problem"
)

const (
	callSidecarMax = crowdedMax + requestMax + 5*time.Second // the sidecar answers sooner, be it with an error
	answerMax      = 32 << 20                                // 1,000 peers may have 50 labels each
)

// Client asks the sidecar of this instance. What the sidecar refuses comes back as the typed error that it was refused
// with, found by errors.As.
type Client struct {
	socket string
	http   *http.Client
}

// NewClient returns a client of the sidecar that serves socket.
func NewClient(socket string) *Client {
	return &Client{socket: socket, http: &http.Client{
		Timeout:   callSidecarMax,
		Transport: &http.Transport{DialContext: dialer(socket), DisableKeepAlives: true},
	}}
}

// Status is what the sidecar knows.
//
// Errors: [NotRunningError], [ClosedError], [CrowdedError].
func (c *Client) Status(ctx context.Context) (Status, error) {
	var s Status
	err := c.call(ctx, http.MethodGet, "status", nil, &s)
	return s, err
}

// Peers are the instances of the same launch whose leases are valid and whose sidecars renew, with this one among them.
//
// Errors: [NotRunningError], [ClosedError], [CrowdedError], [lease.NotFoundError] while no lease is bound or if the launch is not on record,
// [lease.StateError], [lease.TooOftenError], [lease.UnavailableError], and [lease.LimitError] if the registry is too large to search.
func (c *Client) Peers(ctx context.Context) ([]lease.Peer, error) {
	var answer PeersAnswer
	err := c.call(ctx, http.MethodGet, "peers", nil, &answer)
	return answer.Peers, err
}

// Extend moves the expiry; what was granted may be less than what was asked for, unless the request is strict.
//
// Errors: [NotRunningError], [ClosedError], [CrowdedError], [lease.LimitError], [lease.NotFoundError] while no lease is bound, [lease.StateError],
// [lease.PastError], [lease.ShortenError], [lease.ClampedError], [lease.ConflictError], [lease.UnavailableError],
// [lease.OutcomeUnknownError].
func (c *Client) Extend(ctx context.Context, req lease.ExtendRequest) (lease.Extended, error) {
	var e lease.Extended
	err := c.call(ctx, http.MethodPost, "extend", req, &e)
	return e, c.unknown(err, lease.OutcomeUnknownError{Verb: "extend", Until: req.Until})
}

// Release gives the lease back, which terminates this instance.
//
// Errors: [NotRunningError], [ClosedError], [CrowdedError], [ForbiddenError], [lease.LimitError], [lease.NotFoundError], [lease.StateError],
// [lease.ConflictError], [lease.OutcomeUnknownError].
func (c *Client) Release(ctx context.Context, reason string) (lease.Lease, error) {
	var l lease.Lease
	err := c.call(ctx, http.MethodPost, "release", ReleaseRequest{Reason: reason}, &l)
	return l, c.unknown(err, lease.OutcomeUnknownError{Verb: "release"})
}

// unknown turns a missing answer to a write into what it means.
func (c *Client) unknown(err error, unknown lease.OutcomeUnknownError) error {
	var broken *brokenError
	if !errors.As(err, &broken) {
		return err
	}
	unknown.Why = broken.Error()
	return &unknown
}

func (c *Client) call(ctx context.Context, method, path string, body, into any) error {
	sent, err := json.Marshal(body)
	if err != nil {
		return err
	}
	if body == nil {
		sent = nil
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://sidecar/v1/"+path, bytes.NewReader(sent))
	if err != nil {
		return err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return c.noAnswer(err)
	}
	defer resp.Body.Close()
	d := json.NewDecoder(io.LimitReader(resp.Body, answerMax))
	if resp.StatusCode != http.StatusOK {
		var p problem.Details
		if err := d.Decode(&p); err != nil || p.Detail == "" {
			return &brokenError{fmt.Errorf("status %d", resp.StatusCode)}
		}
		return p.Err(forbidden())
	}
	if err := d.Decode(into); err != nil {
		return &brokenError{err}
	}
	return nil
}
