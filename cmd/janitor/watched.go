package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"sync"

	ucli "github.com/urfave/cli/v2"

	"lapse/cmd/internal/cli"
	"lapse/janitor/audit"
	"lapse/janitor/metrics"
)

func auditFlag() ucli.Flag {
	return &ucli.StringFlag{Name: "audit-log", Usage: "append transitions and refusals to `FILE`, or - for stdout"}
}

func openAudit(c *ucli.Context) (write func(audit.Event) error, closeIt func(), err error) {
	switch path := c.String("audit-log"); path {
	case "":
		return nil, func() {}, nil
	case "-":
		return audit.To(c.App.Writer).Write, func() {}, nil
	default:
		log, err := audit.Open(path)
		if err != nil {
			return nil, nil, err
		}
		return log.Write, func() { _ = log.Close() }, nil
	}
}

// listen serves the metrics from now on until stop is called: also while the janitor starts, and while it finishes.
func listen(c *ucli.Context, e *metrics.Exporter, log *slog.Logger) (stop func(), err error) {
	address := c.String("listen")
	if address == "" {
		return func() {}, nil
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, cli.Usage("--listen %q is not HOST:PORT", address)
	}
	if host == "" {
		host = "127.0.0.1"
	}
	listener, err := net.Listen("tcp", net.JoinHostPort(host, port))
	if err != nil {
		return nil, fmt.Errorf("cannot serve --listen %s: %w", address, err)
	}
	log.Info("listening", "address", listener.Addr().String())
	ctx, cancel := context.WithCancel(context.WithoutCancel(c.Context))
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := e.Serve(ctx, listener, log); err != nil {
			log.Error("no longer listening", "address", listener.Addr().String(), "error", err)
		}
	})
	return func() {
		cancel()
		serving.Wait()
	}, nil
}
