package ec2_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"lapse/lease"
	"lapse/lease/ec2"
	"lapse/lease/ec2/ec2sim"
	"lapse/lease/ec2/ec2test"
)

const otherAccount = "999999999999"

// vault is two accounts behind one endpoint, and credentials that change while a Cloud uses them.
type vault struct {
	mine, other *ec2sim.Sim
	url         string
}

func newVault(t *testing.T) vault {
	t.Helper()
	v := vault{mine: ec2sim.New(ec2sim.Config{}), other: ec2sim.New(ec2sim.Config{Account: otherAccount})}
	server := httptest.NewServer(ec2sim.Accounts{"MINE1": v.mine, "MINE2": v.mine, "MINE3": v.mine, "OTHER": v.other})
	t.Cleanup(func() { v.mine.Close(); v.other.Close(); server.Close() })
	v.url = server.URL
	return v
}

// asked counts how often STS was asked.
func (v vault) asked() int {
	return v.mine.CallCounts()["GetCallerIdentity"] + v.other.CallCounts()["GetCallerIdentity"]
}

// sent counts the calls of EC2 that reached either account.
func (v vault) sent(action string) int {
	return v.mine.CallCounts()[action] + v.other.CallCounts()[action]
}

// changing is a provider whose key changes.
type changing struct {
	key     atomic.Value
	expires time.Time
}

func (c *changing) Retrieve(context.Context) (aws.Credentials, error) {
	return aws.Credentials{
		AccessKeyID: c.key.Load().(string), SecretAccessKey: "secret", CanExpire: !c.expires.IsZero(), Expires: c.expires,
	}, nil
}

// open is a Cloud with credentials that change, and their provider.
func (v vault) open(t *testing.T, o ec2.Options) (*ec2.Cloud, *changing) {
	t.Helper()
	keys := &changing{}
	keys.key.Store("MINE1")
	cloud, err := ec2.Open(t.Context(), v.settings(keys), "", o)
	if err != nil {
		t.Fatal(err)
	}
	return cloud, keys
}

func (v vault) settings(keys aws.CredentialsProvider) aws.Config {
	return aws.Config{
		Region: ec2test.Region, BaseEndpoint: aws.String(v.url), Credentials: keys, Retryer: func() aws.Retryer { return aws.NopRetryer{} },
	}
}

// wantRefused checks that nothing reaches EC2 for credentials of another account.
func (v vault) wantRefused(t *testing.T, cloud *ec2.Cloud, id string) {
	t.Helper()
	listed, terminated := v.sent("DescribeInstances"), v.sent("TerminateInstances")
	listing, err := cloud.List(t.Context())
	if e := ec2test.WantAs[*ec2.AccountError](t, err); e.Want != ec2test.Account || e.Have != otherAccount || len(listing.Instances) > 0 {
		t.Errorf("%+v, %d instances", e, len(listing.Instances))
	}
	_, err = cloud.Describe(t.Context(), []string{id})
	ec2test.WantError[*ec2.AccountError](t, err)
	ended := cloud.Terminate(t.Context(), []string{id})[0]
	ec2test.WantError[*ec2.AccountError](t, ended.Err)
	if ended.Refused() || ended.Accepted() {
		t.Errorf("%+v: EC2 was not asked, so it refused nothing", ended)
	}
	if v.sent("DescribeInstances") != listed || v.sent("TerminateInstances") != terminated {
		t.Error("a call was signed with credentials of another account")
	}
}

// Row: credentials change to another, empty account while a janitor runs. The listing is empty then, each lease's
// instance absent by id, and all leases end on record while all instances run.
func TestCredentialsOfAnotherAccountAreRefusedWhileItRuns(t *testing.T) {
	dir := t.TempDir()
	v := newVault(t)
	switchTo := func(key string) {
		// Expired at once: the SDK runs the process before each call.
		text := fmt.Sprintf(`{"Version": 1, "AccessKeyId": %q, "SecretAccessKey": "s", "Expiration": "2020-01-01T00:00:00Z"}`, key)
		if err := os.WriteFile(filepath.Join(dir, "key.json"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	switchTo("MINE1")
	noSettings(t, "AWS_REGION", ec2test.Region, "AWS_ENDPOINT_URL", v.url)
	profile := fmt.Sprintf("[default]\ncredential_process = cat %s/key.json\n", dir)
	if err := os.WriteFile(os.Getenv("AWS_SHARED_CREDENTIALS_FILE"), []byte(profile), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := ec2.Settings{}.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	cloud, err := ec2.Open(t.Context(), cfg, "", ec2.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var id string
	for range 12 {
		id = v.mine.Create(ec2sim.Instance{Tags: map[string]string{lease.TagRegistry: ec2test.UUID}}).ID
	}
	if listing, err := cloud.List(t.Context()); err != nil || len(listing.Instances) != 12 {
		t.Fatalf("%d instances, %v", len(listing.Instances), err)
	}
	switchTo("OTHER")
	v.wantRefused(t, cloud, id)
	switchTo("MINE2")
	if listing, err := cloud.List(t.Context()); err != nil || len(listing.Instances) != 12 {
		t.Errorf("back again: %d instances, %v", len(listing.Instances), err)
	}
}

// The same with keys in the shared file, which are rotated there: the SDK by itself reads them once.
func TestKeysInTheSharedFileAreReloadedAndProved(t *testing.T) {
	v := newVault(t)
	noSettings(t, "AWS_REGION", ec2test.Region, "AWS_ENDPOINT_URL", v.url)
	file := os.Getenv("AWS_SHARED_CREDENTIALS_FILE")
	changes := 0
	write := func(text string) {
		t.Helper()
		changes++ // file systems may count in coarser steps than this test takes
		at := time.Date(2027, 1, 1, 0, 0, changes, 0, time.UTC)
		if err := errors.Join(os.WriteFile(file, []byte(text), 0o600), os.Chtimes(file, at, at)); err != nil {
			t.Fatal(err)
		}
	}
	key := func(id string) string {
		return "[default]\naws_access_key_id = " + id + "\naws_secret_access_key = s\n"
	}
	write(key("MINE1"))
	cfg, err := ec2.Settings{}.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	cloud, err := ec2.Open(t.Context(), cfg, "", ec2.Options{})
	if err != nil {
		t.Fatal(err)
	}
	id := v.mine.Create(ec2sim.Instance{Tags: map[string]string{lease.TagRegistry: ec2test.UUID}}).ID
	want := func(used string) {
		t.Helper()
		if _, err := cloud.List(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got, err := ec2.Credentials(cloud).Retrieve(t.Context()); err != nil || got.AccessKeyID != used {
			t.Errorf("signed by %s, %v, want %s", got.AccessKeyID, err, used)
		}
	}
	want("MINE1")
	write(key("MINE2"))
	want("MINE2")
	write("[default\nhalf a file") // is being written
	want("MINE2")
	write(key("OTHER"))
	v.wantRefused(t, cloud, id)
	write(key("MINE3"))
	want("MINE3")
	if got := v.asked(); got != 4 {
		t.Errorf("STS was asked %d times, want 4", got)
	}
}

func TestEachAccessKeyIsProvedOnce(t *testing.T) {
	t.Parallel()
	v := newVault(t)
	cloud, keys := v.open(t, ec2.Options{})
	id := v.mine.Create(ec2sim.Instance{Tags: map[string]string{lease.TagRegistry: ec2test.UUID}}).ID
	for n, key := range []string{"MINE1", "MINE2", "OTHER", "MINE3"} {
		keys.key.Store(key)
		for range 3 {
			if key == "OTHER" {
				v.wantRefused(t, cloud, id)
			} else if _, err := cloud.List(t.Context()); err != nil {
				t.Fatalf("%s: %v", key, err)
			}
		}
		if got := v.asked(); got != n+1 {
			t.Errorf("%s: STS was asked %d times, want %d", key, got, n+1)
		}
	}
	if want := "arn:aws:iam::" + ec2test.Account + ":user/ec2sim"; cloud.Caller() != want {
		t.Errorf("caller %s, want %s", cloud.Caller(), want)
	}
}

func TestManyCallsProveANewKeyOnce(t *testing.T) {
	t.Parallel()
	v := newVault(t)
	cloud, keys := v.open(t, ec2.Options{})
	keys.key.Store("MINE2")
	inside, all := make(chan struct{}), make(chan struct{})
	v.mine.Inject(ec2sim.Fault{Action: "GetCallerIdentity", Times: 1, Hook: func() { close(inside); <-all }})
	var calls sync.WaitGroup
	for range 20 {
		calls.Go(func() {
			if _, _, err := cloud.Clock(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	<-inside
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := cloud.List(canceled); err == nil {
		t.Error("a call that was given up waits for somebody else's proof")
	}
	close(all)
	calls.Wait()
	if got := v.asked(); got != 2 {
		t.Errorf("STS was asked %d times, want 2", got)
	}
}

func TestWithoutProofNothingIsSent(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]ec2sim.Fault{
		"no answer": {Effect: ec2sim.Drop},
		"refused":   {Effect: ec2sim.Refuse, Code: "AccessDenied", Status: 403},
		"throttled": {Effect: ec2sim.Refuse, Code: "Throttling", Status: 400},
		"expired":   {Effect: ec2sim.Refuse, Code: "ExpiredToken", Status: 403},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := newVault(t)
			cloud, keys := v.open(t, ec2.Options{})
			var ids []string
			for range 3 {
				ids = append(ids, v.mine.Create(ec2sim.Instance{Tags: map[string]string{lease.TagRegistry: ec2test.UUID}}).ID)
			}
			keys.key.Store("MINE2")
			fault.Action = "GetCallerIdentity"
			restore := v.mine.Inject(fault)
			_, err := cloud.List(t.Context())
			ec2test.WantError[*ec2.ProofError](t, err)
			for _, ended := range cloud.Terminate(t.Context(), ids) {
				ec2test.WantError[*ec2.ProofError](t, ended.Err)
				if ended.Refused() { // nobody blames the instance for what STS says
					t.Errorf("%+v", ended)
				}
			}
			if v.sent("DescribeInstances")+v.sent("TerminateInstances") > 0 {
				t.Error("something was sent")
			}
			restore()
			if listing, err := cloud.List(t.Context()); err != nil || len(listing.Instances) != 3 {
				t.Errorf("after it: %d instances, %v", len(listing.Instances), err)
			}
		})
	}
}

// The SDK keeps credentials until they expire, and asks again by itself. What it keeps is between the source and the
// proof, and the proof leaves the date alone.
func TestTheDateOfCredentialsIsKept(t *testing.T) {
	t.Parallel()
	v := newVault(t)
	keys := &changing{expires: time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)}
	keys.key.Store("MINE1")
	cloud, err := ec2.Open(t.Context(), v.settings(aws.NewCredentialsCache(keys)), "", ec2.Options{})
	if err != nil {
		t.Fatal(err)
	}
	got, err := ec2.Credentials(cloud).Retrieve(t.Context())
	if err != nil || !got.CanExpire || !got.Expires.Equal(keys.expires) || got.AccessKeyID != "MINE1" {
		t.Errorf("%+v, %v", got, err)
	}
	keys.key.Store("OTHER")
	_, err = cloud.List(t.Context())
	ec2test.WantError[*ec2.AccountError](t, err)
}

func TestAnAccountIsTrustedWithoutProofOnlyAtACustomEndpoint(t *testing.T) {
	t.Parallel()
	v := newVault(t)
	v.mine.Inject(ec2sim.Fault{Action: "GetCallerIdentity", Effect: ec2sim.Refuse, Code: "InvalidAction", Status: 400})
	keys := &changing{}
	keys.key.Store("MINE1")
	_, err := ec2.Open(t.Context(), v.settings(keys), "", ec2.Options{})
	if e := ec2test.WantAs[*ec2.ProofError](t, err); !e.NoSTS {
		t.Errorf("does not say that there may be no STS: %v", err)
	}
	cloud, err := ec2.Open(t.Context(), v.settings(keys), "", ec2.Options{Account: ec2test.Account})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cloud.List(t.Context()); err != nil || cloud.Location() != ec2test.Here() {
		t.Errorf("%s, %v", cloud.Location(), err)
	}
	for n, o := range []ec2.Options{{Account: "1/2"}, {Account: "1 2"}} {
		t.Run(strconv.Itoa(n), func(t *testing.T) {
			_, err := ec2.Open(t.Context(), v.settings(keys), "", o)
			ec2test.WantError[*ec2.SettingsError](t, err)
		})
	}
	_, err = ec2.Open(t.Context(), aws.Config{Region: ec2test.Region, Credentials: keys}, "", ec2.Options{Account: ec2test.Account})
	if e := ec2test.WantAs[*ec2.SettingsError](t, err); e.What != "account" {
		t.Errorf("at AWS itself: %v", e)
	}
}

func TestAnEndpointThatNeedsNoKeyIsProvedOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ec2sim.Config{})
	unsigned := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" {
			t.Error("it is signed")
		}
		r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=NOBODY/20270101/"+ec2test.Region+"/ec2/aws4_request, ")
		w.Sim.ServeHTTP(rw, r)
	}))
	t.Cleanup(unsigned.Close)
	for _, keys := range []aws.CredentialsProvider{nil, aws.AnonymousCredentials{}} {
		before := w.Sent("GetCallerIdentity")
		cloud, err := ec2.Open(t.Context(), aws.Config{Region: ec2test.Region, BaseEndpoint: &unsigned.URL, Credentials: keys}, "", ec2.Options{})
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if _, err := cloud.List(t.Context()); err != nil || cloud.Location() != ec2test.Here() {
				t.Errorf("%s, %v", cloud.Location(), err)
			}
		}
		if got := w.Sent("GetCallerIdentity") - before; got != 1 {
			t.Errorf("STS was asked %d times", got)
		}
	}
}
