package launch_test

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"lapse/lease"
	"lapse/lease/ec2"
	"lapse/lease/ec2/ec2sim"
	"lapse/lease/ec2/ec2test"
	"lapse/lease/ec2/launch"
)

// zipped is what gzip makes of a script: no text.
const zipped = "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff\x53\x56\xd4\x4f\xca\xcc\xd3\x2f\xce\xe0\x02\x00\x8b\x2b\xd4\x5f\x0a\x00\x00\x00"

func TestUserDataArrivesUnchanged(t *testing.T) {
	t.Parallel()
	encode := func(raw string) string { return base64.StdEncoding.EncodeToString([]byte(raw)) }
	const script = "#!/bin/sh\necho hello\n"
	const odd = "#!/bin/sh\necho what>>?~~ÿ\n"                       // with letters in which the alphabets differ
	wrapped := encode(script)[:8] + "\n" + encode(script)[8:] + "\n" // as base64 wraps lines
	for name, c := range map[string]struct {
		inRequest, flag, want string
		warned                bool
	}{
		"text":                             {inRequest: script, want: script},
		"text by flag":                     {flag: script, want: script},
		"the flag wins":                    {inRequest: "other", flag: script, want: script},
		"base64 already":                   {inRequest: encode(script), want: script, warned: true},
		"base64 already, by flag":          {flag: encode(script), want: script, warned: true},
		"base64 in lines":                  {inRequest: wrapped, want: script, warned: true},
		"gzip by flag":                     {flag: zipped, want: zipped},
		"gzip in base64":                   {inRequest: encode(zipped), want: zipped, warned: true},
		"encoded twice":                    {inRequest: encode(encode(script)), want: encode(script), warned: true},
		"base64 of URLs":                   {inRequest: strings.TrimRight(base64.URLEncoding.EncodeToString([]byte(odd)), "="), want: odd, warned: true},
		"base64 without its padding":       {inRequest: strings.TrimRight(encode(odd), "="), want: odd, warned: true},
		"base64 in lines of DOS":           {inRequest: strings.ReplaceAll(wrapped, "\n", "\r\n"), want: script, warned: true},
		"base64 of xz":                     {inRequest: encode("\xfd7zXZ\x00\x00\x04\xe6\xd6"), want: "\xfd7zXZ\x00\x00\x04\xe6\xd6", warned: true},
		"base64 of a script with colours":  {inRequest: encode(script + "echo \x1b[1m"), want: script + "echo \x1b[1m", warned: true},
		"a UUID":                           {inRequest: "6ba7b810-9dad-11d1-80b4-00c04fd430c8", want: "6ba7b810-9dad-11d1-80b4-00c04fd430c8"},
		"a word that base64 has, too":      {inRequest: "password", want: "password"},
		"a long word that base64 has, too": {inRequest: "thisissomesecret", want: "thisissomesecret"},
		"other bytes by flag":              {flag: "\x00\xff\xfe", want: "\x00\xff\xfe"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, ec2sim.Config{})
			// The answer is lost, so that the call is made from the record once more.
			w.Sim.Inject(ec2sim.Fault{Action: "RunInstances", Times: 1, Stage: ec2sim.AfterDeed, Effect: ec2sim.Drop})
			r := w.request("job-7", 1)
			r.Patience = 10 * time.Second
			if c.inRequest != "" {
				skeleton, err := json.Marshal(map[string]string{"UserData": c.inRequest})
				if err != nil {
					t.Fatal(err)
				}
				r.Skeleton = skeleton
			}
			if c.flag != "" {
				r.UserData = []byte(c.flag)
			}
			l, warnings := w.warned(t)
			if _, err := l.Launch(t.Context(), r); err != nil {
				t.Fatal(err)
			}
			if made := w.made("job-7"); len(made) != 1 || made[0].UserData != encode(c.want) {
				t.Errorf("%d instances, %q", len(made), made[0].UserData)
			}
			if (len(*warnings) == 1) != c.warned {
				t.Errorf("warnings %q", *warnings)
			}
			if again, err := l.Launch(t.Context(), r); err != nil || !again.Resumed {
				t.Errorf("once more: resumed %t, %v", again.Resumed, err)
			}
		})
	}
}

func TestUserDataThatEC2RejectsIsRefusedBeforeAnythingIsStored(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ec2sim.Config{})
	r := w.request("job-7", 1)
	r.UserData = []byte(strings.Repeat("#", 16*1024+1))
	_, err := w.launcher(t).Launch(t.Context(), r)
	if e := ec2test.WantAs[*launch.RequestError](t, err); e.Field != "UserData" {
		t.Errorf("%v", e)
	}
	r.UserData, r.Skeleton = nil, []byte("{\"UserData\": \"\xff\"}")
	_, err = w.launcher(t).Launch(t.Context(), r)
	ec2test.WantError[*launch.RequestError](t, err)
	if w.store.Get("launch", "job-7") != nil {
		t.Error("a record was left behind")
	}
}

func TestALaunchUntilADateExpiresThenHoweverOftenRepeated(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ec2sim.Config{})
	until := time.Now().Add(90 * time.Minute).Truncate(time.Second)
	r := w.request("job-7", 1)
	r.Term, r.Until = 0, until
	first, err := w.launcher(t).Launch(t.Context(), r)
	if err != nil || !first.Leases[0].ExpiresAt.Equal(until) {
		t.Fatalf("%+v, %v", first.Leases, err)
	}
	if got, want := w.made("job-7")[0].Tags[lease.TagExpires], until.UTC().Format(time.RFC3339); got != want {
		t.Errorf("tagged %s, want %s", got, want)
	}
	config := quick()
	config.Now = func() time.Time { return until.Add(time.Hour) } // the date has passed
	late := launch.New(w.Cloud(t, w.AWS(), ec2.Options{}), w.store, config)
	if again, err := late.Launch(t.Context(), r); err != nil || !again.Resumed || len(again.Leases) != 1 {
		t.Errorf("once more: %+v, %v", again, err)
	}
	for name, change := range map[string]func(*launch.Request){
		"passed":               func(r *launch.Request) { r.Until = time.Now().Add(-time.Minute) },
		"later than the limit": func(r *launch.Request) { r.Until = time.Now().Add(3 * time.Hour) },
		"beside a term":        func(r *launch.Request) { r.Term = time.Hour },
	} {
		r := r
		r.Token = "job-8"
		change(&r)
		if _, err := w.launcher(t).Launch(t.Context(), r); err == nil {
			t.Errorf("%s: launched", name)
		} else {
			ec2test.WantError[*lease.LimitError](t, err)
		}
	}
}
