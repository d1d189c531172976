package launch

import (
	"cmp"
	"context"
	"errors"
	"io"
	"time"

	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/google/uuid"

	"lapse/lease"
)

// Store is what a [Launcher] needs of the registry. It bounds its calls itself.
type Store interface {
	// Registry returns the registry, or a [lease.NotFoundError].
	Registry(ctx context.Context) (lease.Registry, error)
	// UpdateRegistry changes the registry, and does so again if somebody else wrote it in between.
	UpdateRegistry(ctx context.Context, change func(lease.Registry) (lease.Registry, error)) (before, after lease.Registry, err error)
	// Checkpoint returns the checkpoint of the last sweep, or a [lease.NotFoundError] if there was none yet.
	Checkpoint(ctx context.Context) (lease.Checkpoint, error)
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

// Cloud is what a [Launcher] needs of EC2: one region of one account, in which it can terminate nothing. [lapse/lease/ec2.Cloud]
// is one, and says how each of these answers.
type Cloud interface {
	Location() lease.Location
	Clock(ctx context.Context) (skew time.Duration, dated bool, err error)
	Describe(ctx context.Context, ids []string) (lease.Listing, error)
	LaunchTemplateVersions(ctx context.Context, in *awsec2.DescribeLaunchTemplateVersionsInput) ([]types.LaunchTemplateVersion, error)
	Image(ctx context.Context, parameter string) (string, error)
	RunInstances(ctx context.Context, in *awsec2.RunInstancesInput, timeout time.Duration) ([]lease.Instance, error)

	IgnoresTokens() string
	// Where a key pair is the anima.
	ImportKeyPair(ctx context.Context, name string, public []byte, tags map[string]string) (id string, err error)
	KeyPair(ctx context.Context, name string) (lease.Leftover, error)
	Remove(ctx context.Context, x lease.Leftover) lease.Removal
	Keyed(ctx context.Context, names []string, filtered bool) ([]lease.Instance, error)
	Tag(ctx context.Context, resources []string, tags map[string]string) []lease.Tagging
}

// Launcher creates instances that have leases. It is safe for use by many goroutines, and by many processes with the
// same launch token.
type Launcher struct {
	cloud  Cloud
	store  Store
	config Config
}

// Config says how a [Launcher] works. Its zero value is usable except for Actor.
type Config struct {
	Actor       string           // who launches, for the leases' history: "cli:ada@laptop"
	Now         func() time.Time // wall clock, which may be wrong; time.Now if nil
	Window      time.Duration    // how long after the last send one may still send, unless the janitor's checkpoint says; 15 min if 0
	Retention   time.Duration    // how long launches are kept: older generated tokens are refused; that of the checkpoint, or 30 days, if 0
	CallTimeout time.Duration    // of one RunInstances call; 60 s if 0
	Pause       time.Duration    // before the first replay; doubled for each further one, up to 32 times; 1 s if 0
	// NewKey makes the public half of a key pair, as SSH has it, and its fingerprints in every form in which an endpoint may
	// show them; of an RSA key whose private half is forgotten if nil.
	NewKey func() (public []byte, prints []string, err error)
	Random io.Reader // of join tokens; crypto/rand's if nil
	// Proves reports whether a certificate of the Region's identity documents is known, without which its instances cannot
	// renew through the API; every Region's is if nil.
	Proves   func(region string) bool
	Progress func(Event) // called, if not nil, once for each step; must not block
}

// Defaults of [Config].
const (
	defaultWindow    = 15 * time.Minute
	defaultRetention = 30 * 24 * time.Hour
	defaultPatience  = 5 * time.Minute
	callTimeout      = time.Minute
	firstPause       = time.Second
)

// New returns a launcher into the location of cloud.
func New(cloud Cloud, store Store, c Config) *Launcher {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.NewKey == nil {
		c.NewKey = publicKey
	}
	if c.Proves == nil {
		c.Proves = func(string) bool { return true }
	}
	if c.Progress == nil {
		c.Progress = func(Event) {}
	}
	c.Window = cmp.Or(c.Window, defaultWindow)
	c.Retention = cmp.Or(c.Retention, defaultRetention)
	c.CallTimeout = cmp.Or(c.CallTimeout, callTimeout)
	c.Pause = cmp.Or(c.Pause, firstPause)
	return &Launcher{cloud: cloud, store: store, config: c}
}

// newToken generates a launch token: a UUID of version 7, whose date tells how old it is.
func newToken() (string, error) {
	id, err := uuid.NewV7()
	return id.String(), err
}

// Result of a launch. It is the same each time, except for later changes of the leases.
type Result struct {
	Launch  lease.Launch  // Launch.Missing() is how many instances EC2 did not give
	Leases  []lease.Lease // of the instances that EC2 gave, in the order of the attempts, as they stand now
	Resumed bool          // the token had been used before, for the same request
}

// Launch makes what r asks for. If its token was used before, for the same request, it goes on where that ended, and
// makes nothing twice. Fewer instances than asked for are no error as long as there is one.
//
// With an error, Result holds what is known so far. Errors: [RequestError] and [lease.LimitError] for the request,
// [UnattendedError], [TokensIgnoredError], [lapse/lease/ec2.ClockError], [StaleTokenError], [lease.MismatchError] and [LocationError] before anything was sent;
// [RefusedError] if EC2 gave nothing; [lease.LaunchStateError] if the launch was closed by somebody; and, where running
// it again with the same token may help, [UnknownOutcomeError] and [UnfinishedError].
func (l *Launcher) Launch(ctx context.Context, r Request) (Result, error) {
	o, err := r.order()
	if err != nil {
		return Result{}, err
	}
	registry, err := l.store.Registry(ctx)
	if err != nil {
		return Result{}, err
	}
	record, found, err := l.recall(ctx, o)
	if err == nil && !found {
		record, found, err = l.create(ctx, o, registry)
	}
	if err != nil {
		return Result{}, err
	}
	return l.run(ctx, registry, record, found, r.Patience)
}

// Resume goes on with a launch from its record alone. While the outcome is not known it replays for at most patience;
// 5 min if 0. Results and errors are those of [Launcher.Launch], and [lease.NotFoundError].
func (l *Launcher) Resume(ctx context.Context, token string, patience time.Duration) (Result, error) {
	if err := lease.CheckToken(token); err != nil {
		return Result{}, err
	}
	registry, err := l.store.Registry(ctx)
	if err != nil {
		return Result{}, err
	}
	record, err := l.store.Launch(ctx, token)
	if err != nil {
		return Result{}, err
	}
	if err := l.here(record); err != nil {
		return Result{}, err
	}
	return l.run(ctx, registry, record, true, patience)
}

// recall finds the record of an order whose token was used before.
func (l *Launcher) recall(ctx context.Context, o order) (lease.Launch, bool, error) {
	record, err := l.store.Launch(ctx, o.Token)
	var absent *lease.NotFoundError
	switch {
	case errors.As(err, &absent):
		return lease.Launch{}, false, nil
	case err != nil:
		return lease.Launch{}, false, err
	case record.Asked != o.digest:
		return lease.Launch{}, false, &lease.MismatchError{Token: o.Token}
	}
	return record, true, l.here(record)
}

// here refuses a launch into another location.
func (l *Launcher) here(record lease.Launch) error {
	if record.Location() != l.cloud.Location() {
		return &LocationError{Token: record.Token, Launched: record.Location(), Here: l.cloud.Location()}
	}
	return nil
}
