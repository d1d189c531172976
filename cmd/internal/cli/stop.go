package cli

import (
	"cmp"
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/urfave/cli/v2"
)

// Bounds of the end of a process that is asked to stop. What a Sink still holds has another second.
const (
	secondSignal = time.Second     // after which another signal ends the process at once; one Ctrl-C may arrive as two signals
	stopMax      = 4 * time.Second // for a command: whatever it still waits for is given up
	serviceMax   = 3 * time.Minute // for a service: a leader that leaves waits up to 2 min for its workers
)

const takesKey = "takes"

// Takes says how long the command may take from now on once it is asked to stop. The default is 0: a command is bounded
// by its context, and only a read or a write that nobody answers takes longer than a moment.
func Takes(c *cli.Context, long time.Duration) {
	if takes, ok := c.App.Metadata[takesKey].(*atomic.Int64); ok {
		takes.Store(int64(long))
	}
}

// stoppable returns what run returns, or an error if it has not returned in time once ctx has ended: then it waits for
// a pipe that nobody reads or writes, and that no context interrupts. Everything that must survive was stored before.
func stoppable(ctx context.Context, takes *atomic.Int64, run func() error) error {
	done := make(chan error, 1)
	go func() { done <- run() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	asked, tick := time.Now(), time.NewTicker(stopMax/100)
	defer tick.Stop()
	for {
		select {
		case err := <-done:
			return err
		case <-tick.C:
		}
		bound := cmp.Or(time.Duration(takes.Load()), stopMax)
		if time.Since(asked) < bound {
			continue
		}
		err := fmt.Errorf("asked to stop, and still busy after %s: stdout or stdin may be a pipe that nobody reads or writes", bound)
		if bound > stopMax {
			return err
		}
		return WithCode(ExitUnknown, err)
	}
}

// Poll asks at once, and then every so often, until the answer is there or an error ends it. found is false, without an
// error, if the patience ends first.
func Poll(ctx context.Context, every, patience time.Duration, ask func() (found bool, err error)) (found bool, err error) {
	over, tick := time.NewTimer(patience), time.NewTicker(every)
	defer over.Stop()
	defer tick.Stop()
	for {
		if found, err = ask(); found || err != nil {
			return found, err
		}
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case <-over.C:
			return false, nil
		case <-tick.C:
		}
	}
}

// Await returns what read returns, or the error of ctx as soon as it has ended: for reads that no context interrupts,
// such as those of a terminal.
func Await[T any](ctx context.Context, read func() (T, error)) (T, error) {
	type answer struct {
		value T
		err   error
	}
	got := make(chan answer, 1)
	go func() {
		value, err := read()
		got <- answer{value, err}
	}()
	select {
	case a := <-got:
		return a.value, a.err
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
}
