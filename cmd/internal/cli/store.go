package cli

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"lapse/lease"
	"lapse/lease/etcd"
)

// DefaultEndpoint is where `janitor run --embedded-etcd` serves by default.
const DefaultEndpoint = "unix:///var/lib/lapse/etcd.sock"

// reachTimeout bounds how long a command waits for etcd's first answer. With what follows it stays below 10 s.
const reachTimeout = 5 * time.Second

// StoreFlags say where the registry is.
func StoreFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringSliceFlag{
			Name: "etcd-endpoints", Usage: "connect to etcd at `URL`, or several with commas",
			Value: cli.NewStringSlice(DefaultEndpoint),
		},
		&cli.StringFlag{Name: "etcd-cacert", Usage: "verify etcd with the CA certificates in `FILE`", Category: registryFlags},
		&cli.StringFlag{Name: "etcd-cert", Usage: "identify to etcd with the certificate in `FILE`", Category: registryFlags},
		&cli.StringFlag{Name: "etcd-key", Usage: "read the key of --etcd-cert from `FILE`", Category: registryFlags},
		&cli.StringFlag{Name: "namespace", Value: "default", Usage: "use the registry `NAME` in etcd", Category: registryFlags},
	}
}

// AccountFlag takes the place of what STS says.
func AccountFlag() cli.Flag {
	return &cli.StringFlag{Name: "account", Usage: "use account `ID` where a custom endpoint has no STS", Category: OtherFlags}
}

// Store connects to etcd as the flags say, and returns the registry's store and a function that closes the connection.
func Store(c *cli.Context, log *slog.Logger) (*etcd.Store, func(), error) {
	return StoreAt(c, log, c.StringSlice("etcd-endpoints"))
}

// StoreAt is Store with other endpoints than the flags'.
func StoreAt(c *cli.Context, log *slog.Logger, endpoints []string) (*etcd.Store, func(), error) {
	switch {
	case len(endpoints) == 0:
		return nil, nil, Usage("no etcd endpoint: give --etcd-endpoints")
	case (c.String("etcd-cert") == "") != (c.String("etcd-key") == ""):
		return nil, nil, Usage("--etcd-cert and --etcd-key go together: give both or neither")
	}
	ctx, cancel := context.WithTimeout(c.Context, reachTimeout)
	defer cancel()
	client, err := etcd.Dial(ctx, etcd.Config{
		Endpoints: endpoints, CACert: c.String("etcd-cacert"), Cert: c.String("etcd-cert"), Key: c.String("etcd-key"), Logger: log,
	})
	if err != nil {
		return nil, nil, dialCode(err)
	}
	store := etcd.New(client, c.String("namespace"), etcd.Options{Logger: log})
	return store, func() { _ = client.Close() }, nil
}

// WithStore is what a command does with the registry: read takes what the command line says before the registry is opened,
// and run does it.
func WithStore[T any](read func(*cli.Context) (T, error), run func(*cli.Context, *etcd.Store, T) error) cli.ActionFunc {
	return func(c *cli.Context) error {
		asked, err := read(c)
		if err != nil {
			return err
		}
		store, closeStore, err := Store(c, nil)
		if err != nil {
			return err
		}
		defer closeStore()
		return run(c, store, asked)
	}
}

// dialCode treats an error that is neither a missing answer of etcd nor its version as wrong usage: unreadable
// certificates, a malformed address.
func dialCode(err error) error {
	if Is[*etcd.UnreachableError](err) || Is[*etcd.VersionError](err) {
		return socketRefusal(err)
	}
	return WithCode(ExitUsage, err)
}

// namespaceMeant answers a namespace without a registry with those that have one, since one of them may be meant.
func namespaceMeant(c *cli.Context, err error) error {
	if !Is[*lease.NotFoundError](err) || findFlag(c.Command.Flags, "namespace") == nil {
		return err
	}
	store, closeStore, unreached := Store(c, nil)
	if unreached != nil {
		return err
	}
	defer closeStore()
	ctx, cancel := context.WithTimeout(c.Context, reachTimeout)
	defer cancel()
	names, unread := store.Namespaces(ctx)
	if here := c.String("namespace"); unread == nil && len(names) > 0 && !slices.Contains(names, here) {
		return WithCode(ExitMissing, fmt.Errorf("no registry in namespace %q, but in %s: correct --namespace, or create it with `lease init`",
			here, strings.Join(names, ", ")))
	}
	return err
}
