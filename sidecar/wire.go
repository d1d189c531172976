package sidecar

import (
	"fmt"
	"net/http"

	"lapse/lease"
	"lapse/lease/problem"
)

// PeersAnswer has the instances of the same launch that live, in the order of their ids, with this one among them.
type PeersAnswer struct {
	Peers []lease.Peer `json:"peers"`
}

// ReleaseRequest gives the lease back.
type ReleaseRequest struct {
	Reason string `json:"reason,omitzero"`
}

// ForbiddenError refuses a caller.
type ForbiddenError struct {
	Verb string
	UID  int64 // the caller's user id; -1: unknown
}

func (e *ForbiddenError) Error() string {
	return fmt.Sprintf("user id %d may not %s this instance's lease: ask as root", e.UID, e.Verb)
}

// forbidden is the kind of error that only the socket has.
func forbidden() problem.Kind {
	return problem.KindOf[ForbiddenError]("forbidden", http.StatusForbidden)
}
