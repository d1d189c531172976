package lease_test

import (
	"encoding/json"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"lapse/lease"
)

var (
	noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	ada  = lease.By{Actor: "cli:ada@laptop", Reason: "because"}
	jan  = lease.By{Actor: "janitor:host-1"}
)

const token = "nightly-build"

func at(d time.Duration) time.Time { return noon.Add(d) }

// instance i-1 is what EC2 says of the first instance of launched().
func instance() lease.Instance {
	return lease.Instance{
		ID:       "i-1",
		Location: lease.Location{Account: "123456789012", Region: "eu-west-1"},
		Zone:     "eu-west-1a", ZoneID: "euw1-az2",
		State:       lease.InstanceRunning,
		ClientToken: token + ".1",
		Tags:        map[string]string{lease.TagLaunch: token + ".1", lease.TagRegistry: "uuid-1"},
	}
}

// opened is a launch at noon, of three instances, with its first attempt unsent.
func opened() lease.Launch {
	l := lease.Launch{
		Schema: lease.Schema, Token: token, State: lease.LaunchOpen,
		Account: "123456789012", Region: "eu-west-1", Count: 3,
		Term: lease.Duration(24 * time.Hour), MaxTerm: lease.Duration(7 * 24 * time.Hour), HeartbeatTimeout: lease.Duration(time.Minute),
		Window: lease.Duration(15 * time.Minute), Holder: "ada", Labels: map[string]string{"job": "42"},
		Asked: "digest", Request: json.RawMessage(`{"ImageId":"ami-1"}`), CreatedAt: noon,
	}
	l, _ = l.Next()
	return l
}

// launched is opened with one of its three instances.
func launched() lease.Launch {
	l, _ := opened().Sending(noon)
	return l.Launched([]string{"i-1"})
}

// held is the active lease of i-1: granted at noon, for a day, a week at most.
func held() lease.Lease {
	l := launched()
	return l.Bind(noon, instance(), l.Last(), ada)
}

func adopting() lease.Lease {
	return lease.Adopt(noon, instance(), at(24*time.Hour), at(7*24*time.Hour), "ada", map[string]string{"job": "42"}, ada)
}

// must is for transitions that a test takes for granted.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func marked() lease.Lease {
	return must(held().WithMark(at(time.Hour), lease.CauseHeartbeatLost, at(2*time.Hour), jan))
}

func revoked() lease.Lease { return must(held().Revoke(at(time.Hour), lease.CauseRelease, ada)) }

// everyState has a lease in each state, and in each way to have come there that makes a difference.
func everyState() map[string]lease.Lease {
	return map[string]lease.Lease{
		"adopting":             adopting(),
		"active":               held(),
		"active with a mark":   marked(),
		"revoked":              revoked(),
		"revoked for its date": must(held().Revoke(at(24*time.Hour), lease.CauseExpired, jan)),
		"revoked with a mark":  must(marked().Revoke(at(2*time.Hour), lease.CauseHeartbeatLost, jan)),
		"ended from active":    must(held().End(at(time.Hour), lease.CauseGone, jan)),
		"ended from revoked":   must(revoked().End(at(2*time.Hour), lease.CauseGone, jan)),
		"unmanaged":            must(held().Unmanage(at(time.Hour), ada)),
		"unmanaged by revoked": must(revoked().Unmanage(at(2*time.Hour), ada)),
	}
}

// text is the record as stored, which shows every field, the unknown ones too.
func text(t rapid.TB, v any) string {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatalf("marshal: %v", err)
	}
	return string(data)
}

// step is one call of a transition, with its arguments drawn at random.
type step struct {
	name string
	do   func(lease.Lease) (lease.Lease, error)
}

func drawTime(t *rapid.T, label string) time.Time {
	return noon.Add(time.Duration(rapid.Int64Range(0, int64(20*24*time.Hour)).Draw(t, label)))
}

func drawCause(t *rapid.T) lease.Cause {
	return rapid.SampledFrom([]lease.Cause{
		lease.CauseExpired, lease.CauseRelease, lease.CauseRevoke, lease.CauseHeartbeatLost, lease.CauseNoHeartbeat,
		lease.CauseFailedCreation, lease.CauseGone,
	}).Draw(t, "cause")
}

// drawStep draws any transition but those left out by name.
func drawStep(t *rapid.T, without ...string) step {
	now := drawTime(t, "now")
	later := drawTime(t, "later")
	by := lease.By{Actor: rapid.SampledFrom([]string{"cli", "janitor"}).Draw(t, "actor")}
	cause := drawCause(t)
	reason := rapid.SampledFrom([]string{"", "protected"}).Draw(t, "reason")
	extension := lease.Extension{
		Until: later, Strict: rapid.Bool().Draw(t, "strict"), AllowShorten: rapid.Bool().Draw(t, "allow shorten"),
	}
	tag, why := drawExpiry(t), rapid.SampledFrom([]lease.KeptReason{lease.KeptByTag, lease.KeptByExempt}).Draw(t, "why")
	all := []step{
		{"Extend", func(l lease.Lease) (lease.Lease, error) { return l.Extend(now, extension, by) }},
		{"Unmark", func(l lease.Lease) (lease.Lease, error) { return l.Unmark(now, by) }},
		{"WithMark", func(l lease.Lease) (lease.Lease, error) { return l.WithMark(now, cause, later, by) }},
		{"WithoutMark", func(l lease.Lease) (lease.Lease, error) { return l.WithoutMark(now, by) }},
		{"Claimed", func(l lease.Lease) (lease.Lease, error) { return l.Claimed(now, by) }},
		{"Revoke", func(l lease.Lease) (lease.Lease, error) { return l.Revoke(now, cause, by) }},
		{"Try", func(l lease.Lease) (lease.Lease, error) { return l.Try(now) }},
		{"StuckBecause", func(l lease.Lease) (lease.Lease, error) { return l.StuckBecause(now, lease.KeptStuck, "", reason, by) }},
		{"Absent", func(l lease.Lease) (lease.Lease, error) { return l.Absent(now) }},
		{"End", func(l lease.Lease) (lease.Lease, error) { return l.End(now, cause, by) }},
		{"Reopen", func(l lease.Lease) (lease.Lease, error) { return l.Reopen(now, by) }},
		{"Activate", func(l lease.Lease) (lease.Lease, error) { return l.Activate(now, by) }},
		{"Unmanage", func(l lease.Lease) (lease.Lease, error) { return l.Unmanage(now, by) }},
		{"Raise", func(l lease.Lease) (lease.Lease, error) { return l.Raise(now, tag, by) }},
		{"Keep", func(l lease.Lease) (lease.Lease, error) { return l.Keep(now, why, by) }},
		{"NoteTag", func(l lease.Lease) (lease.Lease, error) { return l.NoteTag(now, tag, by) }},
		{"RevokeAgain", func(l lease.Lease) (lease.Lease, error) { return l.RevokeAgain(now, by) }},
	}
	all = slices.DeleteFunc(all, func(s step) bool { return slices.Contains(without, s.name) })
	i := rapid.IntRange(0, len(all)-1).Draw(t, "step")
	t.Logf("step %s", all[i].name)
	return all[i]
}

// drawExpiry draws what a tag may say of the date, near the dates and numbers that leases have here.
func drawExpiry(t *rapid.T) lease.Expiry {
	e := lease.Expiry{Number: rapid.Int64Range(0, 9).Draw(t, "tag number")}
	if e.Number > 0 && rapid.Bool().Draw(t, "tag date") {
		e.At = drawTime(t, "tag at").UTC().Truncate(time.Second)
	}
	return e
}

// drawLease draws a lease in some state, after some transitions more.
func drawLease(t *rapid.T) lease.Lease {
	states := everyState()
	names := []string{
		"adopting", "active", "active with a mark", "revoked", "revoked for its date", "revoked with a mark",
		"ended from active", "ended from revoked", "unmanaged",
	}
	l := states[rapid.SampledFrom(names).Draw(t, "state")]
	for range rapid.IntRange(0, 4).Draw(t, "steps before") {
		l, _ = drawStep(t, "Unmanage").do(l)
	}
	return l
}

func TestALeaseIsOverFromItsExpiryAndGraceOn(t *testing.T) {
	t.Parallel()
	l := held()
	for name, c := range map[string]struct {
		now   time.Time
		grace time.Duration
		want  bool
	}{
		"just before the expiry":         {at(24*time.Hour - 1), 0, false},
		"at the expiry":                  {at(24 * time.Hour), 0, true},
		"just before the end of a grace": {at(24*time.Hour + time.Minute - 1), time.Minute, false},
		"at the end of a grace":          {at(24*time.Hour + time.Minute), time.Minute, true},
		"the same instant in another zone": {
			at(24 * time.Hour).In(time.FixedZone("", 3600)), 0, true,
		},
	} {
		if got := l.Over(c.now, c.grace); got != c.want {
			t.Errorf("%s: over is %t", name, got)
		}
	}
	l.ExpiresAt = time.Time{}
	if l.Over(at(1000*time.Hour), 0) {
		t.Error("a lease without an expiry is over")
	}
}

func TestOnlyAdoptingAndActiveLeasesAreLive(t *testing.T) {
	t.Parallel()
	for name, l := range everyState() {
		if want := l.State == lease.StateAdopting || l.State == lease.StateActive; l.Live() != want {
			t.Errorf("%s: live is %t", name, l.Live())
		}
	}
}

func TestCausesAreDeclaredOrInferredOrNeither(t *testing.T) {
	t.Parallel()
	for cause, want := range map[lease.Cause][2]bool{
		lease.CauseExpired: {true, false}, lease.CauseRelease: {true, false}, lease.CauseRevoke: {true, false},
		lease.CauseHeartbeatLost: {false, true}, lease.CauseNoHeartbeat: {false, true},
		lease.CauseFailedCreation: {}, lease.CauseGone: {}, "": {},
	} {
		if got := [2]bool{cause.Declared(), cause.Inferred()}; got != want {
			t.Errorf("%q: declared, inferred are %v, want %v", cause, got, want)
		}
	}
}

func same(a, b any) bool { return reflect.DeepEqual(a, b) }
