package etcd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"time"

	"github.com/coreos/go-semver/semver"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"

	"lapse/lease/etcd/internal/zaplog"
)

// Config says where etcd is.
type Config struct {
	Endpoints         []string // host:port, https://host:port or unix:///path
	CACert, Cert, Key string   // files, read again for each connection; empty for none
	Logger            *slog.Logger
}

// Bounds of a dial, and of a connection that went dead: a call on it notices within keepAliveTime and its time-out. While
// there is no call, nothing is asked: etcd takes that for abuse, and hangs up on clients that were idle for a minute.
//
// Source: https://github.com/grpc/grpc-go/blob/master/Documentation/keepalive.md and etcd's embed, which forbids pings
// without a stream.
const (
	dialTimeout      = 10 * time.Second
	stragglerTimeout = time.Second // for other endpoints, once one has answered
	keepAliveTime    = 10 * time.Second
	keepAliveTimeout = 3 * time.Second
	maxSendSize      = 16 << 20 // bytes
)

// Pauses between attempts to connect, and how long one of them may take before the next.
const (
	reconnectMin    = 200 * time.Millisecond
	reconnectMax    = 2 * time.Second
	reconnectJitter = 0.25 // of a pause, either way
	connectTimeout  = 5 * time.Second
)

// Dial returns a client after at least one endpoint has answered, within 10 s. Every endpoint that answers must run an
// etcd that is new enough.
//
// Errors: [UnreachableError], [VersionError].
func Dial(ctx context.Context, c Config) (*clientv3.Client, error) {
	if len(c.Endpoints) == 0 {
		return nil, errors.New("no etcd endpoint is given")
	}
	zap := zaplog.New(c.Logger)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	tls, err := c.certificates()
	if err != nil {
		return nil, err
	}
	if err := probe(ctx, c.Endpoints); err != nil {
		return nil, err
	}
	away := new(outage)
	options := []grpc.DialOption{connectParams(), grpc.WithChainUnaryInterceptor(away.intercept)}
	if tls != nil { // etcd's client applies these options last, so that they replace its own credentials
		options = append(options, grpc.WithTransportCredentials(tls))
	}
	client, err := clientv3.New(clientv3.Config{
		Endpoints: c.Endpoints, Logger: zap, DialOptions: options,
		DialKeepAliveTime: keepAliveTime, DialKeepAliveTimeout: keepAliveTimeout,
		MaxCallSendMsgSize: maxSendSize, MaxCallRecvMsgSize: math.MaxInt32,
	})
	if err != nil {
		return nil, fmt.Errorf("dial etcd: %w", err)
	}
	if err := checkVersions(ctx, client, c.Endpoints); err != nil {
		var unreachable *UnreachableError
		if reason := away.last(); reason != "" && errors.As(err, &unreachable) {
			unreachable.Err = fmt.Errorf("%w: %s", unreachable.Err, reason)
		}
		return nil, errors.Join(err, client.Close())
	}
	away.dialled(c.Logger)
	return client, nil
}

// connectParams let a connection that broke be tried again every 2 s at most: gRPC would rest up to 2 min, which is more
// than most heartbeats have.
func connectParams() grpc.DialOption {
	return grpc.WithConnectParams(grpc.ConnectParams{
		Backoff: backoff.Config{
			BaseDelay: reconnectMin, Multiplier: backoff.DefaultConfig.Multiplier,
			Jitter: reconnectJitter, MaxDelay: reconnectMax * 4 / 5, // to which gRPC adds the jitter
		},
		MinConnectTimeout: connectTimeout,
	})
}

// statusReader is the part of clientv3.Maintenance that names a server's version.
type statusReader interface {
	Status(ctx context.Context, endpoint string) (*clientv3.StatusResponse, error)
}

// checkVersions asks all endpoints side by side. It waits for the first, and a little longer for the others: those that
// are down are no reason to refuse the rest.
func checkVersions(ctx context.Context, client statusReader, endpoints []string) error {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	answers := make(chan error, len(endpoints)) // nil, a VersionError, or why there is no answer
	for _, endpoint := range endpoints {
		go func() { answers <- checkVersion(ctx, client, endpoint) }()
	}
	unreachable := &UnreachableError{Endpoints: endpoints}
	answered := false
	for range endpoints {
		err := <-answers
		var old *VersionError
		switch {
		case errors.As(err, &old):
			return err
		case err != nil:
			unreachable.Err = err
		case !answered:
			answered = true
			defer time.AfterFunc(stragglerTimeout, cancel).Stop()
		}
	}
	if !answered {
		return unreachable
	}
	return nil
}

func checkVersion(ctx context.Context, client statusReader, endpoint string) error {
	status, err := client.Status(ctx, endpoint)
	if err != nil {
		return err
	}
	return newEnough(endpoint, status.Version)
}

// newEnough refuses a version that is not to be trusted, with a [VersionError].
func newEnough(endpoint, text string) error {
	version, err := semver.NewVersion(text)
	if err != nil || version.LessThan(*semver.New(minVersion)) {
		return &VersionError{Endpoint: endpoint, Version: text}
	}
	return nil
}
