package api

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptrace"
	"os"
	"strings"
	"sync"
	"time"

	"lapse/lease"
	"lapse/lease/api/wire"
)

// clientMax bounds one call, if the caller sets no bound that is shorter: the server needs up to 10 s.
const clientMax = 15 * time.Second

// ClientConfig of a client.
type ClientConfig struct {
	URL        string // see [lease.CheckAPI]
	CAFile     string // PEM of who signs the server's certificate, read again when it changes; empty: the system's roots
	KeyFile    string // see [Key]; empty: a key that nobody keeps, as for [Client.Certificate]
	InstanceID string
	// Prove returns the identity document, and the join token or "".
	Prove         func(ctx context.Context) (document, token string, err error)
	Logger        *slog.Logger
	Dial          func(ctx context.Context, network, address string) (net.Conn, error) // nil: as net dials
	Resolver      *net.Resolver                                                        // nil: the system's
	ConnectionAge time.Duration                                                        // a connection is replaced after half of it to all of it; 30 min if 0
	// Transport is in the place of HTTPS where there are no sockets; nil: HTTPS with the key.
	Transport http.RoundTripper
}

// Client is an instance's way to its own lease through the API. It enrols when it has to.
type Client struct {
	cfg   ClientConfig
	key   tls.Certificate
	reach *reach

	mu     sync.Mutex
	client *http.Client
	tls    *tls.Config // of client
	roots  os.FileInfo // of CAFile, as client was made with
}

// NewClient reads or makes the key. It sends nothing.
//
// Errors: [lease.LimitError] for the URL.
func NewClient(cfg ClientConfig) (*Client, error) {
	cfg.URL = strings.TrimSuffix(cfg.URL, "/")
	if err := lease.CheckAPI(cfg.URL); err != nil {
		return nil, err
	}
	key, err := Key(cfg.KeyFile, cfg.Logger)
	if err != nil {
		return nil, err
	}
	reach, err := newReach(cfg)
	if err != nil {
		return nil, err
	}
	return &Client{cfg: cfg, key: key, reach: reach}, nil
}

// Claim makes the heartbeat this boot's.
//
// Errors: [lease.StateError], [lease.ConflictError], and those of enrolment: [lease.UnprovedError], [lease.UncheckedError],
// [lease.KeysError].
func (c *Client) Claim(ctx context.Context, h lease.Heartbeat) (lease.Claim, error) {
	renewed, err := c.renew(ctx, h, true)
	return lease.Claim{Heartbeat: renewed.Heartbeat}, err
}

// Renew renews the heartbeat and returns the lease, zero if none is bound yet.
//
// Errors: those of Claim; [lease.ClaimLostError]; [lease.MalformedError] or [lease.SchemaError] if the lease cannot be read, and
// the renewal holds.
func (c *Client) Renew(ctx context.Context, claim lease.Claim, h lease.Heartbeat) (lease.Claim, lease.Lease, error) {
	renewed, err := c.renew(ctx, h, false)
	if err != nil {
		return claim, lease.Lease{}, err
	}
	claim = lease.Claim{Heartbeat: renewed.Heartbeat}
	if renewed.Unreadable != nil {
		return claim, lease.Lease{}, renewed.Unreadable.Err()
	}
	if renewed.Lease == nil {
		return claim, lease.Lease{}, nil
	}
	return claim, *renewed.Lease, nil
}

func (c *Client) renew(ctx context.Context, h lease.Heartbeat, claim bool) (wire.Renewed, error) {
	var renewed wire.Renewed
	err := c.call(ctx, http.MethodPut, "/heartbeat", wire.RenewRequest{
		Claim: claim, BootID: h.BootID, Address: h.Address, Version: h.Version, Changes: h.Changes, HeartbeatTimeout: h.HeartbeatTimeout, Since: h.Since,
	}, &renewed)
	if err == nil && (renewed.Heartbeat.InstanceID != c.cfg.InstanceID || renewed.Lease != nil && renewed.Lease.InstanceID != c.cfg.InstanceID) {
		err = notAPI()
	}
	return renewed, err
}

// Checkpoint is that of the last sweep.
//
// Errors: [lease.NotFoundError], [lease.UnavailableError].
func (c *Client) Checkpoint(ctx context.Context) (lease.Checkpoint, error) {
	var shown wire.Shown
	if err := c.call(ctx, http.MethodGet, "", nil, &shown); err != nil {
		return lease.Checkpoint{}, noAnswer(err)
	}
	if shown.Checkpoint == nil {
		return lease.Checkpoint{}, &lease.NotFoundError{Kind: "checkpoint"}
	}
	return *shown.Checkpoint, nil
}

// Peers are the instances of the same launch that live, with this one among them.
//
// Errors: [lease.NotFoundError] while no lease is bound, or if the launch is not on record; [lease.StateError] once the lease is over;
// [lease.TooOftenError], [lease.UnavailableError], [lease.NotEnrolledError].
func (c *Client) Peers(ctx context.Context, _ string) ([]lease.Peer, error) {
	var answer wire.Peers
	err := c.call(ctx, http.MethodGet, "/peers", nil, &answer)
	if err == nil && answer.Peers == nil {
		err = notAPI()
	}
	return answer.Peers, noAnswer(err)
}

// Extend moves the expiry, as far as the lease allows.
//
// Errors: those of package self, and [lease.NotEnrolledError].
func (c *Client) Extend(ctx context.Context, _ string, req lease.ExtendRequest, by lease.By) (lease.Extended, error) {
	var extended lease.Extended
	err := c.call(ctx, http.MethodPost, "/extend", wire.ExtendCall{ExtendRequest: req, User: c.user(by)}, &extended)
	if err == nil && extended.Lease.InstanceID != c.cfg.InstanceID {
		err = notAPI()
	}
	return extended, unanswered(err, lease.OutcomeUnknownError{Verb: "extend", Until: req.Until})
}

// Release gives the lease back.
//
// Errors: those of package self; [lease.ContestedError], [lease.NotEnrolledError].
func (c *Client) Release(ctx context.Context, _ string, by lease.By) (lease.Lease, error) {
	var released lease.Lease
	err := c.call(ctx, http.MethodPost, "/release", wire.ReleaseRequest{Reason: by.Reason, User: c.user(by)}, &released)
	if err == nil && released.InstanceID != c.cfg.InstanceID {
		err = notAPI()
	}
	return released, unanswered(err, lease.OutcomeUnknownError{Verb: "release"})
}

// Certificate is that of the server, if it answers as the API does. It asks nothing that concerns an instance.
func (c *Client) Certificate(ctx context.Context) (*x509.Certificate, error) {
	resp, _, err := c.send(ctx, http.MethodGet, "/openapi.yaml", nil)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK || resp.TLS == nil {
		return nil, fmt.Errorf("it answers %s, as no API of Lapse does", resp.Status)
	}
	return resp.TLS.PeerCertificates[0], nil
}

// user is who acts, beside the instance, of which the server knows.
func (c *Client) user(by lease.By) string {
	_, user, _ := strings.Cut(by.Actor, " ")
	return user
}

// call asks, and enrols first if the server does not know the key.
func (c *Client) call(ctx context.Context, method, path string, body, into any) error {
	err := c.once(ctx, method, path, body, into)
	if _, unknown := errors.AsType[*lease.NotEnrolledError](err); !unknown {
		return err
	}
	if err := c.enrol(ctx); err != nil {
		return err
	}
	return c.once(ctx, method, path, body, into)
}

// enrol proves to the server that this is the instance. Nothing of the request was done before.
func (c *Client) enrol(ctx context.Context) error {
	document, token, err := c.cfg.Prove(ctx)
	if err != nil {
		return fmt.Errorf("prove which instance this is: %w", err)
	}
	var enrolled wire.Enrolled
	if err := c.once(ctx, http.MethodPost, "/enrolment", wire.EnrolRequest{Document: document, JoinToken: token}, &enrolled); err != nil {
		return err
	}
	c.cfg.Logger.InfoContext(ctx, "enrolled with the API", "url", c.cfg.URL, "keys", enrolled.Keys, "contested", enrolled.Contested)
	return nil
}

func (c *Client) once(ctx context.Context, method, path string, body, into any) error {
	var sent io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return err
		}
		sent = bytes.NewReader(text)
	}
	ctx, cancel := context.WithTimeout(ctx, clientMax)
	defer cancel()
	resp, address, err := c.send(ctx, method, "/v1/instances/"+c.cfg.InstanceID+path, sent)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	err = read(resp, into)
	_, away := errors.AsType[*lease.UnavailableError](err)
	_, cut := errors.AsType[*unansweredError](err)
	if away || cut { // this replica has no etcd, or no whole answer: another may
		c.leave(address)
	}
	return err
}

// leave has the next call connect again, and try an address last.
func (c *Client) leave(address string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.client != nil {
		c.client.CloseIdleConnections()
	}
	if address != "" {
		c.reach.fails(address)
	}
}

// send sends one request, and says to which address. One that gives no answer is tried last from then on.
func (c *Client) send(ctx context.Context, method, path string, body io.Reader) (resp *http.Response, address string, err error) {
	client, err := c.current()
	if err != nil {
		return nil, "", err
	}
	if c.cfg.Transport == nil && c.reach.isOld() {
		c.freshen(ctx, client)
	}
	ctx = httptrace.WithClientTrace(until(ctx), &httptrace.ClientTrace{GotConn: func(got httptrace.GotConnInfo) { address = got.Conn.RemoteAddr().String() }})
	req, err := http.NewRequestWithContext(ctx, method, c.reach.origin()+path, body)
	if err != nil {
		return nil, "", err
	}
	if resp, err = client.Do(req); err == nil {
		return resp, address, nil
	}
	if errors.Is(err, context.Canceled) {
		address = ""
	}
	c.leave(address)
	return nil, "", &unansweredError{cmp.Or(errors.Unwrap(err), err)}
}

// freshen replaces a connection that is old, once there is another: the old one may be all that works.
func (c *Client) freshen(ctx context.Context, client *http.Client) {
	if end, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(end)/2)
		defer cancel()
	}
	c.mu.Lock()
	config := c.tls
	c.mu.Unlock()
	conn, err := c.reach.connect(ctx, config)
	if err != nil {
		c.reach.putOff()
		return
	}
	c.reach.keep(conn)
	client.CloseIdleConnections()
}

// current is the HTTP client with the roots as they are now.
func (c *Client) current() (*http.Client, error) {
	if c.cfg.Transport != nil {
		return &http.Client{CheckRedirect: noRedirect, Transport: c.cfg.Transport}, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	var info os.FileInfo
	if c.cfg.CAFile != "" {
		var err error
		if info, err = os.Stat(c.cfg.CAFile); err != nil && c.client == nil {
			return nil, fmt.Errorf("read the CA of the API: %w", err)
		}
	}
	if c.client != nil && (info == nil || c.roots != nil && info.ModTime().Equal(c.roots.ModTime()) && info.Size() == c.roots.Size()) {
		return c.client, nil
	}
	var roots *x509.CertPool
	if info != nil {
		text, err := os.ReadFile(c.cfg.CAFile)
		if roots = x509.NewCertPool(); err != nil || !roots.AppendCertsFromPEM(text) {
			err = cmp.Or(err, error(&lease.LimitError{What: "the CA of the API, " + c.cfg.CAFile + ",", Why: "must have a certificate in PEM"}))
			if c.client != nil {
				c.cfg.Logger.Warn("keeping the certificates of before: the new file cannot be read", "file", c.cfg.CAFile, "error", err)
				c.roots = info
				return c.client, nil
			}
			return nil, err
		}
	}
	if c.client != nil {
		c.client.CloseIdleConnections()
	}
	c.roots = info
	c.client = c.with(roots)
	return c.client, nil
}

func (c *Client) with(roots *x509.CertPool) *http.Client {
	config := &tls.Config{
		MinVersion: tls.VersionTLS13, ServerName: c.reach.host, RootCAs: roots, Certificates: []tls.Certificate{c.key}, NextProtos: []string{"http/1.1"},
	}
	c.tls = config
	return &http.Client{
		CheckRedirect: noRedirect,
		Transport: &http.Transport{
			DialTLSContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				if kept := c.reach.kept(); kept != nil {
					return kept, nil
				}
				conn, err := c.reach.connect(ctx, config)
				if err != nil {
					return nil, &unconnectedError{err}
				}
				return conn, nil
			},
			MaxIdleConns: 1, MaxResponseHeaderBytes: 16 << 10,
		},
	}
}

func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
