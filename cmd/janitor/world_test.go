package main

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"lapse/cmd/internal/script"
	"lapse/lease"
	"lapse/lease/ec2/ec2sim"
	"lapse/lease/etcd"
)

// here is the location that scripts sweep.
var here = script.Here()

// world is what one script has to itself: an etcd with a registry, and an EC2.
type world struct {
	ctx        context.Context
	client     etcd.Client
	store      *etcd.Store
	sim        *ec2sim.Sim
	leadership *etcd.Leadership // of another janitor
}

// newWorld starts the servers of a script and points the program at them.
func newWorld(env *testscript.Env) error {
	ctx, server, err := script.StartEtcd(env)
	if err != nil {
		return err
	}
	w := &world{ctx: ctx, client: server.Client, store: server.Store, sim: ec2sim.New(ec2sim.Config{Now: time.Now})}
	server.Point(env, w.sim)
	elsewhere := httptest.NewServer(ec2sim.New(ec2sim.Config{Account: "210987654321", Now: time.Now})) // where other credentials lead
	env.Defer(elsewhere.Close)
	env.Setenv("ELSEWHERE", elsewhere.URL)
	env.Setenv("LAPSE_LOG_LEVEL", "error")
	env.Values["world"] = w
	_, err = w.store.PutRegistry(ctx, lease.NewRegistry(time.Now(), "6ba7b810-9dad-11d1-80b4-00c04fd430c8", lease.ModeObserve))
	return err
}

// worldCommands are the commands of scripts, besides running programs.
func worldCommands() map[string]func(*testscript.TestScript, bool, []string) {
	commands := map[string]func(*testscript.TestScript, bool, []string){"exits": script.Exits, "asks": asks, "port": port}
	script.Questions(commands)
	for name, do := range map[string]func(*world, *testscript.TestScript, []string) error{
		"create": createInstance, "leased": leaseInstance, "adopting": adoptInstance, "fault": failEC2, "denied": denyRegion, "elect": elect, "checkpoint": checkpointSweep, "brakes": checkpointBrakes, "resign": resign, "armed": armRegistry, "alarm": raiseAlarm, "opened": openLaunch,
	} {
		commands[name] = func(ts *testscript.TestScript, _ bool, args []string) {
			ts.Check(do(ts.Value("world").(*world), ts, args))
		}
	}
	commands["recorded"] = checkRecord
	return commands
}

// create [-ended] TAG=VALUE…: an instance that Lapse did not launch.
func createInstance(w *world, _ *testscript.TestScript, args []string) error {
	tags, state := map[string]string{}, ec2sim.Running
	if args[0] == "-ended" {
		args, state = args[1:], ec2sim.Terminated
	}
	for _, arg := range args {
		key, value, _ := strings.Cut(arg, "=")
		tags[key] = value
	}
	w.sim.Create(ec2sim.Instance{Tags: tags, State: state})
	return nil
}

// leased VARIABLE TERM [TAG=VALUE]…: an instance with an active lease, which may have expired, with the tags of both
// and these.
func leaseInstance(w *world, ts *testscript.TestScript, args []string) error {
	registry, err := w.store.Registry(w.ctx)
	if err != nil {
		return err
	}
	term, err := time.ParseDuration(args[1])
	if err != nil {
		return err
	}
	i := w.sim.Create(ec2sim.Instance{})
	now, by := time.Now(), lease.By{Actor: "test"}
	l := lease.Adopt(now.Add(-time.Hour), lease.Instance{ID: i.ID, Location: here, Zone: i.Zone, ZoneID: i.ZoneID}, now.Add(term), time.Time{}, "ada", nil, by)
	if l, err = l.Activate(now, by); err != nil {
		return err
	}
	tags := map[string]string{
		lease.TagRegistry: registry.UUID, lease.TagExpires: l.Expiry().String(), lease.TagLeased: l.LeasedTag(),
	}
	for _, arg := range args[2:] {
		key, value, _ := strings.Cut(arg, "=")
		tags[key] = value
	}
	w.sim.SetTags(i.ID, tags)
	ts.Setenv(args[0], i.ID)
	_, err = w.store.PutLease(w.ctx, l)
	return err
}

// adopting NAME AGO: an instance whose adoption started so long ago, and that has no tag.
func adoptInstance(w *world, ts *testscript.TestScript, args []string) error {
	ago, err := time.ParseDuration(args[1])
	if err != nil {
		return err
	}
	i := w.sim.Create(ec2sim.Instance{})
	l := lease.Adopt(time.Now().Add(-ago), lease.Instance{ID: i.ID, Location: here, Zone: i.Zone, ZoneID: i.ZoneID}, time.Now().Add(time.Hour), time.Time{}, "ada", nil, lease.By{Actor: "test"})
	ts.Setenv(args[0], i.ID)
	_, err = w.store.PutLease(w.ctx, l)
	return err
}

// armed: the registry was armed, with any plan.
func armRegistry(w *world, _ *testscript.TestScript, _ []string) error {
	_, _, err := w.store.UpdateRegistry(w.ctx, func(r lease.Registry) (lease.Registry, error) {
		return r.To(time.Now(), lease.ModeArmed, lease.By{}), nil
	})
	return err
}

// elect: another janitor leads from now on.
func elect(w *world, _ *testscript.TestScript, _ []string) (err error) {
	w.leadership, err = w.store.Campaign(w.ctx, "other", time.Minute)
	return err
}

// resign: the other janitor no longer leads.
func resign(w *world, _ *testscript.TestScript, _ []string) error { return w.leadership.Resign(w.ctx) }

// checkpoint AGE [REGION]… [next=AFTER]: the other janitor swept so long ago, and sweeps again so long after.
func checkpointSweep(w *world, _ *testscript.TestScript, args []string) error {
	age, err := time.ParseDuration(args[0])
	if err != nil {
		return err
	}
	return w.sweeps(age, []lease.Brake{{Name: "rate", Reason: "too many ends"}}, nil, args[1:])
}

// brakes [NAME[@SCOPE]]…: the other janitor swept just now, with these brakes engaged.
func checkpointBrakes(w *world, _ *testscript.TestScript, args []string) error {
	brakes, behind := []lease.Brake{}, map[string]int64{}
	for _, arg := range args {
		name, scope, _ := strings.Cut(arg, "@")
		if strings.HasPrefix(scope, "i-") {
			behind[scope] = 4
			continue
		}
		brakes = append(brakes, lease.Brake{Name: name, Scope: scope, Since: time.Now(), Reason: "something is wrong", Count: 4})
	}
	return w.sweeps(0, brakes, behind, nil)
}

// sweeps lets the other janitor write a checkpoint.
func (w *world) sweeps(age time.Duration, brakes []lease.Brake, behind map[string]int64, regions []string) error {
	registry, err := w.store.Registry(w.ctx)
	if err != nil {
		return err
	}
	last, err := w.store.Checkpoint(w.ctx)
	if _, none := errors.AsType[*lease.NotFoundError](err); err != nil && !none {
		return err
	}
	at := time.Now().Add(-age)
	sweep := lease.Checkpoint{
		Schema: lease.Schema, Sequence: last.Sequence + 1, Nonce: "n", Time: at, NextSweep: at.Add(time.Minute),
		Leader: "other", Revision: last.Revision, Brakes: brakes, Behind: behind,
	}
	for _, region := range regions {
		if text, isNext := strings.CutPrefix(region, "next="); isNext {
			next, err := time.ParseDuration(text)
			if err != nil {
				return err
			}
			sweep.NextSweep = at.Add(next)
			continue
		}
		sweep.Locations = append(sweep.Locations, lease.Location{Account: here.Account, Region: region})
	}
	_, err = w.leadership.PutCheckpoint(w.ctx, registry, sweep)
	return err
}

// alarm: etcd is out of space from now on, and reports it.
func raiseAlarm(w *world, ts *testscript.TestScript, _ []string) error {
	client, is := w.client.(*clientv3.Client)
	if !is {
		ts.Fatalf("a client of the kind %T raises no alarms", w.client)
	}
	_, err := pb.NewMaintenanceClient(client.ActiveConnection()).Alarm(w.ctx, &pb.AlarmRequest{
		Action: pb.AlarmRequest_ACTIVATE, Alarm: pb.AlarmType_NOSPACE,
	})
	return err
}

// port VARIABLE [busy]: a port of loopback that was free just now, or is in use until the script ends.
func port(ts *testscript.TestScript, _ bool, args []string) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	_, number, err := net.SplitHostPort(listener.Addr().String())
	ts.Check(err)
	ts.Setenv(args[0], number)
	if len(args) > 1 {
		ts.Defer(func() { _ = listener.Close() })
		return
	}
	ts.Check(listener.Close())
}

// asks STATUS URL PATTERN: waits until the answer is that, for a while.
func asks(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: asks STATUS URL PATTERN")
	}
	pattern, err := regexp.Compile(args[2])
	ts.Check(err)
	var got string
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		resp, err := http.Get(args[1])
		if err != nil {
			got = err.Error()
			continue
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		ts.Check(err)
		got = strings.TrimSpace(string(body))
		if strconv.Itoa(resp.StatusCode) == args[0] && pattern.MatchString(got) {
			return
		}
		got = resp.Status + ": " + got
	}
	ts.Fatalf("%s", got)
}

// denied REGION: the caller may not list it.
func denyRegion(w *world, _ *testscript.TestScript, args []string) error {
	w.sim.Inject(ec2sim.Fault{Action: "DescribeInstances", Region: args[0], Effect: ec2sim.Refuse, Code: "UnauthorizedOperation"})
	return nil
}

// fault ACTION CODE: EC2 refuses.
func failEC2(w *world, _ *testscript.TestScript, args []string) error {
	w.sim.Inject(ec2sim.Fault{Action: args[0], Effect: ec2sim.Refuse, Code: args[1]})
	return nil
}
