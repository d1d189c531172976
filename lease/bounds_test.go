package lease_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"lapse/lease"
)

// Whatever is counted is bounded when it is read: a number at the end of what fits would overflow at the next change.
func TestANumberTooLargeToIncrementIsMalformed(t *testing.T) {
	t.Parallel()
	heartbeat := func(field string) string { return `{"schema":3,"instance_id":"i-1",` + field + `}` }
	one := func(field string) string {
		if !strings.Contains(field, "expires_number") {
			field += `,"expires_number":7`
		}
		return `{"schema":3,"instance_id":"i-1","state":"active",` + field + `}`
	}
	for _, c := range []struct {
		decode func([]byte) error
		data   string
		sound  bool
	}{
		{decodeError[lease.Heartbeat], heartbeat(`"changes":9223372036854775807`), false},
		{decodeError[lease.Heartbeat], heartbeat(`"changes":1000000000001`), false},
		{decodeError[lease.Heartbeat], heartbeat(`"changes":1000000000000`), true},
		{decodeError[lease.Heartbeat], heartbeat(`"changes":-1`), false},
		{decodeError[lease.Heartbeat], heartbeat(`"heartbeat_timeout":"1h0m0.000000001s"`), false},
		{decodeError[lease.Heartbeat], heartbeat(`"heartbeat_timeout":"-1ns"`), false},
		{decodeError[lease.Heartbeat], heartbeat(`"heartbeat_timeout":"1h0m0s"`), true},
		{decodeError[lease.Heartbeat], heartbeat(`"boot_id":"` + strings.Repeat("x", 257) + `"`), false},
		{decodeError[lease.Heartbeat], heartbeat(`"address":"` + strings.Repeat("x", 256) + `"`), true},
		{decodeError[lease.Lease], one(`"changes":9223372036854775807`), false},
		{decodeError[lease.Lease], one(`"changes":-1`), false},
		{decodeError[lease.Lease], one(`"changes":9007199254740991`), true},
		{decodeError[lease.Lease], one(`"expires_number":0`), false},
		{decodeError[lease.Lease], one(`"expires_number":-7`), false},
		{decodeError[lease.Lease], one(`"expires_number":1000000001`), false},
		{decodeError[lease.Lease], one(`"expires_number":1000000000`), true},
		{decodeError[lease.Lease], one(`"changes":1`), true},
		{decodeError[lease.Lease], one(`"shortened_at":8`), false},
		{decodeError[lease.Lease], one(`"shortened_at":7`), true},
		{decodeError[lease.Lease], one(`"tag_number":999000001`), false},
		{decodeError[lease.Lease], one(`"tries":9223372036854775807`), false},
		{decodeError[lease.Checkpoint], `{"schema":3,"sequence":9223372036854775807}`, false},
	} {
		err := c.decode([]byte(c.data))
		var malformed *lease.MalformedError
		if sound := err == nil; sound != c.sound || !sound && (!errors.As(err, &malformed) || strings.Contains(err.Error(), "\n")) {
			t.Errorf("%.80s: %v", c.data, err)
		}
	}
}

func TestNoCounterOverflows(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ from, field string }{
		"changes": {`{"schema":3,"instance_id":"i-1","state":"revoked","expires_number":1,"changes":%d}`, `"changes":%d,`},
		"tries":   {`{"schema":3,"instance_id":"i-1","state":"revoked","expires_number":1,"tries":%d}`, `"tries":%d,`},
	} {
		last := map[string]int{"changes": 1<<53 - 1, "tries": 1_000_000_000}[name]
		l := must(lease.Decode[lease.Lease]("lease", "i-1", fmt.Appendf(nil, c.from, last)))
		l = must(must(l.StuckBecause(noon, lease.KeptStuck, "", "protected", jan)).Try(noon))
		if written := text(t, l); !strings.Contains(written, fmt.Sprintf(c.field, last)) {
			t.Errorf("after the last of %s: %s", name, written)
		}
	}
	i := lost()
	s := emptied(func(s *lease.Snapshot) {
		s.Heartbeats = map[string]lease.Heartbeat{i.ID: {InstanceID: i.ID, Changes: lease.MaxHeartbeatChanges}}
	})
	l := must(lease.NewRecovery(s, lease.RecoveryTerms{}).Lease(noon, i, ada))
	if _, err := lease.Decode[lease.Lease]("lease", i.ID, []byte(text(t, must(l.Unmark(noon, ada))))); err != nil {
		t.Errorf("recovered where a sidecar says the most: %v", err)
	}
}
