package ec2sim

import "time"

// keyPair is a key pair without a key: nobody logs in here.
type keyPair struct {
	id      string
	name    string
	tags    map[string]string
	created time.Time
}

func (k *keyPair) key() string { return k.name }

type keyPairsAnswer struct {
	head
	Keys set[keyPairItem] `xml:"keySet"`
}

// keyPairItem is a key pair in an answer:
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_KeyPairInfo.html
type keyPairItem struct {
	ID          string       `xml:"keyPairId"`
	Name        string       `xml:"keyName"`
	Fingerprint string       `xml:"keyFingerprint"`
	Type        string       `xml:"keyType,omitempty"`
	Created     string       `xml:"createTime,omitempty"`
	Tags        set[tagItem] `xml:"tagSet"`
}

// createKeyPairAnswer says less of the pair than its description does:
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateKeyPair.html
type createKeyPairAnswer struct {
	head
	ID          string       `xml:"keyPairId"`
	Name        string       `xml:"keyName"`
	Fingerprint string       `xml:"keyFingerprint"`
	Material    string       `xml:"keyMaterial"`
	Tags        set[tagItem] `xml:"tagSet"`
}

type deleteKeyPairAnswer struct {
	head
	Return bool   `xml:"return"`
	ID     string `xml:"keyPairId,omitempty"`
}

const noFingerprint = "00:00:00:00:00:00:00:00"

func (k *keyPair) item() keyPairItem {
	return keyPairItem{k.id, k.name, noFingerprint, "rsa", checkpoint(k.created), tagSet(k.tags)}
}

// createKeyPair makes a key pair; a name can be taken only once, and there is
// no client token:
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateKeyPair.html
func (s *Sim) createKeyPair(q *request) (body, error) {
	name := q.need("KeyName")
	tags := q.tagSpecifications("key-pair")["key-pair"]
	if _, taken := q.region.keyPairs.get(name); taken {
		q.fail("InvalidKeyPair.Duplicate", "The keypair already exists")
	}
	if err := q.dryRun(); err != nil {
		return nil, err
	}
	k := &keyPair{id: s.newID("key"), name: name, tags: tags, created: q.now}
	q.region.keyPairs.add(k)
	q.touch(k.id)
	return &createKeyPairAnswer{
		ID: k.id, Name: k.name, Fingerprint: noFingerprint, Material: "simulated, no key", Tags: tagSet(k.tags),
	}, nil
}

func (s *Sim) describeKeyPairs(q *request) (body, error) {
	names := q.list("KeyName")
	for _, id := range q.list("KeyPairId") {
		names = append(names, q.region.keyName(id))
	}
	d := describe[*keyPair]{
		table: &q.region.keyPairs, notFound: "InvalidKeyPair.NotFound",
		tags: func(k *keyPair) map[string]string { return k.tags },
		known: fields[*keyPair]{
			"key-pair-id": func(k *keyPair) string { return k.id },
			"key-name":    func(k *keyPair) string { return k.name },
		},
	}
	filters := q.filters(d.known.has)
	if q.err != nil {
		return nil, q.err
	}
	rows := q.region.keyPairs.all()
	if len(names) > 0 {
		var err error
		if rows, err = d.byID(names); err != nil {
			return nil, err
		}
	}
	answer := new(keyPairsAnswer)
	for _, k := range rows {
		if d.passes(filters, k) {
			answer.Keys.Items = append(answer.Keys.Items, k.item())
		}
	}
	return answer, nil
}

// keyName returns the name of the key pair with an id, or the id itself, which
// is nobody's name.
func (r *region) keyName(id string) string {
	for _, k := range r.keyPairs.all() {
		if k.id == id {
			return k.name
		}
	}
	return id
}

// deleteKeyPair deletes a key pair, or nothing if there is none:
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DeleteKeyPair.html
func (s *Sim) deleteKeyPair(q *request) (body, error) {
	name := q.str("KeyName")
	if id := q.str("KeyPairId"); id != "" {
		name = q.region.keyName(id)
	}
	if name == "" {
		q.need("KeyName")
	}
	if err := q.dryRun(); err != nil {
		return nil, err
	}
	answer := &deleteKeyPairAnswer{Return: true}
	if k, ok := q.region.keyPairs.get(name); ok {
		answer.ID = k.id
		q.touch(k.id)
		q.region.keyPairs.remove(func(other *keyPair) bool { return other == k })
	}
	return answer, nil
}
