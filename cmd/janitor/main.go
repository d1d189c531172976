// Command janitor terminates instances whose leases have expired, and removes what failed launches left behind.
//
//   - main.go: the commands, one in each cmd_*.go (arm in cmd_arm_registry.go, since Go builds *_arm.go for ARM alone).
//   - mode.go: what arm, observe, pause and resume share; rehearse.go: what arm shows before.
//   - plan.go: what janitors would do; dryrun.go: as far as this command can tell.
//   - api.go: the instance API, for run and api. watched.go: metrics, health and the audit log. locations.go, policy.go: where, and by which figures.
package main

import (
	"os"

	ucli "github.com/urfave/cli/v2"

	"lapse/cmd/internal/registry"
)

// version is set by the linker.
var version = "dev"

func main() { os.Exit(registry.Main(app(), os.Args)) }

func app() *ucli.App {
	return registry.Equip(&ucli.App{
		Name:    "janitor",
		Usage:   "terminate instances whose leases have expired, and no other",
		Version: version,
		Description: "A new registry observes: the janitor says what it would terminate, and terminates nothing. Read that for a\n" +
			"while, then let it act:\n\n" +
			"   janitor run --embedded-etcd /var/lib/lapse\n" +
			"   janitor status\n" +
			"   janitor arm",
		Commands: []*ucli.Command{
			runCommand(), sweepCommand(), apiCommand(), statusCommand(),
			armCommand(), observeCommand(), pauseCommand(), resumeCommand(), releaseBrakeCommand(),
			demoCommand(),
		},
	})
}
