//go:build e2e

package scenario

import (
	"context"
	"log/slog"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"lapse/janitor"
	"lapse/janitor/metrics"
	"lapse/janitor/plan"
	"lapse/lease/ec2"
)

const year = 365 * 24 * time.Hour

// clock is a wall clock that may be wrong, and may be set.
type clock struct{ ahead atomic.Int64 }

func (c *clock) now() time.Time       { return time.Now().Round(0).Add(time.Duration(c.ahead.Load())) }
func (c *clock) set(by time.Duration) { c.ahead.Store(int64(by)) }

// TestE2EScenarioWrongClock lets a janitor start with a clock that is wrong by a year, or sets its clock by a year while it
// runs, as NTP would. There is no way to give one process another clock, so this janitor runs inside the test.
func TestE2EScenarioWrongClock(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		atStart, later time.Duration
		clock          string // what the status says of it
	}{
		"a year ahead at start":  {atStart: year, later: year, clock: "ahead of EC2's"},
		"a year behind at start": {atStart: -year, later: -year, clock: "behind EC2's"},
		"set a year ahead":       {later: year, clock: "ahead of EC2's"},
		"set a year back":        {later: -year, clock: "behind EC2's"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, wrong := newWorld(t), &clock{}
			ids := w.launch(20, kind{heartbeatTimeout: heartbeatTimeout})
			w.launch(20, kind{})
			w.heartbeat(ids...)
			wrong.set(c.atStart)
			log, shown := w.insider(wrong)
			w.until("a first sweep", func() bool { return len(log.said("msg=swept")) > 0 })
			if c.atStart == 0 {
				w.moreSweeps(2)
			}
			const term = 6 * time.Second
			short := w.launch(1, kind{term: term}) // it is over while the clock is wrong
			wrong.set(c.later)
			w.named(log, shown, "clock", location, c.clock)
			w.until("a checkpoint that EC2's clock dates", func() bool {
				checkpoint, err := w.store.Checkpoint(t.Context())
				return err == nil && checkpoint.Fresh(time.Now())
			})
			time.Sleep(term)
			w.longEnough()
			w.nobodyDied()

			wrong.set(0)
			right := time.Now()
			w.lifted(log, shown, "clock", location)
			w.until("expired instances terminated", func() bool { return len(w.asked()) > 0 })
			took := w.asked()[short[0]].Sub(right)
			t.Logf("an expired instance was terminated %s after the clock was right, of which %s are its notice", took.Round(time.Millisecond), markGrace)
			if took < markGrace {
				t.Errorf("that is less than its notice of %s", markGrace)
			}
			w.longEnough()
			w.onlyDied(short)
		})
	}
}

// insider runs a janitor inside the test, by another clock, over the same etcd and the same EC2, and returns its log and
// its metrics.
func (w *world) insider(by *clock) (*journal, func() string) {
	w.t.Helper()
	log := &journal{}
	settings := aws.Config{Region: region, BaseEndpoint: aws.String(w.aws), Credentials: credentials.NewStaticCredentialsProvider("e2e", "e2e", "")}
	cloud, err := ec2.Open(w.t.Context(), settings, region, ec2.Options{Now: by.now})
	if err != nil {
		w.t.Fatal(err)
	}
	policy, watched := plan.DefaultPolicy(), metrics.New("scenario", by.now)
	policy.MarkGrace, policy.LoneGrace = markGrace, markGrace
	j, err := janitor.New(janitor.Config{
		Campaign: func(ctx context.Context) (janitor.Leadership, error) {
			return w.store.Campaign(ctx, "insider", 15*time.Second)
		},
		Healthy: w.store.Healthy, Clouds: []janitor.Cloud{cloud}, Policy: policy, Schedule: "@every 1s", Now: by.now,
		Log: slog.New(slog.NewTextHandler(log, nil)), Observe: watched,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(w.t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		if err := j.Run(ctx); err != nil {
			w.t.Errorf("the janitor ended: %v", err)
		}
	})
	w.t.Cleanup(func() {
		stop()
		running.Wait()
		if w.t.Failed() {
			w.t.Logf("the janitor said:\n%s", log.end())
		}
	})
	return log, func() string {
		answer := httptest.NewRecorder()
		watched.Handler().ServeHTTP(answer, httptest.NewRequest("GET", "/metrics", strings.NewReader("")))
		return answer.Body.String()
	}
}
