package ec2_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/smithy-go/logging"

	"lapse/lease"
	"lapse/lease/ec2"
	"lapse/lease/ec2/ec2sim"
	"lapse/lease/ec2/ec2test"
)

// noSettings takes every AWS setting away but those given.
func noSettings(t *testing.T, settings ...string) {
	t.Helper()
	for _, name := range []string{
		"AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN",
		"AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_ENDPOINT_URL",
	} {
		t.Setenv(name, "")
	}
	t.Setenv("AWS_CONFIG_FILE", t.TempDir()+"/config")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", t.TempDir()+"/credentials")
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	for pair := range slices.Chunk(settings, 2) {
		t.Setenv(pair[0], pair[1])
	}
}

func TestLoadSaysWhatToSet(t *testing.T) {
	for name, c := range map[string]struct {
		settings []string
		what     string
	}{
		"no region":      {[]string{"AWS_ACCESS_KEY_ID", "a", "AWS_SECRET_ACCESS_KEY", "b"}, "region"},
		"no credentials": {[]string{"AWS_REGION", ec2test.Region}, "credentials"},
		"no such profile": {
			[]string{"AWS_REGION", ec2test.Region, "AWS_PROFILE", "nobody"}, "settings",
		},
	} {
		t.Run(name, func(t *testing.T) {
			noSettings(t, c.settings...)
			_, err := ec2.Settings{}.Load(t.Context())
			if e := ec2test.WantAs[*ec2.SettingsError](t, err); e.What != c.what {
				t.Errorf("what = %q, want %q: %v", e.What, c.what, e)
			}
		})
	}
}

func TestLoadTakesTheSDKsSettings(t *testing.T) {
	w := newWorld(t, ec2sim.Config{})
	noSettings(t, "AWS_REGION", ec2test.Region, "AWS_ACCESS_KEY_ID", "a", "AWS_SECRET_ACCESS_KEY", "b", "AWS_ENDPOINT_URL", w.URL)
	cfg, err := ec2.Settings{Region: "eu-west-1"}.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	cloud := w.Cloud(t, cfg, ec2.Options{})
	if want := (lease.Location{Account: ec2test.Account, Region: "eu-west-1"}); cloud.Location() != want {
		t.Errorf("location = %s, want %s", cloud.Location(), want)
	}
}

// TestMessagesOfTheSDKAreLogged has no other location for it: on stderr itself it could block a janitor.
func TestMessagesOfTheSDKAreLogged(t *testing.T) {
	noSettings(t, "AWS_REGION", ec2test.Region, "AWS_ACCESS_KEY_ID", "a", "AWS_SECRET_ACCESS_KEY", "b")
	log := &bytes.Buffer{}
	cfg, err := ec2.Settings{Log: slog.New(slog.NewTextHandler(log, nil))}.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	cfg.Logger.Logf(logging.Warn, "%d things", 2)
	if text := log.String(); !strings.Contains(text, `level=WARN msg="the AWS SDK says" text="2 things"`) {
		t.Errorf("logged %q", text)
	}
	quiet, err := ec2.Settings{}.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, nop := quiet.Logger.(logging.Nop); !nop {
		t.Errorf("without a log, the SDK has %T", quiet.Logger)
	}
}

func TestAClosedPortFailsSoon(t *testing.T) {
	server := httptest.NewServer(nil)
	server.Close()
	noSettings(t, "AWS_REGION", ec2test.Region, "AWS_ACCESS_KEY_ID", "a", "AWS_SECRET_ACCESS_KEY", "b", "AWS_ENDPOINT_URL", server.URL)
	cfg, err := ec2.Settings{}.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	wantUnreachable(t, func() error {
		_, err := ec2.Open(t.Context(), cfg, "", ec2.Options{})
		return err
	})
}

func TestAnUnresponsiveEndpointFailsWithinTenSeconds(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes 10 s")
	}
	mute, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer mute.Close()
	w := newWorld(t, ec2sim.Config{})
	cfg := w.AWS()
	cfg.Retryer = nil
	w.Sim.Inject(ec2sim.Fault{Action: "DescribeInstances", Effect: ec2sim.Hang})
	cloud := w.Cloud(t, cfg, ec2.Options{})
	url := "http://" + mute.Addr().String()
	cfg.BaseEndpoint = &url
	done := make(chan struct{})
	go func() {
		defer close(done)
		wantUnreachable(t, func() error {
			_, _, err := cloud.Clock(t.Context())
			return err
		})
	}()
	wantUnreachable(t, func() error {
		_, err := ec2.Open(t.Context(), cfg, "", ec2.Options{})
		return err
	})
	<-done
}

func wantUnreachable(t *testing.T, try func() error) {
	t.Helper()
	began := time.Now()
	err := try()
	ec2test.WantError[*ec2.UnreachableError](t, err)
	if took := time.Since(began); took > 11*time.Second {
		t.Errorf("noticed after %s", took)
	}
}

func TestSkewIsOurClockMinusEC2s(t *testing.T) {
	t.Parallel()
	for _, ahead := range []time.Duration{0, 90 * time.Second, -90 * time.Second} {
		t.Run(strconv.Itoa(int(ahead.Seconds())), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, ec2sim.Config{})
			cloud := w.Cloud(t, w.AWS(), ec2.Options{Now: func() time.Time { return time.Now().Add(ahead) }})
			listing, err := cloud.List(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			skew, dated, err := cloud.Clock(t.Context())
			if err != nil || !dated || !listing.Dated {
				t.Fatalf("dated %t and %t, %v", dated, listing.Dated, err)
			}
			for _, got := range []time.Duration{skew, listing.Skew} {
				if off := (got - ahead).Abs(); off > time.Second {
					t.Errorf("skew %s, want about %s", got, ahead)
				}
			}
		})
	}
}

func TestSkewDoesNotCountPausesBetweenRetries(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ec2sim.Config{})
	w.Sim.Inject(ec2sim.Fault{Action: "DescribeInstances", Times: 2, Effect: ec2sim.Refuse, Code: "InternalError"})
	cfg := w.AWS()
	cfg.Retryer = nil
	skew, dated, err := w.Cloud(t, cfg, ec2.Options{}).Clock(t.Context())
	if err != nil || !dated || skew.Abs() > time.Second {
		t.Errorf("skew %s, dated %t, %v", skew, dated, err)
	}
}

func TestACancelledCallReturnsTheCancellation(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ec2sim.Config{})
	cloud := w.Cloud(t, w.AWS(), ec2.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := cloud.List(ctx); err == nil {
		t.Error("no error")
	}
}

// slowToFinish sends a request's body, and is not done with it before the SDK, which has its answer, closes it: what
// net/http does on a bad day.
type slowToFinish struct {
	*http.Client
	checked atomic.Int32
	err     error
}

func (c *slowToFinish) Do(r *http.Request) (*http.Response, error) {
	if r.Body == nil || r.Body == http.NoBody {
		return c.Client.Do(r)
	}
	var sent bytes.Buffer
	if _, err := io.Copy(&sent, io.LimitReader(r.Body, r.ContentLength)); err != nil {
		return nil, err
	}
	_ = r.Body.Close()
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		c.err = err
	}
	c.checked.Add(1)
	again := r.Clone(r.Context())
	again.Body, again.GetBody = io.NopCloser(&sent), nil
	return c.Client.Do(again)
}

func TestABodyThatTheSDKClosedIsAtItsEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ec2sim.Config{})
	cfg, slow := w.AWS(), &slowToFinish{Client: w.HTTP}
	cfg.HTTPClient = slow
	if _, err := w.Cloud(t, cfg, ec2.Options{}).Describe(t.Context(), []string{w.Sim.Create(ec2sim.Instance{}).ID}); err != nil {
		t.Fatal(err)
	}
	if slow.err != nil || slow.checked.Load() < 2 {
		t.Errorf("%d bodies: %v", slow.checked.Load(), slow.err)
	}
}

// TestAProgramMayTakeLongerThanAWS: a credential_process that asks a directory or a person takes a while.
func TestAProgramMayTakeLongerThanAWS(t *testing.T) {
	if testing.Short() {
		t.Skip("takes 12 s")
	}
	noSettings(t, "AWS_REGION", ec2test.Region, "AWS_PROFILE", "slow")
	program := t.TempDir() + "/program"
	files := map[string]string{
		program:                      "#!/bin/sh\nsleep 12\necho '{\"Version\": 1, \"AccessKeyId\": \"AKIDSLOW\", \"SecretAccessKey\": \"secret\"}'\n",
		os.Getenv("AWS_CONFIG_FILE"): "[profile slow]\ncredential_process = " + program + "\n",
	}
	for name, text := range files {
		if err := os.WriteFile(name, []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	cfg, err := ec2.Settings{}.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got, err := cfg.Credentials.Retrieve(t.Context()); err != nil || got.AccessKeyID != "AKIDSLOW" {
		t.Errorf("%v, %v", got.AccessKeyID, err)
	}
}

// Not parallel: it sets the environment.
func TestAProgramThatGivesNoCredentialsIsNamed(t *testing.T) {
	for name, c := range map[string]struct{ config, what, says string }{
		"fails":         {"[profile p]\ncredential_process = false\n", "process", "exit status 1"},
		"is not there":  {"[profile p]\ncredential_process = /nowhere/program\n", "process", "exit status 127"},
		"says rubbish":  {"[profile p]\ncredential_process = echo rubbish\n", "process", "rubbish"},
		"says nothing":  {"[profile p]\ncredential_process = true\n", "process", "process provider error"},
		"is built upon": {"[profile p]\nrole_arn = arn:aws:iam::123456789012:role/x\nsource_profile = q\n[profile q]\ncredential_process = false\n", "process", "exit status 1"},
		"SSO": {
			"[profile p]\nsso_session = s\nsso_account_id = 123456789012\nsso_role_name = x\n[sso-session s]\nsso_start_url = https://x.awsapps.com/start\nsso_region = us-east-1\n",
			"sso", "token",
		},
	} {
		t.Run(name, func(t *testing.T) {
			noSettings(t, "AWS_REGION", ec2test.Region, "AWS_PROFILE", "p")
			t.Setenv("HOME", t.TempDir()) // no token of SSO is there
			if err := os.WriteFile(os.Getenv("AWS_CONFIG_FILE"), []byte(c.config), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := ec2.Settings{}.Load(t.Context())
			if e := ec2test.WantAs[*ec2.SettingsError](t, err); e.What != c.what || !strings.Contains(e.Error(), c.says) {
				t.Errorf("%s: %v", e.What, e)
			}
		})
	}
}

// One that never ends is given up, with an error that names it.
func TestAHangingCredentialProgramIsGivenUp(t *testing.T) {
	noSettings(t, "AWS_REGION", ec2test.Region, "AWS_PROFILE", "p")
	hangs := "[profile p]\ncredential_process = exec sleep 30 2>/dev/null\n"
	if err := os.WriteFile(os.Getenv("AWS_CONFIG_FILE"), []byte(hangs), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	began := time.Now()
	_, err := ec2.Settings{}.Load(ctx)
	if e := ec2test.WantAs[*ec2.SettingsError](t, err); e.What != "process" || time.Since(began) > 10*time.Second {
		t.Errorf("after %s, %s: %v", time.Since(began), e.What, e)
	}
}
