package main

import ucli "github.com/urfave/cli/v2"

// revokeCommand does what [releaseCommand] does, for another reason.
func revokeCommand() *ucli.Command {
	return endCommand("revoke", "take leases away, as an operator; terminates their instances")
}
