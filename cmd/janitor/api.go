package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	ucli "github.com/urfave/cli/v2"

	"lapse/cmd/internal/cli"
	"lapse/janitor"
	"lapse/janitor/metrics"
	"lapse/lease/api"
	"lapse/lease/api/edge"
	"lapse/lease/api/identity"
	"lapse/lease/etcd"
	"lapse/lease/problem"
)

const apiFlags = "INSTANCE API"

// apiServerFlags say where the instance API is served: at an address that is the default, or nowhere by default.
func apiServerFlags(address, category string) []ucli.Flag {
	return []ucli.Flag{
		&ucli.StringFlag{Name: "api-listen", Value: address, Usage: "serve the instance API at `HOST:PORT`, with TLS", Category: category},
		&ucli.StringFlag{Name: "api-cert", Usage: "serve the API with the certificate in `FILE`", Category: category},
		&ucli.StringFlag{Name: "api-key", Usage: "read the key of --api-cert from `FILE`", Category: category},
		&ucli.StringSliceFlag{Name: "api-proxy-from", Usage: "believe PROXY v2 headers from `CIDR`; repeatable", Category: category},
		&ucli.StringSliceFlag{Name: "api-shared-from", Usage: "let many instances call from each address of `CIDR`; repeatable", Category: category},
		&ucli.StringFlag{Name: "identity-certificates", Usage: "also trust the certificates in `FILE` for identity documents", Category: category},
	}
}

// readAPI reads what needs nothing but the command line and files: before anything is started.
func readAPI(c *ucli.Context) (*edge.Config, identity.Certificates, error) {
	if c.String("api-listen") == "" {
		return nil, nil, nil
	}
	if c.String("api-cert") == "" || c.String("api-key") == "" {
		return nil, nil, cli.Usage("the instance API is served with TLS alone: give --api-cert and --api-key")
	}
	if _, port, err := net.SplitHostPort(c.String("api-listen")); err != nil || port == "" {
		return nil, nil, cli.Usage("--api-listen %q must be HOST:PORT, such as :8443", c.String("api-listen"))
	}
	if _, err := tls.LoadX509KeyPair(c.String("api-cert"), c.String("api-key")); err != nil {
		return nil, nil, cli.Usage("cannot use --api-cert and --api-key: %s", strings.TrimPrefix(err.Error(), "tls: "))
	}
	front := &edge.Config{Addr: c.String("api-listen"), CertFile: c.String("api-cert"), KeyFile: c.String("api-key"), Refuse: refuse}
	for name, into := range map[string]*[]netip.Prefix{"api-proxy-from": &front.ProxyFrom, "api-shared-from": &front.SharedFrom} {
		for _, text := range c.StringSlice(name) {
			prefix, err := netip.ParsePrefix(text)
			if err != nil {
				return nil, nil, cli.Usage("--%s %q is no CIDR, such as 10.0.0.0/24", name, text)
			}
			*into = append(*into, prefix)
		}
	}
	certificates, err := identity.ReadFile(c.String("identity-certificates"))
	if err != nil {
		return nil, nil, fmt.Errorf("read --identity-certificates: %w", err)
	}
	return front, certificates, nil
}

// counted are the counters of the API, for its two parts.
type counted struct{ *metrics.API }

// Refused counts what the front refuses.
func (c counted) Refused(kind edge.Kind, _ bool) { c.API.Refused(string(kind)) }

// Handled counts what was let in.
func (c counted) Handled(proved bool) { c.Answered(proved) }

// serveAPI serves the instance API, as [readAPI] has read it, until stop is called; nothing if it is not asked for.
func serveAPI(c *ucli.Context, front *edge.Config, known identity.Certificates, store *etcd.Store, clouds []janitor.Cloud, e *metrics.Exporter, log *slog.Logger) (stop func(), err error) {
	if front == nil {
		return func() {}, nil
	}
	log, counts := log.With("part", "api"), e.API()
	front.Counters, front.Logger = counted{counts}, log
	listening, err := edge.New(*front)
	if err != nil {
		return nil, fmt.Errorf("cannot serve --api-listen %s: %w", front.Addr, err)
	}
	for _, cloud := range clouds {
		if region := cloud.Location().Region; len(known[region]) == 0 {
			log.Warn("no instance of this Region can enrol: no certificate for its identity documents is known; give --identity-certificates", "region", region)
		}
	}
	handler := api.New(api.Config{
		Store: store, Clouds: described(clouds), Certificates: known, Now: time.Now, Logger: log, Refused: counts.Refused,
	}).Handler()
	log.Info("serving the instance API", "address", listening.Addr().String())
	ctx, cancel := context.WithCancel(context.WithoutCancel(c.Context))
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := listening.Serve(ctx, handler); err != nil {
			log.Error("the instance API is no longer served", "error", err)
		}
	})
	return func() {
		cancel()
		serving.Wait()
	}, nil
}

// refuse answers what the front refuses as the API answers everything else.
func refuse(w http.ResponseWriter, _ *http.Request, r edge.Refusal) {
	problem.Details{
		Type: "/problems/" + string(r.Kind), Title: http.StatusText(r.Status), Status: r.Status, Detail: "the API is busy, or was asked too often: try again later",
	}.Write(w)
}

// described are the clouds as the API needs them.
func described(clouds []janitor.Cloud) (all []api.Cloud) {
	for _, cloud := range clouds {
		all = append(all, cloud)
	}
	return all
}
