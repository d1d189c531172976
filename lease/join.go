package lease

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Join is what an instance needs to enrol with the API. It reaches the instance in a header of its user-data: see [Join.Wrap].
type Join struct {
	Token string // join token of the attempt that launched the instance
	API   string // URL of the API: see [CheckAPI]
}

// joinTokenSize is how many random bytes a join token stands for.
const joinTokenSize = 32

// NewJoinToken makes the join token of one attempt: 32 random bytes, in base64url without padding. random is crypto/rand's if nil.
func NewJoinToken(random io.Reader) (string, error) {
	if random == nil {
		random = rand.Reader
	}
	token := make([]byte, joinTokenSize)
	if _, err := io.ReadFull(random, token); err != nil {
		return "", fmt.Errorf("make a join token: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(token), nil
}

// maxAPI is how many bytes the URL of the API has at most: it has one line of the user-data with the token.
const maxAPI = 255

// SchemeSRV is the scheme of a URL of the API whose host is found through DNS SRV.
const SchemeSRV = "https+srv"

// CheckAPI refuses a URL of the API other than https://HOST, https://HOST:PORT and https+srv://NAME. The last is for the hosts and
// ports of the SRV records _lapse._tcp.NAME; their certificates are for NAME all the same, so that nobody need trust DNS. The paths
// below a URL are the API's own.
//
// Errors: [LimitError].
func CheckAPI(api string) error {
	refuse := func(why string) error { return &LimitError{What: "API URL " + strconv.Quote(api), Why: why} }
	if len(api) > maxAPI {
		return &LimitError{What: fmt.Sprintf("API URL of %d bytes", len(api)), Why: fmt.Sprintf("must have at most %d bytes", maxAPI)}
	}
	if name, srv := strings.CutPrefix(api, SchemeSRV+"://"); srv {
		if _, err := netip.ParseAddr(name); err == nil || !isHost(name) {
			return refuse("must be https+srv://NAME, with neither port nor path")
		}
		return nil
	}
	u, err := url.Parse(api)
	if err != nil || api != "https://"+u.Host || !isHost(u.Hostname()) || strings.HasSuffix(u.Host, ":") {
		return refuse("must be https://HOST, https://HOST:PORT or https+srv://NAME")
	}
	if n, err := strconv.ParseUint(u.Port(), 10, 16); u.Port() != "" && (err != nil || n == 0) {
		return refuse("must have a port between 1 and 65535")
	}
	return nil
}

// isHost accepts a name as DNS has it, and an address without a zone, which would mean something else on another machine.
func isHost(host string) bool {
	if address, err := netip.ParseAddr(host); err == nil {
		return address.Zone() == ""
	}
	return regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$`).MatchString(host)
}

// check refuses what no header could carry.
func (j Join) check() error {
	token, err := base64.RawURLEncoding.Strict().DecodeString(j.Token)
	if err != nil || len(token) != joinTokenSize || strings.ContainsAny(j.Token, "\r\n") { // which the decoder skips
		return errors.New("the join token is malformed")
	}
	return CheckAPI(j.API)
}

// WithJoinToken returns a copy whose last attempt has this join token. Write the result before that is sent.
func (l Launch) WithJoinToken(token string) Launch {
	return l.withLast(func(a *Attempt) { a.JoinToken, a.JoinTokenSHA256 = token, "" })
}

// Admits reports whether token is the join token of the attempt. An attempt that has none admits nothing.
func (a Attempt) Admits(token string) bool {
	given := sha256.Sum256([]byte(token))
	want, err := hex.DecodeString(a.joinDigest())
	return err == nil && subtle.ConstantTimeCompare(given[:], want) == 1
}

// joinDigest is the SHA-256 of its join token, in hex; empty if it has none.
func (a Attempt) joinDigest() string {
	if a.JoinToken == "" {
		return a.JoinTokenSHA256
	}
	return HashToken(a.JoinToken)
}

// WithoutSecrets is a launch that has of its user-data and its join tokens the SHA-256 alone: for people and programs to read, and
// for the records of launches that are never sent again.
func (l Launch) WithoutSecrets() Launch {
	l.Request, l.Attempts = WithoutUserData(l.Request), slices.Clone(l.Attempts)
	for n := range l.Attempts {
		a := &l.Attempts[n]
		a.JoinToken, a.JoinTokenSHA256 = "", a.joinDigest()
	}
	return l
}

// joinHeader is the header of user-data that carries a [Join]: "X-Lapse-Join: v1 TOKEN URL".
const (
	joinHeader  = "X-Lapse-Join"
	joinVersion = "v1"
)

// maxJoinScan bounds what [JoinFrom] reads: all that EC2 takes as user-data, and some more.
const maxJoinScan = 17 * 1024

// JoinFrom reads what [Join.Wrap] wrote, from user-data as the instance sees it. It looks at the header of the message alone, and
// not into parts, which are the user's. False means that there is nothing, or nothing that this version understands.
func JoinFrom(userData []byte) (Join, bool) {
	if len(userData) > maxJoinScan {
		return Join{}, false
	}
	var found []string
	ours := false // the line before is of our header
	for line := range bytes.SplitSeq(userData, []byte("\n")) {
		text := strings.TrimSuffix(string(line), "\r")
		name, value, named := strings.Cut(text, ":")
		switch folded := strings.HasPrefix(text, " ") || strings.HasPrefix(text, "\t"); {
		case text == "":
			return readJoin(found)
		case folded && ours:
			return Join{}, false // never written so
		case folded:
			continue
		case !named || !isFieldName(name):
			return Join{}, false // no message
		}
		if ours = strings.EqualFold(name, joinHeader); ours {
			found = append(found, value)
		}
	}
	return Join{}, false // its header does not end
}

// readJoin reads the values of all our headers: of two that differ, one is not of the launcher.
func readJoin(values []string) (Join, bool) {
	if len(values) != 1 {
		return Join{}, false
	}
	fields := strings.Fields(values[0])
	if len(fields) != 3 || fields[0] != joinVersion {
		return Join{}, false
	}
	j := Join{Token: fields[1], API: fields[2]}
	if j.check() != nil {
		return Join{}, false
	}
	return j, true
}

// isFieldName accepts the names of header fields.
//
// Source: RFC 5322, section 2.2
func isFieldName(name string) bool {
	return name != "" && !strings.ContainsFunc(name, func(r rune) bool { return r < '!' || r > '~' })
}

// Joins reports whether the attempt's instances were given a join token.
func (a Attempt) Joins() bool { return a.JoinToken != "" || a.JoinTokenSHA256 != "" }
