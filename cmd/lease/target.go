package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	ucli "github.com/urfave/cli/v2"

	"lapse/cmd/internal/cli"
	"lapse/cmd/internal/registry"
	"lapse/lease"
	"lapse/lease/etcd"
)

// target is a lease that somebody named, by its instance or with all others of its launch.
type target struct {
	id    string // of the instance
	token string // by which it was named; empty if by its own id
}

// named reads the ids and tokens on the command line, each once.
func named(c *ucli.Context) ([]string, error) {
	ids, err := namedIfAny(c)
	if err == nil && len(ids) == 0 {
		err = cli.Usage("give an instance id or a launch token; see `lease %s --help`", c.Command.Name)
	}
	return ids, err
}

// namedIfAny is named, but allows none.
func namedIfAny(c *ucli.Context) ([]string, error) {
	var ids []string
	for _, text := range c.Args().Slice() {
		id, err := readID(text)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// namedOne reads the one id or token on the command line.
func namedOne(c *ucli.Context) (string, error) {
	ids, err := named(c)
	if err == nil && len(ids) > 1 {
		err = cli.Usage("give exactly one id; see `lease %s --help`", c.Command.Name)
	}
	if err != nil {
		return "", err
	}
	return ids[0], nil
}

// readID reads an id in the forms that people have: an instance id, its ARN, or a launch token.
func readID(text string) (string, error) {
	id := strings.TrimSpace(text)
	if strings.HasPrefix(id, "arn:") {
		const parts = 6 // arn:partition:service:region:account:resource
		arn := strings.SplitN(id, ":", parts)
		resource, isInstance := strings.CutPrefix(arn[len(arn)-1], "instance/")
		if len(arn) < parts || arn[2] != "ec2" || !isInstance || !lease.IsInstanceID(resource) {
			return "", cli.Usage("%q is not the ARN of an instance; give an instance id or a launch token", id)
		}
		id = resource
	}
	if !lease.IsInstanceID(id) && lease.CheckToken(id) != nil {
		return "", cli.Usage("%q is neither an instance id nor a launch token; find both with `lease list`", id)
	}
	return id, nil
}

// launchOf reads a launch. If it does not exist, the error suggests what the token may mean.
//
// Errors: [lease.NotFoundError].
func launchOf(ctx context.Context, store *etcd.Store, token string) (lease.Launch, error) {
	l, err := store.Launch(ctx, token)
	if !cli.Is[*lease.NotFoundError](err) {
		return l, err
	}
	snapshot, unread := store.Snapshot(ctx)
	if unread != nil {
		return l, err
	}
	return l, missing(snapshot, token)
}

// missing says that this id is not on record, and suggests what it may mean.
func missing(s lease.Snapshot, id string) error {
	if lease.IsInstanceID(id) {
		return &lease.NotFoundError{Kind: "lease", ID: id}
	}
	held, tokens := 0, []string{}
	for _, l := range s.Leases {
		if l.Holder == id {
			held++
		}
	}
	for _, l := range s.Launches {
		tokens = append(tokens, l.Token)
	}
	near := cli.Closest(id, tokens)
	switch {
	case held == 1:
		return cli.WithCode(cli.ExitMissing, fmt.Errorf("no launch for %q in the registry, but 1 lease has that holder: `lease list --holder %s` lists it", id, id))
	case held > 1:
		return cli.WithCode(cli.ExitMissing, fmt.Errorf("no launch for %q in the registry, but %d leases have that holder: `lease list --holder %s` lists them", id, held, id))
	case near != "":
		return cli.WithCode(cli.ExitMissing, fmt.Errorf("no launch for %q in the registry; did you mean %s?", id, near))
	}
	return &lease.NotFoundError{Kind: "launch", ID: id}
}

// targets are the leases that ids name, each once.
//
// Errors: [lease.NotFoundError] for a launch.
func targets(ctx context.Context, store *etcd.Store, ids []string) ([]target, error) {
	var all []target
	for _, id := range ids {
		some := []target{{id: id}}
		if !lease.IsInstanceID(id) {
			launch, err := launchOf(ctx, store, id)
			if err != nil {
				return nil, err
			}
			some = ofLaunch(launch)
		}
		for _, t := range some {
			if !slices.ContainsFunc(all, func(o target) bool { return o.id == t.id }) {
				all = append(all, t)
			}
		}
	}
	return all, nil
}

// someTargets are targets, at least one.
func someTargets(ctx context.Context, store *etcd.Store, ids []string) ([]target, error) {
	all, err := targets(ctx, store, ids)
	if err == nil && len(all) == 0 {
		err = cli.WithCode(cli.ExitMissing, fmt.Errorf("no instances of %s are on record; see `lease show %s`", strings.Join(ids, ", "), ids[0]))
	}
	return all, err
}

func ofLaunch(l lease.Launch) []target {
	var all []target
	for _, id := range l.Instances() {
		all = append(all, target{id: id, token: l.Token})
	}
	return all
}

// leasesOf reads the leases of targets. It skips leases of a launch that have no record, and says so.
//
// Errors: [lease.NotFoundError] for a lease that was named by its own id, and those of a record that cannot be read.
func leasesOf(c *ucli.Context, store *etcd.Store, all []target) ([]lease.Lease, error) {
	found := []lease.Lease{}
	for _, t := range all {
		l, err := store.Lease(c.Context, t.id)
		if cli.Is[*lease.NotFoundError](err) && t.token != "" {
			cli.Say(c, "%s, of launch %s, has no lease on record", t.id, t.token)
			continue
		}
		if err != nil {
			return nil, err
		}
		found = append(found, l)
	}
	return found, nil
}

// done is the result for one lease.
type done struct {
	lease  lease.Lease
	said   string // for people; one line, empty if there was nothing to do
	result any    // for programs, if that is more than the lease
	over   bool   // skipped: nothing is left to change
	less   bool   // less was done than requested
}

// each does the same for every target. It reports failures and continues with the rest, unless the registry does not
// answer. It prints the results: one line each as it happens, or a JSON list at the end.
func each(c *ucli.Context, all []target, do func(target) (done, error)) error {
	results, failed, over, less := []any{}, []error{}, 0, false
	for _, t := range all {
		d, err := do(t)
		if err != nil {
			failed = append(failed, err)
			if len(all) > 1 {
				cli.Say(c, "lease: %v", registry.Advise(err))
			}
			if noAnswer(err) || c.Err() != nil {
				break
			}
			continue
		}
		if d.said == "" {
			continue
		}
		if d.over {
			over++
			cli.Say(c, "%s", d.said)
			continue
		}
		less = less || d.less
		if d.result == nil {
			d.result = d.lease
		}
		results = append(results, d.result)
		if !cli.WantsJSON(c) {
			_ = cli.Prose(c.App.Writer, d.said) // the change was made; a failed write to stdout is reported at the end
		}
	}
	if cli.WantsJSON(c) {
		if err := cli.JSON(c, results); err != nil {
			return err
		}
	}
	if over > 0 && len(results) == 0 && len(failed) == 0 {
		return cli.WithCode(cli.ExitRefused, fmt.Errorf("nothing to %s: no lease of %s is valid any more", c.Command.Name, some(c.Args().Slice())))
	}
	if less && len(failed) == 0 {
		return &cli.QuietError{Code: cli.ExitPartly}
	}
	return sum(len(all), len(results), failed)
}

// sum is the error of a command for several leases. Each failure was reported, unless there is only one target.
func sum(asked, finished int, failed []error) error {
	switch {
	case len(failed) == 0:
		return nil
	case asked == 1:
		return failed[0]
	}
	has := func(code int) bool {
		return slices.ContainsFunc(failed, func(err error) bool { return registry.ExitCode(err) == code })
	}
	if finished > 0 && !has(cli.ExitUnknown) {
		return &cli.QuietError{Code: cli.ExitPartly}
	}
	// The code that needs the most attention comes first.
	for _, code := range []int{cli.ExitUnknown, cli.ExitPartly, cli.ExitRefused, cli.ExitHeld, cli.ExitMissing, cli.ExitUsage} {
		if has(code) {
			return &cli.QuietError{Code: code}
		}
	}
	return &cli.QuietError{Code: cli.ExitFailed}
}

// noAnswer reports whether the registry did not answer in time, so that the next call will probably fail too.
func noAnswer(err error) bool { return errors.Is(err, context.DeadlineExceeded) }

// write changes a lease. If etcd may have written the change although no answer came, the error says so, with the
// command that finds out by repeating it.
func write(ctx context.Context, store *etcd.Store, id, again string, change func(lease.Lease) (lease.Lease, error)) (before, after lease.Lease, err error) {
	sent := false
	before, after, err = store.UpdateLease(ctx, id, func(l lease.Lease) (lease.Lease, error) {
		changed, err := change(l)
		sent = err == nil
		return changed, err
	})
	if sent && err != nil && !known(err) {
		err = cli.WithCode(cli.ExitUnknown, fmt.Errorf("the outcome for %s is unknown (%w); run `lease %s` again", id, registry.Advise(err), again))
	}
	return before, after, err
}

// known reports whether the registry has answered: there is no such record, or none that can be read. Nothing was written.
func known(err error) bool {
	return cli.Is[*lease.NotFoundError](err) || cli.Is[*lease.SchemaError](err) || cli.Is[*lease.MalformedError](err)
}

// skipOver skips a lease of a launch that has ended or is unmanaged: nothing is left to change.
func skipOver(t target, l lease.Lease, err error) (done, error) {
	if cli.Is[*lease.StateError](err) && t.token != "" && (l.State == lease.StateEnded || l.State == lease.StateUnmanaged) {
		return done{lease: l, said: fmt.Sprintf("%s is %s; skipped", t.id, l.State), over: true}, nil
	}
	return done{}, err
}
