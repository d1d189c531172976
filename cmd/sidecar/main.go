// Command sidecar renews the lease of the instance that it runs on, and lets local programs see, extend and release it,
// and see its peers.
//
//   - main.go: the commands, one in each cmd_*.go. cmd_run.go is the sidecar itself; the others ask it through its socket.
package main

import (
	"os"

	ucli "github.com/urfave/cli/v2"

	"lapse/cmd/internal/cli"
	"lapse/sidecar"
)

// version is set by the linker.
var version = "dev"

func main() { os.Exit(cli.Main(app(), os.Args)) }

func app() *ucli.App {
	return &ucli.App{
		Name:    "sidecar",
		Usage:   "renew the lease of this instance, without AWS credentials",
		Version: version,
		Description: "The service manager runs `sidecar run`. Programs on the instance ask it through a unix socket:\n\n" +
			"   sidecar status\n" +
			"   sidecar peers\n" +
			"   sidecar extend --for 4h\n" +
			"   sudo sidecar release --reason \"job done\"",
		Commands: []*ucli.Command{runCommand(), statusCommand(), peersCommand(), extendCommand(), releaseCommand()},
	}
}

func socketFlag() ucli.Flag {
	return &ucli.StringFlag{Name: "socket", Value: sidecar.DefaultSocket, Usage: "use the unix socket `PATH`"}
}
