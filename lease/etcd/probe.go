package etcd

import (
	"context"
	"net"
	"strings"
	"time"
)

// probeTimeout bounds one attempt to connect. A slow network is left to the client, which waits longer.
const probeTimeout = 2 * time.Second

// probe connects to each endpoint and hangs up. The client would try for as long as it may and say only that time ran
// out; if every endpoint refuses, the reason is known at once.
//
// Errors: [UnreachableError].
func probe(ctx context.Context, endpoints []string) error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	answers := make(chan error, len(endpoints))
	for _, endpoint := range endpoints {
		go func() { answers <- ping(ctx, endpoint) }()
	}
	refused := &UnreachableError{Endpoints: endpoints}
	for range endpoints {
		err := <-answers
		if err == nil || ctx.Err() != nil {
			return nil
		}
		refused.Err = err
	}
	return refused
}

func ping(ctx context.Context, endpoint string) error {
	network, address := "tcp", endpoint
	if path, isUnix := strings.CutPrefix(endpoint, "unix:"); isUnix {
		network, address = "unix", strings.TrimPrefix(path, "//")
	} else if _, host, hasScheme := strings.Cut(endpoint, "://"); hasScheme {
		address = host
	}
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return err
	}
	return conn.Close()
}
