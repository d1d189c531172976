package etcd

import (
	"cmp"
	"slices"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Access is what a role may do to a range of keys.
type Access string

// The kinds of access that etcd knows.
const (
	AccessRead      Access = "read"
	AccessWrite     Access = "write" // and delete
	AccessReadWrite Access = "readwrite"
)

func (a Access) reads() bool { return a != AccessWrite }

func (a Access) writes() bool { return a != AccessRead }

// with is what both together allow.
func (a Access) with(other Access) Access {
	if a == other {
		return a
	}
	return AccessReadWrite
}

// openEnd is how etcd writes the end of a range that has none.
const openEnd = "\x00"

// Grant lets a role reach a range of keys.
type Grant struct {
	Access Access `json:"access"`
	Key    string `json:"key"`
	End    string `json:"range_end,omitempty"` // the first key that is not meant any more, as etcd writes it; empty: Key alone is meant
}

// prefix grants all keys that begin with key.
func prefix(a Access, key string) Grant {
	return Grant{Access: a, Key: key, End: clientv3.GetPrefixRangeEnd(key)}
}

// String names the keys as people do: "read /a", or "readwrite /b/*" for all that begin with /b/.
func (g Grant) String() string {
	text := string(g.Access) + " " + g.Key
	switch g.End {
	case "":
		return text
	case clientv3.GetPrefixRangeEnd(g.Key):
		return text + "*"
	case openEnd:
		return text + " and all keys after it"
	}
	return text + " up to " + g.End
}

// Arguments name the range as etcdctl wants it, after the name of a role.
func (g Grant) Arguments() []string {
	if g.End == "" {
		return []string{g.Key}
	}
	return []string{g.Key, g.End}
}

// end is the first key that is not meant, so that a single key is a range, too; empty: there is none.
func (g Grant) end() string {
	switch g.End {
	case "":
		return g.Key + "\x00" // which follows Key at once
	case openEnd:
		return ""
	}
	return g.End
}

// compareEnds is cmp.Compare, with an empty end after all others.
func compareEnds(a, b string) int {
	if a == "" || b == "" {
		return cmp.Compare(b, a)
	}
	return cmp.Compare(a, b)
}

// allowedBy reports whether all that g grants is granted by all of these together. So etcd itself judges.
func (g Grant) allowedBy(all []Grant) bool {
	return (!g.Access.reads() || g.coveredBy(all, Access.reads)) && (!g.Access.writes() || g.coveredBy(all, Access.writes))
}

// coveredBy goes from g's first key to its end, each time as far as one of the others that count reaches.
func (g Grant) coveredBy(all []Grant, counts func(Access) bool) bool {
	for at := g.Key; ; {
		reached := at
		for _, other := range all {
			if counts(other.Access) && other.Key <= at && compareEnds(other.end(), reached) > 0 {
				reached = other.end()
			}
		}
		switch {
		case compareEnds(reached, g.end()) >= 0:
			return true
		case reached == at:
			return false
		}
		at = reached
	}
}

// beyond are the grants of which some part is not allowed by others.
func beyond(all, others []Grant) []Grant {
	return slices.DeleteFunc(slices.Clone(all), func(g Grant) bool { return g.allowedBy(others) })
}
