package janitor

import (
	"time"

	"lapse/lease"

	"lapse/janitor/audit"
	"lapse/janitor/plan"
)

// Observer is told what a janitor does and sees, for metrics and health. Its methods are called by many goroutines, and
// must not wait for anything.
type Observer interface {
	// Turned says that the janitor's loop goes round, and that it will again within so long; 0: it waits to be elected.
	Turned(within time.Duration)
	// Led says under which name the janitor leads from now on; empty: it does not.
	Led(name string)
	// Checkpoint is told each checkpoint of a sweep that the janitor writes or reads.
	Checkpoint(s lease.Checkpoint)
	// Swept is told how long a sweep took, and why it failed if it did.
	Swept(took time.Duration, err error)
	// Counted is told what each decision was about.
	Counted(c plan.Census)
	// Happened is told each event.
	Happened(e audit.Event)
}

// blind is the observer of a janitor that nobody observes.
type blind struct{}

func (blind) Turned(time.Duration)        {}
func (blind) Led(string)                  {}
func (blind) Checkpoint(lease.Checkpoint) {}
func (blind) Swept(time.Duration, error)  {}
func (blind) Counted(plan.Census)         {}
func (blind) Happened(audit.Event)        {}
