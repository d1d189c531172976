//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"lapse/lease/ec2/ec2sim"
	"lapse/lease/etcd"
)

const (
	region   = "us-east-1"
	generous = 90 * time.Second // deadline of a condition that processes bring about
)

// world is an etcd process, a moto process, and the commands.
type world struct {
	t        *testing.T
	bin, dir string
	aws      string // URL of what is taken for AWS
	ec2      *ec2.Client
	store    *etcd.Store
	sidecars map[string]*exec.Cmd

	machineShell *shell // on an instance of the page
}

// newWorld has moto for EC2.
func newWorld(t *testing.T) *world {
	t.Helper()
	w := emptyWorld(t)
	w.startMoto()
	w.startEtcd()
	return w
}

// newSimWorld has ec2sim for EC2: moto does not know a client token.
func newSimWorld(t *testing.T, sim *ec2sim.Sim) *world {
	t.Helper()
	w := emptyWorld(t)
	server := httptest.NewServer(sim)
	t.Cleanup(server.Close)
	t.Cleanup(sim.Close)
	w.aws = server.URL
	w.ask()
	w.startEtcd()
	return w
}

func emptyWorld(t *testing.T) *world {
	t.Helper()
	dir, err := os.MkdirTemp("", "l") //nolint:usetesting // short: paths of unix sockets are
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return &world{t: t, bin: bin, dir: dir, sidecars: map[string]*exec.Cmd{}}
}

// spawn starts a process that ends with the test, by its own process id.
func (w *world) spawn(c *exec.Cmd, log string) *exec.Cmd {
	w.t.Helper()
	file, err := os.Create(filepath.Join(w.dir, log+".log"))
	if err != nil {
		w.t.Fatal(err)
	}
	c.Stdout, c.Stderr = file, file
	if err := c.Start(); err != nil {
		w.t.Fatalf("start %s: %v", log, err)
	}
	w.t.Cleanup(func() {
		_ = c.Process.Signal(syscall.SIGTERM)
		_ = c.Wait()
		_ = file.Close()
		if w.t.Failed() {
			text, _ := os.ReadFile(file.Name())
			w.t.Logf("%s said:\n%s", log, text)
		}
	})
	return c
}

// startMoto lets moto choose a free port and reads which one it took.
func (w *world) startMoto() {
	w.t.Helper()
	w.spawn(exec.Command("python3", "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"), "moto")
	listens := regexp.MustCompile(`http://127\.0\.0\.1:\d+`)
	w.until("moto listening (pip install 'moto[ec2,server]')", func() bool {
		text, err := os.ReadFile(filepath.Join(w.dir, "moto.log"))
		w.aws = listens.FindString(string(text))
		return err == nil && w.aws != ""
	})
	w.ask()
}

// ask lets the test itself ask what is taken for EC2.
func (w *world) ask() {
	w.ec2 = ec2.New(ec2.Options{
		Region: region, BaseEndpoint: aws.String(w.aws), Credentials: credentials.NewStaticCredentialsProvider("e2e", "e2e", ""),
	})
}

// startEtcd starts an etcd, with these settings of [serveEtcd].
func (w *world) startEtcd(settings ...string) {
	w.t.Helper()
	c := exec.Command(os.Args[0])
	c.Env = append(append(os.Environ(), etcdDir+"="+w.dir), settings...)
	w.spawn(c, "etcd")
	w.until("etcd", func() bool {
		client, err := etcd.Dial(w.t.Context(), etcd.Config{Endpoints: []string{w.etcd()}})
		if err != nil {
			return false
		}
		w.t.Cleanup(func() { _ = client.Close() })
		w.store = etcd.New(client, "default", etcd.Options{})
		return true
	})
}

func (w *world) etcd() string { return "unix://" + filepath.Join(w.dir, "etcd.sock") }

// command prepares one of the three commands; endpoint is where it believes AWS to be.
func (w *world) command(endpoint, name string, args ...string) *exec.Cmd {
	c := exec.Command(filepath.Join(w.bin, name), args...)
	c.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + w.dir, "AWS_ENDPOINT_URL=" + endpoint, "AWS_REGION=" + region,
		"AWS_ACCESS_KEY_ID=e2e", "AWS_SECRET_ACCESS_KEY=e2e", "AWS_EC2_METADATA_DISABLED=true", "LAPSE_ETCD_ENDPOINTS=" + w.etcd(),
	}
	return c
}

// run runs a command to its end and returns what it printed.
func (w *world) run(name string, args ...string) string {
	w.t.Helper()
	c := w.command(w.aws, name, args...)
	var stderr bytes.Buffer
	c.Stderr = &stderr
	out, err := c.Output()
	if err != nil {
		w.t.Fatalf("%s %s: %v\n%s%s", name, strings.Join(args, " "), err, out, &stderr)
	}
	return string(out)
}

// sidecar starts the sidecar of an instance beside a metadata service that knows it alone.
func (w *world) sidecar(id string) {
	w.t.Helper()
	w.startSidecar("sidecar-direct", id, ec2sim.IMDS(ec2sim.Instance{ID: id, Region: region, Zone: region + "a"}), "LAPSE_ETCD_ENDPOINTS="+w.etcd())
}

// socket is that of an instance's sidecar, which keeps its key beside it.
func (w *world) socket(id string) string { return filepath.Join(w.dir, id[len(id)-8:], "s") }

// killAfterDeed forwards to moto, and kills the victim the moment that moto has answered RunInstances.
func (w *world) killAfterDeed(victim <-chan *os.Process) *httptest.Server {
	target, err := url.Parse(w.aws)
	if err != nil {
		w.t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) },
		ModifyResponse: func(r *http.Response) error {
			form, err := url.ParseQuery(r.Request.Header.Get("X-Body"))
			if err == nil && form.Get("Action") == "RunInstances" {
				_ = (<-victim).Kill()
				return fmt.Errorf("the launcher is dead")
			}
			return nil
		},
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		var body bytes.Buffer
		_, _ = body.ReadFrom(r.Body)
		r.Header.Set("X-Body", body.String())
		r.Body, r.ContentLength = http.NoBody, 0
		forwarded := r.Clone(r.Context())
		forwarded.Body, forwarded.ContentLength = readCloser(body.Bytes()), int64(body.Len())
		proxy.ServeHTTP(rw, forwarded)
	}))
	w.t.Cleanup(server.Close)
	return server
}

// states are all instances by the word of what is taken for EC2.
func (w *world) states() map[string]types.InstanceStateName {
	w.t.Helper()
	states := map[string]types.InstanceStateName{}
	pages := ec2.NewDescribeInstancesPaginator(w.ec2, &ec2.DescribeInstancesInput{})
	for pages.HasMorePages() {
		page, err := pages.NextPage(w.t.Context())
		if err != nil {
			w.t.Fatalf("ask moto: %v", err)
		}
		for _, r := range page.Reservations {
			for _, i := range r.Instances {
				states[aws.ToString(i.InstanceId)] = i.State.Name
			}
		}
	}
	return states
}

// create makes an instance behind Lapse's back.
func (w *world) create(clientToken string, tags map[string]string) string {
	w.t.Helper()
	input := &ec2.RunInstancesInput{
		ImageId: aws.String("ami-12c6146b"), InstanceType: types.InstanceTypeT3Micro, MinCount: aws.Int32(1), MaxCount: aws.Int32(1),
		ClientToken: aws.String(clientToken),
	}
	if len(tags) > 0 {
		spec := types.TagSpecification{ResourceType: types.ResourceTypeInstance}
		for key, value := range tags {
			spec.Tags = append(spec.Tags, types.Tag{Key: aws.String(key), Value: aws.String(value)})
		}
		input.TagSpecifications = []types.TagSpecification{spec}
	}
	out, err := w.ec2.RunInstances(w.t.Context(), input)
	if err != nil {
		w.t.Fatalf("create an instance in moto: %v", err)
	}
	return aws.ToString(out.Instances[0].InstanceId)
}

// until polls for a condition until a generous deadline.
func (w *world) until(what string, holds func() bool) {
	w.t.Helper()
	var why string
	w.untilIn(generous, what, holds, &why)
}

// untilIn polls for a condition until another deadline. why says at the end what was amiss.
func (w *world) untilIn(deadline time.Duration, what string, holds func() bool, why *string) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), deadline)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-ctx.Done():
			w.t.Fatalf("waited %s in vain for: %s %s", deadline, what, *why)
		case <-tick.C:
		}
	}
}
