// Command sidecar-direct is command sidecar, which also renews in etcd itself, for trusted networks. Install it as sidecar.
//
//   - main.go: what is particular to this program; package sidecarcmd has the commands.
package main

import (
	"context"
	"log/slog"
	"os"
	"time"

	ucli "github.com/urfave/cli/v2"

	"lapse/cmd/internal/registry"
	"lapse/cmd/internal/sidecarcmd"
	"lapse/lease/self"
	"lapse/sidecar"
)

// version is set by the linker.
var version = "dev"

func main() { os.Exit(registry.Main(app(), os.Args)) }

func app() *ucli.App {
	return registry.Equip(sidecarcmd.Build{Version: version, Direct: direct}.App())
}

// direct connects to etcd. The connection lasts as long as the process.
func direct(ctx context.Context, c *ucli.Context, log *slog.Logger) (sidecar.Registry, error) {
	bounded := *c
	bounded.Context = ctx
	store, _, err := registry.Store(&bounded, log)
	if err != nil {
		return nil, err
	}
	return self.New(store, time.Now, log), nil
}
