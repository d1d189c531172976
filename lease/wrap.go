package lease

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// WrapError refuses user-data beside which a join token cannot be put: cloud-init, or whatever reads it, would treat it
// otherwise than alone.
type WrapError struct {
	Form string // what it is: "compressed with gzip"
}

func (e *WrapError) Error() string {
	return "user-data is " + e.Form + ", so no join token fits beside it"
}

// nothing is what stands in for user-data where there is none. cloud-init warns of a message without parts, and of a part that
// is empty or of a type that it does not know.
const nothing = "#cloud-config\n{}\n"

// Wrap puts the join beside user-data: into the header of a MIME message whose only part is the user-data, byte for byte. cloud-init
// treats the part as it treats the user-data alone, and skips headers that it does not know. The same join and user-data make the
// same bytes. Blank user-data is none.
//
// Errors: [WrapError], and [LimitError] for the join.
//
// Source: https://cloudinit.readthedocs.io/en/latest/explanation/format.html and cloudinit/user_data.py
func (j Join) Wrap(userData []byte) ([]byte, error) {
	if err := j.check(); err != nil {
		return nil, err
	}
	if len(bytes.TrimSpace(userData)) == 0 {
		userData = []byte(nothing)
	}
	kind, err := partType(userData)
	if err != nil {
		return nil, err
	}
	charset, encoding, body := "us-ascii", "7bit", userData
	if !isPlainASCII(userData) {
		charset, encoding, body = "utf-8", "base64", inLines(userData)
	}
	boundary := boundaryFor(body)
	var m bytes.Buffer
	fmt.Fprintf(&m, "Content-Type: multipart/mixed; boundary=\"%s\"\nMIME-Version: 1.0\n", boundary)
	fmt.Fprintf(&m, "%s: %s %s %s\n\n", joinHeader, joinVersion, j.Token, j.API)
	fmt.Fprintf(&m, "--%s\nContent-Type: %s; charset=\"%s\"\nMIME-Version: 1.0\nContent-Transfer-Encoding: %s\n\n", boundary, kind, charset, encoding)
	m.Write(body)
	fmt.Fprintf(&m, "\n--%s--\n", boundary) // the line break before a boundary is the boundary's
	return m.Bytes(), nil
}

// isPlainASCII reports whether a part can be written as it is. cloud-init reads the message as text: it loses letters that are not
// ASCII, unless they are encoded, and may take other line breaks for its own.
func isPlainASCII(data []byte) bool {
	return !bytes.ContainsFunc(data, func(r rune) bool { return r != '\t' && r != '\n' && (r < ' ' || r > '~') })
}

// inLines is base64 as MIME has it.
//
// Source: RFC 2045, section 6.8
func inLines(data []byte) []byte {
	const longest = 76
	encoded := []byte(base64.StdEncoding.EncodeToString(data))
	return bytes.Join(slices.Collect(slices.Chunk(encoded, longest)), []byte("\n"))
}

// boundaryFor is a boundary that is not in the body, and is always the same for it.
func boundaryFor(body []byte) string {
	for n := 0; ; n++ {
		if boundary := fmt.Sprintf("lapse-%d", n); !bytes.Contains(body, []byte(boundary)) {
			return boundary
		}
	}
}

// partType is the MIME type by which cloud-init treats a part as it treats the same user-data alone.
//
// Errors: [WrapError].
func partType(data []byte) (string, error) {
	switch packed := CompressedWith(data); {
	case packed != "":
		return "", &WrapError{Form: "compressed with " + packed}
	case !utf8.Valid(data) || bytes.IndexByte(data, 0) >= 0:
		return "", &WrapError{Form: "not UTF-8 text"}
	}
	head := asciiLower(strings.TrimLeft(string(data), " \t\n\v\f\r"))
	for _, known := range beginnings() {
		if strings.HasPrefix(head, known.with) {
			return known.kind, nil
		}
	}
	return "", &WrapError{Form: unknownForm(data, head)}
}

// asciiLower is text in lower case, where that is ASCII.
func asciiLower(text string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, text)
}

type beginning struct{ with, kind string }

// beginnings are how the text begins that cloud-init knows, whatever the case, after white space; those that begin others last.
//
// Source: cloudinit/handlers/__init__.py (INCLUSION_TYPES_MAP, type_from_starts_with)
func beginnings() []beginning {
	return []beginning{
		{"#cloud-config-archive", "text/cloud-config-archive"},
		{"#cloud-config-jsonp", "text/cloud-config-jsonp"},
		{"## template: jinja", "text/jinja2"},
		{"#cloud-boothook", "text/cloud-boothook"},
		{"#include-once", "text/x-include-once-url"},
		{"#part-handler", "text/part-handler"},
		{"#cloud-config", "text/cloud-config"},
		{"#include", "text/x-include-url"},
		{"#!", "text/x-shellscript"},
	}
}

// unknownForm says what text is that cloud-init does not know by its beginning.
func unknownForm(data []byte, head string) string {
	var ignition struct {
		Ignition json.RawMessage `json:"ignition"`
	}
	const seen = 4096 // of it, cloud-init looks for a MIME message
	line, _, _ := strings.Cut(string(data), "\n")
	name, _, named := strings.Cut(line, ":")
	switch {
	case regexp.MustCompile(`^<(powershell|script|persist|runaslocalsystem|detach|version)`).MatchString(head):
		return "a script for Windows"
	case json.Unmarshal(data, &ignition) == nil && ignition.Ignition != nil:
		return "an Ignition configuration"
	case named && isFieldName(name) && strings.Contains(asciiLower(string(data[:min(len(data), seen)])), "mime-version:"):
		return "a MIME message already"
	}
	return "in no form that cloud-init knows by its first line"
}

// CompressedWith names the program that compressed the data; empty if none did that is known.
func CompressedWith(data []byte) string {
	for _, c := range []struct{ magic, program string }{
		{"\x1f\x8b\x08", "gzip"}, {"PK\x03\x04", "zip"}, {"\xfd7zXZ\x00", "xz"}, {"\x28\xb5\x2f\xfd", "zstd"}, {"BZh91AY&SY", "bzip2"},
	} {
		if bytes.HasPrefix(data, []byte(c.magic)) {
			return c.program
		}
	}
	return ""
}
