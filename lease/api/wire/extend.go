// Package wire has the types and routes of the instance API, generated from openapi.yaml.
package wire

import "lapse/lease"

// ExtendCall is an extension, and who asked for it on the instance: for the lease's history. The generator has no word for it.
type ExtendCall struct {
	lease.ExtendRequest

	User string `json:"user,omitzero"`
}
