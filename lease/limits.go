package lease

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
	"time"
)

// Bounds of what may be asked for.
const (
	MinHeartbeatTimeout = 5 * time.Second
	MaxHeartbeatTimeout = time.Hour
	MaxTokenSize        = 60   // leaves room for ".<attempt>" within EC2's 64 characters of a client token
	MaxCount            = 1000 // instances in one launch; EC2 takes no more in one call
	MaxReason           = 200  // bytes: a reason is kept in the lease's history
)

// Bounds of labels, which are those of EC2's tags, but in bytes.
//
// Source: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/Using_Tags.html#tag-restrictions
const (
	maxLabels     = 50
	maxLabelKey   = 128
	maxLabelValue = 256
)

// Bounds of what is counted, so that no counter ever overflows and no record can be made to say more.
const (
	maxChanges = 1<<53 - 1 // what every program that reads JSON can tell apart
	maxTries   = 1_000_000_000
	// MaxHeartbeatChanges is the highest change counter that a heartbeat may say its sidecar has seen. It is lower than a
	// record's may be, so that a record which somebody raises to it can be changed after that.
	MaxHeartbeatChanges = 1_000_000_000_000
	maxHeartbeatText    = 256 // bytes of each text in a heartbeat, which an instance writes
)

// DefaultHeartbeatTimeout is the timeout of the heartbeat of a sidecar that does not know its lease yet.
const DefaultHeartbeatTimeout = 2 * time.Minute

// MaxSkew is how far our clock may be from EC2's before nothing is terminated by date.
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

// CheckHeartbeatTimeout refuses a timeout outside 5 s to 1 h. Zero means that no renewal is asked for.
func CheckHeartbeatTimeout(timeout time.Duration) error {
	if timeout != 0 && (timeout < MinHeartbeatTimeout || timeout > MaxHeartbeatTimeout) {
		return &LimitError{What: "heartbeat timeout " + timeout.String(), Why: fmt.Sprintf("must be between %s and %s", MinHeartbeatTimeout, MaxHeartbeatTimeout)}
	}
	return nil
}

// CheckReason refuses a reason that is too long for a history.
func CheckReason(reason string) error {
	if len(reason) > MaxReason {
		return &LimitError{What: fmt.Sprintf("reason of %d bytes", len(reason)), Why: fmt.Sprintf("must have at most %d bytes", MaxReason)}
	}
	return nil
}

// CheckLabels refuses labels that are too many or too long.
func CheckLabels(labels map[string]string) error {
	if len(labels) > maxLabels {
		return &LimitError{What: fmt.Sprintf("%d labels", len(labels)), Why: fmt.Sprintf("must be at most %d", maxLabels)}
	}
	for key, value := range labels {
		if len(key) > maxLabelKey || len(value) > maxLabelValue {
			return &LimitError{
				What: fmt.Sprintf("label %.40q", key+"="+value), Why: fmt.Sprintf("must have at most %d bytes before the = and %d after it", maxLabelKey, maxLabelValue),
			}
		}
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

// CheckDate refuses a date that no record can hold: RFC 3339 has four digits for the year, and keeps them in UTC.
func CheckDate(t time.Time) error {
	if year := t.UTC().Year(); year < 0 || year > 9999 {
		return &LimitError{What: fmt.Sprintf("date in the year %d", year), Why: "must be within the years 0 to 9999"}
	}
	return nil
}

// IsInstanceID reports whether id has the form of an instance id rather than of a launch token.
func IsInstanceID(id string) bool { return strings.HasPrefix(id, "i-") }

// TokenTime is the date in a generated token, which is a UUID of version 7 (RFC 9562 §5.7): milliseconds since 1970 in
// its first 48 bits. It reports false for a token that somebody chose, however much it looks like one: a launch is
// refused by this date. It can still be one that was chosen, and lie ahead.
func TokenTime(token string) (time.Time, bool) {
	parts := strings.Split(token, "-")
	raw, err := hex.DecodeString(strings.Join(parts, ""))
	if err != nil || len(parts) != 5 || len(raw) != 16 {
		return time.Time{}, false
	}
	for i, size := range [5]int{8, 4, 4, 4, 12} {
		if len(parts[i]) != size {
			return time.Time{}, false
		}
	}
	if version, variant := raw[6]>>4, raw[8]>>6; version != 7 || variant != 0b10 {
		return time.Time{}, false
	}
	ms := binary.BigEndian.Uint64(raw) >> 16 // 48 bits
	made := time.UnixMilli(int64(ms)).UTC()
	return made, CheckDate(made) == nil
}
