//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"lapse/lease"
	"lapse/lease/ec2/ec2sim"
)

// TestE2EUpgrade runs janitors, sidecars and launchers of the release before this one beside the present ones, over one
// registry. Janitors of both take turns as leader; each writes what the other wrote before. Nothing is lost of what only
// one of them knows, nobody is ended but those whose term or holder ended them, and those are, whoever leads.
func TestE2EUpgrade(t *testing.T) {
	t.Parallel()
	sim := ec2sim.New(ec2sim.Config{PendingFor: time.Second, ShuttingDownFor: time.Second})
	u := newUpgrade(t, sim)
	u.old.run("lease", "init", "--armed")
	first := u.old.janitor()
	u.leads("", "the old janitor")

	second := u.young.janitor()
	u.half("first", u.young, u.old)
	u.turn(first, syscall.SIGTERM, u.young)

	third := u.old.janitor()
	u.half("second", u.old, u.young)
	u.turn(second, syscall.SIGKILL, u.old)

	u.young.janitor()
	u.half("third", u.young, u.old)
	u.turn(third, syscall.SIGTERM, u.young)
	u.young.fiveMoreSweeps()
	u.check()
}

// TestE2EAnotherVersionResumesALaunch kills launchers of either version after EC2 carried out their call, and lets the
// other version go on: its call has to be the identical one, or EC2 refuses it and nobody ever learns what was made.
func TestE2EAnotherVersionResumesALaunch(t *testing.T) {
	t.Parallel()
	sim := ec2sim.New(ec2sim.Config{})
	u := newUpgrade(t, sim)
	u.young.run("lease", "init", "--armed")
	for token, sides := range map[string][2]*side{"old-first": {u.old, u.young}, "young-first": {u.young, u.old}} {
		id := u.crash(sides[0], token, "--unattended", "--holder", "ada")
		if got := strings.TrimSpace(sides[1].run("lease", "launch", "--id", token, "-q")); got != id {
			t.Errorf("launched by the %s version as %s, and resumed by the %s one as %q", sides[0].name, id, sides[1].name, got)
		}
	}
	if n := len(sim.Instances()); n != 2 {
		t.Errorf("%d instances, want 2", n)
	}
}

// side is one version: its commands, and the fields of records that it knows.
type side struct {
	*world
	name  string
	known map[string]bool
	runs  int // of its janitor
}

type upgrade struct {
	t          *testing.T
	sim        *ec2sim.Sim
	etcd       *clientv3.Client
	old, young *side
	lives      []string // to be running in the end
	heartbeats []string // of these, the ones that are renewed
	dies       []string
}

func newUpgrade(t *testing.T, sim *ec2sim.Sim) *upgrade {
	t.Helper()
	young := newSimWorld(t, sim)
	was := before(t, theRelease)
	old := *young
	old.bin = was.bin
	return &upgrade{
		t: t, sim: sim, etcd: young.raw(),
		old:   &side{world: &old, name: "old", known: fieldsOf(t, was.tree)},
		young: &side{world: young, name: "young", known: fieldsOf(t, root(t))},
	}
}

// janitor starts one more janitor of this version.
func (s *side) janitor() *exec.Cmd {
	s.t.Helper()
	s.runs++
	return s.spawn(s.command(s.aws, "janitor", "run", "--schedule", "@every 1s", "--mark-grace", "3s", "--orphan-grace", "1s",
		"--boot-grace", "10s", "--launch-window", "5s", "--rate-window", "1s", "--leader-window", "1s"), fmt.Sprintf("janitor-%s-%d", s.name, s.runs))
}

// turn ends the leading janitor, sees that of the other side take over, and that this keeps what the last checkpoint said.
func (u *upgrade) turn(leader *exec.Cmd, how syscall.Signal, next *side) {
	u.t.Helper()
	if err := leader.Process.Signal(how); err != nil {
		u.t.Fatal(err)
	}
	_ = leader.Wait() // a kill is no error here
	last, err := u.young.store.Checkpoint(u.t.Context())
	if err != nil {
		u.t.Fatal(err)
	}
	was := next.read(u.etcd, "checkpoint")
	u.leads(last.Leader, fmt.Sprintf("the %s janitor, after the other ended by %s,", next.name, how))
	u.kept("a turn to the "+next.name+" janitor", "checkpoint", was, next)
}

// kept checks that a record was written since, and that nothing was lost of what that side does not know.
func (u *upgrade) kept(when, key string, was record, by *side) {
	u.t.Helper()
	is := by.read(u.etcd, key)
	if is.revision == was.revision {
		u.t.Errorf("%s: the %s side never wrote %s, so nothing was shown", when, by.name, key)
	}
	for _, what := range is.lost(was, by.known) {
		u.t.Errorf("%s: rewritten by the %s side, of %s was lost: %s", when, by.name, key, what)
	}
}

// leads waits for two sweeps of somebody else than the last leader.
func (u *upgrade) leads(last, what string) {
	u.t.Helper()
	var since int64
	u.young.until(what+" leads", func() bool {
		checkpoint, err := u.young.store.Checkpoint(u.t.Context())
		if err != nil || checkpoint.Leader == last {
			return false
		}
		if since == 0 {
			since = checkpoint.Sequence
		}
		return checkpoint.Sequence >= since+1
	})
}

// half lets one side launch, and the other, whose janitor leads, rewrite all that this wrote.
func (u *upgrade) half(name string, writer, rewriter *side) {
	u.t.Helper()
	renewing := u.launch(writer, "beating-"+name, "2", "--heartbeat-timeout", "5s")
	quiet := u.launch(writer, "quiet-"+name, "3")
	writer.sidecar(renewing[0])
	rewriter.sidecar(renewing[1])
	u.lives, u.heartbeats = append(u.lives, append(renewing, quiet[2])...), append(u.heartbeats, renewing...)
	u.young.until("all renew", func() bool { return u.young.renewingAt(lease.Duration(lease.MinHeartbeatTimeout)) == len(u.heartbeats) })
	if again := u.launch(rewriter, "quiet-"+name, "3"); !slices.Equal(again, quiet) {
		u.t.Errorf("resumed by the %s launcher: %v, want %v", rewriter.name, again, quiet)
	}
	if writer == u.young {
		u.resume(name)
	}
	orphan := u.crash(writer, "doomed-"+name)
	u.dies = append(u.dies, quiet[0], quiet[1], orphan)

	before := map[string]record{}
	for _, key := range []string{
		"registry", "checkpoint", "launches/doomed-" + name, "leases/" + renewing[0], "leases/" + renewing[1], "leases/" + quiet[0], "leases/" + quiet[1],
	} {
		before[key] = writer.plant(u.etcd, key)
	}
	u.rewrite(rewriter, renewing, quiet)
	u.young.until("expired, released and left-behind instances terminated", func() bool {
		return !slices.ContainsFunc(u.dies, func(id string) bool { return u.ended(id) != nil })
	})
	u.young.until("the killed launch being closed", func() bool {
		launch, err := u.young.store.Launch(u.t.Context(), "doomed-"+name)
		return err == nil && launch.State == lease.LaunchClosed && len(launch.FirstSeen) > 0
	})
	for key, was := range before {
		u.kept("half "+name, key, was, rewriter)
	}
}

// launch launches, or launches again, and returns the instances.
func (u *upgrade) launch(s *side, token, count string, more ...string) []string {
	u.t.Helper()
	var answer struct {
		Leases []lease.Lease `json:"leases"`
	}
	args := append([]string{
		"launch", "--id", token, "--count", count, "--holder", "ada", "--image-id", "ami-0123456789abcdef0", "--instance-type", "t3.micro",
		"--term", "1h", "--max-term", "6h", "-o", "json",
	}, more...)
	if err := json.Unmarshal([]byte(s.run("lease", args...)), &answer); err != nil {
		u.t.Fatal(err)
	}
	var ids []string
	for _, l := range answer.Leases {
		ids = append(ids, l.InstanceID)
	}
	return ids
}

// resume writes to the registry what only the new side knows: that a person has released a brake.
func (u *upgrade) resume(name string) {
	u.t.Helper()
	if _, _, err := u.young.store.UpdateRegistry(u.t.Context(), func(g lease.Registry) (lease.Registry, error) {
		return g.Lift(time.Now(), lease.BrakeHeartbeats, []lease.Brake{{Name: lease.BrakeHeartbeats, Reason: name, Since: time.Now()}}, lease.By{Actor: "e2e"}), nil
	}); err != nil {
		u.t.Fatal(err)
	}
}

// crash kills a launcher before it hears what EC2 made, and returns that.
func (u *upgrade) crash(s *side, token string, more ...string) string {
	u.t.Helper()
	launcher := s.command(s.aws, "lease", append([]string{
		"launch", "--id", token, "--image-id", "ami-0123456789abcdef0", "--instance-type", "t3.micro",
	}, more...)...)
	victim := make(chan *os.Process, 1)
	u.sim.Inject(ec2sim.Fault{
		Action: "RunInstances", Times: 1, Stage: ec2sim.AfterDeed, Effect: ec2sim.Drop, Hook: func() { _ = (<-victim).Kill() },
	})
	if err := launcher.Start(); err != nil {
		u.t.Fatal(err)
	}
	victim <- launcher.Process
	if err := launcher.Wait(); err == nil {
		u.t.Fatal("the launcher was not killed")
	}
	for _, i := range u.sim.Instances() {
		if i.ClientToken == token+".1" {
			return i.ID
		}
	}
	u.t.Fatal("the killed launcher launched nothing")
	return ""
}

// rewrite uses every command of one side on what the other launched. Of each pair, one sidecar is of either side.
func (u *upgrade) rewrite(s *side, renewing, quiet []string) {
	u.t.Helper()
	for _, id := range renewing {
		s.run("sidecar-direct", "extend", "--socket", s.socket(id), "--for", "2h")
		s.run("lease", "extend", id, "--for", "3h")
		s.run("lease", "why", id)
	}
	s.run("janitor", "pause")
	s.run("janitor", "resume")
	s.run("janitor", "status")
	listed := strings.Fields(s.run("lease", "list", "-q"))
	for _, id := range u.lives {
		if !slices.Contains(listed, id) {
			u.t.Errorf("the %s side lists %v, without %s", s.name, listed, id)
		}
	}
	s.run("lease", "extend", quiet[0], "--for", "3s", "--allow-shorten")
	s.run("lease", "release", "--yes", quiet[1])
}

// ended says what is amiss about the end of an instance that should have ended, by EC2's word and by the registry's.
func (u *upgrade) ended(id string) error {
	i, known := u.sim.Instance(id)
	if known && i.State != "terminated" {
		return fmt.Errorf("EC2 says %s", i.State)
	}
	l, err := u.young.store.Lease(u.t.Context(), id)
	if err == nil && l.State != lease.StateEnded {
		return fmt.Errorf("its lease is %s", l.State)
	}
	return err
}

// check compares everybody's fate with what was to be.
func (u *upgrade) check() {
	u.t.Helper()
	snapshot, err := u.young.store.Snapshot(u.t.Context())
	if err != nil || len(snapshot.Bad) > 0 {
		u.t.Fatalf("records that cannot be read: %+v (%v)", snapshot.Bad, err)
	}
	for _, id := range u.dies {
		if err := u.ended(id); err != nil {
			u.t.Errorf("%s is to have ended: %v", id, err)
		}
	}
	leases := map[string]lease.Lease{}
	for _, l := range snapshot.Leases {
		leases[l.InstanceID] = l
	}
	for _, id := range u.lives {
		i, _ := u.sim.Instance(id)
		if l := leases[id]; i.State != "running" || l.State != lease.StateActive || l.Mark != nil {
			u.t.Errorf("%s is %s, its lease %s with mark %v; want it running, with a valid lease", id, i.State, l.State, l.Mark)
		}
	}
	for _, id := range u.heartbeats {
		if hb := snapshot.Heartbeats[id]; !hb.Held || hb.Changes < leases[id].Changes {
			u.t.Errorf("the heartbeat of %s is %+v, behind change %d of its lease", id, hb, leases[id].Changes)
		}
	}
	if all := len(u.sim.Instances()); all != len(u.lives)+len(u.dies) || len(leases) != all {
		u.t.Errorf("%d instances and %d leases, want %d of each", all, len(leases), len(u.lives)+len(u.dies))
	}
}
