// Package sidecarcmd is the commands on an instance: what the programs sidecar and sidecar-direct share. They differ in one
// thing. Sidecar renews through the API alone: it links no etcd client, and is small. Sidecar-direct can renew in etcd, too.
//
//   - app.go: the commands, one in each cmd_*.go. cmd_run.go is the sidecar itself; the others ask it through its socket.
//   - way.go: how it reaches its lease.
package sidecarcmd

import (
	"context"
	"log/slog"

	ucli "github.com/urfave/cli/v2"

	"lapse/sidecar"
)

// Build is what one program is.
type Build struct {
	Version string
	// Direct connects to etcd as the flags of c say; nil for a program that cannot.
	Direct func(ctx context.Context, c *ucli.Context, log *slog.Logger) (sidecar.Registry, error)
}

// App is the program. Both have one name: they are installed as the same command, and read the same settings.
func (b Build) App() *ucli.App {
	return &ucli.App{
		Name:    "sidecar",
		Usage:   "renew the lease of this instance, without AWS credentials",
		Version: b.Version,
		Description: "The service manager runs `sidecar run`. Programs on the instance ask it through a unix socket:\n\n" +
			"   sidecar status\n" +
			"   sidecar peers\n" +
			"   sidecar extend --for 4h\n" +
			"   sudo sidecar release --reason \"job done\"",
		Commands: []*ucli.Command{b.runCommand(), statusCommand(), peersCommand(), extendCommand(), releaseCommand()},
	}
}

func socketFlag() ucli.Flag {
	return &ucli.StringFlag{Name: "socket", Value: sidecar.DefaultSocket, Usage: "use the unix socket `PATH`"}
}
