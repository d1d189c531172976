package launch

import (
	"context"
	"errors"
	"fmt"
	"time"

	"lapse/lease"
)

// maxConflicts bounds how often one run reads a record again because somebody else changed it. Each time somebody got
// on with the launch, so a store that says so much more often is broken.
const maxConflicts = 1000

// run is one launcher's work on one launch. All that it needs is in the record; what it holds besides saves calls.
type run struct {
	*Launcher
	registry  lease.Registry
	launch    lease.Launch              // as last read or written
	seen      map[string]lease.Instance // as EC2 answered
	leases    map[string]lease.Lease    // known to be bound
	until     time.Time                 // end of patience, by the monotonic clock
	replays   int
	conflicts int
	searched  searching
	// hiddenSince is since when an instance with which EC2 answered is not shown.
	hiddenSince time.Time
	keyOf       string // client token of the attempt for whose key pair public was made
	public      []byte
	lastErr     error // of the last send
}

// run takes a launch on record as far as it goes.
func (l *Launcher) run(ctx context.Context, registry lease.Registry, record lease.Launch, resumed bool, patience time.Duration) (Result, error) {
	if patience <= 0 {
		patience = defaultPatience
	}
	patience = max(patience, 3*time.Duration(record.Consistency)) // a search takes one, and more where the answer changes
	if resumed {
		l.tell(EventResumed, record, "the launch is on record already and is "+string(record.State))
	}
	r := &run{
		Launcher: l, registry: registry, launch: record, until: time.Now().Add(patience),
		seen: map[string]lease.Instance{}, leases: map[string]lease.Lease{},
	}
	err := r.finish(ctx)
	result := Result{Launch: r.launch, Leases: []lease.Lease{}, Resumed: resumed}
	for _, id := range r.launch.Instances() {
		if bound, known := r.leases[id]; known {
			result.Leases = append(result.Leases, bound)
		}
	}
	return result, err
}

// finish steps until the launch is settled, and judges what has come of it.
func (r *run) finish(ctx context.Context) error {
	var err error
	for r.launch.State == lease.LaunchOpen && err == nil {
		err = r.again(ctx, r.step(ctx))
	}
	if err == nil {
		r.forgetKeys(ctx)
		err = r.report(ctx)
	}
	switch {
	case err == nil:
		return r.verdict()
	case inDoubt(r.launch.Last()):
		return &UnknownOutcomeError{Token: r.launch.Token, Code: answerOf(err).Code, Err: err}
	}
	return &UnfinishedError{Token: r.launch.Token, Err: err}
}

// step does the one thing that comes next by the record, and nothing else.
func (r *run) step(ctx context.Context) error {
	last, over := r.launch.Last(), r.launch.WindowOver(r.config.Now())
	switch {
	case len(r.unbound()) > 0:
		return r.bind(ctx)
	case r.launch.Finds():
		return r.search(ctx)
	case r.launch.Anima == lease.AnimaKeyPair && last.Outcome == "" && last.KeyID == "" && !over:
		return r.makeKey(ctx)
	case inDoubt(last), last.Outcome == "" && !over:
		return r.send(ctx)
	}
	if following, more := next(r.launch); more && !over {
		following, err := r.joining(following)
		if err != nil {
			return err
		}
		return r.put(ctx, following)
	}
	return r.settle(ctx)
}

// again takes back an error that only means that somebody else changed the launch: what to do next is decided again.
func (r *run) again(ctx context.Context, err error) error {
	var conflict *lease.ConflictError
	var state *lease.LaunchStateError
	if !errors.As(err, &conflict) && !errors.As(err, &state) {
		return err
	}
	if r.conflicts++; r.conflicts > maxConflicts {
		return fmt.Errorf("the record keeps changing: %w", err)
	}
	fresh, readErr := r.store.Launch(ctx, r.launch.Token)
	if readErr != nil {
		return readErr
	}
	r.launch = fresh
	return nil
}

// put writes the record. A conflict leaves the old one at hand.
func (r *run) put(ctx context.Context, changed lease.Launch) error {
	stored, err := r.store.PutLaunch(ctx, changed)
	if err == nil {
		r.launch = stored
	}
	return err
}

// note writes what EC2 answered to an attempt, unless somebody else has noted an answer or settled the launch already.
func (r *run) note(ctx context.Context, clientToken string, change func(lease.Launch) lease.Launch) error {
	for {
		last := r.launch.Last()
		if r.launch.State != lease.LaunchOpen || last.ClientToken != clientToken || last.Outcome != "" {
			return nil
		}
		err := r.put(ctx, change(r.launch))
		if err == nil {
			return nil
		}
		if err := r.again(ctx, err); err != nil {
			return err
		}
	}
}

// settle ends a launch for which nothing is left to do. With instances, all of which have leases, it is done. Without,
// it is closed with the reason, so that the token answers the same refusal however often it is used, and so that
// nothing can come of it any longer.
func (r *run) settle(ctx context.Context) error {
	if len(r.launch.Instances()) == 0 {
		reason := "nothing was sent within its window"
		if last := r.launch.Last(); last.Code != "" {
			reason = last.Code
		} else if last.Outcome == lease.OutcomeNone {
			reason = "nothing was found of what was sent within its window"
		}
		closed, err := r.launch.Close(r.config.Now(), reason)
		if err != nil {
			return err
		}
		return r.put(ctx, closed)
	}
	done, err := r.launch.Done(r.config.Now())
	if err != nil {
		return err
	}
	return r.put(ctx, done)
}

// verdict says, from the record alone, what has come of a settled launch.
func (r *run) verdict() error {
	l, made := r.launch, len(r.launch.Instances())
	switch {
	case made == 0 && l.Last().Outcome == lease.OutcomeRefused:
		return &RefusedError{Token: l.Token, Code: l.Last().Code, Reason: l.Reason}
	case made == 0, l.State == lease.LaunchClosed && (inDoubt(l.Last()) || len(r.unbound()) > 0):
		return &lease.LaunchStateError{Token: l.Token, Verb: "finish", State: l.State, Since: l.SettledAt, Reason: l.Reason}
	}
	return nil
}

// inDoubt reports whether EC2 may have created something for the attempt without our having heard of it.
func inDoubt(a lease.Attempt) bool { return a.Outcome == "" && (a.Sends > 0 || a.Doubtful) }
