package lease_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/iotest"

	"lapse/lease"
)

func TestAJoinTokenIsThirtyTwoRandomBytes(t *testing.T) {
	t.Parallel()
	token, err := lease.NewJoinToken(bytes.NewReader(bytes.Repeat([]byte{0xfb, 0xff}, 16)))
	if want := strings.Repeat("-__7__v_", 5) + "-_8"; err != nil || token != want {
		t.Errorf("%q, %v; want %q", token, err, want)
	}
	if _, err := lease.NewJoinToken(bytes.NewReader(make([]byte, 31))); err == nil {
		t.Error("a token of 31 bytes")
	}
	if _, err := lease.NewJoinToken(iotest.ErrReader(errors.New("no entropy"))); err == nil || !strings.Contains(err.Error(), "no entropy") {
		t.Errorf("without a source: %v", err)
	}
	first, second := must(lease.NewJoinToken(nil)), must(lease.NewJoinToken(nil))
	if raw, err := base64.RawURLEncoding.DecodeString(first); err != nil || len(raw) != 32 || first == second {
		t.Errorf("%q and %q: %v", first, second, err)
	}
}

func TestTheURLOfTheAPIIsHTTPSAndAHost(t *testing.T) {
	t.Parallel()
	for api, allowed := range map[string]bool{
		"https://lapse.example.com": true, "https://lapse.example.com:8443": true, "https://10.0.0.7:443": true, "https://[2001:db8::7]:443": true,
		"https://lapse": true, "https://LAPSE.example.com": true, "https://" + strings.Repeat("a", 247): true,
		"https+srv://lapse.example.com": true, "https+srv://lapse": true, "https+srv://10.0.0.7": false, "https+srv://[::1]": false,
		"https+srv://lapse.example.com:8443": false, "https+srv://lapse.example.com/": false, "https+srv://": false, "srv://lapse.example.com": false,
		"https+srv://ada@lapse.example.com": false, "https+srv://" + strings.Repeat("a", 244): false, "HTTPS+SRV://lapse.example.com": false,
		"": false, "none": false, "lapse.example.com": false, "http://lapse.example.com": false, "HTTPS://lapse.example.com": false, "https://": false,
		"https://lapse.example.com/": false, "https://lapse.example.com/v1": false, "https://lapse.example.com?a=b": false, "https://lapse.example.com#a": false,
		"https://lapse.example.com?": false, "https://ada@lapse.example.com": false, "https://ada:secret@lapse.example.com": false, "https://:8443": false,
		"https://lapse.example.com:": false, "https://lapse.example.com:0": false, "https://lapse.example.com:65536": false, "https://lapse.example.com:https": false,
		"https://la pse": false, "https://la\npse": false, "https://lap%73e": false, "https://läpse": false, "https://-lapse": false, "https://[fe80::1%25eth0]": false,
		"https://[::1": false, "https:lapse": false, "https://" + strings.Repeat("a", 248): false, " https://lapse": false, "https://lapse\r": false,
	} {
		err := lease.CheckAPI(api)
		if (err == nil) != allowed {
			t.Errorf("%.60q: %v", api, err)
		}
		if _, is := errors.AsType[*lease.LimitError](err); err != nil && !is {
			t.Errorf("%.60q: %T", api, err)
		}
	}
}

func TestAnAttemptAdmitsItsOwnJoinToken(t *testing.T) {
	t.Parallel()
	token, other := joinOf(1).Token, joinOf(2).Token
	settled := must(opened().WithJoinToken(token).Close(noon, "over")).Last()
	for name, c := range map[string]struct {
		attempt lease.Attempt
		given   string
		want    bool
	}{
		"the token":                       {lease.Attempt{JoinToken: token}, token, true},
		"another":                         {lease.Attempt{JoinToken: token}, other, false},
		"a part of it":                    {lease.Attempt{JoinToken: token}, token[:42], false},
		"nothing":                         {lease.Attempt{JoinToken: token}, "", false},
		"the token, once settled":         {settled, token, true},
		"another, once settled":           {settled, other, false},
		"the digest, once settled":        {settled, settled.JoinTokenSHA256, false},
		"nothing, once settled":           {settled, "", false},
		"nothing, and it has none":        {lease.Attempt{}, "", false},
		"any, and it has none":            {lease.Attempt{}, token, false},
		"the token, by a cut digest":      {lease.Attempt{JoinTokenSHA256: settled.JoinTokenSHA256[:62]}, token, false},
		"the token, by another's digest":  {lease.Attempt{JoinTokenSHA256: strings.Repeat("0", 64)}, token, false},
		"the token, by what is no digest": {lease.Attempt{JoinTokenSHA256: "x"}, token, false},
	} {
		if got := c.attempt.Admits(c.given); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

// TestJoinTokensLeaveASettledLaunch is about what only a replay needs: whoever has it can enrol as the instance.
func TestJoinTokensLeaveASettledLaunch(t *testing.T) {
	t.Parallel()
	first, second := joinOf(1).Token, joinOf(2).Token
	open := next(t, must(opened().WithJoinToken(first).Sending(noon)).Refused(capacity)).WithJoinToken(second)
	open.API, open.Request = api, json.RawMessage(`{"ImageId":"ami-1","UserData":"s3cret"}`)
	for name, settled := range map[string]lease.Launch{
		"done": must(open.Done(noon)), "closed": must(open.Close(noon, "window over")), "closed, once done": must(must(open.Done(noon)).Close(noon, "released")),
		"shown": open.WithoutSecrets(), "shown twice": open.WithoutSecrets().WithoutSecrets(),
	} {
		record := text(t, settled)
		for _, secret := range []string{first, second, "s3cret"} {
			if strings.Contains(record, secret) || strings.Contains(fmt.Sprintf("%+v", settled), secret) {
				t.Errorf("%s: %s", name, record)
			}
		}
		if !settled.Attempts[0].Admits(first) || !settled.Attempts[1].Admits(second) || settled.Attempts[0].Admits(second) || settled.API != api {
			t.Errorf("%s: %s admits other tokens", name, record)
		}
	}
	if record := text(t, open); !strings.Contains(record, first) || !strings.Contains(record, second) || !strings.Contains(record, "s3cret") {
		t.Errorf("an open launch has lost what a replay needs: %s", record)
	}
}

func TestTheJoinIsReadFromTheHeaderOfTheMessageAlone(t *testing.T) {
	t.Parallel()
	j := joinOf(1)
	line := "X-Lapse-Join: v1 " + j.Token + " " + api + "\n"
	for name, c := range map[string]struct {
		userData string
		want     bool
	}{
		"first":                          {line + "MIME-Version: 1.0\n\n", true},
		"after others, some folded":      {"Content-Type: multipart/mixed;\n boundary=x\nMIME-Version: 1.0\n" + line + "\n", true},
		"in small letters, with CRs":     {strings.ReplaceAll(strings.Replace(line, "X-Lapse-Join", "x-lapse-join", 1), "\n", "\r\n") + "\r\n", true},
		"nothing":                        {"", false},
		"a script":                       {"#!/bin/sh\n" + line + "\n", false},
		"in a part":                      {"MIME-Version: 1.0\n\n--x\n" + line + "\n", false},
		"in the body":                    {"\n" + line + "\n", false},
		"in a header that does not end":  {"MIME-Version: 1.0\n" + strings.TrimSuffix(line, "\n"), false},
		"in a header without a body":     {"MIME-Version: 1.0\n" + line, true},
		"twice":                          {line + line + "\n", false},
		"folded":                         {strings.TrimSuffix(line, api+"\n") + "\n " + api + "\n\n", false},
		"and more in the next line":      {line + " more\n\n", false},
		"after what begins folded":       {"MIME-Version: 1.0\nsome text\n" + line + "\n", false},
		"of another version":             {strings.Replace(line, "v1", "v2", 1) + "\n", false},
		"with more fields":               {strings.TrimSuffix(line, "\n") + " more\n\n", false},
		"with fewer fields":              {"X-Lapse-Join: v1 " + j.Token + "\n\n", false},
		"with a short token":             {strings.Replace(line, j.Token, j.Token[:42], 1) + "\n", false},
		"with a token of other letters":  {strings.Replace(line, j.Token, "+"+j.Token[1:], 1) + "\n", false},
		"with a URL without TLS":         {strings.Replace(line, "https", "http", 1) + "\n", false},
		"with a URL that has a path":     {strings.TrimSuffix(line, "\n") + "/x\n\n", false},
		"under another name":             {"X-" + line + "\n", false},
		"in more than EC2 takes":         {line + "\n" + strings.Repeat("#", 17*1024), false},
		"beside all that EC2 takes":      {line + "\n" + strings.Repeat("#", 16*1024-len(line)-1), true},
		"in bytes that are no text":      {"X: \xff\xfe\n" + line + "\n", true},
		"after a name that is not ASCII": {"Ü: x\n" + line + "\n", false},
	} {
		got, found := lease.JoinFrom([]byte(c.userData))
		if found != c.want || found && got != j || !found && got != (lease.Join{}) {
			t.Errorf("%s: %+v, %t", name, got, found)
		}
	}
}

// FuzzJoinFrom: whatever an instance sees as its user-data, what is found could have been written, and stands in the header.
func FuzzJoinFrom(f *testing.F) {
	f.Add([]byte("#!/bin/sh\n"))
	f.Add([]byte("X-Lapse-Join: v1 x https://a\n\n"))
	f.Add([]byte("a: b\r\n c\r\nX-Lapse-Join:v1 " + joinOf(3).Token + "\thttps://[::1]:1\r\n\r\n"))
	for _, c := range samples() {
		f.Add(must(joinOf(1).Wrap([]byte(c.userData))))
	}
	f.Fuzz(func(t *testing.T, userData []byte) {
		j, found := lease.JoinFrom(userData)
		if !found {
			return
		}
		header, _, _ := bytes.Cut(bytes.ReplaceAll(userData, []byte("\r\n"), []byte("\n")), []byte("\n\n"))
		if !bytes.Contains(header, []byte(j.Token)) || !bytes.Contains(header, []byte(j.API)) {
			t.Fatalf("%+v is not in the header of %q", j, userData)
		}
		message, err := j.Wrap(nil)
		if err != nil {
			t.Fatal(err)
		}
		if again, found := lease.JoinFrom(message); !found || again != j {
			t.Fatalf("%+v is written and read as %+v, %t", j, again, found)
		}
	})
}
