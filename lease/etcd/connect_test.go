package etcd

import (
	"context"
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

func TestAnUnreachableServerIsRetriedEveryTwoSeconds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tries := make(chan time.Time)
		dialer := func(ctx context.Context, _ string) (net.Conn, error) {
			select {
			case tries <- time.Now():
			case <-ctx.Done():
			}
			return nil, errors.New("connection refused")
		}
		conn, err := grpc.NewClient("passthrough:///etcd", connectParams(), grpc.WithContextDialer(dialer),
			grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithDefaultServiceConfig(`{"loadBalancingPolicy": "round_robin"}`)) // as etcd's client does
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.Connect()
		begun := time.Now()
		last := begun
		for last.Sub(begun) < 10*time.Minute {
			next := <-tries
			if pause := next.Sub(last); pause > 2*time.Second {
				t.Fatalf("rested %v after %v", pause, last.Sub(begun))
			}
			last = next
		}
	})
}
