package ec2sim

import (
	"maps"
	"slices"
	"strings"
)

// A filter matches what has at least one of its values.
type filter struct {
	name   string
	values []string
}

// maxFilterValues is the most that one request may list:
// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/Using_Filtering.html
const maxFilterValues = 200

// filters returns Filter.N.Name with its Filter.N.Value.M. Each name must be known, or be of the form tag:KEY, or tag-key.
func (p *params) filters(known func(name string) bool) []filter {
	var filters []filter
	count := 0
	for _, f := range p.structs("Filter") {
		name := p.need(f + "Name")
		if !known(name) && name != "tag-key" && !strings.HasPrefix(name, "tag:") {
			p.fail("InvalidParameterValue", "The filter '%s' is invalid", name)
		}
		values := p.list(f + "Value")
		if len(values) == 0 {
			p.fail("InvalidParameterValue", "The filter '%s' has no values", name)
		}
		count += len(values)
		filters = append(filters, filter{name, values})
	}
	if count > maxFilterValues {
		p.fail("FilterLimitExceeded", "The maximum number of filter values specified on a single call is %d", maxFilterValues)
	}
	return filters
}

// fields are the filters that a kind of resource knows besides those of tags,
// each with what reads its value.
type fields[T any] map[string]func(T) string

func (f fields[T]) has(name string) bool { return f[name] != nil }

// read returns the values that a resource has under a filter's name.
func (f fields[T]) read(name string, tags map[string]string, resource T) []string {
	if name == "tag-key" {
		return slices.Collect(maps.Keys(tags))
	}
	if key, ok := strings.CutPrefix(name, "tag:"); ok {
		value, has := tags[key]
		if !has {
			return nil
		}
		return []string{value}
	}
	return []string{f[name](resource)}
}

// accepts is asked of every row, for every value: closures would make a listing twice as slow.
func (f filter) accepts(have []string) bool {
	for _, pattern := range f.values {
		for _, v := range have {
			if glob(pattern, v) {
				return true
			}
		}
	}
	return false
}

// glob matches as EC2's filters do: * for any run of characters, ? for any
// one, \ before either takes it literally; case counts.
func glob(pattern, s string) bool {
	for len(pattern) > 0 {
		switch pattern[0] {
		case '*':
			for i := 0; i <= len(s); i++ {
				if glob(pattern[1:], s[i:]) {
					return true
				}
			}
			return false
		case '?':
			if s == "" {
				return false
			}
		case '\\':
			if len(pattern) > 1 {
				pattern = pattern[1:]
			}
			fallthrough
		default:
			if s == "" || s[0] != pattern[0] {
				return false
			}
		}
		pattern, s = pattern[1:], s[1:]
	}
	return s == ""
}

// describe answers a Describe… call on one table: by ids, or by filters and
// pages. idParam is the name of the id list, prefix what its ids begin with.
type describe[T row] struct {
	table     *table[T]
	idParam   string
	prefix    string
	notFound  string // code for an id that is not there
	malformed string // code for what is no id
	known     fields[T]
	tags      func(T) *map[string]string
	shown     func(T) (T, bool) // a row as it is described, if it is; nil: as it is
	unheard   func(T) bool      // whether its id is not known yet; nil: never

	whole      bool // it has no pages
	unfiltered bool // filters are read, and count for nothing
}

func (d describe[T]) run(q *request) ([]T, string, error) {
	ids := q.list(d.idParam)
	filters := q.filters(d.known.has)
	if d.unfiltered {
		filters = nil
	}
	p := q.paging(len(ids) > 0)
	p.limited = p.limited && !d.whole
	if q.err != nil {
		return nil, "", q.err
	}
	if len(ids) > 0 {
		rows, err := d.byID(ids)
		if err != nil {
			return nil, "", err
		}
		var found []T
		for _, r := range rows {
			seen, is := d.show(r)
			if !is {
				return nil, "", refusal(d.notFound, "The ID '%s' does not exist", r.key())
			}
			if d.passes(filters, seen) {
				found = append(found, seen)
			}
		}
		return found, "", nil
	}
	rows, next := d.table.page(p, func(r T) (T, bool) {
		seen, is := d.show(r)
		return seen, is && d.passes(filters, seen)
	})
	return rows, next, nil
}

func (d describe[T]) show(r T) (T, bool) {
	if d.shown == nil {
		return r, true
	}
	return d.shown(r)
}

// passes reports whether a row passes every filter.
func (d describe[T]) passes(filters []filter, r T) bool {
	for _, f := range filters {
		if !f.accepts(d.known.read(f.name, *d.tags(r), r)) {
			return false
		}
	}
	return true
}

// byID returns the rows of ids, each once, or the refusal of those that are
// not there.
func (d describe[T]) byID(ids []string) ([]T, error) {
	var rows []T
	var missing []string
	seen := make(map[string]bool)
	for _, id := range ids {
		if !wellFormed(d.prefix, id) {
			return nil, refusal(d.malformed, "Invalid id: \"%s\"", id)
		}
		r, ok := d.table.get(id)
		switch {
		case !ok, d.unheard != nil && d.unheard(r):
			missing = append(missing, id)
		case !seen[id]:
			seen[id] = true
			rows = append(rows, r)
		}
	}
	if len(missing) > 0 {
		return nil, refusal(d.notFound, "The ID '%s' does not exist", strings.Join(missing, ", "))
	}
	return rows, nil
}

// one returns the row of an id.
func (d describe[T]) one(id string) (row T, err error) {
	rows, err := d.byID([]string{id})
	if err != nil {
		return row, err
	}
	return rows[0], nil
}

// tagsOf returns the tags of an id, to be changed.
func (d describe[T]) tagsOf(id string) (*map[string]string, error) {
	r, err := d.one(id)
	if err != nil {
		return nil, err
	}
	return d.tags(r), nil
}

// discard deletes the row that a request names, unless busy refuses.
func (d describe[T]) discard(q *request, busy func(T) error) (body, error) {
	id := q.need(d.idParam)
	if q.err != nil {
		return nil, q.err
	}
	q.touch(id)
	r, err := d.one(id)
	if err != nil {
		return nil, err
	}
	if err := busy(r); err != nil {
		return nil, err
	}
	if err := q.dryRun(); err != nil {
		return nil, err
	}
	d.table.remove(func(other T) bool { return other.key() == id })
	return &done{Return: true}, nil
}
