package plantest

import (
	"time"

	"lapse/lease"
)

// Changes of a leftover.

func Tagged(key, value string) func(*lease.Leftover) {
	return func(x *lease.Leftover) { x.Tags[key] = value }
}

func Untagged(key string) func(*lease.Leftover) {
	return func(x *lease.Leftover) { delete(x.Tags, key) }
}

func AttachedTo(id string) func(*lease.Leftover) {
	return func(x *lease.Leftover) { x.State, x.Attached, x.InstanceID = "in-use", true, id }
}

func MadeAt(t time.Time) func(*lease.Leftover) {
	return func(x *lease.Leftover) { x.CreatedAt = t }
}
