package lease

import (
	"fmt"
	"strings"
	"time"
)

// Bounds of what may be asked for.
const (
	MinTTL       = 5 * time.Second
	MaxTTL       = time.Hour
	MaxTokenSize = 60   // leaves room for ".<attempt>" within EC2's 64 characters of a client token
	MaxCount     = 1000 // instances in one launch; EC2 takes no more in one call
)

// DefaultTTL is the TTL of the heartbeat of a sidecar that does not know its lease yet.
const DefaultTTL = 2 * time.Minute

// MaxSkew is how far our clock may be from EC2's before nothing is ended by date.
const MaxSkew = 10 * time.Second

// CheckToken refuses a launch token that EC2 or the command line could mistake for something else.
func CheckToken(token string) error {
	const allowed = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-"
	if token == "" || len(token) > MaxTokenSize || strings.Trim(token, allowed) != "" {
		return &LimitError{What: "launch token " + fmt.Sprintf("%q", token), Why: "must be 1 to 60 of the characters A-Z a-z 0-9 and -"}
	}
	if strings.HasPrefix(token, "i-") {
		return &LimitError{What: "launch token " + fmt.Sprintf("%q", token), Why: "must not start with i-, as instance ids do"}
	}
	return nil
}

// CheckTTL refuses a TTL outside 5 s to 1 h. Zero means that no renewal is asked for.
func CheckTTL(ttl time.Duration) error {
	if ttl != 0 && (ttl < MinTTL || ttl > MaxTTL) {
		return &LimitError{What: "ttl " + ttl.String(), Why: fmt.Sprintf("must be between %s and %s", MinTTL, MaxTTL)}
	}
	return nil
}

// CheckCount refuses a count that one launch cannot have.
func CheckCount(n int) error {
	if n < 1 || n > MaxCount {
		return &LimitError{What: fmt.Sprintf("count %d", n), Why: fmt.Sprintf("must be between 1 and %d", MaxCount)}
	}
	return nil
}

// IsInstanceID reports whether id has the form of an instance id rather than of a launch token.
func IsInstanceID(id string) bool { return strings.HasPrefix(id, "i-") }

// TokenTime is the date in a generated token, which is a UUID of version 7 (RFC 9562 §5.7): milliseconds since 1970 in
// its first 48 bits. It reports false for a token that somebody chose.
func TokenTime(token string) (time.Time, bool) {
	var ms int64
	var rest string
	hex := strings.ReplaceAll(token, "-", "")
	if len(token) != 36 || len(hex) != 32 || hex[12] != '7' {
		return time.Time{}, false
	}
	if n, err := fmt.Sscanf(hex[:13], "%12x%1s", &ms, &rest); n != 2 || err != nil {
		return time.Time{}, false
	}
	return time.UnixMilli(ms).UTC(), true
}
