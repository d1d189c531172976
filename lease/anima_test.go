package lease_test

import (
	"errors"
	"maps"
	"slices"
	"testing"
	"time"

	"lapse/lease"
)

const ownUUID = "6ba7b810-9dad-11d1-80b4-00c04fd430c8"

// keyLaunch is a launch of some instances with a key pair for an anima.
func keyLaunch(n int) lease.Launch {
	l, _ := lease.Launch{
		Schema: lease.Schema, Token: "web", State: lease.LaunchOpen, Anima: lease.AnimaKeyPair, Registry: ownUUID,
		Consistency: lease.Duration(5 * time.Minute), Window: lease.Duration(15 * time.Minute), Count: n, CreatedAt: noon,
	}.Next()
	return l
}

// keyMade is such a launch, whose key pair is there.
func keyMade(t *testing.T, n int) lease.Launch {
	t.Helper()
	l, err := keyLaunch(n).MakingKey(noon)
	if err != nil {
		t.Fatal(err)
	}
	return l.KeyMade("key-1")
}

// keySent is such a launch, whose call was sent.
func keySent(t *testing.T, n int) lease.Launch {
	t.Helper()
	l, err := keyMade(t, n).Sending(noon.Add(time.Second))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestAnAttemptWithAKeyPairIsSentOnceAndNeverBeforeThat(t *testing.T) {
	t.Parallel()
	var refused *lease.LaunchStateError
	if _, err := keyLaunch(2).Sending(noon); !errors.As(err, &refused) {
		t.Errorf("without its key pair: %v", err)
	}
	l := keySent(t, 2)
	if _, err := l.Sending(noon.Add(time.Minute)); !errors.As(err, &refused) {
		t.Errorf("a second time: %v", err)
	}
	if !l.Finds() {
		t.Error("its outcome is not searched for")
	}
	if _, more := l.Next(); more {
		t.Error("another attempt follows while its outcome is not known")
	}
	if _, err := l.MakingKey(noon.Add(time.Minute)); !errors.As(err, &refused) {
		t.Errorf("another key pair for it: %v", err)
	}
}

func TestWhatASearchFindsIsTheOutcome(t *testing.T) {
	t.Parallel()
	l := keySent(t, 2).Found([]string{"i-1", "i-2", "i-3"})
	if got := l.Instances(); !slices.Equal(got, []string{"i-1", "i-2"}) || l.Missing() != 0 {
		t.Errorf("instances %v, %d missing; want the first two, which were asked for", got, l.Missing())
	}
	none := keySent(t, 2).Found(nil)
	following, more := none.Next()
	if none.Last().Outcome != lease.OutcomeNone || !more || following.Last().ClientToken != "web.2" || following.Last().KeyID != "" {
		t.Errorf("nothing found: %+v, then %+v", none.Last(), following.Last())
	}
	if l := keyLaunch(1).NoKey(); l.Last().Outcome != lease.OutcomeNone {
		t.Errorf("without a key pair of its own: %+v", l.Last())
	}
	if l := keySent(t, 1).NoKey(); l.Last().Outcome != "" {
		t.Errorf("sent, and then without a key pair: %+v", l.Last())
	}
}

func TestWhatShowsAKeyPairOfALaunchIsOfIt(t *testing.T) {
	t.Parallel()
	l := keySent(t, 1)
	key := lease.KeyName(ownUUID, "web.1")
	for name, c := range map[string]struct {
		change func(*lease.Instance)
		want   bool
	}{
		"as it was created":          {func(*lease.Instance) {}, true},
		"without tags":               {func(i *lease.Instance) { clear(i.Tags) }, true},
		"without a client token":     {func(i *lease.Instance) { i.ClientToken = "" }, true},
		"shown to the second":        {func(i *lease.Instance) { i.LaunchTime = noon.Add(-time.Second) }, true},
		"created late":               {func(i *lease.Instance) { i.LaunchTime = noon.Add(5 * time.Minute) }, true},
		"started again since":        {func(i *lease.Instance) { i.LaunchTime, i.Existed = noon.Add(time.Hour), noon.Add(time.Second) }, true},
		"an attachment from before":  {func(i *lease.Instance) { i.Existed = noon.Add(-24 * time.Hour) }, true},
		"by a clock 10 s behind":     {func(i *lease.Instance) { i.LaunchTime = noon.Add(-10500 * time.Millisecond).Truncate(time.Second) }, true},
		"too late":                   {func(i *lease.Instance) { i.LaunchTime = noon.Add(6 * time.Minute) }, false},
		"before its key pair":        {func(i *lease.Instance) { i.LaunchTime = noon.Add(-time.Minute) }, false},
		"of another registry":        {func(i *lease.Instance) { i.Tags[lease.TagRegistry] = "another" }, false},
		"with an empty tag":          {func(i *lease.Instance) { i.Tags[lease.TagRegistry] = "" }, false},
		"with no key pair":           {func(i *lease.Instance) { i.KeyName = "" }, false},
		"another registry's pair":    {func(i *lease.Instance) { i.KeyName = lease.KeyName("another", "web.1") }, false},
		"of an attempt not made":     {func(i *lease.Instance) { i.KeyName = lease.KeyName(ownUUID, "web.2") }, false},
		"a name that begins like it": {func(i *lease.Instance) { i.KeyName += "x" }, false},
	} {
		i := lease.Instance{
			ID: "i-1", KeyName: key, ClientToken: "web.1", LaunchTime: noon.Add(2 * time.Second),
			Tags: map[string]string{lease.TagRegistry: ownUUID, lease.TagLaunch: "web.1"},
		}
		c.change(&i)
		a, member := l.Member(i)
		if member != c.want || member && a.ClientToken != "web.1" {
			t.Errorf("%s: %t (%s), want %t", name, member, a.ClientToken, c.want)
		}
		if !member {
			continue
		}
		bound := l.Bind(noon, i, a, lease.By{Actor: "test"})
		if other := i; !bound.Binds(i) || bound.KeyName != key {
			t.Errorf("%s: the lease %+v is not bound to it", name, bound)
		} else if other.KeyName = "copied"; bound.Binds(other) {
			t.Errorf("%s: the lease is bound to what has another key pair", name)
		}
		leased := i
		leased.Tags = maps.Clone(i.Tags)
		leased.Tags[lease.TagRegistry], leased.Tags[lease.TagLaunch], leased.Tags[lease.TagLeased] = ownUUID, "web.1", bound.LeasedTag()
		if !leased.Leased() {
			t.Errorf("%s: its own tag %s counts for nothing", name, lease.TagLeased)
		}
	}
	if never, _ := keyMade(t, 1).Member(lease.Instance{KeyName: key, LaunchTime: noon}); never.ClientToken != "" {
		t.Error("an attempt that was never sent has an instance")
	}
}

// TestACallUnderWayCreatesUntilItsSignatureEnds is about an endpoint that shows at once what it created: what is under way to it
// may still be late.
func TestACallUnderWayCreatesUntilItsSignatureEnds(t *testing.T) {
	t.Parallel()
	l := keySent(t, 1)
	l.Consistency = lease.Duration(time.Second)
	for after, want := range map[time.Duration]bool{time.Minute: true, 5 * time.Minute: true, 6 * time.Minute: false} {
		if _, member := l.Member(lease.Instance{ID: "i-1", KeyName: lease.KeyName(ownUUID, "web.1"), LaunchTime: noon.Add(after)}); member != want {
			t.Errorf("created %s after the call: %t", after, member)
		}
	}
}

func TestAKeyPairIsOursByItsIDItsFingerprintOrItsTags(t *testing.T) {
	t.Parallel()
	l := keyMade(t, 1)
	l.Attempts[0].KeyPrints = []string{"ab:cd"}
	ours := map[string]string{lease.TagRegistry: ownUUID, lease.TagLaunch: "web.1"}
	name := lease.KeyName(ownUUID, "web.1")
	for what, c := range map[string]struct {
		x    lease.Leftover
		want bool
	}{
		"its id":                   {lease.Leftover{ID: l.Attempts[0].KeyID, Name: name}, true},
		"its fingerprint":          {lease.Leftover{ID: "key-9", Name: name, Print: "ab:cd"}, true},
		"its tags":                 {lease.Leftover{ID: "key-9", Name: name, Tags: ours}, true},
		"its name alone":           {lease.Leftover{ID: "key-9", Name: name}, false},
		"its id and another name":  {lease.Leftover{ID: l.Attempts[0].KeyID, Name: "ada"}, false},
		"another fingerprint":      {lease.Leftover{ID: "key-9", Name: name, Print: "ab:ce"}, false},
		"another attempt's tags":   {lease.Leftover{ID: "key-9", Name: name, Tags: map[string]string{lease.TagRegistry: ownUUID, lease.TagLaunch: "web.2"}}, false},
		"nothing but its location": {lease.Leftover{}, false},
	} {
		c.x.Kind, c.x.Location = lease.LeftoverKeyPair, l.Location()
		if got := l.OwnsKey(c.x); got != c.want {
			t.Errorf("%s: %t", what, got)
		}
		if c.x.Kind = lease.LeftoverVolume; l.OwnsKey(c.x) {
			t.Errorf("%s: a volume counts as a key pair", what)
		}
	}
}

func TestTheNameOfAKeyPairFits(t *testing.T) {
	t.Parallel()
	longest := lease.ClientToken("a23456789012345678901234567890123456789012345678901234567890", 999)
	if n := len(lease.KeyName(ownUUID, longest)); n > 255 {
		t.Errorf("%d characters", n)
	}
}
