package lease_test

import (
	"reflect"
	"testing"
	"time"

	"lapse/lease"
)

func TestAPeerIsValidAndRenews(t *testing.T) {
	t.Parallel()
	const id = "i-0123456789abcdef0"
	end := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	valid := lease.Lease{
		InstanceID: id, State: lease.StateActive, Launch: "web", Zone: "eu-west-1a", Labels: map[string]string{"role": "monitor"}, ExpiresAt: end,
		Holder: "ada", ClientToken: "web.1",
	}
	renewing := lease.Heartbeat{InstanceID: id, Address: "10.0.0.7", BootID: "boot", Held: true}
	for name, c := range map[string]struct {
		lease func(*lease.Lease)
		hb    func(*lease.Heartbeat)
		want  bool
	}{
		"valid and renewing":         {want: true},
		"past its date, not revoked": {lease: func(l *lease.Lease) { l.ExpiresAt = time.Time{}.Add(1) }, want: true},
		"being adopted":              {lease: func(l *lease.Lease) { l.State = lease.StateAdopting }},
		"revoked":                    {lease: func(l *lease.Lease) { l.State = lease.StateRevoked }},
		"ended":                      {lease: func(l *lease.Lease) { l.State = lease.StateEnded }},
		"unmanaged":                  {lease: func(l *lease.Lease) { l.State = lease.StateUnmanaged }},
		"marked":                     {lease: func(l *lease.Lease) { l.Mark = &lease.Mark{Cause: lease.CauseHeartbeatLost} }},
		"no heartbeat":               {hb: func(hb *lease.Heartbeat) { *hb = lease.Heartbeat{} }},
		"a heartbeat nothing holds":  {hb: func(hb *lease.Heartbeat) { hb.Held = false }},
		"another's heartbeat":        {hb: func(hb *lease.Heartbeat) { hb.InstanceID = "i-0123456789abcdef1" }},
	} {
		l, hb := valid, renewing
		if c.lease != nil {
			c.lease(&l)
		}
		if c.hb != nil {
			c.hb(&hb)
		}
		if _, is := l.Peer(hb); is != c.want {
			t.Errorf("%s: %t", name, is)
		}
	}
	got, _ := valid.Peer(renewing)
	want := lease.Peer{
		InstanceID: id, Address: "10.0.0.7", Labels: map[string]string{"role": "monitor"}, Launch: "web", Zone: "eu-west-1a", ExpiresAt: end,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v", got)
	}
}
