package launch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"lapse/lease"
	"lapse/lease/ec2"
)

// create puts a new launch on record, frozen and with its first attempt, before anything is sent. If somebody else put
// the same one there in between, it returns that and true.
func (l *Launcher) create(ctx context.Context, o order, registry lease.Registry) (lease.Launch, bool, error) {
	record, err := l.prepare(ctx, o, registry)
	if err != nil {
		return lease.Launch{}, false, err
	}
	stored, err := l.store.PutLaunch(ctx, record)
	var conflict *lease.ConflictError
	switch {
	case errors.As(err, &conflict):
		stored, found, err := l.recall(ctx, o)
		if err == nil && !found {
			err = conflict
		}
		return stored, found, err
	case err != nil: // it may be there all the same
		return lease.Launch{}, false, &UnfinishedError{Token: o.Token, Err: err}
	}
	l.tell(EventStored, stored, "the launch is on record; its token finds it again")
	return stored, false, nil
}

// prepare makes the record of a new launch, and writes nothing.
func (l *Launcher) prepare(ctx context.Context, o order, registry lease.Registry) (lease.Launch, error) {
	sweep, err := l.preflight(ctx, o, registry)
	if err != nil {
		return lease.Launch{}, err
	}
	anima, err := l.anima(o, registry)
	if err != nil {
		return lease.Launch{}, err
	}
	retention := cmp.Or(time.Duration(sweep.Retention), l.config.Retention)
	if made, generated := lease.TokenTime(o.Token); generated && l.config.Now().Sub(made) > retention {
		return lease.Launch{}, &StaleTokenError{Token: o.Token, Generated: made}
	}
	template, err := l.freeze(ctx, o.in)
	if err != nil {
		return lease.Launch{}, err
	}
	if err := intoInterfaces(o.in, template, o.Subnets, o.Count); err != nil {
		return lease.Launch{}, err
	}
	l.warnOfOverrides(o, creates(o.in, template))
	record := lease.Launch{
		Schema: lease.Schema, Token: o.Token, State: lease.LaunchOpen,
		Account: l.cloud.Location().Account, Region: l.cloud.Location().Region, Count: o.Count,
		Term: lease.Duration(o.Term), MaxTerm: lease.Duration(o.MaxTerm), HeartbeatTimeout: lease.Duration(o.HeartbeatTimeout),
		Window: cmp.Or(sweep.LaunchWindow, lease.Duration(l.config.Window)), Holder: o.Holder, Labels: o.Labels,
		SelfExtend: o.SelfExtend, Asked: o.digest, Subnets: o.Subnets, InstanceTypes: o.InstanceTypes,
		CreatedAt: l.config.Now().UTC().Round(0).Truncate(time.Millisecond),
	}
	if anima == lease.AnimaKeyPair {
		if aws.ToString(template.KeyName) != "" {
			return lease.Launch{}, &RequestError{Field: "LaunchTemplate", Why: "names a key pair, which " + ownKey}
		}
		record.Anima, record.Registry = anima, registry.UUID
		record.Consistency = lease.Duration(cmp.Or(o.Consistency, lease.DefaultConsistency))
	}
	if !o.Until.IsZero() {
		record.Term = lease.Duration(o.Until.Sub(record.CreatedAt))
		switch {
		case record.Term <= 0:
			return lease.Launch{}, &lease.LimitError{What: "until " + date(o.Until), Why: "has passed; give a date in the future"}
		case record.Term == math.MaxInt64:
			return lease.Launch{}, &lease.LimitError{What: "until " + date(o.Until), Why: "must be within 292 years; or launch without an expiry"}
		case record.MaxTerm > 0 && record.Term > record.MaxTerm:
			return lease.Launch{}, &lease.LimitError{What: "until " + date(o.Until), Why: "must not be later than not-after " + o.MaxTerm.String()}
		}
	}
	if !o.NoJoin {
		record.API = registry.API
	}
	if record.API != "" && record.HeartbeatTimeout > 0 && !l.config.Proves(record.Region) {
		return lease.Launch{}, &RequestError{Field: "HeartbeatTimeout", Option: "HeartbeatTimeout", Why: "cannot be kept through the API: " +
			"no certificate for identity documents of " + record.Region + " is known, so no instance there can enrol"}
	}
	return l.first(o.in, template, record, registry.UUID)
}

// first freezes the request in the record of a new launch, and adds its first attempt.
func (l *Launcher) first(in *awsec2.RunInstancesInput, template *types.ResponseLaunchTemplateData, record lease.Launch, registry string) (lease.Launch, error) {
	err := complete(in, template, record, registry)
	if err != nil {
		return lease.Launch{}, err
	}
	if record.API != "" {
		if err := takeUserData(in, template); err != nil {
			return lease.Launch{}, err
		}
	}
	if record.Request, err = writeSkeleton(in); err != nil {
		return lease.Launch{}, err
	}
	record, _ = record.Next()
	if record, err = l.joining(record); err != nil {
		return lease.Launch{}, err
	}
	return record, checkJoin(record, in)
}

// anima is what finds again what the order creates: as it says, or else the registry. Client tokens are refused where the
// endpoint is known to ignore them.
//
// Errors: [TokensIgnoredError], [RequestError].
func (l *Launcher) anima(o order, registry lease.Registry) (lease.Anima, error) {
	location := l.cloud.Location()
	anima := cmp.Or(o.Anima, registry.Animas[location.String()])
	product, shown := l.cloud.IgnoresTokens(), registry.Tokenless[location.String()]
	switch {
	case anima == lease.AnimaKeyPair && aws.ToString(o.in.KeyName) != "":
		return "", &RequestError{Field: "KeyName", Why: ownKey}
	case anima == lease.AnimaKeyPair:
		return anima, nil
	case product != "" || shown != "":
		return "", &TokensIgnoredError{Location: location, Product: product, Instance: shown}
	}
	return lease.AnimaClientToken, nil
}

// preflight refuses a launch whose instances nobody would end, or would end at the wrong time, and returns the last
// sweep's checkpoint; zero if there was none. A launch that is resumed is not asked again: refusing it would only prolong a
// doubt.
//
// Errors: [UnattendedError], [ec2.ClockError].
func (l *Launcher) preflight(ctx context.Context, o order, registry lease.Registry) (lease.Checkpoint, error) {
	sweep, err := l.store.Checkpoint(ctx)
	if _, absent := errors.AsType[*lease.NotFoundError](err); err != nil && !absent {
		return lease.Checkpoint{}, err
	}
	skew, dated, err := l.cloud.Clock(ctx)
	if err != nil {
		return lease.Checkpoint{}, err
	}
	if dated && skew.Abs() > lease.MaxSkew {
		return lease.Checkpoint{}, &ec2.ClockError{Skew: skew}
	}
	location, now := l.cloud.Location(), l.config.Now().Add(-skew) // by EC2's clock, as checkpoints are dated
	if !o.Unattended && (!sweep.Names(location) || !sweep.Fresh(now)) {
		return lease.Checkpoint{}, &UnattendedError{Location: location, Last: sweep.Time, Named: sweep.Names(location), Swept: sweep.Locations}
	}
	switch {
	case registry.Mode == lease.ModePaused:
		l.warn(o.Token, WarnPaused, "the registry is paused: no janitor terminates anything")
	case registry.Mode != lease.ModeArmed:
		l.warn(o.Token, WarnMode, fmt.Sprintf("the registry's mode is %q: no janitor terminates anything", registry.Mode))
	}
	if !dated {
		l.warn(o.Token, "", "this EC2 endpoint sends no date, so the clock of this machine was not checked")
	}
	return sweep, nil
}

// warnOfOverrides says what a launch sets otherwise than the request does.
func (l *Launcher) warnOfOverrides(o order, created []types.ResourceType) {
	warn := func(text string) { l.warn(o.Token, "", text) }
	for _, kind := range o.tagged {
		if slices.Contains(taggable(), kind) && !slices.Contains(created, kind) {
			warn(fmt.Sprintf("TagSpecifications for %s in the request are left out: this request creates none, and EC2 would refuse them", kind))
		}
	}
	if m := o.in.MetadataOptions; m != nil && m.HttpTokens == types.HttpTokensStateOptional {
		warn("MetadataOptions.HttpTokens is set to required, not optional as the request says")
	}
	if o.encoded {
		warn("the user-data is already base64 and is not encoded again; to send it literally, encode it once more")
	}
	if o.rehearsal {
		l.warn(o.Token, WarnDryRun, "DryRun in the request is ignored, because every new skeleton contains it")
	}
	if o.in.InstanceInitiatedShutdownBehavior == types.ShutdownBehaviorStop {
		warn("InstanceInitiatedShutdownBehavior is set to terminate, not stop as the request says")
	}
}
