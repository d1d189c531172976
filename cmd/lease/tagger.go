package main

import (
	"context"
	"fmt"
	"maps"
	"time"

	ucli "github.com/urfave/cli/v2"

	"lapse/cmd/internal/cli"
	"lapse/cmd/internal/registry"
	"lapse/lease"
	"lapse/lease/ec2"
	"lapse/lease/etcd"
)

// How long EC2 may take to show a tag that was set or removed, and how often it is asked. Some seconds have been
// observed: https://docs.aws.amazon.com/ec2/latest/devguide/eventual-consistency.html
const (
	shownWithin   = 10 * time.Second
	describeEvery = 250 * time.Millisecond
)

// How long EC2 may take to find an instance by every call, and how often it is tried.
const (
	knownWithin = 2 * time.Minute
	tagEvery    = 2 * time.Second
)

// tagger sets and removes the tags by which an instance is managed. EC2 cannot set a tag on condition of its value, so
// whoever sets one checks afterwards that it is there, and whoever removes one gives its value.
type tagger struct {
	cloud    *ec2.Cloud
	store    *etcd.Store
	registry lease.Registry
}

// mark sets the registry's tag for a lease that is on record, and checks that it is there. If the instance has another
// registry's tag, it gives up the lease.
func (t tagger) mark(c *ucli.Context, id string) error {
	tagged := t.tag(c, id)
	if tagged.Err != nil && !tagged.Refused() { // it may be set anyway
		return half(id, tagged.Err)
	}
	found, err := t.shown(c.Context, []string{id}, func(i lease.Instance) bool {
		return tagged.Err != nil || i.Tags[lease.TagRegistry] != "" || !i.Alive()
	}, func(lease.Instance) error { return nil })
	i := found[id]
	switch other := i.Tags[lease.TagRegistry]; {
	case err != nil:
		return half(id, err)
	case other != "" && other != t.registry.UUID:
		return t.giveUp(c, id, other)
	case tagged.Err != nil:
		return half(id, tagged.Err)
	case i.ID == "" || !i.Alive():
		return cli.WithCode(cli.ExitPartly, fmt.Errorf("%s has a lease, but has since been terminated", id))
	case other == "":
		return half(id, fmt.Errorf("EC2 does not show the tag after %s", brief(shownWithin)))
	}
	if l, err := t.store.Lease(c.Context, id); err != nil || l.Live() {
		return err
	}
	if err := t.unmark(c.Context, id); err != nil {
		return half(id, err)
	}
	return cli.WithCode(cli.ExitRefused, fmt.Errorf("%s was unmanaged or revoked by somebody else at the same time; its tag is removed again", id))
}

// tag sets the registry's tag. It keeps trying for a while if EC2 does not know the instance yet: after a creation,
// some calls know it before others do.
func (t tagger) tag(c *ucli.Context, id string) lease.Tagging {
	var tagged lease.Tagging
	deadline := time.Now().Add(knownWithin)
	_, _ = cli.Poll(c.Context, tagEvery, knownWithin, func() (bool, error) {
		tagged = t.cloud.Tag(c.Context, []string{id}, map[string]string{lease.TagRegistry: t.registry.UUID})[0]
		if tagged.Code != "InvalidInstanceID.NotFound" {
			return true, nil
		}
		cli.Say(c, "EC2 does not know %s yet; trying again for %s", id, brief(time.Until(deadline).Round(time.Second)))
		return false, nil
	})
	return tagged
}

// half says that there is a lease, but not its tag.
func half(id string, err error) error {
	return cli.WithCode(cli.ExitPartly, fmt.Errorf("%s has a lease, but not its tag (%w); run the same command again", id, registry.Advise(err)))
}

// giveUp gives up a lease whose instance has the tag of another registry, so that nothing of it is left here.
func (t tagger) giveUp(c *ucli.Context, id, other string) error {
	by := lease.By{Actor: cli.Actor(), Reason: "it bears the tag of registry " + other}
	_, _, err := write(c.Context, t.store, id, "unmanage "+id, func(l lease.Lease) (lease.Lease, error) {
		if !l.Live() {
			return l, nil
		}
		return l.Unmanage(time.Now(), by)
	})
	if err != nil {
		return err
	}
	return cli.WithCode(cli.ExitRefused, fmt.Errorf("cannot adopt %s: another registry, %s, adopted it at the same time; its lease here is removed", id, other))
}

// unmark removes our tags from instances whose leases were given up, each by its value, until EC2 shows none of them.
// The tags of another registry stay. If somebody has adopted an instance into this registry in the meantime, and EC2
// shows no registry's tag, it sets the removed tags again.
func (t tagger) unmark(ctx context.Context, ids ...string) error {
	removed := map[string]map[string]string{}
	found, err := t.shown(ctx, ids, func(i lease.Instance) bool { return len(t.borne(i)) == 0 }, func(i lease.Instance) error {
		if removed[i.ID] == nil {
			removed[i.ID] = map[string]string{}
		}
		maps.Copy(removed[i.ID], t.borne(i))
		return t.cloud.Untag(ctx, i.ID, t.borne(i))
	})
	if err != nil {
		return err
	}
	for id, tags := range removed {
		if left := t.borne(found[id]); len(left) > 0 {
			return fmt.Errorf("EC2 still shows %s of %s after %s", count(len(left), "tag"), id, brief(shownWithin))
		}
		l, err := t.store.Lease(ctx, id)
		if err != nil {
			return err
		}
		if i := found[id]; l.Live() && i.ID != "" && i.Alive() && i.Tags[lease.TagRegistry] == "" && tags[lease.TagRegistry] != "" {
			if err := t.cloud.Tag(ctx, []string{id}, tags)[0].Err; err != nil {
				return err
			}
		}
	}
	return nil
}

// borne are our tags on an instance, with their values: none if it has another registry's tag, or is terminated.
func (t tagger) borne(i lease.Instance) map[string]string {
	tags := map[string]string{}
	if registry := i.Tags[lease.TagRegistry]; registry != "" && registry != t.registry.UUID || !i.Alive() {
		return tags
	}
	for _, key := range []string{lease.TagRegistry, lease.TagLaunch, lease.TagExpires, lease.TagLeased} {
		if value, is := i.Tags[key]; is {
			tags[key] = value
		}
	}
	return tags
}

// shown describes instances until each is as wanted, for a limited time, and calls otherwise for each that is not. It
// returns the last descriptions, without instances that EC2 does not find.
func (t tagger) shown(
	ctx context.Context, ids []string, wanted func(lease.Instance) bool, otherwise func(lease.Instance) error,
) (map[string]lease.Instance, error) {
	found := map[string]lease.Instance{}
	_, err := cli.Poll(ctx, describeEvery, shownWithin, func() (bool, error) {
		listing, err := t.cloud.Describe(ctx, ids)
		if err != nil {
			return false, err
		}
		ids = nil
		for _, i := range listing.Instances {
			if found[i.ID] = i; wanted(i) {
				continue
			}
			ids = append(ids, i.ID)
			if err := otherwise(i); err != nil {
				return false, err
			}
		}
		return len(ids) == 0, nil
	})
	return found, err
}
