package plan_test

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"lapse/lease"

	"lapse/janitor/plan"
	. "lapse/janitor/plan/plantest"
)

// FuzzJudge: whatever the record of a lease and of its heartbeat say, nothing is ended but for a cause that the record names
// or that has run its full time, and nothing that is exempt, foreign or bound otherwise.
func FuzzJudge(f *testing.F) {
	add := func(s Subject, hb string) {
		data, err := json.Marshal(s.Lease)
		if err != nil {
			f.Fatal(err)
		}
		for _, world := range []uint8{0, 1, 2, 4, 255 &^ 7} {
			f.Add(data, []byte(hb), world)
		}
	}
	const renewing = `{"instance_id":"i-1","heartbeat_timeout":"1m0s"}`
	add(Holds("i-1"), "")
	add(Holds("i-1", Over(time.Minute)), renewing)
	add(Holds("i-1", Lost(2*time.Hour), Marked(lease.CauseHeartbeatLost, Ago(time.Minute))), "")
	add(Holds("i-1", Revoked(lease.CauseRelease, time.Minute)), "")
	add(Holds("i-1", Over(time.Minute), Marked(lease.CauseExpired, Ago(time.Second))), renewing)
	for _, text := range []string{
		`{"instance_id":"i-1","state":"active","account":"111122223333","region":"eu-west-1","heartbeat_timeout":"2562047h47m16.854775807s","mark":{"cause":"heartbeat-lost"}}`,
		`{"instance_id":"i-1","state":"active","account":"111122223333","region":"eu-west-1","heartbeat_timeout":"1ns","claimed_at":"9999-12-31T23:59:59-23:59","mark":{"cause":"no-heartbeat"}}`,
		`{"instance_id":"i-1","state":"revoked","account":"111122223333","region":"eu-west-1","tries":9223372036854775807,"tried_at":"2026-03-01T12:00:00Z"}`,
		`{"instance_id":"i-1","state":"adopting","account":"111122223333","region":"eu-west-1","expires_at":"2020-03-01T12:00:00Z"}`,
	} {
		f.Add([]byte(text), []byte(renewing), uint8(3))
		f.Add([]byte(text), []byte(nil), uint8(8))
	}
	f.Fuzz(func(t *testing.T, record, heartbeat []byte, world uint8) {
		l, err := lease.Decode[lease.Lease]("lease", "i-1", record)
		if err != nil || l.InstanceID != "i-1" {
			return
		}
		s := Holds("i-1")
		s.Instance.ClientToken, s.Instance.Tags[lease.TagLaunch] = l.ClientToken, l.ClientToken
		s.Lease = &l
		for bit, change := range []func(*Subject){Exempt, Foreign, func(s *Subject) { s.Instance.ClientToken += "x" }} {
			if world&(1<<bit) != 0 {
				change(&s)
			}
		}
		v := WorldOf(s)
		v.Snapshot.Heartbeats, v.Renewals = map[string]lease.Heartbeat{}, map[string]plan.Renewal{}
		hb, err := lease.Decode[lease.Heartbeat]("heartbeat", "i-1", heartbeat)
		if present := err == nil; present {
			hb.Held = true
			v.Snapshot.Heartbeats["i-1"] = hb
			v.Renewals["i-1"] = plan.Renewal{Present: true, Seen: true}
		} else {
			v.Renewals["i-1"] = plan.Renewal{For: time.Duration(world>>3) * 3 * time.Minute, Seen: world&8 != 0, Witness: world&16 != 0}
		}
		for _, verdict := range Decide(v).Verdicts {
			if verdict.Action == plan.ActTerminate || verdict.Action == plan.ActOrphan {
				wantDue(t, l, s, v.Renewals["i-1"], world)
			}
		}
	})
}

// wantDue checks that an end is due by what is on record.
func wantDue(t *testing.T, l lease.Lease, s Subject, quiet plan.Renewal, world uint8) {
	t.Helper()
	over := !l.ExpiresAt.IsZero() && !l.ExpiresAt.After(Noon)
	lost := l.HeartbeatTimeout > 0 && !quiet.Present && l.Mark != nil && l.Mark.Cause.Inferred() && !l.Mark.Deadline.After(Noon) &&
		quiet.For >= plan.DefaultPolicy().MarkGrace && (quiet.Witness || quiet.For >= time.Hour) && (quiet.Seen || quiet.For >= time.Duration(l.HeartbeatTimeout))
	var told bytes.Buffer
	_ = json.NewEncoder(&told).Encode(l)
	switch {
	case world&1 != 0, world&2 != 0, l.ClientToken != "" && s.Instance.ClientToken != l.ClientToken:
		t.Fatalf("an instance that may not be touched is terminated: %s", &told)
	case l.State == lease.StateRevoked:
	case l.State == lease.StateActive && (over || lost):
	default:
		t.Fatalf("ended by %s, lost for %s", &told, quiet.For)
	}
}
