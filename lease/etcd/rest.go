package etcd

import (
	"context"
	"time"
)

// Rests between the listings of a watch. What waits for one is stale for as long, which spares: every write compares the
// revision that was read.
const (
	restMin = time.Second
	restMax = 30 * time.Second
)

// rest spaces the listings of a watch: the first comes at once, and while one follows another, each rests twice as long.
type rest struct {
	ended time.Time     // when the last listing did; zero: there was none
	pause time.Duration // from then to the next
}

// left is how long the next listing still has to wait.
func (r *rest) left() time.Duration {
	if r.ended.IsZero() {
		return 0
	}
	return max(0, r.pause-time.Since(r.ended))
}

// wait waits for as long as is left, and reports whether ctx still goes on.
func (r *rest) wait(ctx context.Context) bool {
	select {
	case <-time.After(r.left()):
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

// begin notes that a listing begins. If it comes soon after the last one, the pause grows.
func (r *rest) begin() {
	if r.ended.IsZero() || time.Since(r.ended) > 2*r.pause {
		r.pause = restMin
	} else {
		r.pause = min(2*r.pause, restMax)
	}
}

// end notes that a listing ended.
func (r *rest) end() { r.ended = time.Now() }
