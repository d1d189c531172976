package main

import ucli "github.com/urfave/cli/v2"

// revokeCommand does the same as [releaseCommand], for another cause.
func revokeCommand() *ucli.Command {
	return endCommand("revoke", "take leases away, as an operator; terminates their instances")
}
