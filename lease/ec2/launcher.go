package ec2

import (
	"context"
	"errors"
	"time"

	"lapse/lease"
)

// Store is what a [Launcher] needs of the registry. It bounds its calls itself.
type Store interface {
	// Registry returns the registry, or a [lease.NotFoundError].
	Registry(ctx context.Context) (lease.Registry, error)
	// Sweep returns the stamp of the last sweep, or a [lease.NotFoundError] if there was none yet.
	Sweep(ctx context.Context) (lease.Sweep, error)
	// Launch returns a launch, or a [lease.NotFoundError].
	Launch(ctx context.Context, token string) (lease.Launch, error)
	// PutLaunch writes a launch if its Revision is still the stored one, 0 meaning that there is none yet, and returns it
	// with its new Revision. Otherwise it returns a [lease.ConflictError].
	PutLaunch(ctx context.Context, l lease.Launch) (lease.Launch, error)
	// Bind creates leases, and returns those that are already there as they stand. A launch that was closed binds
	// nothing: [lease.LaunchStateError].
	Bind(ctx context.Context, l lease.Launch, leases []lease.Lease) ([]lease.Lease, error)
	// Lease returns a lease, or a [lease.NotFoundError].
	Lease(ctx context.Context, id string) (lease.Lease, error)
}

// Launcher creates instances that have leases. It is safe for use by many goroutines, and by many processes with the
// same launch token.
type Launcher struct {
	cloud  *Cloud
	store  Store
	config LauncherConfig
}

// LauncherConfig says how a [Launcher] works. Its zero value is usable but for Actor.
type LauncherConfig struct {
	Actor       string           // who launches, for the leases' history: "cli:ada@laptop"
	Now         func() time.Time // wall clock, which may be wrong; time.Now if nil
	Window      time.Duration    // how long after the last send one may still send; 15 min if 0
	Retention   time.Duration    // how long launches are kept: older generated tokens are refused; 7 days if 0
	CallTimeout time.Duration    // of one RunInstances call; 60 s if 0
	Pause       time.Duration    // before the first replay, doubled for each further one up to 30 times; 1 s if 0
	Progress    func(Event)      // called, if not nil, once for each step; must not block
}

// NewLauncher returns a launcher into the place of cloud.
func NewLauncher(cloud *Cloud, store Store, c LauncherConfig) *Launcher {
	return &Launcher{cloud: cloud, store: store, config: c}
}

// Result of a launch. It is the same, but for what became of the leases since, however often it is asked for.
type Result struct {
	Launch  lease.Launch  // Launch.Missing() is how many instances EC2 did not give
	Leases  []lease.Lease // of the instances that EC2 gave, in the order of the attempts, as they stand now
	Resumed bool          // the token had been used before, for the same request
}

// Launch makes what r asks for, or resumes it if its token was used before.
func (l *Launcher) Launch(ctx context.Context, r Request) (Result, error) {
	return Result{}, errors.ErrUnsupported
}

// Resume goes on with a launch from its record alone, for at most patience in case of doubt; 5 min if 0.
func (l *Launcher) Resume(ctx context.Context, token string, patience time.Duration) (Result, error) {
	return Result{}, errors.ErrUnsupported
}

// DryRun does what can be done of a launch without making or writing anything.
func (l *Launcher) DryRun(ctx context.Context, r Request) (Plan, error) {
	return Plan{}, errors.ErrUnsupported
}

// Plan is what a launch would send.
type Plan struct {
	Launch lease.Launch // as it would be stored, frozen; if Exists, as it is stored
	Exists bool         // the token was used before, for the same request
}

// EventKind says what an [Event] is about.
type EventKind string

// Kinds of events.
const (
	EventWarning   EventKind = "warning"
	EventStored    EventKind = "stored"  // the launch is on record: from here on it can be resumed by its token
	EventResumed   EventKind = "resumed" // its record was there before
	EventSending   EventKind = "sending"
	EventThrottled EventKind = "throttled"
	EventDoubt     EventKind = "in doubt"
	EventRefused   EventKind = "refused"
	EventLaunched  EventKind = "launched"
	EventBound     EventKind = "bound"
)

// Event is one step of a launch, for people who wait.
type Event struct {
	Kind    EventKind
	Token   string
	Attempt lease.Attempt // the attempt at hand; zero if none is
	Text    string        // one lowercase sentence
}
