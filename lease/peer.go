package lease

import "time"

// Peer is an instance of a launch as the others of that launch see it: its lease is valid, and its sidecar renews it.
type Peer struct {
	InstanceID string            `json:"instance_id"`
	Address    string            `json:"address,omitzero"` // as its sidecar says; nobody has proved it
	Labels     map[string]string `json:"labels,omitempty"`
	Launch     string            `json:"launch,omitzero"` // token of the launch; empty for an adopted instance, which has no peer but itself
	Zone       string            `json:"zone,omitzero"`
	ExpiresAt  time.Time         `json:"expires_at,omitzero"` // zero: no term
	Self       bool              `json:"self,omitzero"`       // it is the instance that asked
}

// Peer is how others see the instance, and false if they do not: its lease is not active or is marked, or nothing renews it.
func (l Lease) Peer(hb Heartbeat) (Peer, bool) {
	renewing := hb.Held && hb.InstanceID == l.InstanceID
	return Peer{
		InstanceID: l.InstanceID, Address: hb.Address, Labels: l.Labels, Launch: l.Launch, Zone: l.Zone, ExpiresAt: l.ExpiresAt,
	}, renewing && l.State == StateActive && l.Mark == nil
}
