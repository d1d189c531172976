package etcd_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"lapse/lease"
	"lapse/lease/etcd"
)

// act is something that a thief may try to do to others.
type act struct {
	what, so string // so: what comes of it
	try      func(h *heist) error
	happened func(h *heist) bool // as root sees it; nil for what only reads: the thief has it if there is no error
}

func acts() []act {
	return append(append(actsOnInstances(), actsOnTheRegistry()...), actsOnEtcd()...)
}

// put writes a key, and sees whether it is written.
func put(what, so, key string) act {
	const forged = `{"forged": true}`
	return act{what, so, func(h *heist) error { _, err := h.thief.Put(h.now, key, forged); return err }, func(h *heist) bool {
		return h.value(key) == forged
	}}
}

// remove deletes a key, and sees whether it is gone.
func remove(what, so, key string) act {
	return act{what, so, func(h *heist) error { _, err := h.thief.Delete(h.now, key); return err }, func(h *heist) bool { return h.value(key) == "" }}
}

// read reads a key, or all keys of a directory, and does not count an answer without any.
func read(what, so, key string) act {
	var all []clientv3.OpOption
	if strings.HasSuffix(key, "/") {
		all = append(all, clientv3.WithPrefix())
	}
	return act{what, so, func(h *heist) error {
		resp, err := h.thief.Get(h.now, key, all...)
		if err == nil && len(resp.Kvs) == 0 {
			return errors.New("nothing is there to be read")
		}
		return err
	}, nil}
}

// change changes the victim's lease as a program that knows Lapse does, and sees whether the record is so.
func change(what, so string, to func(lease.Lease) (lease.Lease, error), is func(before, after lease.Lease) bool) act {
	return act{what, so, func(h *heist) error { _, _, err := h.loot.UpdateLease(h.now, victim, to); return err }, func(h *heist) bool {
		after, err := h.store.Lease(h.Context(), victim)
		return err == nil && is(h.before, after)
	}}
}

// value is what a key says, to root; empty if there is no such key.
func (h *heist) value(key string) string {
	resp, err := h.root.Get(h.Context(), key)
	if err != nil {
		h.Fatal(err)
	}
	if len(resp.Kvs) == 0 {
		return ""
	}
	return string(resp.Kvs[0].Value)
}

// gone reports whether there is no such etcd lease any more, and no such key.
func (h *heist) gone(id clientv3.LeaseID, key string) bool {
	resp, err := h.root.Leases(h.Context())
	if err != nil {
		h.Fatal(err)
	}
	return !slices.ContainsFunc(resp.Leases, func(l clientv3.LeaseStatus) bool { return l.ID == id }) && h.value(key) == ""
}

func actsOnInstances() []act {
	thief := lease.By{Actor: "thief"}
	extend := func(by time.Duration) func(lease.Lease) (lease.Lease, error) {
		return func(l lease.Lease) (lease.Lease, error) {
			return l.Extend(time.Now(), lease.Extension{Until: l.ExpiresAt.Add(by), AllowShorten: true}, thief)
		}
	}
	revoke := func(cause lease.Cause) func(lease.Lease) (lease.Lease, error) {
		return func(l lease.Lease) (lease.Lease, error) { return l.Revoke(time.Now(), cause, thief) }
	}
	return []act{
		read("read the leases of others", "reveals holders and labels", heistKey("leases/"+victim)),
		change("extend another's lease", "its instance runs longer than agreed", extend(time.Hour),
			func(before, after lease.Lease) bool { return after.ExpiresAt.After(before.ExpiresAt) }),
		change("shorten another's lease", "its instance is terminated sooner than agreed", extend(-time.Hour),
			func(before, after lease.Lease) bool { return after.ExpiresAt.Before(before.ExpiresAt) }),
		change("release another's lease", "its instance is terminated", revoke(lease.CauseRelease),
			func(_, after lease.Lease) bool { return after.State == lease.StateRevoked }),
		remove("delete another's lease", "its instance is untracked: reported, never terminated", heistKey("leases/"+victim)),
		read("read another's heartbeat", "reveals its address", heistKey("heartbeats/"+victim)),
		{
			"claim another's heartbeat", "a dead instance looks alive until its lease expires",
			func(h *heist) error {
				_, err := h.loot.Claim(h.now, lease.Heartbeat{InstanceID: victim, BootID: "thief", HeartbeatTimeout: lease.Duration(time.Hour)})
				return err
			},
			func(h *heist) bool { return strings.Contains(h.value(heistKey("heartbeats/"+victim)), "thief") },
		},
		remove("delete another's heartbeat", "its heartbeat is lost: the instance is terminated unless a brake holds that back", heistKey("heartbeats/"+victim)),
		{
			"revoke the etcd lease of another's heartbeat", "the same",
			func(h *heist) error { _, err := h.thief.Revoke(h.now, h.held); return err },
			func(h *heist) bool { return h.gone(h.held, heistKey("heartbeats/"+victim)) },
		},
		{
			"prolong the etcd lease of another's heartbeat", "a dead instance looks alive until its lease expires",
			func(h *heist) error { _, err := h.thief.KeepAliveOnce(h.now, h.held); return err }, nil,
		},
	}
}

func actsOnTheRegistry() []act {
	return []act{
		read("read the checkpoint", "reveals locations and brakes", heistKey("checkpoint")),
		put("write the checkpoint", "brakes engage, terminations stop", heistKey("checkpoint")),
		read("read launches", "reveals the user-data and the join tokens of those under way", heistKey("launches/")),
		put("write a launch", "instances that it has not bound yet are terminated as orphans", heistKey("launches/nightly")),
		read("read enrolments", "reveals which keys are enrolled, not the keys", heistKey("enrolments/")),
		put("write an enrolment", "the thief's key passes for another instance", heistKey("enrolments/"+victim)),
		read("read the registry", "reveals its mode, and who set it", heistKey("registry")),
		put("write the registry", "terminations stop, or a registry that only observed terminates", heistKey("registry")),
		read("read the plan", "reveals what is terminated next", heistKey("plan")),
		put("write the plan", "people arm a registry by a wrong preview", heistKey("plan")),
		put("join the election", "the thief leads when the leader goes, and terminations stop", heistKey("election/janitor/2")),
		remove("depose the leader", "terminations stop until the next one leads", heistKey("election/janitor/1")),
		{
			"revoke the etcd lease of the leader", "the same",
			func(h *heist) error { _, err := h.thief.Revoke(h.now, h.leads); return err },
			func(h *heist) bool { return h.gone(h.leads, heistKey("election/janitor/1")) },
		},
		{
			"prolong the etcd lease of the leader", "a leader that is gone keeps others from leading",
			func(h *heist) error { _, err := h.thief.KeepAliveOnce(h.now, h.leads); return err }, nil,
		},
	}
}

func actsOnEtcd() []act {
	return []act{
		read("read other keys of the same etcd", "reveals them", "/others/"),
		put("write other keys of the same etcd", "as their owners use them", "/others/key"),
		{
			"write large values to its own keys", "etcd fills up and refuses writes",
			func(h *heist) error {
				_, err := h.thief.Put(h.now, heistKey("heartbeats/"+robbed), strings.Repeat("x", 1<<20))
				return err
			},
			func(h *heist) bool { return len(h.value(heistKey("heartbeats/"+robbed))) == 1<<20 },
		},
		{
			"list all etcd leases", "reveals their ids",
			func(h *heist) error { _, err := h.thief.Leases(h.now); return err }, nil,
		},
		{
			"compact etcd's history", "watches break, and list again",
			func(h *heist) error {
				resp, err := h.root.Get(h.now, heistKey("registry"))
				if err != nil {
					return fmt.Errorf("as root: %w", err)
				}
				_, err = h.thief.Compact(h.now, resp.Header.Revision)
				return err
			}, nil,
		},
		{
			"copy the whole database", "reveals everything",
			func(h *heist) error {
				stream, err := h.thief.Snapshot(h.now)
				if err != nil {
					return err
				}
				defer stream.Close()
				_, err = io.ReadFull(stream, make([]byte, 1024))
				return err
			}, nil,
		},
		{
			"defragment a member", "etcd stalls, heartbeats are lost",
			func(h *heist) error { _, err := h.thief.Defragment(h.now, h.thief.Endpoints()[0]); return err }, nil,
		},
		{
			"add a member to the cluster", "the cluster loses its quorum",
			func(h *heist) error {
				_, err := h.thief.MemberAddAsLearner(h.now, []string{"http://127.0.0.1:1"})
				return err
			},
			func(h *heist) bool {
				resp, err := h.root.MemberList(h.Context())
				return err == nil && len(resp.Members) == 2
			},
		},
		{
			"raise an alarm", "etcd refuses writes",
			func(h *heist) error {
				_, err := pb.NewMaintenanceClient(h.thief.ActiveConnection()).Alarm(h.now, &pb.AlarmRequest{
					Action: pb.AlarmRequest_ACTIVATE, Alarm: pb.AlarmType_NOSPACE,
				})
				return err
			},
			func(h *heist) bool {
				resp, err := h.root.AlarmList(h.Context())
				return err == nil && len(resp.Alarms) == 1
			},
		},
		{
			"list users and roles", "reveals them",
			func(h *heist) error {
				_, users := h.thief.UserList(h.now)
				_, roles := h.thief.RoleList(h.now)
				return errors.Join(users, roles)
			}, nil,
		},
		{
			"change users and roles", "locks everybody out, or lets anybody in",
			func(h *heist) error {
				_, err := h.thief.RoleGrantPermission(h.now, "lapse-default-sidecar", "/", "0", clientv3.PermissionType(clientv3.PermRead))
				return err
			},
			func(h *heist) bool {
				resp, err := h.root.RoleGet(h.Context(), "lapse-default-sidecar")
				return err == nil && len(resp.Perm) == 4
			},
		},
		switchUsers(), grantMany(),
	}
}

// switchUsers makes etcd ask for users, or stop asking for them, whichever it does not.
func switchUsers() act {
	return act{
		"enable or disable authentication", "locks everybody out, or lets everybody in",
		func(h *heist) error {
			if h.asks = h.asksNow(); h.asks {
				_, err := h.thief.AuthDisable(h.now)
				return err
			}
			_, added := h.thief.UserAddWithOptions(h.now, etcd.Root, "", &clientv3.UserAddOptions{NoPassword: true})
			_, granted := h.thief.UserGrantRole(h.now, etcd.Root, etcd.Root)
			_, enabled := h.thief.AuthEnable(h.now)
			return errors.Join(added, granted, enabled)
		},
		func(h *heist) bool {
			asks := h.asksNow()
			if asks && !h.asks {
				h.must(h.root.AuthDisable(h.Context()))
			}
			return asks != h.asks
		},
	}
}

// asksNow reports whether etcd asks for users.
func (h *heist) asksNow() bool {
	h.Helper()
	status, err := h.root.AuthStatus(h.Context())
	h.must(nil, err)
	return status.Enabled
}

// grantMany grants etcd leases, GRANTS of them: 1,000, unless somebody wants to see more.
func grantMany() act {
	many, _ := strconv.Atoi(cmp.Or(os.Getenv("GRANTS"), "1000"))
	const atOnce = 50
	return act{
		"grant any number of etcd leases", "etcd runs out of memory",
		func(h *heist) error {
			failed := make(chan error, atOnce)
			for range atOnce {
				go func() { failed <- grantSome(h.now, h.thief, many/atOnce) }()
			}
			var all error
			for range atOnce {
				all = errors.Join(all, <-failed)
			}
			return all
		},
		func(h *heist) bool {
			resp, err := h.root.Leases(h.Context())
			return err == nil && len(resp.Leases) >= many
		},
	}
}

func grantSome(ctx context.Context, client *clientv3.Client, n int) error {
	for range n {
		if _, err := client.Grant(ctx, 3600); err != nil {
			return err
		}
	}
	return nil
}
