//go:build bench

package bench

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"lapse/janitor"
	"lapse/janitor/plan"
	"lapse/lease/ec2"
	"lapse/lease/ec2/ec2sim"
)

// speed is how much faster than ours the clock of an EC2 with token buckets runs: what is waited for takes minutes.
const speed = 20

// measurePaced lets many terms end at one moment, with EC2's token buckets, of which the janitor uses half.
func measurePaced(t *testing.T, figures *table, size sizes) {
	t.Helper()
	began := time.Now()
	fast := func(real time.Time) time.Time { return began.Add(speed * real.Sub(began)) }
	clock := func() time.Time { return fast(time.Now()) }
	w := simWorld(t, ec2sim.Config{Now: clock, Throttle: true, ShuttingDownFor: time.Minute})
	w.startEtcd()
	end := time.Now().Add(5*time.Second + time.Duration(size.paced)*2*time.Millisecond)
	w.newFleet(size.paced, func(int) time.Time { return end })
	cloud, err := ec2.Open(t.Context(), aws.Config{
		Region: region, BaseEndpoint: aws.String(w.aws), Credentials: credentials.NewStaticCredentialsProvider("bench", "bench", ""),
	}, region, ec2.Options{Now: clock, Speed: speed})
	if err != nil {
		t.Fatal(err)
	}
	j, err := janitor.New(janitor.Config{
		Campaign: func(ctx context.Context) (janitor.Leadership, error) {
			return w.store.Campaign(ctx, "bench", 15*time.Second)
		},
		Clouds: []janitor.Cloud{cloud}, Policy: plan.DefaultPolicy(), Schedule: "@every 10s",
		Now: time.Now, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	stopped := make(chan error, 1)
	go func() { stopped <- j.Run(ctx) }()
	var at map[string]time.Time
	w.until("EC2 asked to terminate every instance", func() bool {
		at, _ = w.asked()
		return len(at) == size.paced
	})
	stop()
	if err := <-stopped; err != nil {
		t.Fatal(err)
	}
	last := fast(end)
	for _, asked := range at {
		if asked.After(last) {
			last = asked
		}
	}
	refused := 0
	for _, c := range w.sim.Calls() {
		if c.Code == "RequestLimitExceeded" {
			refused++
		}
	}
	floor := (float64(size.paced) - 1000*ec2.DefaultShare) / (20 * ec2.DefaultShare)
	what := fmt.Sprintf("%d leases expired, EC2's buckets (clock ×%d): ", size.paced, speed)
	figures.atMost(what+fmt.Sprintf("of the floor of %.0f s", floor), times, 1.05, last.Sub(fast(end)).Seconds()/floor,
		"A delay of Lapse counts for twenty times as much on this clock.")
	figures.atMost(what+"RequestLimitExceeded", count, 0, float64(refused), "")
}
