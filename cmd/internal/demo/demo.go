// Package demo shows, in under a minute and without an AWS account, what Lapse terminates and what it never terminates.
// The three commands run as processes of their own, with a real etcd inside the janitor; EC2 and the instance metadata
// service are simulated.
//
//   - demo.go: [Run], the story, act by act.
//   - end.go: every instance, its state and why; then everything keeps running for whoever wants to try it.
//   - stage.go: the processes, and how to wait for what they do.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"lapse/lease"
	"lapse/lease/ec2/ec2sim"
)

// Options of a demo.
type Options struct {
	Binaries string // directory of the three commands
	Out      io.Writer
	Stay     bool // leave the last act out, and then keep everything running until the context ends
}

// failure is an expectation that was not met.
func failure(format string, args ...any) error {
	return fmt.Errorf("the demo expected: "+format, args...)
}

// errStopped is returned when the context ends before the story does.
var errStopped = errors.New("the demo was stopped early; everything that it started was stopped too")

// Run tells the story. It fails if an instance runs that should not, or the reverse.
func Run(ctx context.Context, o Options) error {
	s, err := open(ctx, o)
	if err != nil {
		return err
	}
	defer s.close()
	story := &story{stage: s}
	acts := []func(context.Context) error{
		story.begin, story.launch, story.extendFromInside, story.shorten, story.loss, story.copyTags, story.crash, story.wait,
	}
	if !o.Stay {
		acts = append(acts, story.lose) // which leaves nothing to list
	}
	for _, act := range acts {
		err := act(ctx)
		if ctx.Err() != nil {
			return errStopped
		}
		if err != nil {
			s.showLogs()
			return err
		}
	}
	if err := s.printTable(story.cast()); err != nil || !o.Stay {
		return err
	}
	return story.stay(ctx)
}

// story is the cast, by instance id.
type story struct {
	*stage
	lost, extended, over, copied, doomed string
	calm                                 []string
	uuid                                 string
}

func (s *story) begin(ctx context.Context) error {
	s.say("a simulated EC2 listens at %s", s.ec2.URL)
	if err := s.startJanitor(ctx, "--arm"); err != nil {
		return err
	}
	registry, err := s.store.Registry(ctx)
	if err != nil {
		return err
	}
	s.uuid = registry.UUID
	s.say("the janitor leads, with an etcd of its own; registry %s is armed", s.uuid)
	return nil
}

func (s *story) launch(ctx context.Context) error {
	if err := s.lease(ctx, "launch", "--id", "six", "--count", "6", "--image-id", "ami-0123456789abcdef0", "--instance-type", "t3.micro",
		"--term", "1h", "--max-term", "3h", "--heartbeat-timeout", "5s", "--holder", "demo"); err != nil {
		return err
	}
	ids := s.instancesOf("six")
	if len(ids) != 6 {
		return failure("six instances, but got %d", len(ids))
	}
	s.lost, s.extended, s.over, s.calm = ids[0], ids[1], ids[2], ids[3:]
	for _, id := range ids {
		if err := s.startSidecar(ctx, id); err != nil {
			return err
		}
	}
	s.say("six launched with one request: leases of 1 h, with a heartbeat timeout of 5 s")
	return s.until(ctx, "six sidecars to know their timeout", func() (bool, error) {
		snapshot, err := s.store.Snapshot(ctx)
		renewing := 0
		for _, hb := range snapshot.Heartbeats {
			if hb.HeartbeatTimeout == lease.Duration(lease.MinHeartbeatTimeout) {
				renewing++
			}
		}
		return renewing == 6, err
	})
}

// extendFromInside moves an expiry through the sidecar's socket, as a program on the instance would.
func (s *story) extendFromInside(ctx context.Context) error {
	before, err := s.store.Lease(ctx, s.extended)
	if err != nil {
		return err
	}
	if err := s.run(ctx, "sidecar-direct", "extend", "--socket", s.socket(s.extended), "--for", "2h", "--reason", "backfill is still running"); err != nil {
		return err
	}
	after, err := s.store.Lease(ctx, s.extended)
	if err != nil {
		return err
	}
	if !after.ExpiresAt.After(before.ExpiresAt) {
		return failure("%s extended from inside", s.extended)
	}
	s.say("%s was extended by a program on it, without credentials", s.extended)
	return nil
}

func (s *story) shorten(ctx context.Context) error {
	if err := s.lease(ctx, "extend", s.over, "--for", "6s", "--allow-shorten"); err != nil {
		return err
	}
	s.say("%s expires in six seconds", s.over)
	return nil
}

// loss kills a sidecar. Its instance keeps running, as far as EC2 can tell.
func (s *story) loss(context.Context) error {
	s.say("the sidecar of %s is killed", s.lost)
	return s.killSidecar(s.lost)
}

// copyTags makes an instance as a console's "Launch more like this" would: with the tags of another.
func (s *story) copyTags(context.Context) error {
	like, _ := s.sim.Instance(s.calm[0])
	s.copied = s.sim.Create(ec2sim.Instance{Zone: like.Zone, Tags: like.Tags, ClientToken: "console-0000"}).ID
	s.say("%s appears, a copy of %s made in the console: same tags, no lease", s.copied, s.calm[0])
	return nil
}

// crash kills a launcher at the worst moment: EC2 has launched the instance and has not answered yet.
func (s *story) crash(ctx context.Context) error {
	launcher := s.command(ctx, "lease", "launch", "--id", "doomed", "--count", "1", "--image-id", "ami-0123456789abcdef0",
		"--instance-type", "t3.micro", "--term", "1h")
	victim := make(chan *os.Process, 1)
	s.sim.Inject(ec2sim.Fault{
		Action: "RunInstances", Times: 1, Stage: ec2sim.AfterDeed, Effect: ec2sim.Drop, Hook: func() { _ = (<-victim).Kill() },
	})
	if err := launcher.Start(); err != nil {
		return err
	}
	victim <- launcher.Process
	if err := launcher.Wait(); err == nil {
		return failure("a launcher killed inside RunInstances")
	}
	ids := s.instancesOf("doomed")
	if len(ids) != 1 {
		return failure("one instance of the killed launcher, but got %d", len(ids))
	}
	s.doomed = ids[0]
	s.say("a launcher is killed inside RunInstances; it never learned of its instance %s", s.doomed)
	return nil
}

// wait reports the three terminations that should happen, as they happen, and fails on any other.
func (s *story) wait(ctx context.Context) error {
	terminated := func(id string) func() (bool, error) {
		return func() (bool, error) { return s.state(id) == "terminated", nil }
	}
	for _, event := range []struct {
		what  string
		holds func() (bool, error)
	}{
		{s.lost + " is marked: its heartbeat is lost; it is terminated unless it renews, is extended or unmarked", func() (bool, error) {
			l, err := s.store.Lease(ctx, s.lost)
			return err == nil && (l.Mark != nil || l.State != lease.StateActive), err
		}},
		{s.over + " is terminated: its lease expired", terminated(s.over)},
		{s.doomed + " is terminated: left behind by a launch that was never finished", terminated(s.doomed)},
		{"the volume of " + s.doomed + " is gone with it", func() (bool, error) { return s.volumesOf("doomed") == 0, nil }},
		{s.lost + " is terminated: its heartbeat stayed lost until its notice passed", terminated(s.lost)},
	} {
		if err := s.until(ctx, event.what, event.holds); err != nil {
			return err
		}
		s.say("%s", event.what)
	}
	return s.spared(append([]string{s.extended, s.copied}, s.calm...)...)
}

// lose empties etcd under running instances and creates the same registry in it again.
func (s *story) lose(ctx context.Context) error {
	s.say("etcd is emptied: no record of anything is left")
	if err := s.stopJanitor(); err != nil {
		return err
	}
	if err := os.RemoveAll(s.etcdDir()); err != nil {
		return err
	}
	if err := s.startJanitor(ctx, "--arm", "--uuid", s.uuid); err != nil {
		return err
	}
	if err := s.sweeps(ctx, 5); err != nil {
		return err
	}
	s.say("five armed sweeps later: no instance was terminated because its record is missing")
	return s.spared(append([]string{s.extended, s.copied}, s.calm...)...)
}

// cast is every instance, with its expected fate and the reason.
func (s *story) cast() []role {
	roles := []role{
		{s.lost, "terminated", "heartbeat lost: its sidecar was killed; it was marked, then revoked"},
		{s.over, "terminated", "its lease expired"},
		{s.doomed, "terminated", "left by a launcher killed inside RunInstances"},
		{s.extended, "running", "extended from inside through its socket"},
		{s.copied, "running", "untracked: its tags were copied; it is only reported"},
	}
	calm := "lease valid; then its record was lost, which terminates nothing"
	if s.Stay {
		calm = "its lease is valid"
	}
	for _, id := range s.calm {
		roles = append(roles, role{id, "running", calm})
	}
	return roles
}

// deadline of one expectation. The whole story takes about half a minute.
const deadline = 40 * time.Second
