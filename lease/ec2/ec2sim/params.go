package ec2sim

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// params reads a request's parameters and keeps the first thing wrong with
// them in err.
type params struct {
	form url.Values
	err  error
}

func (p *params) fail(code, format string, args ...any) {
	if p.err == nil {
		p.err = refusal(code, format, args...)
	}
}

func (p *params) str(name string) string { return p.form.Get(name) }

// need is str for a parameter that must be there.
func (p *params) need(name string) string {
	v := p.form.Get(name)
	if v == "" {
		p.fail("MissingParameter", "The request must contain the parameter %s", name)
	}
	return v
}

// int returns a whole number, or without if there is none.
func (p *params) int(name string, without int) int {
	v := p.form.Get(name)
	if v == "" {
		return without
	}
	n, err := strconv.Atoi(v)
	if err != nil {
		p.fail("InvalidParameterValue", "Value (%s) for parameter %s is invalid.", v, name)
	}
	return n
}

// bool returns a truth value, or without if there is none.
func (p *params) bool(name string, without bool) bool {
	switch v := p.form.Get(name); v {
	case "":
		return without
	case "true", "false":
		return v == "true"
	default:
		p.fail("InvalidParameterValue", "Value (%s) for parameter %s is invalid.", v, name)
		return without
	}
}

// oneOf returns a word out of allowed, the first of them if there is none.
func (p *params) oneOf(name string, allowed ...string) string {
	v := p.form.Get(name)
	if v == "" {
		return allowed[0]
	}
	if !slices.Contains(allowed, v) {
		p.fail("InvalidParameterValue", "Value (%s) for parameter %s is invalid.", v, name)
	}
	return v
}

// list returns NAME.1, NAME.2 and so on.
func (p *params) list(name string) []string {
	var values []string
	for i := 1; ; i++ {
		v, ok := p.form[name+"."+strconv.Itoa(i)]
		if !ok || len(v) == 0 {
			return values
		}
		values = append(values, v[0])
	}
}

// structs returns the prefixes NAME.1., NAME.2. and so on of the members there are.
func (p *params) structs(name string) []string {
	var prefixes []string
	for i := 1; ; i++ {
		prefix := fmt.Sprintf("%s.%d.", name, i)
		found := false
		for key := range p.form {
			found = found || strings.HasPrefix(key, prefix)
		}
		if !found {
			return prefixes
		}
		prefixes = append(prefixes, prefix)
	}
}

// maxTags is the most that one resource may bear:
// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/Using_Tags.html
const maxTags = 50

// tags returns the tags under prefix: PREFIX.N.Key and PREFIX.N.Value.
func (p *params) tags(prefix string) map[string]string {
	tags := make(map[string]string)
	for _, t := range p.structs(prefix) {
		key := p.need(t + "Key")
		switch {
		case strings.HasPrefix(key, "aws:"):
			p.fail("InvalidParameterValue", "Tag keys starting with 'aws:' are reserved for internal use")
		case len(key) > 128 || len(p.str(t+"Value")) > 256:
			p.fail("InvalidParameterValue", "Tag key or value of '%s' is too long.", key)
		}
		if _, twice := tags[key]; twice {
			p.fail("InvalidParameterValue", "Duplicate tag key '%s' specified.", key)
		}
		tags[key] = p.str(t + "Value")
	}
	if len(tags) > maxTags {
		p.fail("TagLimitExceeded", "The maximum number of Tags for a resource has been reached.")
	}
	return tags
}

// tagSpecifications returns the tags by type of resource. Types that the
// action cannot tag are refused.
func (p *params) tagSpecifications(taggable ...string) map[string]map[string]string {
	specs := make(map[string]map[string]string)
	for _, t := range p.structs("TagSpecification") {
		kind := p.need(t + "ResourceType")
		if !slices.Contains(taggable, kind) {
			p.fail("InvalidParameterValue", "'%s' is not a valid taggable resource type for this operation.", kind)
		}
		specs[kind] = p.tags(t + "Tag")
	}
	return specs
}
