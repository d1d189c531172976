package launch_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"lapse/lease/ec2"
	"lapse/lease/ec2/ec2sim"
	"lapse/lease/ec2/ec2test"
	"lapse/lease/ec2/launch"
)

// testdata/awscli holds request files, NAME.json, and what the AWS CLI sends for each, NAME.form: one parameter a line,
// below the command. To record the forms again, with `aws` installed:
//
//	LAPSE_RECORD_AWSCLI=1 go test ./lease/ec2/launch -run TestRequestsAreSentAsTheAWSCLISendsThem
const recordAWSCLI = "LAPSE_RECORD_AWSCLI"

// different is what a launch sends otherwise than the AWS CLI, for all files or one of them, and why.
func different() []difference {
	return []difference{
		{in: "", parameter: "MetadataOptions.HttpTokens", ours: "required", why: "IMDSv2 is forced"},
		{in: "", parameter: "MetadataOptions.HttpPutResponseHopLimit", ours: "1", unsaid: true, why: "what can read the metadata service is the instance"},
		{in: "", parameter: "InstanceInitiatedShutdownBehavior", ours: "terminate", why: "an instance that shuts down is to be terminated"},
		{in: "encoded", parameter: "UserData", ours: "IyEvYmluL3NoCmVjaG8gaGVsbG8K", why: "it is base64 already; the CLI encodes it twice"},
		{in: "alias", parameter: "ImageId", ours: ec2test.Image, why: "an alias is resolved once, so that a replay is the same"},
		{in: "template", parameter: "ImageId", ours: ec2test.Image, why: "the template's own image may be an alias"},
		{in: "template", parameter: "LaunchTemplate.LaunchTemplateName", why: "a name can be given to another template"},
		{in: "template", parameter: "LaunchTemplate.LaunchTemplateId", ours: "TEMPLATE", why: "it is frozen by its id"},
		{in: "leftover", parameter: "KeyName", why: "a placeholder that was not filled in"},
		{in: "leftover", parameter: "SubnetId", why: "a placeholder that was not filled in"},
		{in: "leftover", parameter: "SecurityGroupId.1", why: "a placeholder that was not filled in"},
		{in: "leftover", parameter: "Placement.AvailabilityZone", why: "a placeholder that was not filled in"},
		{in: "leftover", parameter: "Placement.PartitionNumber", why: "a placeholder: partitions are numbered from 1"},
		{in: "leftover", parameter: "BlockDeviceMapping.1.VirtualName", why: "a placeholder that was not filled in"},
		{in: "leftover", parameter: "BlockDeviceMapping.1.Ebs.SnapshotId", why: "a placeholder that was not filled in"},
		{in: "leftover", parameter: "BlockDeviceMapping.1.Ebs.Iops", why: "a placeholder: EC2 takes no 0"},
		{in: "leftover", parameter: "BlockDeviceMapping.1.Ebs.Throughput", why: "a placeholder: EC2 takes no 0"},
	}
}

type difference struct {
	in, parameter, ours, why string
	unsaid                   bool // only where the request says nothing of it
}

func TestRequestsAreSentAsTheAWSCLISendsThem(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/awscli/*.json")
	if err != nil || len(files) < 12 {
		t.Fatalf("%d request files, %v", len(files), err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".json")
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if os.Getenv(recordAWSCLI) != "" {
				record(t, name)
			}
			theirs := readForm(t, name)
			ours, templateID := sentFor(t, file)
			want := maps.Clone(theirs)
			for _, d := range different() {
				if d.in != "" && d.in != name {
					continue
				}
				if _, said := want[d.parameter]; said && d.unsaid {
					continue
				}
				expected := strings.ReplaceAll(d.ours, "TEMPLATE", templateID)
				if said, there := want[d.parameter]; d.in != "" && there == (expected != "") && said == expected {
					t.Errorf("%s is the same, and was said to differ: %s", d.parameter, d.why)
				}
				if delete(want, d.parameter); expected != "" {
					want[d.parameter] = expected
				}
			}
			if !maps.Equal(ours, want) {
				t.Errorf("%s", compare(ours, want))
			}
		})
	}
}

// sentFor is what a launch of a request file sends, without the tags of Lapse, and the id of launch template web.
func sentFor(t *testing.T, file string) (map[string]string, string) {
	t.Helper()
	w := newWorld(t, ec2sim.Config{Parameters: map[string]string{"/images/latest": ec2test.Image}})
	templateID, _ := w.Sim.AddTemplateVersion(ec2test.Region, "web", map[string]string{"ImageId": ec2test.Image, "InstanceType": "t3.micro"})
	skeleton, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	cfg, recorded := w.AWS(), &recorder{next: w.HTTP}
	cfg.HTTPClient = recorded
	_, err = launch.New(w.Cloud(t, cfg, ec2.Options{}), w.store, quick()).Launch(t.Context(), launch.Request{Token: "job-7", Skeleton: skeleton})
	var refused *launch.RefusedError // the simulated EC2 has no such key pair, or subnet
	if err != nil && !errors.As(err, &refused) {
		t.Fatal(err)
	}
	if len(recorded.runs) != 1 {
		t.Fatalf("RunInstances was sent %d times", len(recorded.runs))
	}
	return parameters(recorded.runs[0]), templateID
}

// recorder passes calls on, and keeps the bodies of RunInstances.
type recorder struct {
	next *http.Client
	mu   sync.Mutex
	runs []string
}

func (r *recorder) Do(call *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(call.Body)
	if err != nil {
		return nil, err
	}
	call.Body = io.NopCloser(bytes.NewReader(body))
	if strings.Contains(string(body), "Action=RunInstances") {
		r.mu.Lock()
		r.runs = append(r.runs, string(body))
		r.mu.Unlock()
	}
	return r.next.Do(call)
}

// parameters are those of a form. Tags, whose order means nothing, stand as "tag KIND KEY"; those of Lapse are left out.
func parameters(body string) map[string]string {
	form, _ := url.ParseQuery(body)
	all := map[string]string{}
	for name := range form {
		kind, key := "", ""
		switch parts := strings.Split(name, "."); {
		case name == "Action", name == "Version", name == "ClientToken": // the CLI invents one, and a launch has its own
		case parts[0] != "TagSpecification":
			all[name] = form.Get(name)
		case parts[len(parts)-1] == "Key":
			kind, key = form.Get(strings.Join(parts[:2], ".")+".ResourceType"), form.Get(name)
			if !strings.HasPrefix(key, "lapse:") {
				all["tag "+kind+" "+key] = form.Get(strings.TrimSuffix(name, "Key") + "Value")
			}
		}
	}
	return all
}

func compare(ours, theirs map[string]string) string {
	all := maps.Clone(ours)
	maps.Copy(all, theirs)
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(all)) {
		a, weSay := ours[name]
		b, theySay := theirs[name]
		if a != b || weSay != theySay {
			lines = append(lines, fmt.Sprintf("%s: we send %q (%t), want %q (%t)", name, a, weSay, b, theySay))
		}
	}
	return strings.Join(lines, "\n")
}

// readForm reads what the AWS CLI sent for a request file.
func readForm(t *testing.T, name string) map[string]string {
	t.Helper()
	text, err := os.ReadFile("testdata/awscli/" + name + ".form")
	if err != nil {
		t.Fatal(err)
	}
	var pairs []string
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, "#") {
			pairs = append(pairs, strings.TrimSuffix(line, "\n"))
		}
	}
	return parameters(strings.Join(pairs, "&"))
}

// record writes down what the AWS CLI sends for a request file.
func record(t *testing.T, name string) {
	t.Helper()
	args := []string{"ec2", "run-instances", "--cli-input-json", "file://" + name + ".json"}
	pairs := strings.Split(runCLI(t, "testdata/awscli", args...), "&")
	pairs = slices.DeleteFunc(pairs, func(pair string) bool { return strings.HasPrefix(pair, "ClientToken=") }) // another each time
	slices.Sort(pairs)
	text := "# aws " + strings.Join(args, " ") + "\n" + strings.Join(pairs, "\n") + "\n"
	if err := os.WriteFile("testdata/awscli/"+name+".form", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// runCLI runs aws in a directory against an endpoint that answers nothing of use, and returns the body that it sent.
func runCLI(t *testing.T, dir string, args ...string) string {
	t.Helper()
	var body string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		data, _ := io.ReadAll(r.Body)
		body = string(data)
		fmt.Fprint(w, "<RunInstancesResponse/>")
	}))
	defer server.Close()
	cmd := exec.CommandContext(t.Context(), "aws", append(args, "--endpoint-url", server.URL)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "AWS_ACCESS_KEY_ID=AKIDTEST", "AWS_SECRET_ACCESS_KEY=secret", "AWS_DEFAULT_REGION=us-east-1",
		"AWS_CONFIG_FILE=/dev/null", "AWS_SHARED_CREDENTIALS_FILE=/dev/null", "AWS_PAGER=", "AWS_MAX_ATTEMPTS=1", "TZ=UTC")
	out, err := cmd.CombinedOutput()
	if body == "" {
		t.Fatalf("aws %v sent nothing: %v, %s", args, err, out)
	}
	return body
}
