package etcd

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"go.etcd.io/etcd/api/v3/authpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// Role is a part that a user of etcd plays in a registry.
type Role string

// The roles of a registry.
const (
	RoleOperator Role = "operator" // launches, extends, lists, arms: what people do
	RoleJanitor  Role = "janitor"
	RoleSidecar  Role = "sidecar" // of any instance: etcd cannot tell one's own keys from a neighbour's
)

// Roles are all of them, in the order in which they are shown.
func Roles() []Role { return []Role{RoleOperator, RoleJanitor, RoleSidecar} }

// RoleName is what etcd calls a role of this registry.
func (s *Store) RoleName(r Role) string { return "lapse-" + s.namespace + "-" + string(r) }

// Wanted is the least that a role needs, as far as etcd can say it.
//
//   - An operator reads everything, because a listing and a watch are of one range. Other than that, people have no
//     business with what the leader and sidecars write.
//   - A janitor closes, ends and purges every record, leads, and serves instances.
//   - A sidecar writes its heartbeat, and its lease when it claims, extends and releases. The checkpoint shows it that its
//     clock is behind. It never reads a launch, which may hold user-data.
func (s *Store) Wanted(r Role) []Grant {
	switch r {
	case RoleOperator:
		return []Grant{
			prefix(AccessRead, s.root),
			prefix(AccessReadWrite, s.root+dirEnrolments),
			prefix(AccessReadWrite, s.root+dirLaunches),
			prefix(AccessReadWrite, s.root+dirLeases),
			{Access: AccessReadWrite, Key: s.Key("registry", "")},
		}
	case RoleJanitor:
		return []Grant{prefix(AccessReadWrite, s.root)}
	case RoleSidecar:
		return []Grant{
			{Access: AccessRead, Key: s.Key("checkpoint", "")},
			prefix(AccessReadWrite, s.root+dirHeartbeats),
			prefix(AccessReadWrite, s.root+dirLeases),
		}
	}
	return nil
}

// RoleState is a role as etcd has it, beside what it needs.
type RoleState struct {
	Role    Role
	Name    string // in etcd
	Exists  bool
	Granted []Grant // all that etcd grants
	Missing []Grant // what it needs, and is not granted as a whole
	Wider   []Grant // what it is granted, and does not need as a whole
	Unknown error   // why etcd did not say; nothing else is known then
}

// roleReader is the part of clientv3.Auth that tells roles, and roleWriter the part that makes them.
type (
	roleReader interface {
		RoleGet(ctx context.Context, role string) (*clientv3.AuthRoleGetResponse, error)
	}
	roleWriter interface {
		RoleAdd(ctx context.Context, name string) (*clientv3.AuthRoleAddResponse, error)
		RoleGrantPermission(ctx context.Context, name, key, rangeEnd string, access clientv3.PermissionType) (*clientv3.AuthRoleGrantPermissionResponse, error)
	}
)

// RoleStates reads the roles of this registry. With authentication, etcd tells a user of its own roles alone, and only root
// of all.
func (s *Store) RoleStates(ctx context.Context) []RoleState {
	var states []RoleState
	for _, r := range Roles() {
		states = append(states, s.roleState(ctx, r))
	}
	return states
}

func (s *Store) roleState(ctx context.Context, r Role) RoleState {
	state := RoleState{Role: r, Name: s.RoleName(r)}
	reader, tells := s.client.(roleReader)
	if !tells {
		state.Unknown = errors.New("this etcd has no roles")
		return state
	}
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	resp, err := reader.RoleGet(ctx, state.Name)
	switch {
	case errors.Is(err, rpctypes.ErrRoleNotFound):
	case err != nil:
		state.Unknown = fmt.Errorf("read role %s: %w", state.Name, err)
		return state
	default:
		state.Exists = true
		for _, p := range resp.Perm {
			state.Granted = append(state.Granted, granted(p))
		}
	}
	wanted := s.Wanted(r)
	state.Missing, state.Wider = beyond(wanted, state.Granted), beyond(state.Granted, wanted)
	return state
}

// CreateRole creates the role if there is none, and grants it what is missing. It takes nothing away: an older version may
// still need it. Doing it again does nothing.
func (s *Store) CreateRole(ctx context.Context, state RoleState) error {
	writer, makes := s.client.(roleWriter)
	switch {
	case state.Unknown != nil:
		return state.Unknown
	case !makes:
		return errors.New("this etcd has no roles")
	}
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	if !state.Exists {
		// The role may be there by now: somebody else creates it, too.
		if _, err := writer.RoleAdd(ctx, state.Name); err != nil && !errors.Is(err, rpctypes.ErrRoleAlreadyExist) {
			return fmt.Errorf("create role %s: %w", state.Name, err)
		}
	}
	for _, g := range state.Missing {
		if _, err := writer.RoleGrantPermission(ctx, state.Name, g.Key, g.End, permission(g.Access.with(state.access(g)))); err != nil {
			return fmt.Errorf("grant role %s %s: %w", state.Name, g, err)
		}
	}
	return nil
}

// access is what the role may do already to exactly the keys of g, which etcd would replace; g's own if that is nothing.
func (r RoleState) access(g Grant) Access {
	for _, has := range r.Granted {
		if has.Key == g.Key && has.End == g.End {
			return has.Access
		}
	}
	return g.Access
}

// granted is a permission as etcd keeps it.
func granted(p *authpb.Permission) Grant {
	g := Grant{Access: AccessRead, Key: string(p.GetKey()), End: string(p.GetRangeEnd())}
	switch p.GetPermType() {
	case authpb.Permission_WRITE:
		g.Access = AccessWrite
	case authpb.Permission_READWRITE:
		g.Access = AccessReadWrite
	case authpb.Permission_READ:
	}
	return g
}

func permission(a Access) clientv3.PermissionType {
	switch a {
	case AccessWrite:
		return clientv3.PermissionType(clientv3.PermWrite)
	case AccessReadWrite:
		return clientv3.PermissionType(clientv3.PermReadWrite)
	case AccessRead:
	}
	return clientv3.PermissionType(clientv3.PermRead)
}

// Identity is what etcd's authentication makes of this client.
type Identity struct {
	Enabled bool     // etcd asks who its clients are
	Roles   []string // of the user that was asked about
	Err     error    // why etcd does not tell them; [Denied] where it has no such user, or takes the client for another
}

// Identity asks whether authentication is enabled and, if so, for the roles of user, which should be the common name of
// this client's certificate: etcd tells nobody's but the client's own.
func (s *Store) Identity(ctx context.Context, user string) (Identity, error) {
	client, tells := s.client.(interface {
		AuthStatus(ctx context.Context) (*clientv3.AuthStatusResponse, error)
		UserGet(ctx context.Context, name string) (*clientv3.AuthUserGetResponse, error)
	})
	if !tells {
		return Identity{}, nil
	}
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	status, err := client.AuthStatus(ctx)
	switch {
	case Denied(err): // some versions tell root alone, which they can do only with authentication
	case err != nil:
		return Identity{}, fmt.Errorf("ask etcd for its authentication: %w", err)
	case !status.Enabled:
		return Identity{}, nil
	}
	me, err := client.UserGet(ctx, user)
	if err != nil {
		return Identity{Enabled: true, Err: fmt.Errorf("ask etcd for user %q: %w", user, err)}, nil
	}
	return Identity{Enabled: true, Roles: me.Roles}, nil
}

// Root is the role that may do everything, and the name of the user that must have it.
const Root = "root"

// Denied reports whether etcd's authentication refused a call: its user lacks a permission, etcd has no such user, or the
// client has none.
func Denied(err error) bool {
	return slices.ContainsFunc([]error{
		rpctypes.ErrPermissionDenied, rpctypes.ErrUserEmpty, rpctypes.ErrUserNotFound, rpctypes.ErrInvalidAuthToken,
	}, func(refusal error) bool { return errors.Is(err, refusal) })
}
