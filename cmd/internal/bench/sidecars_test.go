//go:build bench

package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"os/signal"
	"regexp"
	"sync"
	"syscall"
	"time"

	"lapse/lease"
	"lapse/lease/api"
	"lapse/sidecar"
)

// sidecarsFile, when set, makes the test binary a process of many sidecars behind a balancer, as this file in JSON says.
const sidecarsFile = "LAPSE_BENCH_SIDECARS"

// crowd is what a process of sidecars is made of.
type crowd struct {
	Replicas []string // host:port
	Proxy    bool     // the balancer sends PROXY headers
	CA       string
	IDs      []string      // of instances
	Keys     []string      // files
	First    int           // number of the first instance, from which addresses are made
	Start    time.Duration // over which they start
	Report   string        // file
}

// renewal is one that was answered.
type renewal struct {
	N    int       // of the instance, in its crowd
	At   time.Time // of the answer
	Took time.Duration
}

// report is what a crowd did.
type report struct {
	Renewals []renewal
	Failures map[string]int
}

// runSidecars runs the real loop of each sidecar, over the real client, until SIGTERM, and writes the report.
func runSidecars(file string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	var c crowd
	text, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(text, &c)
	}
	if err != nil {
		return err
	}
	balancer, err := newBalancer(ctx, c.Replicas, c.Proxy)
	if err != nil {
		return err
	}
	notes := &notes{report: report{Failures: map[string]int{}}}
	var all sync.WaitGroup
	for n := range c.IDs {
		all.Go(func() {
			select {
			case <-ctx.Done():
			case <-time.After(rand.N(c.Start)):
				if err := c.sidecar(ctx, n, "https://"+balancer, notes); err != nil {
					notes.failed(err)
				}
			}
		})
	}
	all.Wait()
	text, err = json.Marshal(notes.report)
	if err != nil {
		return err
	}
	return os.WriteFile(c.Report, text, 0o600)
}

// sidecar runs one, at an address of its own.
func (c crowd) sidecar(ctx context.Context, n int, url string, notes *notes) error {
	number := c.First + n
	from := &net.TCPAddr{IP: net.IPv4(127, byte(1+number>>16), byte(number>>8), byte(number))}
	client, err := api.NewClient(api.ClientConfig{
		URL: url, CAFile: c.CA, KeyFile: c.Keys[n], InstanceID: c.IDs[n], Logger: slog.New(slog.DiscardHandler),
		Dial: (&net.Dialer{LocalAddr: from}).DialContext,
		Prove: func(context.Context) (string, string, error) {
			return "", "", fmt.Errorf("%s is not enrolled", c.IDs[n])
		},
	})
	if err != nil {
		return err
	}
	s, err := sidecar.New(sidecar.Config{
		InstanceID: c.IDs[n], BootID: "0f8b1c9e-5f1d-4c55-9a44-6f0b5d1c2f11", Address: from.IP.String(), Version: "bench",
		Open:   func(context.Context) (sidecar.Registry, error) { return noted{client, n, notes}, nil },
		Logger: slog.New(slog.DiscardHandler), Now: time.Now,
	})
	if err != nil {
		return err
	}
	return s.Run(ctx)
}

// notes are what the sidecars of one process did.
type notes struct {
	mu sync.Mutex
	report
}

func (n *notes) failed(err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.Failures[regexp.MustCompile(`[0-9.]+:[0-9]+|i-[0-9a-f]+`).ReplaceAllString(err.Error(), "…")]++
}

// noted is a client whose renewals are noted.
type noted struct {
	*api.Client

	n     int
	notes *notes
}

func (c noted) Claim(ctx context.Context, h lease.Heartbeat) (lease.Claim, error) {
	claim, err := c.Client.Claim(ctx, h)
	if err != nil && ctx.Err() == nil {
		c.notes.failed(err)
	}
	return claim, err
}

func (c noted) Renew(ctx context.Context, claim lease.Claim, h lease.Heartbeat) (lease.Claim, lease.Lease, error) {
	began := time.Now()
	claim, l, err := c.Client.Renew(ctx, claim, h)
	if err != nil {
		c.notes.failed(err)
		return claim, l, err
	}
	c.notes.mu.Lock()
	defer c.notes.mu.Unlock()
	c.notes.Renewals = append(c.notes.Renewals, renewal{c.n, time.Now(), time.Since(began)})
	return claim, l, nil
}
