package main

import (
	"cmp"
	"slices"
	"strings"

	ucli "github.com/urfave/cli/v2"

	"lapse/lease/etcd"
)

// examineUsers checks whether etcd asks for users, which one this is, and what the roles of the registry may do. All that is
// amiss is a warning: whoever lacks a permission fails elsewhere.
func (e *examination) examineUsers(c *ucli.Context, store *etcd.Store) {
	user := commonName(c.String("etcd-cert"))
	me, err := store.Identity(c.Context, cmp.Or(user, "-"))
	if err != nil {
		e.add("etcd users", levelWarn, "not checked: %v", err)
		return
	}
	e.judgeUser(c.StringSlice("etcd-endpoints"), user, me, store)
	e.judgeRoles(store.RoleStates(c.Context), me.Enabled)
}

// judgeUser tells who this is to etcd.
func (e *examination) judgeUser(endpoints []string, user string, me etcd.Identity, store *etcd.Store) {
	local := !slices.ContainsFunc(endpoints, func(endpoint string) bool { return !strings.HasPrefix(endpoint, "unix:") })
	lapse := slices.DeleteFunc(slices.Clone(me.Roles), func(role string) bool {
		return !slices.ContainsFunc(etcd.Roles(), func(r etcd.Role) bool { return role == store.RoleName(r) })
	})
	const check = "etcd users"
	switch {
	case !me.Enabled && local:
		e.add(check, levelNote, "authentication is not enabled: whoever may open the socket may change every lease")
	case !me.Enabled:
		e.add(check, levelWarn, "authentication is not enabled: every client that etcd admits may change every lease and read user-data; see `lease init --help`")
	case user == "":
		e.add(check, levelWarn, "authentication is enabled, and this client has no user: give --etcd-cert with a certificate whose common name is a user")
	case etcd.Denied(me.Err):
		e.add(check, levelWarn, "authentication is enabled, and etcd does not know %q, the common name of --etcd-cert: add it with `etcdctl user add`", user)
	case me.Err != nil:
		e.add(check, levelWarn, "authentication is enabled; who this is could not be checked: %v", me.Err)
	case slices.Contains(me.Roles, etcd.Root):
		e.add(check, levelOK, "authentication is enabled; this is %q, which may do everything: use a user with role %s from day to day", user, store.RoleName(etcd.RoleOperator))
	case len(lapse) == 0:
		e.add(check, levelWarn, "authentication is enabled; this is %q, without a role of this registry: give it %s", user, store.RoleName(etcd.RoleOperator))
	default:
		e.add(check, levelOK, "authentication is enabled; this is %q with role %s", user, strings.Join(lapse, " and "))
	}
}

// judgeRoles tells how the roles differ from what they need.
func (e *examination) judgeRoles(states []etcd.RoleState, enabled bool) {
	const check = "etcd roles"
	var fine, absent, hidden []string
	for _, state := range states {
		switch {
		case etcd.Denied(state.Unknown):
			hidden = append(hidden, state.Name)
		case state.Unknown != nil:
			e.add(check, levelWarn, "not checked: %v", state.Unknown)
		case !state.Exists:
			absent = append(absent, state.Name)
		case len(state.Missing)+len(state.Wider) == 0:
			fine = append(fine, state.Name)
		}
		if state.Exists && len(state.Missing) > 0 {
			e.add(check, levelWarn, "%s is narrower than this version needs, without %s: run `lease init --rbac`", state.Name, grants(state.Missing))
		}
		for _, g := range state.Wider {
			e.add(check, levelWarn, "%s is wider than this version needs, with %s: %s", state.Name, grants([]etcd.Grant{g}), narrow(state.Name, g))
		}
	}
	if len(fine) > 0 {
		e.add(check, levelOK, "as this version needs them: %s", strings.Join(fine, ", "))
	}
	if len(absent) > 0 {
		l := levelNote // needed only where etcd asks for users
		if enabled {
			l = levelWarn
		}
		e.add(check, l, "missing: %s; `lease init --rbac` creates them", strings.Join(absent, ", "))
	}
	if len(hidden) > 0 {
		e.add(check, levelNote, "not checked: %s; etcd shows a role only to its users and to root", strings.Join(hidden, ", "))
	}
}

// commonName is whom a certificate file names, which is who etcd takes its client for; empty if there is none.
func commonName(file string) string {
	if file == "" {
		return ""
	}
	all, err := readCertificates(file)
	if err != nil || len(all) == 0 { // which another check reports
		return ""
	}
	return all[0].Subject.CommonName
}
