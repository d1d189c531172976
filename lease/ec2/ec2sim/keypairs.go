package ec2sim

import (
	"crypto/md5" //nolint:gosec // see fingerprint
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
)

// KeyPair is an SSH key pair, of which EC2 knows the public half. No other in its region has its name.
type KeyPair struct {
	ID          string
	Name        string
	Region      string
	Fingerprint string
	Tags        map[string]string
	Created     time.Time
}

func (k *KeyPair) key() string { return k.ID }

func (k *KeyPair) clone() KeyPair {
	c := *k
	c.Tags = maps.Clone(k.Tags)
	return c
}

// KeyPairs returns all key pairs of all regions.
func (s *Sim) KeyPairs() []KeyPair {
	return copies(s, func(r *region) *table[*KeyPair] { return &r.keyPairs }, (*KeyPair).clone)
}

// keyPairItem is a key pair in an answer:
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_KeyPairInfo.html
type keyPairItem struct {
	Name        string       `xml:"keyName"`
	Fingerprint string       `xml:"keyFingerprint"`
	ID          string       `xml:"keyPairId"`
	Tags        set[tagItem] `xml:"tagSet"`
	Created     string       `xml:"createTime,omitempty"` // of a description alone
}

type keyPairsAnswer struct {
	head
	KeyPairs set[keyPairItem] `xml:"keySet"`
}

type importAnswer struct {
	head
	keyPairItem
}

type deleteKeyPairAnswer struct {
	head
	Return bool   `xml:"return"`
	ID     string `xml:"keyPairId,omitempty"`
}

func (k *KeyPair) item() keyPairItem {
	return keyPairItem{Name: k.Name, Fingerprint: k.Fingerprint, ID: k.ID, Tags: tagSet(k.Tags)}
}

// keyPairNamed returns the key pair of that name, or nil.
func (r *region) keyPairNamed(name string) *KeyPair {
	all := r.keyPairs.all()
	if n := slices.IndexFunc(all, func(k *KeyPair) bool { return k.Name == name }); n >= 0 {
		return all[n]
	}
	return nil
}

// maxKeyName is the longest name of a key pair:
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_ImportKeyPair.html
const maxKeyName = 255

// importKeyPair takes over a public key:
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_ImportKeyPair.html
func (s *Sim) importKeyPair(q *request) (body, error) {
	name, material := q.need("KeyName"), q.need("PublicKeyMaterial")
	tags := q.tagSpecifications("key-pair")["key-pair"]
	if len(name) > maxKeyName {
		q.fail("InvalidParameterValue", "Value for parameter KeyName is too long")
	}
	public, err := base64.StdEncoding.DecodeString(material)
	if fields := strings.Fields(string(public)); err != nil || len(fields) < 2 || !slices.Contains([]string{"ssh-rsa", "ssh-ed25519"}, fields[0]) {
		q.fail("InvalidKey.Format", "Key is not in valid OpenSSH public key format")
	}
	if q.err == nil && q.region.keyPairNamed(name) != nil {
		q.fail("InvalidKeyPair.Duplicate", "The keypair already exists")
	}
	if err := q.dryRun(); err != nil {
		return nil, err
	}
	k := &KeyPair{
		ID: s.newID("key"), Name: name, Region: q.region.name, Fingerprint: fingerprint(public),
		Tags: maps.Clone(tags), Created: q.now,
	}
	if s.config.Quirks.DropsTags {
		k.Tags = nil
	}
	q.region.keyPairs.add(k)
	q.touch(k.ID)
	return &importAnswer{keyPairItem: k.item()}, nil
}

// fingerprint is that of an imported public key in OpenSSH's form: of an RSA key the MD5 of its DER, of another one the SHA-256.
//
// Source: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/verify-keys.html
func fingerprint(line []byte) string {
	public, _, _, _, err := ssh.ParseAuthorizedKey(line)
	if err != nil {
		return ""
	}
	if crypto, is := public.(ssh.CryptoPublicKey); is && public.Type() == ssh.KeyAlgoRSA {
		if der, err := x509.MarshalPKIXPublicKey(crypto.CryptoPublicKey()); err == nil {
			sum := md5.Sum(der) //nolint:gosec // as EC2 shows it
			return strings.ReplaceAll(fmt.Sprintf("% x", sum), " ", ":")
		}
	}
	return strings.TrimPrefix(ssh.FingerprintSHA256(public), "SHA256:") + "="
}

func (s *Sim) keyPairLookup(r *region) describe[*KeyPair] {
	return describe[*KeyPair]{
		table: &r.keyPairs, idParam: "KeyPairId", prefix: "key",
		notFound: "InvalidKeyPair.NotFound", malformed: "InvalidParameterValue",
		tags: func(k *KeyPair) *map[string]string { return &k.Tags },
		known: fields[*KeyPair]{
			"key-name":    func(k *KeyPair) string { return k.Name },
			"key-pair-id": func(k *KeyPair) string { return k.ID },
			"fingerprint": func(k *KeyPair) string { return k.Fingerprint },
		},
		whole: true, unfiltered: s.config.Quirks.IgnoresFilters,
	}
}

// describeKeyPairs lists key pairs, all at once:
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeKeyPairs.html
func (s *Sim) describeKeyPairs(q *request) (body, error) {
	lookup := s.keyPairLookup(q.region)
	names := q.list("KeyName")
	rows, _, err := lookup.run(q)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if q.region.keyPairNamed(name) == nil {
			return nil, refusal("InvalidKeyPair.NotFound", "The key pair '%s' does not exist", name)
		}
	}
	if len(names) > 0 {
		rows = slices.DeleteFunc(rows, func(k *KeyPair) bool { return !slices.Contains(names, k.Name) })
	}
	return &keyPairsAnswer{KeyPairs: setOf(rows, func(k *KeyPair) keyPairItem {
		item := k.item()
		item.Created = checkpoint(k.Created)
		return item
	})}, nil
}

// deleteKeyPair deletes a key pair, by its name or its id. One that is not there is deleted already:
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DeleteKeyPair.html
func (s *Sim) deleteKeyPair(q *request) (body, error) {
	name, id := q.str("KeyName"), q.str("KeyPairId")
	if s.config.Quirks.DeletesKeyPairsByName {
		id = ""
	} else if name == "" && id == "" {
		q.need("KeyName")
	}
	if err := q.dryRun(); err != nil {
		return nil, err
	}
	answer := &deleteKeyPairAnswer{Return: true}
	q.region.keyPairs.remove(func(k *KeyPair) bool {
		is := k.Name == name || k.ID == id
		if is {
			answer.ID = k.ID
			q.touch(k.ID)
		}
		return is
	})
	return answer, nil
}
