//go:build e2e

package e2e

import (
	"net"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"lapse/cmd/internal/authority"
	"lapse/lease/ec2/ec2sim"
)

// wayIn is a world with a janitor, and the way from its sidecars to the registry.
type wayIn struct {
	*world
	sidecar func(w *world, id string) // starts one
}

// direct has sidecars renew in etcd itself, each with a certificate.
func direct(w *world) wayIn {
	w.t.Helper()
	authority := w.authority()
	for _, name := range []string{"etcd", "vm"} {
		w.issue(authority, name)
	}
	listen := w.freeAddress()
	w.startEtcd(etcdListen + "=" + listen)
	w.startJanitor()
	return wayIn{w, func(w *world, id string) {
		w.startSidecar("sidecar-direct", id, ec2sim.IMDS(ec2sim.Instance{ID: id, Region: region, Zone: region + "a"}), "LAPSE_ETCD_ENDPOINTS=https://"+listen,
			"LAPSE_ETCD_CACERT="+w.path("ca.pem"), "LAPSE_ETCD_CERT="+w.path("vm.pem"), "LAPSE_ETCD_KEY="+w.path("vm.key"))
	}}
}

// throughAPI has sidecars prove to the janitor which instances they are on. Moto knows no identity documents: an ec2sim that knows
// the same instances signs them.
func throughAPI(w *world) wayIn {
	w.t.Helper()
	w.issue(w.authority(), "api")
	machines := ec2sim.New(ec2sim.Config{})
	w.t.Cleanup(machines.Close)
	certificates, err := machines.IdentityCertificates()
	if err == nil {
		err = os.WriteFile(w.path("ec2.pem"), certificates, 0o600)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	w.startEtcd()
	w.startJanitor("--api-listen", "127.0.0.1:0", "--api-cert", w.path("api.pem"), "--api-key", w.path("api.key"), "--identity-certificates", w.path("ec2.pem"))
	serving := regexp.MustCompile(`serving the instance API.* address=(\S+)`)
	text, err := os.ReadFile(w.path("janitor.log"))
	found := serving.FindSubmatch(text)
	if err != nil || found == nil {
		w.t.Fatalf("the janitor does not say where it serves the API (%v):\n%s", err, text)
	}
	w.run("lease", "init", "--api", "https://"+string(found[1]))
	return wayIn{w, func(w *world, id string) {
		machines.Create(w.machine(id))
		w.startSidecar("sidecar", id, machines.IMDS(id), "LAPSE_API_CACERT="+w.path("ca.pem"))
	}}
}

// machine is an instance as moto knows it.
func (w *world) machine(id string) ec2sim.Instance {
	w.t.Helper()
	all, err := w.ec2.DescribeInstances(w.t.Context(), &ec2.DescribeInstancesInput{InstanceIds: []string{id}})
	if err != nil {
		w.t.Fatal(err)
	}
	data, err := w.ec2.DescribeInstanceAttribute(w.t.Context(), &ec2.DescribeInstanceAttributeInput{
		InstanceId: aws.String(id), Attribute: types.InstanceAttributeNameUserData,
	})
	if err != nil || data.UserData == nil {
		w.t.Fatalf("user-data of %s: %+v, %v", id, data, err)
	}
	i := all.Reservations[0].Instances[0]
	return ec2sim.Instance{
		ID: id, Zone: aws.ToString(i.Placement.AvailabilityZone), PrivateIP: aws.ToString(i.PrivateIpAddress), LaunchTime: aws.ToTime(i.LaunchTime),
		UserData: aws.ToString(data.UserData.Value),
	}
}

// startJanitor starts a janitor whose graces are seconds, in an armed registry, and waits for its first sweep.
func (w *world) startJanitor(args ...string) {
	w.t.Helper()
	w.run("lease", "init", "--armed", "--anima", "key-pair", "--region", region)
	w.spawn(w.command(w.aws, "janitor", append([]string{
		"run", "--schedule", "@every 1s", "--mark-grace", "3s", "--orphan-grace", "1s", "--launch-window", "5s",
	}, args...)...), "janitor")
	w.until("a first sweep", func() bool {
		checkpoint, err := w.store.Checkpoint(w.t.Context())
		return err == nil && checkpoint.Sequence > 0
	})
}

// startSidecar starts the sidecar of an instance beside its metadata service, with these settings and none of others.
func (w *world) startSidecar(program, id string, metadata *ec2sim.Metadata, settings ...string) {
	w.t.Helper()
	server := httptest.NewServer(metadata)
	w.t.Cleanup(server.Close)
	c := exec.Command(filepath.Join(w.bin, program), "run", "--imds", server.URL, "--socket", w.socket(id))
	c.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + w.dir}, settings...)
	w.sidecars[id] = w.spawn(c, id)
}

func (w *world) path(name string) string { return filepath.Join(w.dir, name) }

func (w *world) authority() authority.Authority {
	w.t.Helper()
	authority, err := authority.New(w.path("ca.pem"))
	if err != nil {
		w.t.Fatal(err)
	}
	return authority
}

func (w *world) issue(authority authority.Authority, name string) {
	w.t.Helper()
	if err := authority.Issue(name, w.path(name+".pem"), w.path(name+".key")); err != nil {
		w.t.Fatal(err)
	}
}

// freeAddress is one on loopback at which nobody listens just now.
func (w *world) freeAddress() string {
	w.t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}
