package launch_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"lapse/lease"
	"lapse/lease/ec2"
	"lapse/lease/ec2/ec2sim"
	"lapse/lease/ec2/ec2test"
	"lapse/lease/ec2/launch"
)

const api = "https://lapse.example.com:8443"

// random is a launcher whose join tokens stand for zeros.
func (w world) random(t ec2test.T, size int64) *launch.Launcher {
	t.Helper()
	c := quick()
	c.Random = bytes.NewReader(make([]byte, size))
	return launch.New(w.Cloud(t, w.AWS(), ec2.Options{}), w.store, c)
}

// zeros is what such an instance is to join.
func zeros() lease.Join { return lease.Join{Token: strings.Repeat("A", 43), API: api} }

func TestInstancesGetTheJoinTokenOfTheirAttempt(t *testing.T) {
	t.Parallel()
	const script = "#!/bin/sh\necho grüße\n"
	wrapped := func(userData string) string {
		message, err := zeros().Wrap([]byte(userData))
		if err != nil {
			t.Fatal(err)
		}
		return string(message)
	}
	for name, c := range map[string]struct {
		api, skeleton, flag string
		template            map[string]string
		noJoin, keyPair     bool
		want                string
	}{
		"script":                       {api: api, flag: script, want: wrapped(script)},
		"base64 of a script":           {api: api, flag: base64.StdEncoding.EncodeToString([]byte(script)), want: wrapped(script)},
		"script in the request":        {api: api, skeleton: `{"UserData": "#!/bin/sh\n"}`, want: wrapped("#!/bin/sh\n")},
		"no user-data":                 {api: api, want: wrapped("")},
		"by a key pair":                {api: api, flag: script, keyPair: true, want: wrapped(script)},
		"user-data of the template":    {api: api, template: map[string]string{"UserData": base64.StdEncoding.EncodeToString([]byte(script))}, want: wrapped(script)},
		"beside that of the template":  {api: api, flag: script, template: map[string]string{"UserData": "eA=="}, want: wrapped(script)},
		"a template without":           {api: api, template: map[string]string{"EbsOptimized": "false"}, want: wrapped("")},
		"no API":                       {flag: script, want: script},
		"left out":                     {api: api, noJoin: true, flag: "\x1f\x8b\x08", want: "\x1f\x8b\x08"},
		"left out, and by a template":  {api: api, noJoin: true, template: map[string]string{"UserData": "eA=="}, want: "x"},
		"left out, without user-data":  {api: api, noJoin: true},
		"left out, and by a key pair ": {api: api, noJoin: true, keyPair: true, flag: script, want: script},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, ec2sim.Config{})
			w.withAPI(c.api)
			r := w.request("job-7", 2)
			r.NoJoin = c.noJoin
			if c.keyPair {
				r = w.keyed("job-7", 2)
				r.NoJoin = c.noJoin
			}
			if c.flag != "" {
				r.UserData = []byte(c.flag)
			}
			r.Skeleton = []byte(c.skeleton)
			if c.template != nil {
				w.Sim.AddTemplateVersion(ec2test.Region, "web", c.template)
				r.Skeleton = []byte(`{"LaunchTemplate": {"LaunchTemplateName": "web"}}`)
			}
			result, err := w.random(t, 32).Launch(t.Context(), r)
			if err != nil {
				t.Fatal(err)
			}
			made := w.made("job-7")
			for _, i := range made {
				if data, err := base64.StdEncoding.DecodeString(i.UserData); err != nil || string(data) != c.want {
					t.Errorf("user-data %q (%v), want %q", data, err, c.want)
				}
			}
			if joins := c.api != "" && !c.noJoin; len(made) != 2 || result.Launch.Last().Admits(zeros().Token) != joins || (result.Launch.API == api) != joins {
				t.Errorf("%d instances of %+v", len(made), result.Launch)
			}
			w.wantJoins(t, w.stored(t, "job-7"))
		})
	}
}

// A replay must be the identical call, although the registry names another API by then. EC2 refuses any other.
func TestAReplayHasTheSameJoinToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ec2sim.Config{})
	w.withAPI(api)
	w.Sim.Inject(ec2sim.Fault{Action: "RunInstances", Times: 1, Stage: ec2sim.AfterDeed, Effect: ec2sim.Drop, Hook: func() { w.withAPI("https://elsewhere") }})
	r := w.request("job-7", 1)
	r.Patience = time.Nanosecond
	_, err := w.launcher(t).Launch(t.Context(), r)
	ec2test.WantError[*launch.UnknownOutcomeError](t, err)
	open := w.stored(t, "job-7")
	if token := open.Last().JoinToken; !open.Last().Admits(token) || open.API != api {
		t.Fatalf("on record before the replay: %+v", open)
	}
	resume := func() (launch.Result, error) { return w.launcher(t).Resume(t.Context(), "job-7", time.Minute) }
	result, err := resume()
	if err != nil || len(w.made("job-7")) != 1 {
		t.Fatalf("%d instances, %v", len(w.made("job-7")), err)
	}
	if again, err := resume(); err != nil || !result.Launch.Last().Admits(open.Last().JoinToken) || again.Launch.Last().JoinToken != "" {
		t.Errorf("once more: %+v, %v", again.Launch, err)
	}
	if record := w.store.Get("launch", "job-7"); bytes.Contains(record, []byte(open.Last().JoinToken)) {
		t.Errorf("a settled launch has its join token: %s", record)
	}
	w.wantJoins(t, result.Launch)
}

func TestEachAttemptHasAJoinTokenOfItsOwn(t *testing.T) {
	t.Parallel()
	for name, anima := range map[string]lease.Anima{"client token": launch.ClientTokens, "key pair": lease.AnimaKeyPair} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, ec2sim.Config{})
			w.withAPI(api)
			w.capacity(ec2test.ZoneA, 2)
			r := w.keyed("job-7", 5)
			r.Anima = anima
			r.Subnets = append(r.Subnets, w.Sim.SubnetID(ec2test.ZoneB))
			result, err := w.launcher(t).Launch(t.Context(), r)
			if err != nil || len(result.Launch.Attempts) < 2 || len(w.made("job-7")) != 5 {
				t.Fatalf("%+v, %v", result.Launch, err)
			}
			w.wantJoins(t, result.Launch)
		})
	}
}

func TestUserDataWithoutRoomForAJoinTokenIsRefusedBeforeAnythingIsStored(t *testing.T) {
	t.Parallel()
	message, err := zeros().Wrap([]byte("#!"))
	if err != nil {
		t.Fatal(err)
	}
	fits := 16*1024 - len(message) + len("#!")
	for name, c := range map[string]struct {
		userData, why string
		template      map[string]string
	}{
		"gzip":        {userData: zipped, why: "is compressed with gzip, so it cannot carry a join token"},
		"bytes":       {userData: "\x00\xff\xfe", why: "is not UTF-8 text, so it cannot carry a join token"},
		"Windows":     {userData: "<powershell>ls</powershell>", why: "is a script for Windows, so it cannot carry a join token"},
		"Ignition":    {userData: `{"ignition": {}}`, why: "is an Ignition configuration, so it cannot carry a join token"},
		"MIME":        {userData: string(message), why: "is a MIME message already, so it cannot carry a join token"},
		"other text":  {userData: "name=value", why: "is in no form that cloud-init knows by its first line, so it cannot carry a join token"},
		"as it fits":  {userData: "#!" + strings.Repeat("x", fits-2)},
		"one too big": {userData: "#!" + strings.Repeat("x", fits-1), why: fmt.Sprintf("has %d bytes, and 16385 with the join token, but EC2 allows 16384; ", fits+1)},
		"encoded":     {userData: "#!ü" + strings.Repeat("x", 13000), why: "has 13004 bytes, and 17"},
		"a template":  {template: map[string]string{"UserData": "eA=="}, why: "is in no form that cloud-init knows"},
		"bad base64":  {template: map[string]string{"UserData": "%"}, why: "has user-data that is not base64"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, ec2sim.Config{})
			w.withAPI(api)
			r := w.request("job-7", 1)
			if c.userData != "" {
				r.UserData = []byte(c.userData)
			}
			if c.template != nil {
				w.Sim.AddTemplateVersion(ec2test.Region, "web", c.template)
				r.Skeleton = []byte(`{"LaunchTemplate": {"LaunchTemplateName": "web"}}`)
			}
			_, err := w.launcher(t).Launch(t.Context(), r)
			if c.why == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if e := ec2test.WantAs[*launch.RequestError](t, err); e.Option != "NoJoin" || !strings.HasPrefix(e.Why, c.why) {
				t.Errorf("%v", e)
			}
			if w.store.Get("launch", "job-7") != nil || w.Sent("RunInstances") != 0 {
				t.Error("a record was left behind, or a call sent")
			}
		})
	}
}

// TestAHeartbeatTimeoutThatNobodyCouldKeepIsRefused knows no certificate of the Region, so no instance there can enrol.
func TestAHeartbeatTimeoutThatNobodyCouldKeepIsRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		api     string
		timeout time.Duration
		noJoin  bool
		proves  bool
		refused bool
	}{
		"through the API":             {api: api, timeout: time.Minute, refused: true},
		"a Region that is known":      {api: api, timeout: time.Minute, proves: true},
		"none is asked for":           {api: api},
		"in etcd itself":              {timeout: time.Minute},
		"in etcd itself, beside APIs": {api: api, timeout: time.Minute, noJoin: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, ec2sim.Config{})
			if c.api != "" {
				w.withAPI(c.api)
			}
			config := quick()
			config.Proves = func(region string) bool { return c.proves && region == ec2test.Region }
			r := w.request("job-7", 1)
			r.HeartbeatTimeout, r.NoJoin = c.timeout, c.noJoin
			_, err := launch.New(w.Cloud(t, w.AWS(), ec2.Options{}), w.store, config).Launch(t.Context(), r)
			if !c.refused {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if e := ec2test.WantAs[*launch.RequestError](t, err); e.Option != "HeartbeatTimeout" || !strings.Contains(e.Why, ec2test.Region) {
				t.Errorf("%v", e)
			}
			if w.store.Get("launch", "job-7") != nil || w.Sent("RunInstances") != 0 {
				t.Error("a record was left behind, or a call sent")
			}
		})
	}
}

func TestWithoutAJoinTokenNothingIsSent(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ec2sim.Config{})
	w.withAPI(api)
	c := quick()
	none := errors.New("no entropy")
	c.Random = iotest.ErrReader(none)
	if _, err := launch.New(w.Cloud(t, w.AWS(), ec2.Options{}), w.store, c).Launch(t.Context(), w.request("job-7", 1)); !errors.Is(err, none) {
		t.Errorf("without a source of tokens: %v", err)
	}
	if w.store.Get("launch", "job-7") != nil {
		t.Error("a record was left behind")
	}

	// The first attempt is refused, and there is no token for the second.
	w.capacity(ec2test.ZoneA, 0)
	r := w.request("job-8", 1)
	r.Subnets = append(r.Subnets, w.Sim.SubnetID(ec2test.ZoneB))
	if _, err := w.random(t, 32).Launch(t.Context(), r); err == nil || len(w.stored(t, "job-8").Attempts) != 1 {
		t.Errorf("%+v, %v", w.stored(t, "job-8"), err)
	}

	// Somebody took the token off the record.
	sent := w.Sent("RunInstances")
	open := w.stored(t, "job-8")
	open.Attempts[0].JoinToken, open.Attempts[0].Outcome = "", ""
	if _, err := w.store.PutLaunch(t.Context(), open); err != nil {
		t.Fatal(err)
	}
	_, err := w.launcher(t).Resume(t.Context(), "job-8", 0)
	ec2test.WantError[*lease.MalformedError](t, err)
	if n := w.Sent("RunInstances"); n != sent {
		t.Errorf("RunInstances was sent %d times", n-sent)
	}
}

// What a launcher tells of its progress goes to logs and terminals.
func TestNoEventHasAJoinToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ec2sim.Config{})
	w.withAPI(api)
	w.Sim.Inject(ec2sim.Fault{Action: "RunInstances", Times: 1, Stage: ec2sim.AfterDeed, Effect: ec2sim.Drop})
	c, events := quick(), 0
	c.Random = bytes.NewReader(make([]byte, 32))
	c.Progress = func(e launch.Event) {
		events++
		if strings.Contains(fmt.Sprintf("%+v", e), zeros().Token) {
			t.Errorf("%+v", e)
		}
	}
	r := w.request("job-7", 1)
	r.Patience = time.Minute
	if _, err := launch.New(w.Cloud(t, w.AWS(), ec2.Options{}), w.store, c).Launch(t.Context(), r); err != nil || events < 4 {
		t.Errorf("%d events, %v", events, err)
	}
}

func TestADryRunChecksTheJoinTokenToo(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ec2sim.Config{})
	w.withAPI(api)
	r := w.request("job-7", 1)
	if plan, err := w.launcher(t).DryRun(t.Context(), r); err != nil || plan.Launch.API != api {
		t.Errorf("%+v, %v", plan, err)
	}
	r.UserData = []byte(zipped)
	_, err := w.launcher(t).DryRun(t.Context(), r)
	ec2test.WantError[*launch.RequestError](t, err)
}
