package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
)

// output is stdout. It keeps the first error of a write, since not every print checks for one: a command whose output
// could not be written has failed, whatever else it did.
type output struct {
	to io.Writer

	mu  sync.Mutex
	err error
}

func (o *output) Write(p []byte) (int, error) {
	n, err := o.to.Write(p)
	if err != nil {
		o.mu.Lock()
		defer o.mu.Unlock()
		if o.err == nil {
			o.err = err
		}
	}
	return n, err
}

func (o *output) failed() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.err
}

// interrupted replaces an error that a signal to stop has caused. An error with a code of its own is kept.
func interrupted(ctx context.Context, err error) error {
	if ctx.Err() == nil || !errors.Is(err, context.Canceled) || Is[*CodeError](err) {
		return err
	}
	if err == context.Canceled { //nolint:errorlint // that alone, with nothing around it
		return WithCode(ExitUnknown, errors.New("stopped by a signal"))
	}
	return fmt.Errorf("stopped by a signal: %w", err)
}
