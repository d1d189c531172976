package ec2sim

import (
	"maps"
	"strings"
)

// createTags adds tags, or writes over those that are there. One unknown
// resource refuses the whole call:
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateTags.html
func (s *Sim) createTags(q *request) (body, error) {
	tags := q.tags("Tag")
	if len(tags) == 0 {
		q.need("Tag")
	}
	tagged, err := s.tagged(q)
	if err != nil {
		return nil, err
	}
	for _, t := range tagged {
		if s.mayTag != nil && !s.mayTag(*t, tags) {
			return nil, refusal("UnauthorizedOperation", "You are not authorized to perform this operation.")
		}
		merged := maps.Clone(*t)
		if merged == nil {
			merged = make(map[string]string)
		}
		maps.Copy(merged, tags)
		if len(merged) > maxTags {
			return nil, refusal("TagLimitExceeded", "The maximum number of Tags for a resource has been reached.")
		}
	}
	if err := q.dryRun(); err != nil {
		return nil, err
	}
	for _, t := range tagged {
		if *t == nil {
			*t = make(map[string]string)
		}
		maps.Copy(*t, tags)
	}
	return &done{Return: true}, nil
}

// LetTag makes every CreateTags ask may, resource by resource, as AWS asks the caller's policy: it is given the tags that
// a resource bears and those that are to be set. One that it denies refuses the whole call. Nil allows all again. The Sim
// must not be used in may.
func (s *Sim) LetTag(may func(borne, set map[string]string) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mayTag = may
}

// deleteTags removes tags: by key, by key and value where a value is given,
// and all of them where no tag is named:
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DeleteTags.html
func (s *Sim) deleteTags(q *request) (body, error) {
	tagged, err := s.tagged(q)
	if err != nil {
		return nil, err
	}
	if err := q.dryRun(); err != nil {
		return nil, err
	}
	named := q.structs("Tag")
	for _, t := range tagged {
		if len(named) == 0 {
			clear(*t)
		}
		for _, n := range named {
			key := q.str(n + "Key")
			if value, has := (*t)[key]; has && (!q.form.Has(n+"Value") || q.str(n+"Value") == value) {
				delete(*t, key)
			}
		}
	}
	return &done{Return: true}, nil
}

// tagged returns the tags of the resources that a request names.
func (s *Sim) tagged(q *request) ([]*map[string]string, error) {
	ids := q.list("ResourceId")
	q.touch(ids...)
	if len(ids) == 0 {
		q.need("ResourceId")
	}
	if q.err != nil {
		return nil, q.err
	}
	var tagged []*map[string]string
	for _, id := range ids {
		t, err := s.tagsOf(q, id)
		if err != nil {
			return nil, err
		}
		tagged = append(tagged, t)
	}
	return tagged, nil
}

// tagsOf finds a resource by the prefix of its id.
func (s *Sim) tagsOf(q *request, id string) (*map[string]string, error) {
	prefix, _, _ := strings.Cut(id, "-")
	switch prefix {
	case "i":
		i, err := s.instanceLookup(q).one(id)
		if err != nil {
			return nil, err
		}
		s.remember(i, q.now) // as it was before whatever comes of this
		return &i.Tags, nil
	case "vol":
		return s.volumeLookup(q.region).tagsOf(id)
	case "eni":
		return s.interfaceLookup(q.region).tagsOf(id)
	case "sir":
		return s.spotLookup(q.region).tagsOf(id)
	case "key":
		return s.keyPairLookup(q.region).tagsOf(id)
	default:
		return nil, refusal("InvalidID", "The ID '%s' is not valid", id)
	}
}
