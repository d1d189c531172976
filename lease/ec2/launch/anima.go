package launch

import (
	"cmp"
	"context"
	"crypto/md5" //nolint:gosec // see publicKey
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"golang.org/x/crypto/ssh"

	"lapse/lease"
	"lapse/lease/ec2"
)

// keyBits is the size of the key of an anima. Nobody has its private half, but EC2 refuses smaller ones, and Windows images
// other kinds.
//
// Source: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-key-pairs.html
const keyBits = 2048

// publicKey is the public half of a key pair whose private half is forgotten: nobody can log in with it. prints are its
// fingerprints, in every form in which an endpoint may show them: of its DER, as EC2 does, and of the key as SSH has it.
//
// Source: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/verify-keys.html and RFC 4716, section 4
func publicKey() (line []byte, prints []string, err error) {
	key, err := rsa.GenerateKey(rand.Reader, keyBits)
	if err != nil {
		return nil, nil, err
	}
	public, err := ssh.NewPublicKey(&key.PublicKey)
	if err != nil {
		return nil, nil, err
	}
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		return nil, nil, err
	}
	of := md5.Sum(der) //nolint:gosec // as EC2 shows it; it protects nothing
	hexed := strings.ReplaceAll(fmt.Sprintf("% x", of), " ", ":")
	sha := strings.TrimPrefix(ssh.FingerprintSHA256(public), "SHA256:")
	return ssh.MarshalAuthorizedKey(public), []string{hexed, ssh.FingerprintLegacyMD5(public), sha}, nil
}

// makeKey makes the key pair of the last attempt, which is on record as about to be made before that. One that is there
// already is ours only if it shows that, as after an answer that was lost; otherwise the next attempt gets one of another
// name, for this one was never sent.
func (r *run) makeKey(ctx context.Context) error {
	a := r.launch.Last()
	if r.keyOf != a.ClientToken {
		if skew, dated, err := r.cloud.Clock(ctx); err != nil {
			return err
		} else if dated && skew.Abs() > lease.MaxSkew { // what is created now would seem to be older than its key pair
			return &ec2.ClockError{Skew: skew}
		}
		public, prints, err := r.config.NewKey()
		if err != nil {
			return err
		}
		making, err := r.launch.MakingKey(r.config.Now(), prints...)
		if err != nil {
			return err
		}
		if err := r.put(ctx, making); err != nil {
			return err
		}
		r.keyOf, r.public = a.ClientToken, public
	}
	name := lease.KeyName(r.launch.Registry, a.ClientToken)
	tags := map[string]string{lease.TagRegistry: r.launch.Registry, lease.TagLaunch: a.ClientToken}
	r.tell(EventSending, r.launch, "making the key pair "+name)
	id, err := r.cloud.ImportKeyPair(ctx, name, r.public, tags)
	if answerOf(err).Code == ec2.KeyPairDuplicate {
		var there lease.Leftover
		if there, err = r.cloud.KeyPair(ctx, name); err == nil && there.ID != "" && !r.launch.OwnsKey(there) {
			return r.note(ctx, a.ClientToken, lease.Launch.NoKey)
		}
		id = there.ID
	}
	if err == nil && id == "" {
		err = errors.New("EC2 answered without the id of the key pair " + name)
	}
	switch {
	case err != nil && (answerOf(err).Refused() || ctx.Err() != nil):
		return err
	case err != nil: // it may be there, and is found by its name when it is made again
		r.lastErr = err
		r.replays++
		return r.pause(ctx)
	}
	r.replays = 0
	return r.note(ctx, a.ClientToken, func(l lease.Launch) lease.Launch { return l.KeyMade(id) })
}

// searching is what this launcher has seen of an attempt whose outcome is not known, by its own monotonic clock. It is not
// stored: whoever goes on with the launch searches for as long again.
type searching struct {
	clientToken string
	ids         []string
	since       time.Time // the answer has been the same since then
}

// An endpoint is asked so many times during a search, or every 15 s.
const (
	searches       = 20
	searchEveryMax = 15 * time.Second
)

// search looks once for what the last attempt has created. Once the answer has been the same for longer than the endpoint
// may be inconsistent, that is the outcome. Nothing counts only if nothing is found without EC2's own filter, either: not
// every endpoint has one.
func (r *run) search(ctx context.Context) error {
	a := r.launch.Last()
	consistency := time.Duration(r.launch.Consistency)
	if r.searched.clientToken != a.ClientToken {
		r.searched = searching{clientToken: a.ClientToken}
		r.tell(EventSearching, r.launch, fmt.Sprintf("looking for what attempt %d has created, for %s", len(r.launch.Attempts), consistency))
	} else if err := r.wait(ctx, min(consistency/searches, searchEveryMax)); err != nil {
		return err
	}
	found, err := r.lookFor(ctx, a, true)
	switch {
	case err != nil && (answerOf(err).Refused() || ctx.Err() != nil):
		return err
	case err != nil:
		r.lastErr = err
		return nil //nolint:nilerr // it is asked again: an answer that is missing says nothing
	case r.searched.since.IsZero() || !slices.Equal(found, r.searched.ids):
		r.searched.ids, r.searched.since = found, time.Now()
	}
	underWay := r.config.Now().Sub(a.LastSend) <= r.config.CallTimeout // by another launcher, or with EC2 after one was killed
	if time.Since(r.searched.since) <= consistency || len(found) == 0 && underWay {
		return nil
	}
	if len(found) == 0 {
		if found, err = r.lookFor(ctx, a, false); err != nil {
			return err
		}
	}
	err = r.note(ctx, a.ClientToken, func(l lease.Launch) lease.Launch { return l.Found(found) })
	switch more := len(found) - a.Max; {
	case len(found) == 0:
		r.tell(EventRefused, r.launch, "nothing was created by it")
	case more > 0:
		r.tell(EventLaunched, r.launch, fmt.Sprintf("found %s, %d more than was asked for, which the janitor terminates", howMany(len(found)), more))
	default:
		r.tell(EventLaunched, r.launch, "found "+howMany(len(found)))
	}
	return err
}

// lookFor returns the instances of an attempt that are alive or were, what was launched first before the others.
func (r *run) lookFor(ctx context.Context, a lease.Attempt, filtered bool) ([]string, error) {
	instances, err := r.cloud.Keyed(ctx, []string{lease.KeyName(r.launch.Registry, a.ClientToken)}, filtered)
	if err != nil {
		return nil, err
	}
	instances = slices.DeleteFunc(instances, func(i lease.Instance) bool {
		made, member := r.launch.Member(i)
		return !member || made.ClientToken != a.ClientToken
	})
	slices.SortFunc(instances, func(a, b lease.Instance) int {
		return cmp.Or(a.LaunchTime.Compare(b.LaunchTime), cmp.Compare(a.ID, b.ID))
	})
	r.remember(instances)
	ids := make([]string, len(instances))
	for n, i := range instances {
		ids[n] = i.ID
	}
	return ids, nil
}

// forgetKeys deletes the key pairs of a settled launch: nothing can be launched with them any longer. Those that stay, for
// want of a permission or of an answer, cost nothing.
func (r *run) forgetKeys(ctx context.Context) {
	for _, a := range r.launch.Attempts {
		if a.KeyID == "" {
			continue
		}
		if err := r.cloud.Remove(ctx, lease.Leftover{Kind: lease.LeftoverKeyPair, ID: a.KeyID, Name: lease.KeyName(r.launch.Registry, a.ClientToken)}).Err; err != nil {
			r.warn(r.launch.Token, "", "the key pair "+lease.KeyName(r.launch.Registry, a.ClientToken)+" was not deleted: "+err.Error())
		}
	}
}

// retag sets the tags of the creating call on those instances of a launch that lack them, as where an endpoint drops them:
// what is bound without them could not be terminated.
func (r *run) retag(ctx context.Context, ids []string) error {
	if r.launch.Anima != lease.AnimaKeyPair {
		return nil
	}
	in, err := input(r.launch)
	if err != nil {
		return err
	}
	frozen := tagSets(in.TagSpecifications)
	for _, id := range ids {
		i, seen := r.seen[id]
		a, member := r.launch.Member(i)
		if !seen || !member || i.ManagedBy(r.launch.Registry) {
			continue
		}
		var absent *lease.NotFoundError
		switch _, err := r.store.Lease(ctx, id); {
		case err == nil:
			continue // its tags were set before it was bound, and say more by now, or somebody took them off
		case !errors.As(err, &absent):
			return err
		}
		for _, of := range []struct {
			kind types.ResourceType
			ids  []string
		}{{types.ResourceTypeVolume, kindOf(i.Attached, "vol-")}, {types.ResourceTypeNetworkInterface, kindOf(i.Attached, "eni-")}, {types.ResourceTypeInstance, []string{id}}} {
			tags := maps.Clone(frozen[of.kind])
			if len(of.ids) == 0 || len(tags) == 0 {
				continue
			}
			tags[lease.TagLaunch] = a.ClientToken
			for _, tagging := range r.cloud.Tag(ctx, of.ids, tags) {
				if tagging.Err != nil && (of.kind == types.ResourceTypeInstance || !tagging.Refused()) {
					return tagging.Err
				}
			}
		}
	}
	return nil
}

// kindOf are the ids of one kind, by how they begin.
func kindOf(ids []string, prefix string) []string {
	return slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return !strings.HasPrefix(id, prefix) })
}

// shows waits until the endpoint shows all of these instances, or has not done so for longer than it may be inconsistent: then
// they have ended and are forgotten. What is bound without its tags could never be terminated. It reports false if it is to be
// asked again.
func (r *run) shows(ctx context.Context, ids []string) (bool, error) {
	consistency := time.Duration(r.launch.Consistency)
	hidden := slices.ContainsFunc(ids, func(id string) bool { _, seen := r.seen[id]; return !seen })
	switch {
	case r.launch.Anima != lease.AnimaKeyPair || !hidden:
		return true, nil
	case r.hiddenSince.IsZero():
		r.hiddenSince = time.Now()
	case time.Since(r.hiddenSince) > consistency:
		return true, nil
	}
	return false, r.wait(ctx, min(consistency/searches, searchEveryMax))
}
