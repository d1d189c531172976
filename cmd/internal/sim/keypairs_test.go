package sim

import (
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"golang.org/x/crypto/ssh"

	"lapse/lease"
)

// quirks are what the endpoint of a schedule does otherwise than EC2.
type quirks struct {
	ignoresTokens, hidesTokens, dropsTags, ignoresFilters, validatesKeys bool
}

// consistency is longer than listings are ever old, and is what launches are told where client tokens are ignored.
const consistency = maxStale + 20*time.Second

func drawQuirks(r *rand.Rand) quirks {
	if !oneIn(r, 3) {
		return quirks{}
	}
	return quirks{ignoresTokens: true, hidesTokens: oneIn(r, 2), dropsTags: oneIn(r, 3), ignoresFilters: oneIn(r, 3), validatesKeys: oneIn(r, 2)}
}

// keyPair is a key pair of the account.
type keyPair struct {
	id, name, print string
	by              string // who made it: a launcher, or nobody of ours
	tags            map[string]string
}

// newKeys makes the public keys of a launcher, which are the same in every run of a schedule.
func newKeys(launcher string) func() ([]byte, []string, error) {
	n := 0
	return func() ([]byte, []string, error) {
		n++
		seed := sha256.Sum256(fmt.Appendf(nil, "%s %d", launcher, n))
		public, err := ssh.NewPublicKey(ed25519.NewKeyFromSeed(seed[:]).Public())
		if err != nil {
			return nil, nil, err
		}
		return ssh.MarshalAuthorizedKey(public), []string{ssh.FingerprintLegacyMD5(public)}, nil
	}
}

func (f *fleet) shownToken(m *machine) string {
	if f.w.shape.quirks.hidesTokens {
		return ""
	}
	return m.token
}

// selects reports whether a filter selects a machine; none selects all. The id is never ignored.
func (f *fleet) selects(filter types.Filter, m *machine) bool {
	_, managed := m.tags[registryTag]
	switch name := aws.ToString(filter.Name); {
	case name == "instance-id":
		return slices.Contains(filter.Values, m.id)
	case f.w.shape.quirks.ignoresFilters, name == "":
		return true
	case name == "key-name":
		return slices.Contains(filter.Values, m.keyName)
	}
	return managed
}

func (f *fleet) keyPairNamed(name string) *keyPair {
	n := slices.IndexFunc(f.keyPairs, func(k *keyPair) bool { return k.name == name })
	if n < 0 {
		return nil
	}
	return f.keyPairs[n]
}

// nobodysKeys makes key pairs that nobody may delete: one of another registry's launch, and one that only has a name like ours.
func (f *fleet) nobodysKeys() {
	for _, registry := range []string{foreignUUID, registryUUID} {
		f.keyPairs = append(f.keyPairs, &keyPair{id: f.newID("key"), name: lease.KeyName(registry, "unheard-of.1")})
	}
}

// serveKeyPairs does the calls about key pairs.
func (f *fleet) serveKeyPairs(p *process, in any) (any, *refused) {
	switch in := in.(type) {
	case *ec2.ImportKeyPairInput:
		name := aws.ToString(in.KeyName)
		if f.keyPairNamed(name) != nil {
			return nil, refusal("InvalidKeyPair.Duplicate")
		}
		public, _, _, _, err := ssh.ParseAuthorizedKey(in.PublicKeyMaterial)
		if err != nil {
			return nil, refusal("InvalidKey.Format")
		}
		k := &keyPair{id: f.newID("key"), name: name, print: ssh.FingerprintLegacyMD5(public), by: p.name, tags: map[string]string{}}
		for _, s := range in.TagSpecifications {
			for _, t := range s.Tags {
				if !f.w.shape.quirks.dropsTags {
					k.tags[aws.ToString(t.Key)] = aws.ToString(t.Value)
				}
			}
		}
		f.keyPairs = append(f.keyPairs, k)
		return &ec2.ImportKeyPairOutput{KeyPairId: aws.String(k.id), KeyName: in.KeyName}, nil
	case *ec2.DescribeKeyPairsInput:
		out := &ec2.DescribeKeyPairsOutput{}
		for _, k := range f.keyPairs {
			wanted := len(in.KeyNames) == 0 || slices.Contains(in.KeyNames, k.name)
			for _, filter := range in.Filters {
				value := map[string]string{"key-name": k.name, "key-pair-id": k.id}[aws.ToString(filter.Name)]
				wanted = wanted && (f.w.shape.quirks.ignoresFilters || slices.Contains(filter.Values, value))
			}
			if wanted {
				out.KeyPairs = append(out.KeyPairs, types.KeyPairInfo{
					KeyPairId: aws.String(k.id), KeyName: aws.String(k.name), KeyFingerprint: aws.String(k.print), Tags: tagList(k.tags),
				})
			}
		}
		if len(in.KeyNames) > 0 && len(out.KeyPairs) == 0 {
			return nil, refusal("InvalidKeyPair.NotFound")
		}
		return out, nil
	case *ec2.DeleteKeyPairInput:
		id := aws.ToString(in.KeyPairId)
		for _, k := range f.keyPairs {
			if k.id == id || in.KeyName != nil && k.name == *in.KeyName {
				f.w.trace.add(event{kind: deletedKey, who: p.name, id: k.id, text: k.name + " by " + k.by})
			}
		}
		f.keyPairs = slices.DeleteFunc(f.keyPairs, func(k *keyPair) bool { return k.id == id || in.KeyName != nil && k.name == *in.KeyName })
		return &ec2.DeleteKeyPairOutput{KeyPairId: aws.String(id)}, nil
	}
	return nil, refusal("InvalidAction")
}

// checkDeletedKey: a key pair goes only once its launch is settled, and only if it was made for a launch.
func (t *truth) checkDeletedKey(e event) {
	name, by, _ := strings.Cut(e.text, " by ")
	clientToken, is := lease.KeyOf(registryUUID, name)
	switch l := t.launchOf(clientToken); {
	case !is || t.roles[by] != "launcher":
		t.find("P1", e.id, "%s deletes key pair %s, which no launcher has made", e.who, name)
	case l.record != nil && l.record.State == "open" && !t.lost(t.now.Add(-time.Minute)):
		t.find("P3", e.id, "%s deletes key pair %s, although its launch is open", e.who, name)
	}
}

// checkKeyPairs: in the end no key pair is left of a launch that is settled, and what is nobody's is there.
func (t *truth) checkKeyPairs(late func(time.Time, time.Duration) bool, bound time.Duration) {
	nobodys := 0
	for _, k := range t.end.keyPairs {
		clientToken, _ := lease.KeyOf(registryUUID, k.name)
		l := t.launchOf(clientToken)
		switch {
		case k.by == "":
			nobodys++
		case l.setBack || l.record == nil || t.lost(time.Time{}):
		case late(t.lastEnd(l), bound+retries+consistency):
			t.find("P3", k.id, "key pair %s is left of a launch that is %s", k.name, l.record.State)
		}
	}
	if nobodys != 2 {
		t.find("P1", "", "%d key pairs are there that are nobody's, want 2", nobodys)
	}
}

// mayLeave reports whether something may be left of a launch: of a closed one, and where client tokens are ignored also of one
// that is done.
func (t *truth) mayLeave(l *launchRecord) bool {
	return l.State == "closed" || l.State == "done" && t.shape.quirks.ignoresTokens
}

// checkNone: an attempt counts as nothing only if EC2 shows nothing of it, however old its listings are.
func (t *truth) checkNone(token, clientToken string, sent time.Time) {
	for id := range t.launch(token).made {
		b := t.machines[id]
		short := slices.ContainsFunc(t.short, func(s span) bool { return !s.until.Before(b.made) })
		if b.token == clientToken && !short && !t.launch(token).setBack && !t.lost(b.made) {
			t.find("P4", token, "attempt %s, sent at %s, counts as nothing, but %s was created for it", clientToken, clockOf(sent), id)
		}
	}
}

// checkAlive: never more instances of a launch have leases than it asked for.
func (t *truth) checkAlive(id string, l *launchFile) {
	n := 0
	for made := range l.made {
		if f := t.leases[made]; f != nil && !f.bound.IsZero() {
			n++
		}
	}
	if n > l.count && !l.setBack {
		t.find("P4", id, "lease %d of a launch of %d", n, l.count)
	}
}
