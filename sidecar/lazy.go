package sidecar

import "context"

// lazy is a registry that is opened when it is first needed, and again until that succeeds: a sidecar must start, and serve
// its socket, while the registry is away.
type lazy struct {
	open   func(context.Context) (Registry, error)
	turn   chan struct{} // holds a value while somebody uses opened
	opened Registry
}

// registry opens the registry within ctx, unless that was done.
func (l *lazy) registry(ctx context.Context) (Registry, error) {
	select {
	case l.turn <- struct{}{}:
		defer func() { <-l.turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if l.opened != nil {
		return l.opened, nil
	}
	opened, err := l.open(ctx)
	if err != nil {
		return nil, err
	}
	l.opened = opened
	return opened, nil
}
