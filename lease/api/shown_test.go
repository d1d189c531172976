package api_test

import (
	"bytes"
	"net/http"
	"testing"
	"time"

	"lapse/lease"
	"lapse/lease/ec2/ec2test"
)

// TestAnInstanceIsToldOfTheLastSweepAndOfNobodyElse has a checkpoint that names a neighbour, as it does while one is held back.
func TestAnInstanceIsToldOfTheLastSweepAndOfNobodyElse(t *testing.T) {
	t.Parallel()
	s := newSiege(t, newWorld(t))
	registry, err := s.store.Registry(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	leader, err := s.store.Campaign(t.Context(), "janitor-on-10.9.8.7", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	at := time.Now().UTC().Truncate(time.Second)
	if _, err := leader.PutCheckpoint(t.Context(), registry, lease.Checkpoint{
		Schema: lease.Schema, Sequence: 7, Time: at, NextSweep: at.Add(time.Minute), Leader: "janitor-on-10.9.8.7",
		Locations: []lease.Location{{Account: ec2test.Account, Region: "mars-north-1"}}, Behind: map[string]int64{s.theirs.ID: 3},
		Brakes: []lease.Brake{{Name: "rate", Reason: "too many of team red"}},
	}); err != nil {
		t.Fatal(err)
	}
	status, kind, answer := s.mineKey.call(http.MethodGet, own(s.mine.ID, ""), nil)
	if status != http.StatusOK || !bytes.Contains(answer, []byte(at.Format(time.RFC3339))) {
		t.Errorf("%d %s, without the last sweep: %s", status, kind, answer)
	}
	for _, secret := range []string{s.theirs.ID, "10.9.8.7", "mars-north-1", "team red"} {
		if bytes.Contains(answer, []byte(secret)) {
			t.Errorf("it is told of %s", secret)
		}
	}
}
