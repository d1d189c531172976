package sim

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
)

// The two tags that say until when an instance is leased, and that it once was.
const (
	expiresTag = "lapse:expires"
	leasedTag  = "lapse:leased"
)

// tagTrouble is what goes wrong with calls about tags, each until a time.
type tagTrouble struct {
	denied, throttled, late time.Time
}

// createTags sets tags on all that it names, or on nothing. Where tags are late, it answers at once and does it later.
func (f *fleet) createTags(p *process, sent time.Time, in *ec2.CreateTagsInput) (any, *refused) {
	tags := map[string]string{}
	for _, t := range in.Tags {
		tags[aws.ToString(t.Key)] = aws.ToString(t.Value)
	}
	now := time.Now()
	if err := f.mayTag(p, in.Resources, tags); err != nil {
		return nil, err
	}
	if !now.Before(f.tagging.late) {
		f.write(p, sent, in.Resources, tags)
		return &ec2.CreateTagsOutput{}, nil
	}
	r := f.w.dice.of(p.name+" tags late "+subject(in), int(sent.UnixNano()/1e6))
	time.AfterFunc(r.between(time.Second, maxStale), func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.write(p, sent, in.Resources, tags)
	})
	return &ec2.CreateTagsOutput{}, nil
}

// mayTag refuses what EC2 does not know, what is denied, and what operator.json denies to people: the tag of one registry
// over that of another. A janitor has credentials for all, so that what it should not write shows.
func (f *fleet) mayTag(p *process, ids []string, tags map[string]string) *refused {
	now := time.Now()
	registry, registers := tags[registryTag]
	for _, id := range ids {
		held, known := f.tagsOf(id)
		if !known {
			return refusal(unknownID(id))
		}
		if other := held[registryTag]; registers && other != "" && other != registry {
			return &refused{"UnauthorizedOperation", http.StatusForbidden}
		}
	}
	switch {
	case p.role == "janitor" && now.Before(f.tagging.denied):
		return &refused{"UnauthorizedOperation", http.StatusForbidden}
	case now.Before(f.tagging.throttled):
		return refusal("RequestLimitExceeded")
	}
	return nil
}

// deleteTags removes tags, each only where it has the value that is named.
func (f *fleet) deleteTags(p *process, sent time.Time, in *ec2.DeleteTagsInput) (any, *refused) {
	for _, id := range in.Resources {
		if _, known := f.tagsOf(id); !known {
			return nil, refusal(unknownID(id))
		}
	}
	for _, id := range in.Resources {
		held, _ := f.tagsOf(id)
		gone, blind := map[string]string{}, ""
		for _, t := range in.Tags {
			key := aws.ToString(t.Key)
			if t.Value == nil {
				blind = key
			}
			if value, there := held[key]; there && (t.Value == nil || *t.Value == value) {
				gone[key] = value
			}
		}
		f.w.trace.add(event{kind: untagged, who: p.name, id: id, text: blind, tags: gone, sent: sent})
		f.retag(id, func(tags map[string]string) {
			maps.DeleteFunc(tags, func(key, _ string) bool { _, is := gone[key]; return is })
		})
	}
	return &ec2.DeleteTagsOutput{}, nil
}

// write sets tags, and tells who did.
func (f *fleet) write(p *process, sent time.Time, ids []string, tags map[string]string) {
	for _, id := range ids {
		machine := ""
		if x := f.piece(id); x != nil {
			machine = x.machine
		}
		f.w.trace.add(event{kind: wrote, who: p.name, id: id, text: machine, tags: tags, sent: sent})
		f.retag(id, func(held map[string]string) { maps.Copy(held, tags) })
	}
}

// retag changes the tags of an instance, a volume or an interface, if it is still there.
func (f *fleet) retag(id string, change func(map[string]string)) {
	if m := f.byID[id]; m != nil {
		f.tag(m, change)
		return
	}
	if x := f.piece(id); x != nil {
		x.tags = maps.Clone(x.tags)
		if x.tags == nil {
			x.tags = map[string]string{}
		}
		change(x.tags)
	}
}

// tagsOf are the tags of an instance, a volume or an interface.
func (f *fleet) tagsOf(id string) (tags map[string]string, known bool) {
	if m := f.byID[id]; m != nil {
		return m.tags, true
	}
	if x := f.piece(id); x != nil {
		return x.tags, true
	}
	return nil, false
}

func unknownID(id string) string {
	switch {
	case strings.HasPrefix(id, "vol-"):
		return "InvalidVolume.NotFound"
	case strings.HasPrefix(id, "eni-"):
		return "InvalidNetworkInterfaceID.NotFound"
	}
	return "InvalidInstanceID.NotFound"
}

func tagFaults() []fault {
	lasting := func(set func(*tagTrouble, time.Time)) func(*world, *rand.Rand) (time.Duration, bool) {
		return func(w *world, r *rand.Rand) (time.Duration, bool) {
			d := between(r, time.Minute, 10*time.Minute)
			w.fleet.set(func(f *fleet) { set(&f.tagging, time.Now().Add(d)) })
			return d, true
		}
	}
	one := func(do func(*fleet, *rand.Rand, *machine)) func(*world, *rand.Rand) (time.Duration, bool) {
		return func(w *world, r *rand.Rand) (time.Duration, bool) {
			return 0, w.fleet.change(r, running, func(m *machine) { do(w.fleet, r, m) })
		}
	}
	return []fault{
		{"tags denied", 2, lasting(func(t *tagTrouble, until time.Time) { t.denied = until })},
		{"tags throttled", 2, lasting(func(t *tagTrouble, until time.Time) { t.throttled = until })},
		{"tags late", 3, lasting(func(t *tagTrouble, until time.Time) { t.late = until })},
		{"tags stripped", 3, one(strip)},
		{"tags edited", 4, one(editTag)},
		{"tags copied", 3, one(copyTags)},
	}
}

// strip removes what a clean-up script takes for rubbish: the date, what says that there was a lease, or whose it is.
func strip(f *fleet, r *rand.Rand, m *machine) {
	key := pick(r, expiresTag, expiresTag, leasedTag, registryTag)
	f.tag(m, func(tags map[string]string) { delete(tags, key) })
	for _, x := range f.pieces {
		if x.machine == m.id && oneIn(r, 2) {
			f.retag(x.id, func(tags map[string]string) { delete(tags, key) })
		}
	}
}

// editTag is somebody at a console who believes that the date on the tag is the lease.
func editTag(f *fleet, r *rand.Rand, m *machine) {
	earlier := time.Now().Add(-between(r, time.Minute, time.Hour)).UTC().Format(time.RFC3339)
	later := time.Now().Add(between(r, 10*time.Minute, 30*time.Minute)).UTC().Format(time.RFC3339)
	value := pick(r, earlier, earlier+" 1", earlier+" 2", earlier+" 7", earlier+" 999000000", earlier+" 1000000000", later, later+" 5",
		later+" 999000000", "none 4", "tomorrow", "", earlier+" 0", earlier+" 07", earlier+" -3")
	f.tag(m, func(tags map[string]string) { tags[expiresTag] = value })
}

// copyTags makes another instance that bears all tags of one, as an Auto Scaling group or "Launch more like this" does. Its
// client token is another. Of some, the date was given a high number before.
func copyTags(f *fleet, r *rand.Rand, m *machine) {
	tags := maps.Clone(m.tags)
	if oneIn(r, 2) {
		tags[expiresTag] = time.Now().Add(-time.Hour).UTC().Format(time.RFC3339) + pick(r, " 9", " 999000000")
	}
	f.add(&machine{role: copiedRole, zone: m.zone, token: fmt.Sprintf("console-%d", f.serial), tags: tags})
}
