package launch

import (
	"encoding/base64"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"lapse/lease"
)

// maxUserData is how many bytes of user-data EC2 takes, before they are encoded.
//
// Source: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-add-user-data.html
const maxUserData = 16 * 1024

// plainUserData is user-data before it was encoded, and whether it had been. It had if it is base64, of any alphabet and
// with or without its padding, of a text or of something compressed: sixteen letters that happen to be both are rarer than
// an encoder.
func plainUserData(given string) (string, bool) {
	const least = 16
	packed := strings.TrimRight(strings.Join(strings.Fields(given), ""), "=")
	if len(packed) < least-2 { // without the padding
		return given, false
	}
	for _, alphabet := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		if raw, err := alphabet.Strict().DecodeString(packed); err == nil && (lease.CompressedWith(raw) != "" || isText(raw)) {
			return string(raw), true
		}
	}
	return given, false
}

// isText accepts UTF-8 without control characters, except those that scripts print for colours.
func isText(data []byte) bool {
	const escape = '\x1b'
	return utf8.Valid(data) && !strings.ContainsFunc(string(data), func(r rune) bool {
		return unicode.IsControl(r) && !unicode.IsSpace(r) && r != escape
	})
}

// checkUserData refuses what EC2 would.
func checkUserData(data string) error {
	if n := len(data); n > maxUserData {
		return &RequestError{Field: "UserData", Why: fmt.Sprintf(
			"has %d bytes, but EC2 allows %d; compress it with gzip, or have it download the rest", n, maxUserData)}
	}
	return nil
}
