// Command sidecar renews the lease of the instance that it runs on through the API, and lets local programs see, extend and
// release it, and see its peers. It is small, because it links no etcd client; command sidecar-direct has one. Both are
// programs of their own, rather than one with a build tag, so that every test and check of the module reads both.
//
//   - main.go: what is particular to this program; package sidecarcmd has the commands.
package main

import (
	"os"

	"lapse/cmd/internal/cli"
	"lapse/cmd/internal/sidecarcmd"
)

// version is set by the linker.
var version = "dev"

func main() { os.Exit(cli.Main(sidecarcmd.Build{Version: version}.App(), os.Args)) }
