package registry

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	ucli "github.com/urfave/cli/v2"

	"lapse/cmd/internal/cli"
	"lapse/lease"
	"lapse/lease/etcd"
)

// reachTimeout bounds how long a command waits for etcd's first answer. With what follows it stays below 10 s.
const reachTimeout = 5 * time.Second

// Store connects to etcd as the flags say, and returns the registry's store and a function that closes the connection.
func Store(c *ucli.Context, log *slog.Logger) (*etcd.Store, func(), error) {
	return StoreAt(c, log, c.StringSlice("etcd-endpoints"))
}

// StoreAt is Store with other endpoints than the flags'.
func StoreAt(c *ucli.Context, log *slog.Logger, endpoints []string) (*etcd.Store, func(), error) {
	switch {
	case len(endpoints) == 0:
		return nil, nil, cli.Usage("no etcd endpoint: give --etcd-endpoints")
	case (c.String("etcd-cert") == "") != (c.String("etcd-key") == ""):
		return nil, nil, cli.Usage("--etcd-cert and --etcd-key go together: give both or neither")
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

// WithStore is what a command does with the registry: read reads the command line before the registry is opened,
// and run does it.
func WithStore[T any](read func(*ucli.Context) (T, error), run func(*ucli.Context, *etcd.Store, T) error) ucli.ActionFunc {
	return func(c *ucli.Context) error {
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
	if cli.Is[*etcd.UnreachableError](err) || cli.Is[*etcd.VersionError](err) {
		return socketRefusal(err)
	}
	return cli.WithCode(cli.ExitUsage, err)
}

// namespaceMeant answers a namespace without a registry with those that have one, since one of them may be meant.
func namespaceMeant(c *ucli.Context, err error) error {
	if !cli.Is[*lease.NotFoundError](err) {
		return err
	}
	store, closeStore, unreached := Store(c, nil)
	if unreached != nil {
		return err
	}
	defer closeStore()
	ctx, cancel := context.WithTimeout(c.Context, reachTimeout)
	defer cancel()
	others, unread := store.Namespaces(ctx)
	if here := c.String("namespace"); unread == nil && len(others) > 0 && !slices.Contains(others, here) {
		return cli.WithCode(cli.ExitMissing, fmt.Errorf("no registry in namespace %q, but in %s: correct --namespace, or create it with `lease init`",
			here, strings.Join(others, ", ")))
	}
	return err
}
