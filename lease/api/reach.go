package api

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"time"

	"lapse/lease"
)

const (
	httpsPort = "443"
	// tryMin is the least time for connecting to one of several addresses: TCP and TLS, with a replica that is busy.
	tryMin = 500 * time.Millisecond
	// avoidedFor is how long an address that failed is tried after the others.
	avoidedFor = 5 * time.Minute
	// connectionAge is how long a connection is used at most, and half of it at least: so clients spread again over replicas that
	// came back. 100,000 clients then make about 70 connections a second.
	connectionAge = 30 * time.Minute
)

// reach connects to the API. Its name is looked up for each connection, so that an API that moved is found by the next one. An
// address that failed is tried last for a while, so that a dead one among several costs one call at most.
type reach struct {
	host, port string // port is empty for SRV
	resolver   *net.Resolver
	dial       func(ctx context.Context, network, address string) (net.Conn, error)
	age        time.Duration

	mu     sync.Mutex
	known  []string             // addresses of the last look-up that succeeded, by preference
	failed map[string]time.Time // addresses, by when they last failed
	old    time.Time            // the last connection is, from then on
	spare  net.Conn             // made to replace an old one; nil: none
}

// newReach is for a URL that [lease.CheckAPI] accepts.
func newReach(cfg ClientConfig) (*reach, error) {
	u, err := url.Parse(cfg.URL)
	if err != nil {
		return nil, fmt.Errorf("parse the URL of the API: %w", err)
	}
	r := &reach{
		host: u.Hostname(), resolver: cfg.Resolver, dial: cfg.Dial, age: cmp.Or(cfg.ConnectionAge, connectionAge), failed: map[string]time.Time{},
	}
	if u.Scheme != lease.SchemeSRV {
		r.port = cmp.Or(u.Port(), httpsPort)
	}
	if r.resolver == nil {
		r.resolver = net.DefaultResolver
	}
	if r.dial == nil {
		r.dial = new(net.Dialer).DialContext
	}
	return r, nil
}

// origin is the URL of requests. The names in a server's certificate must have its host, wherever SRV records lead.
func (r *reach) origin() string {
	switch {
	case r.port != "":
		return "https://" + net.JoinHostPort(r.host, r.port)
	default:
		return "https://" + r.host
	}
}

type untilKey struct{}

// until lets connect know the end of the call: net/http hides a request's deadline from those who dial for it.
func until(ctx context.Context) context.Context {
	if end, ok := ctx.Deadline(); ok {
		return context.WithValue(ctx, untilKey{}, end)
	}
	return ctx
}

// connect makes a connection to the first address that answers.
func (r *reach) connect(ctx context.Context, config *tls.Config) (net.Conn, error) {
	if end, ok := ctx.Value(untilKey{}).(time.Time); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, end)
		defer cancel()
	}
	addresses, err := r.addresses(ctx)
	if err != nil {
		return nil, err
	}
	var failures []error
	for n, address := range addresses {
		conn, err := r.try(ctx, address, len(addresses)-n, config)
		if err == nil {
			r.connected()
			return conn, nil
		}
		failures = append(failures, err)
		if errors.Is(ctx.Err(), context.Canceled) {
			break
		}
		r.fails(address)
		if ctx.Err() != nil {
			break
		}
	}
	return nil, errors.Join(failures...)
}

// try makes a connection to one of the addresses that are left, within its share of the time.
func (r *reach) try(ctx context.Context, address string, left int, config *tls.Config) (net.Conn, error) {
	if end, ok := ctx.Deadline(); ok && left > 1 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, max(time.Until(end)/time.Duration(left), tryMin))
		defer cancel()
	}
	raw, err := r.dial(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	conn := tls.Client(raw, config)
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		return nil, fmt.Errorf("TLS with %s: %w", address, err)
	}
	return conn, nil
}

// addresses are those of the name as they are now, the ones that failed lately last. If DNS does not answer, they are those of
// the last time.
func (r *reach) addresses(ctx context.Context) ([]string, error) {
	looking := ctx
	r.mu.Lock()
	knows := len(r.known) > 0
	r.mu.Unlock()
	if end, ok := ctx.Deadline(); ok && knows { // else nothing is left to do but to wait for DNS
		var cancel context.CancelFunc
		looking, cancel = context.WithTimeout(ctx, time.Until(end)/2)
		defer cancel()
	}
	found, err := r.lookUp(looking)
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case err == nil:
		r.known = found
	case len(r.known) == 0:
		return nil, err
	}
	maps.DeleteFunc(r.failed, func(_ string, at time.Time) bool { return time.Since(at) >= avoidedFor })
	return slices.SortedStableFunc(slices.Values(r.known), func(a, b string) int { return r.failed[a].Compare(r.failed[b]) }), nil
}

// lookUp asks DNS. The addresses of one name come in random order, SRV targets as RFC 2782 has it.
func (r *reach) lookUp(ctx context.Context) ([]string, error) {
	if r.port != "" {
		return r.addressesOf(ctx, r.host, r.port)
	}
	_, targets, err := r.resolver.LookupSRV(ctx, "lapse", "tcp", r.host)
	if len(targets) == 0 {
		return nil, cmp.Or(err, fmt.Errorf("no SRV record for %s", r.host))
	}
	var found []string
	var failures []error
	for _, target := range targets {
		if target.Target == "." { // which says that the service is not available
			failures = append(failures, fmt.Errorf("the SRV record for %s says that there is no such service", r.host))
			continue
		}
		of, err := r.addressesOf(ctx, target.Target, strconv.Itoa(int(target.Port)))
		found, failures = append(found, of...), append(failures, err)
	}
	if len(found) == 0 {
		return nil, errors.Join(failures...)
	}
	return found, nil
}

func (r *reach) addressesOf(ctx context.Context, host, port string) (all []string, err error) {
	found, err := r.resolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, err
	}
	for _, address := range found {
		all = append(all, net.JoinHostPort(address.Unmap().String(), port))
	}
	rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] }) //nolint:gosec // no secret
	return all, nil
}

// connected notes when the new connection is old.
func (r *reach) connected() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.old = time.Now().Add(r.age/2 + rand.N(r.age/2+1)) //nolint:gosec // no secret
}

// isOld says whether it is time for another connection.
func (r *reach) isOld() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.old.IsZero() && !time.Now().Before(r.old)
}

// fails notes that an address gave no connection, or no answer.
func (r *reach) fails(address string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failed[address] = time.Now()
}

// putOff says that an old connection has to do for now.
func (r *reach) putOff() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.old = time.Now().Add(min(r.age, time.Minute))
}

// keep keeps a connection for the next dial, and kept takes it; nil if there is none.
func (r *reach) keep(conn net.Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.spare != nil {
		_ = r.spare.Close()
	}
	r.spare = conn
}

func (r *reach) kept() net.Conn {
	r.mu.Lock()
	defer r.mu.Unlock()
	conn := r.spare
	r.spare = nil
	return conn
}
