package janitor

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"lapse/lease"
)

// ledger notes who is asked, and who has answered.
type ledger struct {
	mu    sync.Mutex
	lines []string
}

func (l *ledger) note(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, line)
}

// noted is a location, and notedReader a registry, that takes a second to answer.
type noted struct {
	*recorder
	*ledger
}

func (c noted) List(ctx context.Context) (lease.Listing, error) {
	pause(ctx, time.Second)
	defer c.note("EC2 answered")
	return c.recorder.List(ctx)
}

type notedReader struct {
	Leadership
	*ledger
}

func (o notedReader) Snapshot(ctx context.Context) (lease.Snapshot, error) {
	o.note("registry asked")
	pause(ctx, time.Second)
	return o.Leadership.Snapshot(ctx)
}

// What may be destroyed is looked at first, and what excuses it second: so nothing that was launched and bound between
// the two is seen without its record.
func TestTheRegistryIsReadWhenAllLocationsAreListed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, "i-1")
		book := &ledger{}
		far := &recorder{Where: lease.Location{Account: r.cloud.Where.Account, Region: "ap-east-1"}, Instances: map[string]lease.Instance{"i-9": foreigner}}
		j := r.janitorOf(quiet())
		j.Clouds = []Cloud{noted{r.cloud, book}, noted{far, book}}
		registry := notedReader{r.leadership, book}
		campaign := j.Campaign
		j.Campaign = func(ctx context.Context) (Leadership, error) {
			leadership, err := campaign(ctx)
			return notedReader{leadership, book}, err
		}
		inOrder := func(name string, times int) {
			t.Helper()
			if want := slices.Repeat([]string{"EC2 answered", "EC2 answered", "registry asked"}, times); !slices.Equal(book.lines, want) {
				t.Errorf("%s: %q, want %q", name, book.lines, want)
			}
			book.lines = nil
		}
		if _, err := Preview(t.Context(), j.Clouds, registry, j.Policy, r.now); err != nil {
			t.Fatal(err)
		}
		inOrder("a preview", 1)
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- j.Run(ctx) }()
		after(3*time.Minute - time.Second)
		stop()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		inOrder("three sweeps", 3)
	})
}
