package lease_test

import (
	"errors"
	"testing"
	"time"

	"lapse/lease"
)

func TestAnInstanceExtendsItselfAsFarAsItsLeaseAllows(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour // held expires in a day, and in a week at the latest
	allow := func(d time.Duration) *lease.Duration { limit := lease.Duration(d); return &limit }
	for name, c := range map[string]struct {
		allows *lease.Duration
		ask    lease.ExtendRequest
		want   time.Duration // the granted term; 0: refused
	}{
		"to the maximum":                       {nil, lease.ExtendRequest{For: lease.Duration(30 * day)}, 7 * day},
		"to its own limit":                     {allow(2 * day), lease.ExtendRequest{For: lease.Duration(30 * day)}, 2 * day},
		"within its own limit":                 {allow(3 * day), lease.ExtendRequest{For: lease.Duration(2 * day)}, 2 * day},
		"to the limit of the request":          {allow(5 * day), lease.ExtendRequest{For: lease.Duration(30 * day), Within: lease.Duration(2 * day)}, 2 * day},
		"not past its own by a wider request":  {allow(2 * day), lease.ExtendRequest{For: lease.Duration(30 * day), Within: lease.Duration(5 * day)}, 2 * day},
		"not past the maximum by its own":      {allow(30 * day), lease.ExtendRequest{For: lease.Duration(30 * day)}, 7 * day},
		"no earlier than it expires":           {allow(time.Hour), lease.ExtendRequest{For: lease.Duration(30 * day)}, day},
		"not at all":                           {allow(0), lease.ExtendRequest{For: lease.Duration(30 * day)}, day},
		"strictly, within":                     {allow(3 * day), lease.ExtendRequest{For: lease.Duration(3 * day), Strict: true}, 3 * day},
		"strictly, past its own limit":         {allow(2 * day), lease.ExtendRequest{For: lease.Duration(3 * day), Strict: true}, 0},
		"strictly, not at all":                 {allow(0), lease.ExtendRequest{For: lease.Duration(3 * day), Strict: true}, 0},
		"strictly, past the request's own":     {nil, lease.ExtendRequest{For: lease.Duration(3 * day), Strict: true, Within: lease.Duration(day)}, 0},
		"for less than it has":                 {nil, lease.ExtendRequest{For: lease.Duration(time.Hour)}, day},
		"by what is added to the present date": {nil, lease.ExtendRequest{By: lease.Duration(day)}, 2 * day},
	} {
		l := held()
		l.SelfExtend = c.allows
		if err := c.ask.Check(); err != nil {
			t.Fatal(name, err)
		}
		got, err := l.ExtendSelf(at(0), c.ask.Date(l, at(0)), c.ask, ada)
		clamped, refused := errors.AsType[*lease.ClampedError](err)
		switch {
		case c.want == 0 && (!refused || !clamped.Alone || clamped.Asked.IsZero() || !got.ExpiresAt.Equal(l.ExpiresAt)):
			t.Errorf("%s: %s, %v; want a refusal", name, got.ExpiresAt, err)
		case c.want != 0 && (err != nil || !got.ExpiresAt.Equal(at(c.want))):
			t.Errorf("%s: %s, %v; want %s", name, got.ExpiresAt, err, at(c.want))
		}
	}
}

func TestAnExtensionSaysOneThing(t *testing.T) {
	t.Parallel()
	for name, r := range map[string]lease.ExtendRequest{
		"nothing":         {},
		"two things":      {For: 1, By: 1},
		"two other":       {For: 1, Until: at(1)},
		"a negative for":  {For: -1},
		"a negative by":   {By: -1},
		"negative within": {For: 1, Within: -1},
	} {
		if _, refused := errors.AsType[*lease.LimitError](r.Check()); !refused {
			t.Errorf("%s is not refused", name)
		}
	}
}
