package sim

import (
	"encoding/json"
	"strings"
	"time"
)

// The checker's own reading of the registry's JSON: no more than it judges by.

type leaseRecord struct {
	State       string    `json:"state"`
	Cause       string    `json:"cause"`
	Launch      string    `json:"launch"`
	ClientToken string    `json:"client_token"`
	KeyName     string    `json:"key_name"`
	ExpiresAt   time.Time `json:"expires_at"`
	// ExpiresNumber counts these dates.
	ExpiresNumber int64     `json:"expires_number"`
	CuredAt       time.Time `json:"cured_at"`
	Timeout       string    `json:"heartbeat_timeout"`
	Tries         int       `json:"tries"`
	Changes       int64     `json:"changes"`
	Stuck         string    `json:"stuck"`
	MaxExpiresAt  time.Time `json:"max_expires_at"`
	SelfExtend    *string   `json:"self_extend"`
	ContestedAt   time.Time `json:"contested_at"`
	VouchedAt     time.Time `json:"vouched_at"`
	Mark          *struct {
		Cause string    `json:"cause"`
		Since time.Time `json:"since"`
	} `json:"mark"`
	NextRelease json.RawMessage `json:"next_release"`
}

func (l *leaseRecord) timeout() time.Duration {
	d, _ := time.ParseDuration(l.Timeout)
	return d
}

// until is the term, or what stands for none.
func (l *leaseRecord) until() time.Time {
	if l.ExpiresAt.IsZero() {
		return never()
	}
	return l.ExpiresAt
}

// never is later than any term.
func never() time.Time { return time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC) }

func (l *leaseRecord) live() bool { return l != nil && (l.State == "active" || l.State == "adopting") }

// raisedTo reports whether all that a change did was to move the date of an active lease on.
func (l *leaseRecord) raisedTo(after *leaseRecord) bool {
	return l != nil && after != nil && l.State == "active" && after.State == "active" &&
		after.ExpiresNumber > l.ExpiresNumber && !after.until().Before(l.until()) && (after.Mark == nil || l.Mark != nil)
}

func inferred(cause string) bool { return cause == "heartbeat-lost" || cause == "no-heartbeat" }

type enrolmentRecord struct {
	Keys []struct {
		SHA256 string `json:"sha256"`
	} `json:"keys"`
	InUse     string    `json:"in_use"`
	Contested time.Time `json:"contested"`
}

type heartbeatRecord struct {
	Changes int64  `json:"changes"`
	Timeout string `json:"heartbeat_timeout"`
}

type launchRecord struct {
	Token    string               `json:"token"`
	State    string               `json:"state"`
	Count    int                  `json:"count"`
	Created  time.Time            `json:"created_at"`
	Looks    map[string]time.Time `json:"first_seen"`
	Removals map[string]time.Time `json:"removals"`
	Attempts []struct {
		ClientToken string    `json:"client_token"`
		Sends       int       `json:"sends"`
		LastSend    time.Time `json:"last_send"`
		Outcome     string    `json:"outcome"`
	} `json:"attempts"`
}

type registryRecord struct {
	Mode    string `json:"mode"`
	Resumed []struct {
		Name  string `json:"name"`
		Scope string `json:"scope"`
	} `json:"resumed"`
}

type checkpointRecord struct {
	Sequence  int64     `json:"sequence"`
	Time      time.Time `json:"time"`
	NextSweep time.Time `json:"next_sweep"`
	Leader    string    `json:"leader"`
	Brakes    []struct {
		Name  string `json:"name"`
		Scope string `json:"scope"`
	} `json:"brakes"`
}

// read parses a record; nil if there is none. One that is no JSON is a finding of its own.
func read[R any](value []byte) (*R, error) {
	if value == nil {
		return nil, nil
	}
	r := new(R)
	return r, json.Unmarshal(value, r)
}

// location in the registry: which kind of record a key is, and whose.
func location(key string) (kind, name string) {
	rest, _ := strings.CutPrefix(key, "/lapse/"+namespace+"/")
	kind, name, _ = strings.Cut(rest, "/")
	return kind, name
}
