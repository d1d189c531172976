package sidecarcmd

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	ucli "github.com/urfave/cli/v2"

	"lapse/cmd/internal/cli"
	"lapse/lease"
	"lapse/lease/api"
	"lapse/sidecar"
	"lapse/sidecar/imds"
)

const apiFlags = "INSTANCE API"

// apiClientFlags say where the instance API is, and how this instance shows who it is.
func apiClientFlags() []ucli.Flag {
	return []ucli.Flag{
		&ucli.StringFlag{Name: "api", Usage: "renew through the API at `URL`", DefaultText: "what the user-data says"},
		&ucli.StringFlag{Name: "api-cacert", Usage: "trust the CA in `FILE` for the API", DefaultText: "the system's CAs"},
		&ucli.StringFlag{Name: "join-token-file", Usage: "enrol with the join token of an operator in `FILE`", Category: apiFlags},
	}
}

// storeFlags say where etcd is. A program that cannot reach it has them to refuse them.
func (b Build) storeFlags() []ucli.Flag {
	if b.Direct != nil {
		return cli.StoreFlags()
	}
	var refused []ucli.Flag
	for _, flag := range cli.StoreFlags() {
		refused = append(refused, &ucli.StringFlag{Name: flag.Names()[0], Hidden: true})
	}
	return refused
}

// checkFlags refuses what this program would have to ignore: who gives it expects another way to the lease.
func (b Build) checkFlags(c *ucli.Context) error {
	if b.Direct != nil {
		return nil
	}
	for _, flag := range cli.StoreFlags() {
		if name := flag.Names()[0]; c.String(name) != "" {
			return cli.Usage("%s is for etcd, and this sidecar renews through the API alone: leave it out, or install sidecar-direct", given(c, name))
		}
	}
	return nil
}

// given is where a flag was set: its variable, or the flag.
func given(c *ucli.Context, name string) string {
	if variable := cli.Variable(name); os.Getenv(variable) == c.String(name) {
		return variable
	}
	return "--" + name
}

// way returns a function that opens the way to the lease, within the ctx of its first caller: etcd if --etcd-endpoints is given,
// else the API of --api or of the user-data, else etcd at its default. A program without etcd ends there.
func (b Build) way(c *ucli.Context, id string, metadata *imds.Client, log *slog.Logger) func(context.Context) (sidecar.Registry, error) {
	return func(ctx context.Context) (sidecar.Registry, error) {
		url := c.String("api")
		if url == "" && !c.IsSet("etcd-endpoints") {
			join, err := joinOf(ctx, metadata)
			if err != nil {
				return nil, err
			}
			url = join.API
		}
		switch {
		case url == "" && b.Direct == nil:
			return nil, cli.Usage("the user-data of this instance names no API: give --api, or install sidecar-direct to renew in etcd")
		case url == "":
			return b.Direct(ctx, c, log)
		}
		client, err := api.NewClient(api.ClientConfig{
			URL: url, CAFile: c.String("api-cacert"), KeyFile: filepath.Join(filepath.Dir(c.String("socket")), "key.pem"), InstanceID: id, Logger: log,
			Prove: func(ctx context.Context) (document, token string, err error) { return prove(ctx, c, metadata) },
		})
		if err != nil {
			return nil, err
		}
		log.InfoContext(ctx, "renewing through the API", "url", url)
		return client, nil
	}
}

// prove is what this instance shows to be let in: its identity document, and the token that it was given.
func prove(ctx context.Context, c *ucli.Context, metadata *imds.Client) (document, token string, err error) {
	signed, err := metadata.SignedDocument(ctx)
	if err != nil {
		return "", "", fmt.Errorf("read the identity document: %w", err)
	}
	if file := c.String("join-token-file"); file != "" {
		text, err := os.ReadFile(file)
		if err != nil {
			return "", "", fmt.Errorf("read --join-token-file: %w", err)
		}
		return string(signed), strings.TrimSpace(string(text)), nil
	}
	join, err := joinOf(ctx, metadata)
	return string(signed), join.Token, err
}

// joinOf is what the user-data says of the API; empty if it says nothing.
func joinOf(ctx context.Context, metadata *imds.Client) (lease.Join, error) {
	data, err := metadata.UserData(ctx)
	if err != nil {
		return lease.Join{}, fmt.Errorf("read the user-data: %w", err)
	}
	join, _ := lease.JoinFrom(data)
	return join, nil
}
