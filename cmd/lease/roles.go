package main

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	ucli "github.com/urfave/cli/v2"

	"lapse/cmd/internal/cli"
	"lapse/cmd/internal/registry"
	"lapse/lease"
	"lapse/lease/etcd"
)

// roleChange is what becomes of a role.
type roleChange string

const (
	roleCreated   roleChange = "created"
	roleCompleted roleChange = "completed" // it was there, and lacked something
	roleUnchanged roleChange = "unchanged"
)

// madeRole is a role and what became of it, as printed for programs.
type madeRole struct {
	Role    etcd.Role    `json:"role"`
	Name    string       `json:"name"`
	Change  roleChange   `json:"change"` // or would be, in a dry run
	Granted []etcd.Grant `json:"granted"`
	Already []etcd.Grant `json:"already"` // granted before
	Wider   []etcd.Grant `json:"wider"`   // of those, what this version does not need
}

// madeRoles is `lease init --rbac` for programs.
type madeRoles struct {
	Registry       *lease.Registry `json:"registry,omitempty"` // none in a dry run where there is none yet
	DryRun         bool            `json:"dry_run"`
	Authentication bool            `json:"authentication"` // enabled
	Roles          []madeRole      `json:"roles"`
	Commands       []string        `json:"commands"` // that give the roles to users and enable authentication
}

// roleMaker makes a role what it should be. A dry run has one that does nothing.
type roleMaker func(ctx context.Context, state etcd.RoleState) error

func makeNoRole(context.Context, etcd.RoleState) error { return nil }

// initRoles is `lease init --rbac`. The roles come first: who may not create them creates no registry either.
func initRoles(c *ucli.Context, store *etcd.Store, lost string) error {
	if c.Bool("dry-run") {
		return previewRoles(c, store)
	}
	made, err := makeRoles(c.Context, store, store.CreateRole)
	if err != nil {
		return err
	}
	registry, err := initRegistry(c, store, lost)
	if err != nil {
		return err
	}
	made.Registry = &registry
	return printRoles(c, made)
}

// previewRoles is `lease init --rbac --dry-run`.
func previewRoles(c *ucli.Context, store *etcd.Store) error {
	made, err := makeRoles(c.Context, store, makeNoRole)
	if err != nil {
		return err
	}
	made.DryRun = true
	registry, err := store.Registry(c.Context)
	switch {
	case err == nil:
		made.Registry = &registry
	case !cli.Is[*lease.NotFoundError](err):
		return err
	}
	return printRoles(c, made)
}

// makeRoles makes the roles of a namespace.
func makeRoles(ctx context.Context, store *etcd.Store, with roleMaker) (made madeRoles, err error) {
	me, err := store.Identity(ctx, etcd.Root)
	if err != nil {
		return made, registry.Advise(err)
	}
	made.Authentication = me.Enabled
	for _, state := range store.RoleStates(ctx) {
		err := state.Unknown
		if err == nil {
			err = with(ctx, state)
		}
		if etcd.Denied(err) {
			err = fmt.Errorf("only the user root may create roles: %w", err)
			return made, cli.WithCode(cli.ExitRefused, cli.WithAdvice("; give its certificate with --etcd-cert", err))
		}
		if err != nil {
			return made, cli.WithCode(cli.ExitUnknown, fmt.Errorf("the roles may be incomplete (%w); run `lease init --rbac` again", err))
		}
		made.Roles = append(made.Roles, became(state))
	}
	made.Commands = userCommands(store, made.Authentication)
	return made, nil
}

// became says what became of a role that was in this state.
func became(s etcd.RoleState) madeRole {
	made := madeRole{
		Role: s.Role, Name: s.Name, Change: roleUnchanged,
		Granted: append([]etcd.Grant{}, s.Missing...), Already: append([]etcd.Grant{}, s.Granted...), Wider: append([]etcd.Grant{}, s.Wider...),
	}
	switch {
	case !s.Exists:
		made.Change = roleCreated
	case len(s.Missing) > 0:
		made.Change = roleCompleted
	}
	return made
}

// userCommands make users of certificates, by common names that are those of their roles, and let etcd ask for them.
func userCommands(store *etcd.Store, enabled bool) []string {
	var commands []string
	user := func(name, role string) {
		commands = append(commands, fmt.Sprintf("etcdctl user add %s --no-password", name), fmt.Sprintf("etcdctl user grant-role %s %s", name, role))
	}
	for _, r := range etcd.Roles() {
		user(string(r), store.RoleName(r))
	}
	if !enabled {
		user(etcd.Root, etcd.Root)
		commands = append(commands, "etcdctl auth enable")
	}
	return commands
}

// printRoles prints what became of each role, and what comes next.
func printRoles(c *ucli.Context, made madeRoles) error {
	err := cli.Show(c, made, func() error {
		if made.Registry != nil {
			if err := printRegistry(c, *made.Registry); err != nil {
				return err
			}
		}
		var rows [][]string
		for _, r := range made.Roles {
			change := string(r.Change)
			if made.DryRun && r.Change != roleUnchanged {
				change = "would be " + change
			}
			granted := r.Granted
			if r.Change == roleUnchanged {
				granted = r.Already
			}
			rows = append(rows, []string{"role " + r.Name, change, grants(granted)})
		}
		return cli.Table(c.App.Writer, rows)
	})
	if err != nil {
		return err
	}
	for _, r := range made.Roles {
		for _, g := range r.Wider {
			cli.Say(c, "warning: role %s may do more than Lapse needs, %s: %s", r.Name, g, narrow(r.Name, g))
		}
	}
	next := "next: give each client certificate a user of etcd, whose name is its common name. "
	if !made.Authentication {
		next = "next: give each client certificate a user of etcd, whose name is its common name, and enable authentication. That locks out every " +
			"client without a user, so do not do it to a janitor's embedded etcd, whose janitor has no certificate. "
	}
	cli.Say(c, "%sIf the names are operator, janitor and sidecar:\n", next)
	for _, command := range made.Commands { // as they are, to be copied, however narrow the terminal is
		fmt.Fprintln(c.App.ErrWriter, "    "+command)
	}
	cli.Say(c, "\nSECURITY.md says what this prevents, and what it cannot.")
	return nil
}

// grants lists them in a sentence.
func grants(all []etcd.Grant) string {
	var texts []string
	for _, g := range all {
		texts = append(texts, visibleGrant(g))
	}
	return strings.Join(texts, ", ")
}

// visibleGrant is a grant with the keys as Go writes them, if a terminal would not show them as they are.
func visibleGrant(g etcd.Grant) string {
	text := g.String()
	if quoted := fmt.Sprintf("%q", text); quoted != `"`+text+`"` {
		return quoted
	}
	return text
}

// narrow is what takes a grant away from a role.
func narrow(role string, g etcd.Grant) string {
	plain := regexp.MustCompile(`^[A-Za-z0-9/._-]+$`)
	if slices.ContainsFunc(g.Arguments(), func(key string) bool { return !plain.MatchString(key) }) {
		return fmt.Sprintf("revoke it with etcdctl, then run `lease init --rbac` again (%q)", g.Arguments())
	}
	return fmt.Sprintf("revoke it with `etcdctl role revoke-permission %s %s`, then run `lease init --rbac` again", role, strings.Join(g.Arguments(), " "))
}
