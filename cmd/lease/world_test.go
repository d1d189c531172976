package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	clientv3 "go.etcd.io/etcd/client/v3"

	"lapse/cmd/internal/script"
	"lapse/lease"
	"lapse/lease/ec2/ec2sim"
	"lapse/lease/etcd"
	"lapse/lease/etcd/embedded"
)

// here is the location where scripts launch.
var here = script.Here()

// world is what one script has to itself: an etcd, an EC2, and commands to change them while the program runs.
type world struct {
	ctx    context.Context
	server *embedded.Server
	client etcd.Client
	store  *etcd.Store
	sim    *ec2sim.Sim
	skew   atomic.Int64    // of EC2's clock, in nanoseconds
	struck <-chan struct{} // one for each time that the last fault struck
	watch  *watching       // the last one

	secrets []string // join tokens that were on record
}

// newWorld starts the servers of a script and points the program at them.
func newWorld(env *testscript.Env) error {
	ctx, own, err := script.StartEtcd(env)
	if err != nil {
		return err
	}
	w := &world{ctx: ctx, server: own.Server, client: own.Client, store: own.Store}
	w.sim = ec2sim.New(ec2sim.Config{
		Now:        func() time.Time { return time.Now().Add(time.Duration(w.skew.Load())) },
		Parameters: map[string]string{"/images/latest": "ami-0123456789abcdef0"},
		Regions: map[string][]ec2sim.Zone{
			"us-east-1":     {{Name: "us-east-1a", ID: "use1-az1"}, {Name: "us-east-1b", ID: "use1-az2"}, {Name: "us-east-1c", ID: "use1-az3"}},
			"eu-west-1":     {{Name: "eu-west-1a", ID: "euw1-az1"}, {Name: "eu-west-1b", ID: "euw1-az2"}, {Name: "eu-west-1c", ID: "euw1-az3"}},
			"us-iso-east-1": {{Name: "us-iso-east-1a", ID: "usie1-az1"}}, // of which no certificate for identity documents is built in
		},
	})
	own.Point(env, w.sim)
	env.Values["world"] = w
	env.Setenv("ETCD", w.server.Endpoints()[0])
	env.Setenv("SUBNET_A", w.sim.SubnetID("us-east-1a"))
	env.Setenv("SUBNET_B", w.sim.SubnetID("us-east-1b"))
	return nil
}

// worldCommands are the commands of scripts, besides running programs.
func worldCommands() map[string]func(*testscript.TestScript, bool, []string) {
	commands := map[string]func(*testscript.TestScript, bool, []string){"exits": script.Exits}
	script.Questions(commands)
	for name, do := range map[string]func(*world, *testscript.TestScript, []string) error{
		"brake": holdBrake, "heartbeat-lost": loss, "heartbeat": heartbeatFor, "change": changeLease, "create": createInstance, "fleet": addFleet, "spot": checkSpot, "fault": failEC2, "meanwhile": meanwhile, "operator": actAsOperator, "stale": showOld, "quirks": setQuirks, "fake-etcd": startFake, "instance": checkInstance,
		"capacity": setCapacity, "lose": loseRegistry, "forget": forgetKey, "env-from": envFrom, "env-json": envJSON, "repeat": repeat, "split": split, "struck": waitStruck,
		"machine": startMachine, "watch": startWatch, "prints": watchTold, "warns": watchWarned, "unwatch": stopWatch, "start-etcd": startEtcd, "tokenless": forgetTokens, "hides": hidesSecrets, "joins": checkJoins, "enrol": enrolKeys, "api-answers": startAPI,
		"kill-etcd": killEtcd, "terminate": terminate, "tag": editTags, "leased": leaseInstance, "mode": setMode, "put": putKey, "skew": skewClock, "checkpoint": checkpointSweep,
		"secure": secureEtcd, "as": asUser, "etcdctl": etcdctl, "printed-etcdctl": runPrinted,
	} {
		commands[name] = func(ts *testscript.TestScript, neg bool, args []string) {
			if neg {
				ts.Fatalf("%s cannot be negated", name)
			}
			ts.Check(do(ts.Value("world").(*world), ts, args))
		}
	}
	return commands
}

// settings reads arguments of the form key=value.
func settings(args []string) map[string]string {
	pairs := map[string]string{}
	for _, arg := range args {
		key, value, _ := strings.Cut(arg, "=")
		pairs[key] = value
	}
	return pairs
}

// create VARIABLE [state=S] [token=T] [operator=SERVICE] [spot=persistent|one-time|ID] [TAG=VALUE]…: an instance that
// Lapse did not launch.
func createInstance(w *world, ts *testscript.TestScript, args []string) error {
	tags := settings(args[1:])
	if kind := tags["spot"]; kind == "persistent" || kind == "one-time" {
		tags["spot"] = w.sim.AddSpotRequest(ec2sim.SpotRequest{State: "active", Persistent: kind == "persistent"}).ID
	}
	hops, _ := strconv.Atoi(tags["hops"])
	i := w.sim.Create(ec2sim.Instance{
		State: ec2sim.State(tags["state"]), ClientToken: tags["token"], Operator: tags["operator"], SpotRequest: tags["spot"], KeyName: tags["key"], Tags: tags,
		Metadata: ec2sim.MetadataOptions{HTTPEndpoint: "enabled", HopLimit: max(hops, 1)},
	})
	for _, setting := range []string{"state", "token", "operator", "spot", "key", "hops"} {
		delete(tags, setting)
	}
	w.sim.SetTags(i.ID, tags)
	ts.Setenv(args[0], i.ID)
	return nil
}

// tag ID KEY=VALUE|-KEY…: somebody edits the tags of an instance.
func editTags(w *world, _ *testscript.TestScript, args []string) error {
	i, known := w.sim.Instance(args[0])
	if !known {
		return fmt.Errorf("no instance %s", args[0])
	}
	tags := maps.Clone(i.Tags)
	for _, arg := range args[1:] {
		if key, value, set := strings.Cut(arg, "="); set {
			tags[key] = value
		} else {
			delete(tags, strings.TrimPrefix(key, "-"))
		}
	}
	w.sim.SetTags(i.ID, tags)
	return nil
}

// leased VARIABLE [holder=WHO] [term=LONG] [not-after=LONG] [heartbeat-timeout=LONG] [LABEL=VALUE]…: an instance that
// has run for an hour, with an active lease and its tags.
func leaseInstance(w *world, ts *testscript.TestScript, args []string) error {
	given := settings(args[1:])
	registry, err := w.store.Registry(w.ctx)
	if err != nil {
		return err
	}
	i := w.sim.Create(ec2sim.Instance{LaunchTime: time.Now().Add(-time.Hour).Truncate(time.Second)})
	now, by := time.Now(), lease.By{Actor: "test"}
	in := func(name string) (t time.Time) {
		if d, err := time.ParseDuration(given[name]); err == nil {
			t = now.Add(d)
		}
		delete(given, name)
		return t
	}
	l := lease.Adopt(now.Add(-time.Hour), lease.Instance{ID: i.ID, Location: here, Zone: i.Zone, ZoneID: i.ZoneID}, in("term"), in("max-term"),
		given["holder"], given, by)
	if timeout, err := time.ParseDuration(given["heartbeat-timeout"]); err == nil {
		l.HeartbeatTimeout = lease.Duration(timeout)
	}
	delete(given, "holder")
	delete(given, "heartbeat-timeout")
	if l, err = l.Activate(now, by); err != nil {
		return err
	}
	w.sim.SetTags(i.ID, map[string]string{
		lease.TagRegistry: registry.UUID, lease.TagExpires: l.Expiry().String(), lease.TagLeased: l.LeasedTag(),
	})
	ts.Setenv(args[0], i.ID)
	_, err = w.store.PutLease(w.ctx, l)
	return err
}

// change ID revoke|mark|stuck|try|end|reopen|unmanage|keep [CAUSE|REASON [LONG]]: does what a janitor does. A mark's notice is
// so long, or 5 minutes; a try was so long ago.
func changeLease(w *world, _ *testscript.TestScript, args []string) error {
	by, now, notice := lease.By{Actor: "janitor:test"}, time.Now(), 5*time.Minute
	if len(args) > 3 {
		var err error
		if notice, err = time.ParseDuration(args[3]); err != nil {
			return err
		}
	}
	_, _, err := w.store.UpdateLease(w.ctx, args[0], func(l lease.Lease) (lease.Lease, error) {
		switch args[1] {
		case "revoke":
			return l.Revoke(now, lease.Cause(args[2]), by)
		case "mark":
			return l.WithMark(now, lease.Cause(args[2]), now.Add(notice), by)
		case "try":
			return l.Try(now.Add(-notice))
		case "stuck":
			return l.StuckBecause(now, lease.KeptStuck, strings.TrimPrefix(args[2], "EC2 refuses: "), args[2], by)
		case "end":
			return l.End(now, lease.Cause(args[2]), by)
		case "reopen":
			return l.Reopen(now, by)
		case "unmanage":
			return l.Unmanage(now, by)
		case "claim":
			return l.Claimed(now, by)
		case "keep":
			return l.Keep(now, lease.KeptReason(args[2]), by)
		}
		return l, fmt.Errorf("no change %q", args[1])
	})
	return err
}

// heartbeat ID [CHANGES [ADDRESS]]: a sidecar claims, which has seen so many changes of its lease.
func heartbeatFor(w *world, _ *testscript.TestScript, args []string) error {
	seen := 0
	if len(args) > 1 {
		var err error
		if seen, err = strconv.Atoi(args[1]); err != nil {
			return err
		}
	}
	address := ""
	if len(args) > 2 {
		address = args[2]
	}
	_, err := w.store.Claim(w.ctx, lease.Heartbeat{
		InstanceID: args[0], BootID: "boot-1", Address: address, HeartbeatTimeout: lease.Duration(time.Minute), Since: time.Now(), Changes: int64(seen),
	})
	return err
}

// heartbeat-lost ID: its heartbeat is lost.
func loss(w *world, _ *testscript.TestScript, args []string) error {
	_, err := w.client.Delete(w.ctx, "/lapse/default/heartbeats/"+args[0])
	return err
}

// checkpoint [AGE [UNABLE] [next=AFTER]]: a janitor swept us-east-1, terminates nothing for that reason, and sweeps again so long after.
func checkpointSweep(w *world, _ *testscript.TestScript, args []string) error {
	age := time.Duration(0)
	if len(args) > 0 {
		var err error
		if age, err = time.ParseDuration(args[0]); err != nil {
			return err
		}
	}
	unable, next := lease.KeptReason(""), time.Minute
	for _, arg := range args[min(1, len(args)):] {
		text, isNext := strings.CutPrefix(arg, "next=")
		if !isNext {
			unable = lease.KeptReason(arg)
			continue
		}
		var err error
		if next, err = time.ParseDuration(text); err != nil {
			return err
		}
	}
	return w.sweep(age, next, unable)
}

// brake NAME REASON [starting]: a janitor swept us-east-1, and that brake was engaged; starting means that it has just
// started.
func holdBrake(w *world, _ *testscript.TestScript, args []string) error {
	return w.sweep(0, time.Minute, "", lease.Brake{Name: args[0], Since: time.Now().UTC(), Reason: args[1], Starting: len(args) > 2})
}

// sweep leaves the checkpoint of a janitor that swept so long ago, and sweeps again so long after that.
func (w *world) sweep(age, next time.Duration, unable lease.KeptReason, held ...lease.Brake) error {
	leadership, err := w.store.Campaign(w.ctx, "test", 10*time.Second)
	if err != nil {
		return err
	}
	defer func() { _ = leadership.Resign(w.ctx) }()
	registry, err := w.store.Registry(w.ctx)
	if err != nil {
		return err
	}
	sweep, err := w.store.Checkpoint(w.ctx)
	if _, absent := errors.AsType[*lease.NotFoundError](err); err != nil && !absent {
		return err
	}
	at := time.Now().Add(-age)
	_, err = leadership.PutCheckpoint(w.ctx, registry, lease.Checkpoint{
		Schema: lease.Schema, Sequence: sweep.Sequence + 1, Nonce: "n", Time: at, NextSweep: at.Add(next),
		Locations: []lease.Location{here}, Leader: "test", Brakes: held, Unable: unable, Revision: sweep.Revision,
	})
	return err
}

// mode observe|armed|paused: the mode of the registry from here on.
func setMode(w *world, _ *testscript.TestScript, args []string) error {
	registry, err := w.store.Registry(w.ctx)
	if err != nil {
		return err
	}
	_, err = w.store.PutRegistry(w.ctx, registry.To(time.Now(), lease.Mode(args[0]), lease.By{}))
	return err
}

// put KEY VALUE: writes any key below the namespace.
func putKey(w *world, _ *testscript.TestScript, args []string) error {
	_, err := w.client.Put(w.ctx, "/lapse/default/"+args[0], args[1])
	return err
}

// forget KEY: deletes below the namespace.
func forgetKey(w *world, _ *testscript.TestScript, args []string) error {
	_, err := w.client.Delete(w.ctx, "/lapse/default/"+args[0])
	return err
}

// lose: all records are lost.
func loseRegistry(w *world, _ *testscript.TestScript, _ []string) error {
	_, err := w.client.Delete(w.ctx, "/lapse/", clientv3.WithPrefix())
	return err
}

// skew DURATION: EC2's clock differs from ours.
func skewClock(w *world, _ *testscript.TestScript, args []string) error {
	d, err := time.ParseDuration(args[0])
	w.skew.Store(int64(d))
	return err
}

// fault ACTION before|after drop|hang|CODE [TIMES]: EC2 fails, before or after the action.
func failEC2(w *world, _ *testscript.TestScript, args []string) error {
	struck := make(chan struct{}, 100)
	f := ec2sim.Fault{Action: args[0], Effect: ec2sim.Refuse, Code: args[2], Hook: func() { struck <- struct{}{} }}
	w.struck = struck
	if args[1] == "after" {
		f.Stage = ec2sim.AfterDeed
	}
	if effect, other := map[string]ec2sim.Effect{"drop": ec2sim.Drop, "hang": ec2sim.Hang}[args[2]]; other {
		f.Effect = effect
	}
	if len(args) > 3 {
		f.Times, _ = strconv.Atoi(args[3])
	}
	w.sim.Inject(f)
	return nil
}

// tokenless: EC2 is an endpoint that ignores client tokens.
func forgetTokens(w *world, _ *testscript.TestScript, _ []string) error {
	w.sim.Inject(ec2sim.Fault{
		Action: "DescribeInstances", Effect: ec2sim.Refuse, Code: "InternalError",
		Match: func(form url.Values) bool { return form.Get("Filter.1.Name") == "client-token" },
	})
	return nil
}

// struck: waits until the last fault strikes.
func waitStruck(w *world, _ *testscript.TestScript, _ []string) error {
	select {
	case <-w.struck:
		return nil
	case <-time.After(time.Minute):
		return errors.New("nothing was struck")
	}
}

// instance ID|count STATE|N|tag=VALUE|-tag: checks EC2.
func checkInstance(w *world, ts *testscript.TestScript, args []string) error {
	if args[0] == "count" {
		if n := len(w.sim.Instances()); strconv.Itoa(n) != args[1] {
			return fmt.Errorf("%d instances, want %s", n, args[1])
		}
		return nil
	}
	i, known := w.sim.Instance(args[0])
	if !known {
		return fmt.Errorf("no instance %s", args[0])
	}
	for _, want := range args[1:] {
		key, value, tag := strings.Cut(want, "=")
		have, tagged := i.Tags[strings.TrimPrefix(key, "-")]
		switch {
		case strings.HasPrefix(want, "-"):
			tag = !tagged
		case tag:
			tag = have == value
		default:
			tag = string(i.State) == want
		}
		if !tag {
			return fmt.Errorf("%s is %s with tags %v, want %s", i.ID, i.State, i.Tags, want)
		}
	}
	return nil
}

// kill-etcd: stops the server.
func killEtcd(w *world, _ *testscript.TestScript, _ []string) error { return w.server.Close() }

// capacity ZONE TYPE N: how many more instances EC2 launches.
func setCapacity(w *world, _ *testscript.TestScript, args []string) error {
	n, err := strconv.Atoi(args[2])
	w.sim.SetCapacity(here.Region, args[0], args[1], n)
	return err
}

// terminate ID: somebody else terminates the instance.
func terminate(w *world, _ *testscript.TestScript, args []string) error {
	w.sim.SetState(args[0], ec2sim.Terminated)
	return nil
}
