package edge

import (
	"context"
	"net/netip"
)

// Caller is who sent a request.
type Caller struct {
	Key  string     // SHA-256 of its certificate's SubjectPublicKeyInfo, in hexadecimal
	Addr netip.Addr // its own, also behind a listed proxy
}

type callerKey struct{}

type calling struct {
	Caller
	vouch  func()
	disown func(key string)
}

// NewContext is for tests of handlers: a context of a request of that caller.
func NewContext(ctx context.Context, caller Caller) context.Context {
	return withCalling(ctx, calling{caller, func() {}, func(string) {}})
}

func withCalling(ctx context.Context, c calling) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

// CallerOf says who sent the request of this context; false if it is not of one.
func CallerOf(ctx context.Context) (Caller, bool) {
	c, ok := ctx.Value(callerKey{}).(calling)
	return c.Caller, ok
}

// Vouch says that the caller's key is one of an enrolled instance: from now on it is proved. The handler says so with each of its
// requests, since keys are forgotten after [Timeouts.Vouched].
func Vouch(ctx context.Context) {
	if c, ok := ctx.Value(callerKey{}).(calling); ok {
		c.vouch()
	}
}

// Disown says that a key is none of an enrolled instance any more: from now on it is not proved, whoever vouched for it before.
func Disown(ctx context.Context, key string) {
	if c, ok := ctx.Value(callerKey{}).(calling); ok {
		c.disown(key)
	}
}
