package lease_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/mail"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"lapse/lease"
)

const api = "https://lapse.example.com:8443"

// joinOf is a join whose token is of one repeated byte.
func joinOf(b byte) lease.Join {
	return lease.Join{Token: base64.RawURLEncoding.EncodeToString(bytes.Repeat([]byte{b}, 32)), API: api}
}

// onlyPart reads the one part of a message, as a program does that knows MIME and not Lapse.
func onlyPart(message []byte) (kind string, content []byte, err error) {
	m, err := mail.ReadMessage(bytes.NewReader(message))
	if err != nil {
		return "", nil, err
	}
	outer, parameters, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil || outer != "multipart/mixed" || m.Header.Get("MIME-Version") != "1.0" {
		return "", nil, errors.Join(err, errors.New("no multipart message"))
	}
	parts := multipart.NewReader(m.Body, parameters["boundary"])
	part, err := parts.NextRawPart()
	if err != nil {
		return "", nil, err
	}
	if content, err = io.ReadAll(part); err != nil {
		return "", nil, err
	}
	if part.Header.Get("Content-Transfer-Encoding") == "base64" {
		if content, err = base64.StdEncoding.DecodeString(strings.ReplaceAll(string(content), "\n", "")); err != nil {
			return "", nil, err
		}
	}
	if _, err := parts.NextRawPart(); !errors.Is(err, io.EOF) {
		return "", nil, errors.New("more than one part")
	}
	kind, _, err = mime.ParseMediaType(part.Header.Get("Content-Type"))
	return kind, content, err
}

// sample is user-data that is wrapped, and the type of the part that it becomes.
type sample struct{ userData, kind string }

func samples() map[string]sample {
	const script, config = "text/x-shellscript", "text/cloud-config"
	return map[string]sample{
		"script":                     {"#!/bin/sh\necho hello\n", script},
		"script without a last line": {"#!/bin/sh\necho hello", script},
		"script with blank lines":    {"\n#!/bin/sh\n\n \t\n\n", script},
		"script in Python":           {"#!/usr/bin/env python3\nprint('x')\n", script},
		"script of Windows lines":    {"#!/bin/sh\r\necho hello\r\n", script},
		"script that ends in CR":     {"#!/bin/sh\necho hello\r", script},
		"script in another language": {"#!/bin/bash\necho 'grüße, 你好, €'\n", script},
		"script with colours":        {"#!/bin/sh\necho '\x1b[1m\f\x7f'\n", script},
		"script with a long line":    {"#!/bin/sh\n#" + strings.Repeat("x", 5000) + "\n", script},
		"script with boundaries":     {"#!/bin/sh\n--lapse-0\n--lapse-1--\nlapse-2\n", script},
		"script that sends mail":     {"#!/bin/sh\nmail <<E\nMIME-Version: 1.0\nX-Lapse-Join: v1 a b\n\nhello\nE\n", script},
		"cloud-config":               {"#cloud-config\nruncmd:\n- echo hi\n", config},
		"cloud-config in capitals":   {" \r\n#Cloud-Config\nruncmd: [a]\n", config},
		"cloud-config of documents":  {"#cloud-config\n---\nruncmd: ['ü']\n...\n", config},
		"jinja template":             {"## template: jinja\n#cloud-config\nruncmd:\n- echo {{ v1.region }}\n", "text/jinja2"},
		"boothook":                   {"#cloud-boothook\n#!/bin/sh\nexit 0\n", "text/cloud-boothook"},
		"part handler": {
			"#part-handler\ndef list_types():\n  return ['text/x']\ndef handle_part(data, ctype, filename, payload):\n  pass\n", "text/part-handler",
		},
		"JSON patch":   {"#cloud-config-jsonp\n[{\"op\": \"add\", \"path\": \"/a\", \"value\": 1}]\n", "text/cloud-config-jsonp"},
		"archive":      {"#cloud-config-archive\n- type: text/cloud-config\n  content: |\n    runcmd: [a]\n- |\n  #!/bin/sh\n", "text/cloud-config-archive"},
		"include":      {"#include\n# of nothing\n", "text/x-include-url"},
		"include once": {"#include-once\n# of nothing\n", "text/x-include-once-url"},
	}
}

func TestUserDataIsTheOnlyPartOfTheMessageByteForByte(t *testing.T) {
	t.Parallel()
	for name, c := range samples() {
		message, err := joinOf(1).Wrap([]byte(c.userData))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		kind, content, err := onlyPart(message)
		if err != nil || kind != c.kind || string(content) != c.userData {
			t.Errorf("%s: %q of type %s (%v)", name, content, kind, err)
		}
		if got, found := lease.JoinFrom(message); !found || got != joinOf(1) {
			t.Errorf("%s: %+v, %t", name, got, found)
		}
	}
}

// The format is a contract with other programs: deploy/contract.md has it.
func TestTheMessageIsAsTheContractSays(t *testing.T) {
	t.Parallel()
	for userData, part := range map[string]string{
		"#!/bin/sh\n": "Content-Type: text/x-shellscript; charset=\"us-ascii\"\nMIME-Version: 1.0\nContent-Transfer-Encoding: 7bit\n\n#!/bin/sh\n",
		"#!/bin/ü\n":  "Content-Type: text/x-shellscript; charset=\"utf-8\"\nMIME-Version: 1.0\nContent-Transfer-Encoding: base64\n\nIyEvYmluL8O8Cg==",
		"":            "Content-Type: text/cloud-config; charset=\"us-ascii\"\nMIME-Version: 1.0\nContent-Transfer-Encoding: 7bit\n\n#cloud-config\n{}\n",
		" \n":         "Content-Type: text/cloud-config; charset=\"us-ascii\"\nMIME-Version: 1.0\nContent-Transfer-Encoding: 7bit\n\n#cloud-config\n{}\n",
	} {
		message := must(joinOf(0).Wrap([]byte(userData)))
		want := "Content-Type: multipart/mixed; boundary=\"lapse-0\"\nMIME-Version: 1.0\n" +
			"X-Lapse-Join: v1 AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA https://lapse.example.com:8443\n\n" +
			"--lapse-0\n" + part + "\n--lapse-0--\n"
		if string(message) != want {
			t.Errorf("%q is wrapped as\n%s\nwant\n%s", userData, message, want)
		}
	}
}

func TestUserDataThatCannotBeAPartIsRefused(t *testing.T) {
	t.Parallel()
	for userData, form := range map[string]string{
		"\x1f\x8b\x08\x00":                "compressed with gzip",
		"PK\x03\x04":                      "compressed with zip",
		"\xfd7zXZ\x00":                    "compressed with xz",
		"\x28\xb5\x2f\xfd":                "compressed with zstd",
		"BZh91AY&SY":                      "compressed with bzip2",
		"#!/bin/sh\n\xff\xfe":             "not UTF-8 text",
		"#!/bin/sh\n\x00":                 "not UTF-8 text",
		"<powershell>\nls\n</powershell>": "a script for Windows",
		"\r\n<Script>\r\n":                "a script for Windows",
		"<persist>true</persist>":         "a script for Windows",
		`{"ignition": {"version": "3"}}`:  "an Ignition configuration",
		"Content-Type: multipart/mixed; boundary=x\nmime-version: 1.0\n\n--x\n\n#!/bin/sh\n--x--\n": "a MIME message already",
		"MIME-Version: 1.0\nContent-Type: text/x-shellscript\n\n#!/bin/sh\n":                        "a MIME message already",
		"[settings.kubernetes]\n":   "in no form that cloud-init knows by its first line",
		"name=value\n":              "in no form that cloud-init knows by its first line",
		"Content-Type: text/plain":  "in no form that cloud-init knows by its first line",
		"\xef\xbb\xbf#cloud-config": "in no form that cloud-init knows by its first line",
		"# cloud-config":            "in no form that cloud-init knows by its first line",
		"x\n#!/bin/sh":              "in no form that cloud-init knows by its first line",
	} {
		_, err := joinOf(1).Wrap([]byte(userData))
		if e, is := errors.AsType[*lease.WrapError](err); !is || e.Form != form {
			t.Errorf("%q: %v, want one that is %s", userData, err, form)
		}
	}
}

func TestAJoinThatNoHeaderCarriesIsNotWrapped(t *testing.T) {
	t.Parallel()
	good := joinOf(1)
	for name, j := range map[string]lease.Join{
		"without a token": {API: api}, "without a URL": {Token: good.Token}, "a shorter token": {Token: good.Token[1:], API: api},
		"a token in two lines":      {Token: good.Token[:20] + "\n" + good.Token[20:], API: api},
		"another header in the URL": {Token: good.Token, API: api + "\nX: y"},
	} {
		if message, err := j.Wrap([]byte("#!/bin/sh\n")); err == nil {
			t.Errorf("%s:\n%s", name, message)
		}
	}
}

// TestTwoMessagesDifferInTheTokenAlone: a replay must have the same bytes, and all attempts of a launch have as many.
func TestTwoMessagesDifferInTheTokenAlone(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		body := rapid.SliceOf(rapid.SampledFrom([]string{"a", "\n", "\r", "\t", "--lapse-0", "lapse-1", "ü", "€", "\u2028", "=", "--", "\n\n", "From "}))
		userData := []byte(rapid.SampledFrom([]string{"", "#!/bin/sh\n", "#cloud-config\n", "#include\n"}).Draw(t, "head") + strings.Join(body.Draw(t, "body"), ""))
		one, other := joinOf(byte(rapid.IntRange(0, 127).Draw(t, "one"))), joinOf(byte(rapid.IntRange(128, 255).Draw(t, "other")))
		first, err := one.Wrap(userData)
		if err != nil {
			t.Skip("no form that is wrapped")
		}
		if again := must(one.Wrap(userData)); !bytes.Equal(first, again) {
			t.Fatalf("%q, and then %q", first, again)
		}
		second := must(other.Wrap(userData))
		if got := bytes.ReplaceAll(second, []byte(other.Token), []byte(one.Token)); !bytes.Equal(got, first) || bytes.Equal(first, second) {
			t.Fatalf("%q and %q", first, second)
		}
		if _, content, err := onlyPart(first); err != nil || len(bytes.TrimSpace(userData)) > 0 && !bytes.Equal(content, userData) {
			t.Fatalf("%q became %q (%v)", userData, content, err)
		}
	})
}

// FuzzWrap: any user-data is refused for what it is, or is the only part of a message, and the join is found in its header.
func FuzzWrap(f *testing.F) {
	for _, c := range samples() {
		f.Add([]byte(c.userData))
	}
	f.Fuzz(func(t *testing.T, userData []byte) {
		message, err := joinOf(7).Wrap(userData)
		if err != nil {
			if _, is := errors.AsType[*lease.WrapError](err); !is {
				t.Fatalf("%T: %v", err, err)
			}
			return
		}
		_, content, err := onlyPart(message)
		if err != nil || len(bytes.TrimSpace(userData)) > 0 && !bytes.Equal(content, userData) {
			t.Fatalf("%q became %q (%v)", userData, content, err)
		}
		if got, found := lease.JoinFrom(message); (!found || got != joinOf(7)) && len(message) <= 16*1024 {
			t.Fatalf("found %+v, %t", got, found)
		}
	})
}
