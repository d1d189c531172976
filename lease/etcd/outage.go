package etcd

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// outageEvery is how often a reason that keeps changing is logged, as one with the time of day in it does.
const outageEvery = 10 * time.Second

// outage logs why etcd gives no answer, which etcd's client keeps to itself: its callers learn that time ran out.
type outage struct {
	mu     sync.Mutex
	log    *slog.Logger // nil while dialling, whose error says it
	reason string       // as logged last; empty: etcd answers
	at     time.Time    // when that was
}

// intercept notes the outcome of each call.
func (o *outage) intercept(ctx context.Context, method string, req, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	err := invoke(ctx, method, req, reply, conn, opts...)
	switch status.Code(err) {
	case codes.Canceled:
	case codes.DeadlineExceeded, codes.Unavailable:
		o.goesOn(ctx, err)
	default:
		o.over(ctx)
	}
	return err
}

func (o *outage) goesOn(ctx context.Context, err error) {
	reason := status.Convert(err).Message()
	o.mu.Lock()
	defer o.mu.Unlock()
	if reason == o.reason || o.reason != "" && time.Since(o.at) < outageEvery {
		return
	}
	o.reason, o.at = reason, time.Now()
	if o.log != nil {
		o.log.WarnContext(ctx, "etcd does not answer", "reason", reason)
	}
}

func (o *outage) over(ctx context.Context) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.reason != "" && o.log != nil {
		o.log.InfoContext(ctx, "etcd answers again")
	}
	o.reason = ""
}

// dialled lets it log from now on.
func (o *outage) dialled(log *slog.Logger) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.log, o.reason = log, ""
}

// last is why etcd does not answer; empty if it does.
func (o *outage) last() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.reason
}
