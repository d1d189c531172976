package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
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

const apiFlags = "Instance API"

// apiServerFlags say where the instance API is served.
func apiServerFlags(listen string, required bool) []ucli.Flag {
	return []ucli.Flag{
		&ucli.StringFlag{Name: listen, Usage: "serve the instance API at `HOST:PORT`, with TLS", Required: required, Category: apiFlags},
		&ucli.StringFlag{Name: "api-cert", Usage: "serve the API with the certificate in `FILE`", Category: apiFlags},
		&ucli.StringFlag{Name: "api-key", Usage: "read the key of --api-cert from `FILE`", Category: apiFlags},
		&ucli.StringSliceFlag{Name: "api-proxy-from", Usage: "believe PROXY v2 headers from `CIDR`; repeatable", Category: apiFlags},
		&ucli.StringFlag{Name: "identity-certificates", Usage: "also trust the certificates in `FILE` for identity documents", Category: apiFlags},
	}
}

// counted are the counters of the API, for its two parts.
type counted struct{ *metrics.API }

// Refused counts what the front refuses.
func (c counted) Refused(kind edge.Kind, _ bool) { c.API.Refused(string(kind)) }

// Handled counts what was let in.
func (c counted) Handled(proved bool) { c.Answered(proved) }

// serveAPI serves the instance API until stop is called; nothing if it is not asked for.
func serveAPI(c *ucli.Context, listen string, store *etcd.Store, clouds []janitor.Cloud, e *metrics.Exporter, log *slog.Logger) (stop func(), err error) {
	if c.String(listen) == "" {
		return func() {}, nil
	}
	log = log.With("part", "api")
	front, handler, err := newAPI(c, listen, store, clouds, e.API(), log)
	if err != nil {
		return nil, err
	}
	log.Info("serving the instance API", "address", front.Addr().String())
	ctx, cancel := context.WithCancel(context.WithoutCancel(c.Context))
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := front.Serve(ctx, handler); err != nil {
			log.Error("the instance API is no longer served", "error", err)
		}
	})
	return func() {
		cancel()
		serving.Wait()
	}, nil
}

func newAPI(c *ucli.Context, listen string, store *etcd.Store, clouds []janitor.Cloud, counts *metrics.API, log *slog.Logger) (*edge.Server, http.Handler, error) {
	if c.String("api-cert") == "" || c.String("api-key") == "" {
		return nil, nil, cli.Usage("--%s needs --api-cert and --api-key: the API is served with TLS alone", listen)
	}
	var proxies []netip.Prefix
	for _, text := range c.StringSlice("api-proxy-from") {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, nil, cli.Usage("--api-proxy-from %q is no CIDR, such as 10.0.0.0/24", text)
		}
		proxies = append(proxies, prefix)
	}
	certificates, err := identity.ReadFile(c.String("identity-certificates"))
	if err != nil {
		return nil, nil, fmt.Errorf("read --identity-certificates: %w", err)
	}
	server := api.New(api.Config{
		Store: store, Clouds: described(clouds), Certificates: certificates, Now: time.Now, Logger: log, Refused: counts.Refused,
	})
	front, err := edge.New(edge.Config{
		Addr: c.String(listen), CertFile: c.String("api-cert"), KeyFile: c.String("api-key"), ProxyFrom: proxies,
		Refuse: refuse, Counters: counted{counts}, Logger: log,
	})
	if err != nil {
		return nil, nil, fmt.Errorf("cannot serve --%s %s: %w", listen, c.String(listen), err)
	}
	for _, cloud := range clouds {
		if region := cloud.Location().Region; len(certificates[region]) == 0 {
			log.Warn("no instance of this Region can enrol: no certificate for its identity documents is known; give --identity-certificates", "region", region)
		}
	}
	return front, server.Handler(), nil
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
