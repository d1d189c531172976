// Package registry is how a command opens the registry in etcd. It is no part of package cli, which the sidecar has, too: a
// sidecar that renews through the API is to stay small, and links no etcd client.
//
//   - registry.go: [Equip], what a program that has commands for the registry is given.
//   - store.go: the store that the flags name. socket.go: who may use etcd's socket.
//   - explain.go: what to do about an error of etcd, in terms of the command line.
package registry

import (
	"io"
	"os"
	"slices"

	ucli "github.com/urfave/cli/v2"
	"google.golang.org/grpc/grpclog"

	"lapse/cmd/internal/cli"
	"lapse/lease"
)

// Equip lets a program open the registry: its errors say what to do about etcd, its completions know what is on record, and
// a namespace without a registry is answered with those that have one.
func Equip(app *ucli.App) *ucli.App {
	cli.Opens(app, cli.Registry{Explain: Explain, Snapshot: snapshot})
	for _, command := range app.Commands {
		if names(command, "namespace") {
			action := command.Action
			command.Action = func(c *ucli.Context) error { return namespaceMeant(c, action(c)) }
		}
	}
	return app
}

// names reports whether a command has a flag of that name.
func names(command *ucli.Command, flag string) bool {
	return slices.ContainsFunc(command.Flags, func(f ucli.Flag) bool { return slices.Contains(f.Names(), flag) })
}

// snapshot reads the registry that the flags name.
func snapshot(c *ucli.Context) (lease.Snapshot, error) {
	store, closeStore, err := Store(c, nil)
	if err != nil {
		return lease.Snapshot{}, err
	}
	defer closeStore()
	return store.Snapshot(c.Context)
}

// Main runs a program that [Equip] has equipped, as [cli.Main] does.
func Main(app *ucli.App, args []string) int {
	quietGRPC() // here alone: it is for the whole process
	return cli.Main(app, args)
}

// quietGRPC keeps gRPC from writing to stderr by itself, past any [cli.Sink]. Its messages reach the caller as errors.
// gRPC's own environment variable for debugging still works.
func quietGRPC() {
	if os.Getenv("GRPC_GO_LOG_SEVERITY_LEVEL") == "" {
		grpclog.SetLoggerV2(grpclog.NewLoggerV2(io.Discard, io.Discard, io.Discard))
	}
}
