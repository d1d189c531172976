package main

import (
	"fmt"
	"maps"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"lapse/lease"
	"lapse/lease/ec2/ec2sim"
)

// meanwhile ACTION before|after tag|adopt|unmanage|stop ID [TAG=VALUE]…: just before or after EC2 performs the action
// the next time, somebody sets tags on an instance, or adopts, forgets or stops it.
func meanwhile(w *world, _ *testscript.TestScript, args []string) error {
	f := ec2sim.Fault{Action: args[0], Times: 1}
	if args[1] == "after" {
		f.Stage = ec2sim.AfterDeed
	}
	f.Hook = func() {
		i, _ := w.sim.Instance(args[3])
		tags := maps.Clone(i.Tags)
		maps.Copy(tags, settings(args[4:]))
		w.sim.SetTags(i.ID, tags)
		if err := w.changeBeside(args[2], args[3]); err != nil {
			w.sim.SetTags(i.ID, map[string]string{"failed": err.Error()})
		}
	}
	w.sim.Inject(f)
	return nil
}

func (w *world) changeBeside(what, id string) error {
	now, by := time.Now(), lease.By{Actor: "somebody"}
	switch what {
	case "tag":
		return nil
	case "stop":
		w.sim.SetState(id, ec2sim.Stopped)
		return nil
	case "unmanage":
		_, _, err := w.store.UpdateLease(w.ctx, id, func(l lease.Lease) (lease.Lease, error) { return l.Unmanage(now, by) })
		return err
	case "adopt":
		l, err := w.store.Lease(w.ctx, id)
		if err == nil {
			_, err = w.store.PutLease(w.ctx, lease.Adopt(now, lease.Instance{ID: id, Location: here}, now.Add(time.Hour), time.Time{}, "", nil, by).Succeeding(l))
		}
		return err
	}
	return fmt.Errorf("nobody does %q", what)
}

// operator UUID: from here on EC2 sets tags only as deploy/iam/operator.json of that registry lets it.
func actAsOperator(w *world, _ *testscript.TestScript, args []string) error {
	w.sim.LetTag(func(borne, set map[string]string) bool {
		other, tagged := borne[lease.TagRegistry]
		return len(set) == 1 && set[lease.TagRegistry] == args[0] && (!tagged || other == args[0])
	})
	return nil
}

// stale LONG: EC2's descriptions are so old from here on.
// quirks makes the endpoint one that differs from EC2's: quirks [ignores-tokens] [hides-tokens] [drops-tags] [ignores-filters].
func setQuirks(w *world, _ *testscript.TestScript, args []string) error {
	var q ec2sim.Quirks
	for _, name := range args {
		of := map[string]*bool{
			"ignores-tokens": &q.IgnoresClientToken, "hides-tokens": &q.HidesClientToken, "drops-tags": &q.DropsTags, "ignores-filters": &q.IgnoresFilters,
		}[name]
		if of == nil {
			return fmt.Errorf("no quirk %q", name)
		}
		*of = true
	}
	w.sim.SetQuirks(q)
	return nil
}

func showOld(w *world, _ *testscript.TestScript, args []string) error {
	d, err := time.ParseDuration(args[0])
	w.sim.SetStaleFor(d)
	return err
}
