package lease_test

import (
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"lapse/lease"
)

func checkLimit(t *testing.T, input string, err error, ok bool) {
	t.Helper()
	var limit *lease.LimitError
	if ok && err != nil || !ok && !errors.As(err, &limit) {
		t.Errorf("%s: %v", input, err)
	}
}

func TestLaunchTokens(t *testing.T) {
	t.Parallel()
	for token, ok := range map[string]bool{
		"a": true, "Z": true, "0": true, "9": true, "-": true, "-i": true, "i": true, "I-1": true, "ai-1": true,
		"nightly-build-42":                     true,
		"01932b3c-6f0a-7c3e-9d2f-0123456789ab": true,
		strings.Repeat("a", 60):                true,
		strings.Repeat("a", 61):                false,
		"":                                     false,
		"i-":                                   false,
		"i-0123456789abcdef0":                  false,
		"a b":                                  false, " a": false, "a\n": false, "a\tb": false, "a\x00b": false,
		"a.1": false, "a/b": false, "a_b": false, "a:b": false, "a%b": false, "ä": false, "a\xff": false, "١": false,
	} {
		checkLimit(t, token, lease.CheckToken(token), ok)
	}
}

func TestEveryAllowedTokenLeavesRoomForEC2sClientToken(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		token := rapid.StringMatching(`[A-Za-z0-9-]{1,60}`).Draw(t, "token")
		if err := lease.CheckToken(token); (err == nil) == strings.HasPrefix(token, "i-") {
			t.Fatalf("%q: %v", token, err)
		}
		n := rapid.IntRange(1, 999).Draw(t, "attempt")
		if client := lease.ClientToken(token, n); len(client) > 64 || !strings.HasPrefix(client, token+".") {
			t.Fatalf("client token %q", client)
		}
		if lease.IsInstanceID(token) != strings.HasPrefix(token, "i-") {
			t.Fatalf("%q is taken for what it is not", token)
		}
	})
}

func TestHeartbeatTimeouts(t *testing.T) {
	t.Parallel()
	for timeout, ok := range map[time.Duration]bool{
		0: true, 5 * time.Second: true, time.Minute: true, time.Hour: true,
		1: false, -1: false, -time.Minute: false, 5*time.Second - 1: false, time.Hour + 1: false, 24 * time.Hour: false,
	} {
		checkLimit(t, timeout.String(), lease.CheckHeartbeatTimeout(timeout), ok)
	}
	checkLimit(t, "the default", lease.CheckHeartbeatTimeout(lease.DefaultHeartbeatTimeout), true)
}

func TestCounts(t *testing.T) {
	t.Parallel()
	for n, ok := range map[int]bool{1: true, 2: true, 1000: true, 0: false, -1: false, 1001: false} {
		checkLimit(t, strconv.Itoa(n), lease.CheckCount(n), ok)
	}
}

// lastMillisecond is that of the year 9999.
var lastMillisecond = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli() - 1

func TestAGeneratedTokenHasItsDate(t *testing.T) {
	t.Parallel()
	before := time.Now().Truncate(time.Millisecond)
	for range 100 {
		token := uuid.Must(uuid.NewV7()).String()
		got, ok := lease.TokenTime(token)
		if !ok || got.Before(before) || got.After(time.Now()) || got.Location() != time.UTC {
			t.Fatalf("%s: %s, %t", token, got, ok)
		}
		if err := lease.CheckToken(token); err != nil {
			t.Fatal(err)
		}
		if upper, ok := lease.TokenTime(strings.ToUpper(token)); !ok || !upper.Equal(got) {
			t.Fatalf("in capitals: %s, %t", upper, ok)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		ms := rapid.Int64Range(0, lastMillisecond).Draw(t, "ms")
		id := uuid.UUID(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "uuid"))
		for i := range 6 {
			id[i] = byte(ms >> (40 - 8*i))
		}
		id[6], id[8] = id[6]&0x0f|0x70, id[8]&0x3f|0x80
		if got, ok := lease.TokenTime(id.String()); !ok || got.UnixMilli() != ms {
			t.Fatalf("%s: %d, %t, want %d", id, got.UnixMilli(), ok, ms)
		}
	})
}

func TestAChosenTokenHasNoDate(t *testing.T) {
	t.Parallel()
	const v7 = "01932b3c-6f0a-7c3e-9d2f-0123456789ab"
	if _, ok := lease.TokenTime(v7); !ok {
		t.Fatal("the model of this test has no date")
	}
	for name, token := range map[string]string{
		"empty":                              "",
		"a word":                             "nightly-build",
		"a UUID of version 4":                uuid.NewString(),
		"a UUID of version 1":                uuid.Must(uuid.NewUUID()).String(),
		"a variant that no RFC defines":      "01932b3c-6f0a-7c3e-1d2f-0123456789ab",
		"a UUID without dashes":              strings.ReplaceAll(v7, "-", ""),
		"a UUID with more behind it":         v7 + "-1",
		"dashes elsewhere":                   "01932b3c6-f0a-7c3e-9d2f-0123456789ab",
		"a date in front, and letters of it": "20260301-1200-7ightly-build-of-main1",
		"letters beyond hexadecimal":         "01932b3c-6f0a-7c3e-9d2f-0123456789ag",
		"a date after the year 9999":         "e677d21f-dc00-7c3e-9d2f-0123456789ab",
		"a sign":                             "+1932b3c-6f0a-7c3e-9d2f-0123456789ab",
	} {
		if got, ok := lease.TokenTime(token); ok {
			t.Errorf("%s: %s is taken to be of %s", name, token, got)
		}
	}
}
