package observe

import (
	"context"

	"lapse/lease"
)

// Cloud is what package observe reads from EC2 in one location.
type Cloud interface {
	// Location is the verified account and the region.
	Location() lease.Location
	// List returns every instance that bears a registry tag, whatever its value. A partial listing is an error.
	List(ctx context.Context) (lease.Listing, error)
	// Describe looks instances up by id. An id that EC2 does not know is absent from the answer.
	Describe(ctx context.Context, ids []string) (lease.Listing, error)
	// Keyed returns the instances that show one of these key pairs, whatever tags they bear. Not filtered, it reads all
	// instances that there are. A partial listing is an error.
	Keyed(ctx context.Context, names []string, filtered bool) ([]lease.Instance, error)
	// Leftovers returns all volumes, interfaces and spot requests whose launch tag is one of these client tokens, and all
	// key pairs of these names, whatever else they are. A partial listing is an error.
	Leftovers(ctx context.Context, clientTokens, keyNames []string) (lease.LeftoverListing, error)
}

// Registry reads all records at one revision.
type Registry interface {
	Snapshot(ctx context.Context) (lease.Snapshot, error)
}
