package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	ucli "github.com/urfave/cli/v2"

	"lapse/cmd/internal/advice"
	"lapse/cmd/internal/cli"
	"lapse/cmd/internal/registry"
	"lapse/janitor"
	"lapse/janitor/plan"
	"lapse/lease"
	"lapse/lease/ec2"
	"lapse/lease/etcd"
)

func whyCommand() *ucli.Command {
	return &ucli.Command{
		Name: "why", Usage: "explain why an instance is kept or terminated", ArgsUsage: "ID",
		Description: "Says first whether the instance is kept or terminated, and why; then when exactly, what would change that,\n" +
			"and the evidence in the records and EC2. If the AWS settings reach EC2, it also says what a janitor with\n" +
			"default settings would decide now, and explains instances that have no record. The engaged brakes, and\n" +
			"how they are released, come last.\n\n" +
			"   lease why i-0123456789abcdef0\n" +
			"   lease why nightly-2027-01-31",
		Flags:  append(cli.StoreFlags(), cli.OutputFlag(), regionFlag(), cli.AccountFlag()),
		Action: registry.WithStore(namedOne, why),
	}
}

type explanation struct {
	InstanceID string         `json:"instance_id"`
	Text       string         `json:"text"`
	Mode       lease.Mode     `json:"mode"`            // of the registry
	Brakes     []lease.Brake  `json:"brakes"`          // that held at the last sweep
	Action     plan.Action    `json:"action,omitzero"` // what a janitor would do now, if EC2 was asked; or marked
	Reason     string         `json:"reason,omitzero"`
	Brake      string         `json:"brake,omitzero"`
	Tag        string         `json:"tag,omitzero"`  // the value of lapse:expires on the instance, if EC2 was asked
	Keys       lease.KeyState `json:"keys,omitzero"` // how record and tag stand to each other, if EC2 was asked
	Lease      *lease.Lease   `json:"lease,omitempty"`

	lease.Overdue // set if the instance should be gone by its record: what keeps it, and since when

	account *account // of which Text is the prose
}

// actMarked stands for the verdict about a marked lease: only `janitor run` knows how long its heartbeat has been lost.
const actMarked plan.Action = "marked"

func why(c *ucli.Context, store *etcd.Store, id string) error {
	ids, location, about, err := whatToExplain(c, store, id)
	if err != nil {
		return err
	}
	k, err := gather(c, store, location)
	if err != nil {
		return err
	}
	explanations := []explanation{}
	for _, id := range ids {
		e, err := k.explain(c.Context, id, timeWords{now: time.Now(), absolute: cli.WantsJSON(c)})
		if err != nil {
			return err
		}
		e.Text = e.account.text()
		explanations = append(explanations, e)
	}
	switch {
	case cli.WantsJSON(c) && lease.IsInstanceID(id):
		return cli.JSON(c, explanations[0])
	case cli.WantsJSON(c):
		return cli.JSON(c, explanations)
	case about != "":
		if err := cli.Prose(c.App.Writer, about+"\n"); err != nil {
			return err
		}
	}
	for _, e := range explanations {
		if err := e.account.writeTo(c.App.Writer); err != nil {
			return err
		}
	}
	return cli.Prose(c.App.Writer, k.registry(time.Now()))
}

// whatToExplain are the instances that id means, their location as far as the records say, and a sentence about the
// launch if id is one.
func whatToExplain(c *ucli.Context, store *etcd.Store, id string) (ids []string, location lease.Location, about string, err error) {
	if !lease.IsInstanceID(id) {
		l, err := launchOf(c.Context, store, id)
		return l.Instances(), l.Location(), launchWords(l, time.Now()), err
	}
	location.Region = c.String("region")
	l, err := store.Lease(c.Context, id)
	switch {
	case err == nil:
		return []string{id}, l.Location(), "", nil
	case known(err):
		return []string{id}, location, "", nil
	}
	return nil, location, "", err
}

type knowledge struct {
	snapshot lease.Snapshot
	cloud    *ec2.Cloud // nil if EC2 is out of reach
	plan     plan.Plan  // empty then
}

// gather reads the registry and, if the AWS settings allow it, EC2. If they do not, it says why on stderr.
func gather(c *ucli.Context, store *etcd.Store, location lease.Location) (k knowledge, err error) {
	if k.cloud, err = lookAt(c, location); err != nil {
		cli.Say(c, "explained without EC2: %v", registry.Advise(err))
		k.snapshot, err = store.Snapshot(c.Context)
		return k, err
	}
	seen, err := janitor.Preview(c.Context, []janitor.Cloud{k.cloud}, store, plan.DefaultPolicy(), time.Now)
	if err != nil {
		return k, err
	}
	k.snapshot, k.plan = seen.Snapshot, seen.Plan
	if problem := seen.Locations[0].Err; problem != "" {
		cli.Say(c, "EC2's answer is incomplete: %s", problem)
	}
	return k, nil
}

// lookAt opens EC2, or gives up soon. An unknown location is that of the AWS settings.
func lookAt(c *ucli.Context, location lease.Location) (*ec2.Cloud, error) {
	ctx, cancel := context.WithTimeout(c.Context, lookTimeout)
	defer cancel()
	var cloud *ec2.Cloud
	var err error
	if location.Account == "" {
		cloud, err = peekCloud(ctx, c, location.Region)
	} else {
		cloud, err = openLocation(ctx, c, location)
	}
	if errors.Is(err, context.DeadlineExceeded) && !cli.Is[*ec2.UnreachableError](err) {
		err = &ec2.UnreachableError{Op: "look at EC2", Err: fmt.Errorf("no answer within %s", lookTimeout)}
	}
	return cloud, err
}

// explain explains one instance.
//
// Errors: [lease.NotFoundError] if neither the registry nor EC2 knows it.
func (k knowledge) explain(ctx context.Context, id string, t timeWords) (explanation, error) {
	e := explanation{
		InstanceID: id, Lease: k.lease(id), Mode: k.snapshot.Registry.Mode,
		Brakes: append([]lease.Brake{}, k.snapshot.Checkpoint.Brakes...),
	}
	if e.account = k.unleased(id); e.Lease != nil {
		e.account = tellLease(*e.Lease, k.snapshot.Heartbeats, t)
	}
	if e.Lease != nil && e.Lease.Live() && e.Lease.Mark != nil {
		e.Action = actMarked
	}
	for _, v := range k.plan.Verdicts {
		if v.InstanceID == id {
			k.judged(&e, v, t)
			return e, nil
		}
	}
	if e.Lease == nil && k.bad(id) == nil {
		return k.unwatched(ctx, e)
	}
	if e.Lease != nil {
		k.overdue(&e, k.snapshot.Circumstances(t.now).Overdue(e.Lease, nil), lease.Instance{}, t)
	}
	return e, nil
}

// judged adds what EC2 reports, and what a janitor would do now if the record does not say it.
func (k knowledge) judged(e *explanation, v plan.Verdict, t timeWords) {
	if e.Lease == nil && v.Instance != nil && k.bad(e.InstanceID) == nil {
		e.account, e.Overdue = k.tellUnleased(v, t), v.Overdue
	}
	said := ""
	k.compare(e, v, t)
	if v.Instance != nil {
		said = fmt.Sprintf("EC2 reports it as %s.", v.Instance.State)
	}
	switch {
	case adds(v, e.Lease):
		e.Action, e.Reason, e.Brake = v.Action, v.Reason, v.Brake
		said += " " + verdictWords(v)
	case e.Action == actMarked:
		e.Reason = v.Reason
	}
	if said = strings.TrimSpace(said); said != "" {
		e.account.say("now", "%s", said)
	}
}

// unwatched explains an instance without a record and without a verdict: it has no registry's tag.
func (k knowledge) unwatched(ctx context.Context, e explanation) (explanation, error) {
	unknown := &lease.NotFoundError{Kind: "lease", ID: e.InstanceID}
	if k.cloud == nil {
		return e, unknown
	}
	listing, err := k.cloud.Describe(ctx, []string{e.InstanceID})
	if err != nil {
		return e, advice.EC2(err)
	}
	if len(listing.Instances) == 0 {
		return e, unknown
	}
	e.account = &account{lead: fmt.Sprintf("%s is left alone: it bears no tag %s, so it is not managed, and Lapse does not touch it.",
		e.InstanceID, lease.TagRegistry)}
	e.account.say("change", "`lease adopt %s --term 24h` gives it a lease.", e.InstanceID)
	e.account.say("now", "EC2 reports it as %s.", listing.Instances[0].State)
	return e, nil
}

func (k knowledge) lease(id string) *lease.Lease {
	for n := range k.snapshot.Leases {
		if k.snapshot.Leases[n].InstanceID == id {
			return &k.snapshot.Leases[n]
		}
	}
	return nil
}

// bad is why the lease's record cannot be read, or nil.
func (k knowledge) bad(id string) error {
	for _, b := range k.snapshot.Bad {
		if b.Kind == "lease" && b.ID == id {
			return b.Err
		}
	}
	return nil
}
