package sim

import (
	"strconv"
	"strings"
	"time"

	"lapse/lease"
)

// dated is a date with its number, as a record or a tag says it. Number 0 says nothing; without a date it is [never].
type dated struct {
	number int64
	at     time.Time
}

// maxTagNumber is the highest number on a tag that counts.
const maxTagNumber = 999_000_000

// readTag is the checker's own reading of lapse:expires.
func readTag(tags map[string]string) dated {
	words := strings.Split(tags[expiresTag], " ")
	d := dated{number: 1}
	if len(words) > 2 {
		return dated{}
	}
	if len(words) == 2 {
		n, err := strconv.ParseInt(words[1], 10, 64)
		if err != nil || n < 1 || n > maxTagNumber || strconv.FormatInt(n, 10) != words[1] {
			return dated{}
		}
		d.number = n
	}
	if words[0] == "none" {
		d.at = never()
		return d
	}
	at, err := time.Parse("2006-01-02T15:04:05Z", words[0])
	if err != nil {
		return dated{}
	}
	d.at = at
	return d
}

// date is the agreed date on record.
func (l *leaseRecord) date() dated { return dated{l.ExpiresNumber, l.until().Truncate(time.Second)} }

func (d dated) newer(than dated) bool {
	return d.number > than.number || d.number == than.number && d.at.After(than.at)
}

// passed by a clock that may be off by what the clock brake does not mind.
func (d dated) passed(now time.Time) bool { return d.number > 0 && !d.at.After(now.Add(maxSkew)) }

// checkKeys: no instance is ended for a date before the tag says so too, nor by a record that is behind its tag. Only
// what was so all the time in which somebody could have looked counts.
func (t *truth) checkKeys(id string, f *file, cause string, from, until time.Time) {
	b := t.machines[id]
	if b == nil {
		return
	}
	if cause == "expired" && b.always(from, until, func(tags map[string]string) bool { return !readTag(tags).passed(until) }) {
		t.find("keys", id, "terminated for an expiry at %s, but its tag says %q", clockOf(t.now), b.tags[len(b.tags)-1].what[expiresTag])
	}
	said := f.authorisedDate
	if f.record != nil && f.record.date().newer(said) {
		said = f.record.date()
	}
	if b.always(from, until, func(tags map[string]string) bool { return readTag(tags).newer(said) }) {
		t.find("keys", id, "terminated for %s by a record with number %d, but its tag says %q", cause, said.number, b.tags[len(b.tags)-1].what[expiresTag])
	}
}

// checkKept: what something kept beyond its date, a tag that came late or an exemption, is marked before it is ended. Only
// what kept it from before the date until two sweeps after it counts, for no janitor that acts can have missed that.
func (t *truth) checkKept(id string, f *file, before *leaseRecord) {
	b, over := t.machines[id], before.ExpiresAt
	from, until := over.Add(-time.Minute), over.Add(3*time.Minute)
	if b == nil || t.now.Before(until) {
		return
	}
	why := ""
	switch {
	case b.always(from, until, func(tags map[string]string) bool { return !readTag(tags).passed(over) }):
		why = "its tag"
	case b.always(from, until, func(tags map[string]string) bool { _, is := tags[exemptTag]; return is }):
		why = "an exemption"
	case b.always(from, until, func(tags map[string]string) bool { return tags[registryTag] != registryUUID }):
		why = "another registry's tag, or none"
	default:
		return
	}
	if before.Mark == nil || before.Mark.Cause != "expired" || t.now.Sub(f.marked) < t.shape.policy.MarkGrace-maxSkew {
		t.find("keys", id, "terminated without notice for an expiry at %s, after which %s had kept it", clockOf(over), why)
	}
}

// checkTagAtEnd: when all is calm, a tag says what was agreed, unless its date is so far ahead that it may wait, or a
// number was spent that no tag can follow.
func (t *truth) checkTagAtEnd(id string, b *body, l *leaseRecord) {
	tag := readTag(b.tags[len(b.tags)-1].what)
	if l.State != "active" || t.tagRests(b, l) || l.ExpiresNumber > maxTagNumber || t.standing["rollback"] || t.standing["unwatched"] {
		return
	}
	if d := l.date(); tag.number != d.number || !tag.at.Equal(d.at) {
		t.find("keys", id, "agreed until %s with number %d, but its tag says %q at the end", d.at.UTC().Format(time.RFC3339), d.number, b.tags[len(b.tags)-1].what[expiresTag])
	}
}

// tagRests reports whether a tag need not be written yet: its date was over an hour ahead when it was written last, and
// so is the one that was agreed since.
func (t *truth) tagRests(b *body, l *leaseRecord) bool {
	last := b.tags[len(b.tags)-1]
	tag := readTag(last.what)
	return tag.number > 0 && tag.at.Sub(last.at) > time.Hour && l.date().at.Sub(last.at) > time.Hour
}

// bound reports whether an instance bears the launch tag that its lease says. One that was unmanaged does not, and after a
// set-back to before that its record ends nothing: somebody has to adopt it again.
func (b *body) bound(l *leaseRecord) bool {
	if l.KeyName != "" {
		return l.KeyName == lease.KeyName(registryUUID, b.token)
	}
	return l.ClientToken == "" || b.tags[len(b.tags)-1].what[launchTag] == l.ClientToken
}

// always reports whether the tags were so all the time between.
func (b *body) always(from, until time.Time, so func(map[string]string) bool) bool {
	held := false
	for n, tags := range b.tags {
		last := n == len(b.tags)-1
		if tags.at.After(until) || !last && !b.tags[n+1].at.After(from) {
			continue
		}
		if !so(tags.what) {
			return false
		}
		held = true
	}
	return held
}

// tagLook is how old what a janitor knows of a tag may be when it writes over it: the listing, and what waits for EC2's
// limits and answers.
const tagLook = 5 * time.Minute

// checkWrote judges tags that somebody has set. EC2 knows no fence, so all is judged by when the call was made.
func (t *truth) checkWrote(e event) {
	if t.roles[e.who] != "janitor" {
		return
	}
	t.counts.tagged++
	if !t.led(e.who, e.sent.Add(-2*time.Minute), e.sent) {
		t.find("tags", e.id, "written by %s, which did not lead", e.who)
	}
	if !t.wroteTags(e.sent.Add(-2*time.Minute), e.sent) {
		t.find("tags", e.id, "written while the registry's mode is %q", t.modeAt(e.sent))
	}
	id := e.id
	if e.text != "" {
		id = e.text
	}
	b, f := t.machines[id], t.leases[id]
	from := e.sent.Add(-tagLook)
	if registry, completes := e.tags[registryTag]; completes {
		t.checkCompleted(e, b, f, registry)
		return
	}
	switch {
	case b == nil:
		return // it was attached to nothing any more
	case b.always(from, e.sent, func(tags map[string]string) bool { return tags[registryTag] != registryUUID }):
		t.find("tags", e.id, "written, although %s has no tag of this registry", id)
	case f == nil || f.active.IsZero():
		t.find("tags", e.id, "written, although %s never had an active lease", id)
		return
	case f.record == nil || f.record.State != "active":
		if e.sent.Sub(f.active) > tagLook {
			t.find("tags", e.id, "written %s after the lease of %s was active", e.sent.Sub(f.active), id)
		}
	}
	for key, value := range e.tags {
		switch {
		case key == leasedTag:
			t.checkLeased(e, id, b, value)
		case key == expiresTag && e.id == id:
			t.checkDate(e, b, f, readTag(e.tags))
		default:
			t.find("tags", e.id, "a janitor writes %s", key)
		}
	}
}

// checkCompleted: a janitor sets the tag of its registry, and nothing else, on what is being adopted into it, and only where
// neither a registry's tag was nor the one that forbids it.
func (t *truth) checkCompleted(e event, b *body, f *file, registry string) {
	taken := func(tags map[string]string) bool {
		_, exempt := tags[exemptTag]
		return tags[registryTag] != "" || exempt
	}
	switch {
	case registry != registryUUID || len(e.tags) != 1:
		t.find("tags", e.id, "a janitor writes %v", e.tags)
	case t.shape.quirks.dropsTags && b != nil && b.role == launchedRole && (f == nil || f.record == nil):
		l := t.launchOf(b.token)
		unsettled := (l.record == nil || l.record.State == "open") && !t.lost(e.sent.Add(-tagLook))
		if unsettled || b.always(b.made, e.sent.Add(-tagLook), taken) {
			t.find("tags", e.id, "a janitor manages what no settled launch left")
		}
	case b == nil || f == nil:
		t.find("tags", e.id, "a janitor manages what nobody adopted")
	case (f.record == nil || f.record.State != "adopting") && e.sent.Sub(f.adopting) > 2*time.Minute:
		t.find("tags", e.id, "a janitor manages it, although the last adoption was over %s before", e.sent.Sub(f.adopting))
	case b.always(e.sent.Add(-tagLook), e.sent, taken):
		t.find("tags", e.id, "a janitor manages what another registry has, or what is exempt")
	}
}

// checkLeased: it says whose lease there was, in a way that no copy does.
func (t *truth) checkLeased(e event, id string, b *body, value string) {
	own := value == b.token || value == id && e.id == id
	if !own {
		t.find("tags", e.id, "%s says %q, which is neither its client token nor its own id", leasedTag, value)
	}
}

// checkDate: a janitor writes only what was agreed, nothing older over what is newer, and an earlier date only by a person's
// word.
func (t *truth) checkDate(e event, b *body, f *file, d dated) {
	from := e.sent.Add(-tagLook)
	if !f.dates[dated{d.number, d.at.UTC()}] {
		t.find("tags", e.id, "a janitor writes %q, which was never agreed", e.tags[expiresTag])
	}
	if b.always(from, e.sent, func(tags map[string]string) bool { return readTag(tags).newer(d) }) {
		t.find("tags", e.id, "a janitor writes %q over what is newer", e.tags[expiresTag])
	}
	earlier := func(tags map[string]string) bool {
		old := readTag(tags)
		if old.number == 0 || !old.at.After(d.at) {
			return false
		}
		for n := range f.shortened {
			if n > old.number && n <= d.number {
				return false
			}
		}
		return true
	}
	if b.always(from, e.sent, earlier) {
		t.find("tags", e.id, "a janitor writes the earlier date %q, although nobody has shortened it", e.tags[expiresTag])
	}
	held := (t.standing["rollback"] || t.standing["unwatched"]) && e.sent.Sub(t.engaged) > time.Minute && !t.vouched.After(t.engaged)
	if held && b.always(from, e.sent, func(tags map[string]string) bool { return readTag(tags).number > 0 && readTag(tags).at.After(d.at) }) {
		t.find("tags", e.id, "a janitor writes the earlier date %q while the registry may have been set back", e.tags[expiresTag])
	}
}

// takeTagged: a date that is on the tag alone is lost where somebody writes over it who is none of us.
func (t *truth) takeTagged(e event) {
	b := t.machines[e.id]
	p, told := t.promises[e.id]
	told = told && p.tagged && t.onTag(e.id, p)
	b.tags = append(b.tags, since[map[string]string]{t.now, e.tags})
	if t.written == (since[string]{t.now, e.id}) {
		return
	}
	b.edited = t.now
	if told && !t.onTag(e.id, p) {
		t.counts.lost[editedSince]++
		delete(t.promises, e.id)
	}
}

// checkUntagged: whoever removes a tag names its value, so that what somebody else has written stays.
func (t *truth) checkUntagged(e event) {
	if e.text != "" {
		t.find("tags", e.id, "%s removes %s whatever it says", e.who, e.text)
	}
	if t.roles[e.who] == "janitor" {
		t.find("tags", e.id, "a janitor removes tags")
	}
}

// leased reports whether an instance, a volume or an interface bore the tag that says so, with its own value, all the time.
func leased(tags map[string]string) bool {
	return tags[leasedTag] != "" && tags[leasedTag] == tags[launchTag]
}

// noteDate keeps what the record of a lease has said, and at which numbers a person brought its date forward.
func (t *truth) noteDate(who, id string, f *file, before, after *leaseRecord) {
	if f.dates == nil {
		f.dates, f.shortened = map[dated]bool{}, map[int64]bool{}
	}
	d := after.date()
	f.dates[dated{d.number, d.at.UTC()}] = true
	person := strings.HasPrefix(t.roles[who], "person: ")
	if person && (before == nil || d.at.Before(before.date().at) || after.State == "adopting") {
		f.shortened[after.ExpiresNumber] = true
	}
	if person && (before == nil || after.State == "adopting" && before.State != "adopting") {
		t.checkNumber(id, after)
	}
	if person && before != nil && after.ExpiresNumber < before.ExpiresNumber {
		t.find("keys", id, "the number of its date went from %d to %d", before.ExpiresNumber, after.ExpiresNumber)
	}
	if before != nil && after.ExpiresNumber == before.ExpiresNumber && !d.at.Equal(before.date().at) {
		t.find("keys", id, "another date with the same number, %d", after.ExpiresNumber)
	}
	if before.live() && after.State == "active" && !person && d.at.Before(before.date().at) {
		t.find("keys", id, "brought forward by %s, from %s to %s", who, before.date().at, d.at)
	}
}

// checkNumber: who adopts or recovers takes a number above the tag's, so that the record is not behind it.
func (t *truth) checkNumber(id string, after *leaseRecord) {
	b := t.machines[id]
	if b != nil && b.always(t.now.Add(-tagLook), t.now, func(tags map[string]string) bool { return readTag(tags).number >= after.ExpiresNumber }) {
		t.find("keys", id, "given a lease with number %d, but its tag says %q", after.ExpiresNumber, b.tags[len(b.tags)-1].what[expiresTag])
	}
}
