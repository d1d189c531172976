package main

import (
	"errors"
	"fmt"
	"time"

	ucli "github.com/urfave/cli/v2"

	"lapse/cmd/internal/cli"
	"lapse/cmd/internal/registry"
	"lapse/lease"
	"lapse/lease/etcd"
)

func recoverCommand() *ucli.Command {
	return &ucli.Command{
		Name: "recover", Usage: "rebuild lost leases from the tags of their instances", ArgsUsage: "[INSTANCE…]",
		Description: "Use it after a loss of data. Every instance with this registry's tag, whose launch tag is the client token\n" +
			"that it was launched with, gets a lease if it has none on record: for the holder and until the date on its\n" +
			"tags, but for at least 24 hours. The last extensions may not have reached the tags, so read the dates and\n" +
			"extend every instance you want to keep; an instance whose tag says none gets no expiry, unless --term is\n" +
			"given. Leases on record are left as they are, so the command can be repeated.\n\n" +
			"It leaves alone, and lists with the reason, instances with copied tags and adopted ones (use `lease adopt`),\n" +
			"those of another registry, exempt ones, and those of a launch on record. It prints the plan and asks on a\n" +
			"terminal, and needs --yes elsewhere.\n\n" +
			"   lease recover --dry-run\n" +
			"   lease recover --region eu-west-1 --region us-east-1 --term 3d --yes\n\n" +
			"If the registry itself is lost, nothing is terminated. Restore its backup, or create it under its old UUID,\n" +
			"which is in the tag lapse:registry, so that its instances are known again:\n\n" +
			"   lease init --uuid 0f8fad5b-d9cb-469f-a165-70867728950e\n" +
			"   lease recover",
		Flags: append(cli.StoreFlags(), cli.OutputFlag(), cli.AccountFlag(), reasonFlag(), cli.YesFlag(),
			&ucli.StringSliceFlag{Name: "region", Usage: "search `REGION`; repeatable", DefaultText: "the AWS SDK's own setting"},
			&ucli.StringFlag{Name: "term", Usage: "grant at least `DURATION`, as in 3d", DefaultText: "24h, or none where the tag says none"},
			&ucli.StringFlag{Name: "max-term", Value: "7d", Usage: "allow extensions up to `DURATION` from now, or none"},
			&ucli.StringFlag{Name: "heartbeat-timeout", Value: "none", Usage: "expect a heartbeat within `DURATION`, 5s to 1h, or none"},
			&ucli.BoolFlag{Name: "dry-run", Usage: "print the plan; write nothing"}),
		Action: registry.WithStore(readRecovery, recoverLeases),
	}
}

func recoverLeases(c *ucli.Context, store *etcd.Store, asked recoveryRequest) error {
	look := func() (recovery, error) {
		found, err := lookForLost(c, asked.ids)
		if err != nil {
			return recovery{}, err
		}
		snapshot, err := store.Snapshot(c.Context) // second, so that every lease written by now is seen
		if err != nil {
			return recovery{}, withLostRegistry(err, found)
		}
		return planRecovery(c, snapshot, asked, found)
	}
	plan, err := look()
	if err != nil {
		return err
	}
	if c.Bool("dry-run") || len(plan.Recovered) == 0 {
		return plan.end(c, 0)
	}
	if plan, err = plan.confirm(c, look); err != nil {
		return err
	}
	return plan.carryOut(c, store)
}

type recoveryRequest struct {
	lease.RecoveryTerms

	ids []string // none: all
}

func readRecovery(c *ucli.Context) (t recoveryRequest, err error) {
	if t.ids, err = namedIfAny(c); err != nil {
		return t, err
	}
	for _, id := range t.ids {
		if !lease.IsInstanceID(id) {
			return t, cli.Usage("%q is not an instance id; give instance ids, or none to search the whole region", id)
		}
	}
	if text := c.String("term"); text != "" {
		if t.Term, err = cli.Duration("term", text); err != nil {
			return t, err
		}
		if t.AnyTerm = true; t.Term < lease.MinRecovery {
			return t, cli.Usage("--term %s is less than %s, the minimum for a recovered lease", text, brief(lease.MinRecovery))
		}
	}
	if t.MaxTerm, err = cli.DurationOrNone("max-term", c.String("max-term")); err != nil {
		return t, err
	}
	if t.MaxTerm > 0 && max(t.Term, lease.MinRecovery) > t.MaxTerm {
		return t, cli.Usage("--max-term %s is shorter than the term; give a longer one, or none", c.String("max-term"))
	}
	if t.HeartbeatTimeout, err = cli.DurationOrNone("heartbeat-timeout", c.String("heartbeat-timeout")); err != nil {
		return t, err
	}
	return t, lease.CheckHeartbeatTimeout(t.HeartbeatTimeout)
}

// recovery is what is rebuilt and what is left alone, as printed for programs.
type recovery struct {
	Registry  string        `json:"registry"`
	DryRun    bool          `json:"dry_run"`
	Recovered []lease.Lease `json:"recovered"` // or would be
	Left      []leftAlone   `json:"left"`

	named bool // the instances were named, so all that are left alone are reported
}

type leftAlone struct {
	InstanceID string              `json:"instance_id"`
	Account    string              `json:"account"`
	Region     string              `json:"region"`
	State      lease.InstanceState `json:"state"`
	Obstacle   lease.Obstacle      `json:"obstacle"`
	Reason     string              `json:"reason"`
}

// planRecovery judges every instance. Unless the instances were named, it does not report those that need no lease or
// never belonged here.
func planRecovery(c *ucli.Context, s lease.Snapshot, asked recoveryRequest, found []lease.Instance) (recovery, error) {
	plan := recovery{
		Registry: s.Registry.UUID, DryRun: c.Bool("dry-run"), Recovered: []lease.Lease{}, Left: []leftAlone{}, named: len(asked.ids) > 0,
	}
	judge, now := lease.NewRecovery(s, asked.RecoveryTerms), time.Now()
	for _, i := range found {
		l, err := judge.Lease(now, i, lease.By{Actor: cli.Actor(), Reason: c.String("reason")})
		if err == nil {
			plan.Recovered = append(plan.Recovered, l)
			continue
		}
		cannot, ok := errors.AsType[*lease.UnrecoverableError](err)
		if !ok {
			return plan, err
		}
		needless := cannot.Obstacle == lease.ObstacleLeased || cannot.Obstacle == lease.ObstacleOver
		if plan.named || !needless {
			plan.Left = append(plan.Left, leftAlone{i.ID, i.Location.Account, i.Location.Region, i.State, cannot.Obstacle, cannot.Why + cli.Advice(cannot)})
		}
	}
	return plan, nil
}

// confirm shows the plan and asks. With --yes it asks nothing; the result is printed later. After the answer it plans
// again, so that dates count from now, and rebuilds no lease that was not shown.
func (p recovery) confirm(c *ucli.Context, look func() (recovery, error)) (recovery, error) {
	if c.Bool("yes") {
		return p, nil
	}
	if err := p.print(c, c.App.ErrWriter, "recover"); err != nil {
		return p, err
	}
	fresh := p
	err := cli.Confirm(c, fmt.Sprintf("rebuild %s as above, whose instances are terminated on those dates unless extended", count(len(p.Recovered), "lease")), func() (err error) {
		if fresh, err = look(); err == nil && fresh.Registry != p.Registry {
			err = cli.Outdated("the registry changed from %s to %s", p.Registry, fresh.Registry)
		}
		if err != nil {
			return err
		}
		return askedOf(p.Recovered).covers(fresh.Recovered)
	})
	return fresh, err
}

// carryOut writes the planned leases. A lease that somebody else has created since is left as it is.
func (p recovery) carryOut(c *ucli.Context, store *etcd.Store) error {
	planned, failed := p.Recovered, []error{}
	p.Recovered = []lease.Lease{}
	for n, l := range planned {
		stored, err := store.PutLease(c.Context, l)
		if cli.Is[*lease.ConflictError](err) {
			p.Left = append(p.Left, leftAlone{
				l.InstanceID, l.Account, l.Region, "", lease.ObstacleLeased, "somebody else gave it a lease first",
			})
			continue
		}
		if err != nil {
			err = cli.WithCode(cli.ExitUnknown, fmt.Errorf("the lease of %s may or may not have been written (%w); run the same command again", l.InstanceID, registry.Advise(err)))
			cli.Say(c, "lease: %v", registry.Advise(err))
			failed = append(failed, err)
			if noAnswer(err) || c.Err() != nil {
				cli.Say(c, "%s not attempted", count(len(planned)-n-1, "lease"))
				break
			}
			continue
		}
		p.Recovered = append(p.Recovered, stored)
	}
	return p.end(c, len(failed))
}
