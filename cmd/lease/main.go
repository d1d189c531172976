// Command lease launches instances that have leases, and shows, moves and ends those leases.
//
//   - main.go: the commands, one in each cmd_*.go; what follows is what they stand on.
//   - request.go, wait.go: for launch. filter.go, untracked.go, overdue.go: for list.
//   - explain.go, unleased.go, keys.go: for why, in words. watched.go, moved.go: for watch.
//   - adoptable.go, tagger.go, replaced.go: for adopt and unmanage; recovered.go: for recover.
//   - roles.go: for init. doctor_registry.go, doctor_users.go, doctor_certificates.go, doctor_aws.go, doctor_here.go: for doctor.
//   - target.go: which leases are meant, and what becomes of each; asked.go: what a person was shown. cloud.go: EC2, where it
//     is needed. print.go, words.go.
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
		Name:    "lease",
		Usage:   "give EC2 instances leases, and move their expiry",
		Version: version,
		Description: "An instance runs while its lease is valid. When the lease expires, the janitor terminates the instance.\n\n" +
			"   lease init\n" +
			"   lease launch --image-id ami-0abc --instance-type t3.micro --holder ada\n" +
			"   lease list --holder ada\n" +
			"   lease extend i-0123456789abcdef0 --for 4h\n" +
			"   lease release i-0123456789abcdef0\n\n" +
			"An ID is an instance id, or a launch token, which means all of that launch. Settings such as --etcd-endpoints\n" +
			"can also be given as LAPSE_NAME in the environment, or in the --config file.\n\n" +
			"Exit codes: 0 done, or already done; 1 failed; 2 wrong usage; 3 not found or out of reach; 4 refused; 5 held back;\n" +
			"6 partly done; 7 outcome unknown: run it again as the message says.",
		Commands: []*ucli.Command{
			initCommand(), launchCommand(), listCommand(), showCommand(), whyCommand(), historyCommand(), watchCommand(), extendCommand(),
			releaseCommand(), revokeCommand(), unmarkCommand(), adoptCommand(), recoverCommand(), unmanageCommand(),
			joinTokenCommand(), settleCommand(), doctorCommand(),
		},
	})
}
