package etcd

import (
	"slices"
	"testing"
)

// TestAGrantIsAllowedAsEtcdJudges compares ranges of keys.
func TestAGrantIsAllowedAsEtcdJudges(t *testing.T) {
	t.Parallel()
	const rw = AccessReadWrite
	between := func(a Access, from, to string) Grant { return Grant{a, from, to} }
	for name, c := range map[string]struct {
		want Grant
		by   []Grant
		is   bool
	}{
		"by nothing":                            {prefix(rw, "/a/"), nil, false},
		"by the same":                           {prefix(rw, "/a/"), []Grant{prefix(rw, "/a/")}, true},
		"a key by its prefix":                   {Grant{rw, "/a/k", ""}, []Grant{prefix(rw, "/a/")}, true},
		"a prefix by one of its keys":           {prefix(rw, "/a/"), []Grant{{rw, "/a/k", ""}}, false},
		"a key by another":                      {Grant{rw, "/a/k", ""}, []Grant{{rw, "/a/l", ""}}, false},
		"a key by the one that it begins with":  {Grant{rw, "/a/kk", ""}, []Grant{{rw, "/a/k", ""}}, false},
		"a prefix by a longer one":              {prefix(rw, "/a/"), []Grant{prefix(rw, "/a/b/")}, false},
		"a prefix by everything":                {prefix(rw, "/a/"), []Grant{between(rw, "\x00", openEnd)}, true},
		"everything by a prefix":                {between(rw, "\x00", openEnd), []Grant{prefix(rw, "/a/")}, false},
		"everything by what has no end":         {between(rw, "\x00", openEnd), []Grant{between(rw, "/a", openEnd)}, false},
		"reading by writing":                    {prefix(AccessRead, "/a/"), []Grant{prefix(AccessWrite, "/a/")}, false},
		"reading by both":                       {prefix(AccessRead, "/a/"), []Grant{prefix(rw, "/a/")}, true},
		"both by reading":                       {prefix(rw, "/a/"), []Grant{prefix(AccessRead, "/a/")}, false},
		"both by one of each":                   {prefix(rw, "/a/"), []Grant{prefix(AccessRead, "/a/"), prefix(AccessWrite, "/")}, true},
		"by two that touch":                     {between(rw, "a", "z"), []Grant{between(rw, "m", "z"), between(rw, "a", "m")}, true},
		"by two that overlap":                   {between(rw, "a", "z"), []Grant{between(rw, "a", "n"), between(rw, "m", openEnd)}, true},
		"by two with a gap":                     {between(rw, "a", "z"), []Grant{between(rw, "a", "l"), between(rw, "m", "z")}, false},
		"by two, one of which only reads":       {between(rw, "a", "z"), []Grant{between(rw, "a", "m"), between(AccessRead, "m", "z")}, false},
		"by a key and what follows it":          {between(rw, "a", "z"), []Grant{{rw, "a", ""}, between(rw, "a\x00", "z")}, true},
		"by one that begins later":              {between(rw, "a", "z"), []Grant{between(rw, "b", openEnd)}, false},
		"by one that ends where the key begins": {Grant{rw, "m", ""}, []Grant{between(rw, "a", "m")}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := c.want.allowedBy(c.by); got != c.is {
				t.Errorf("%s by %v: %t, want %t", c.want, c.by, got, c.is)
			}
		})
	}
}

func TestAGrantIsWrittenForPeopleAndForEtcdctl(t *testing.T) {
	t.Parallel()
	for want, g := range map[string]Grant{
		"read /a":                              {AccessRead, "/a", ""},
		"readwrite /a/*":                       prefix(AccessReadWrite, "/a/"),
		"write /a up to /c":                    {AccessWrite, "/a", "/c"},
		"readwrite /a and all keys after it":   {AccessReadWrite, "/a", openEnd},
		"readwrite \x00 and all keys after it": {AccessReadWrite, "\x00", openEnd},
	} {
		if g.String() != want {
			t.Errorf("%+v is written %q, want %q", g, g, want)
		}
	}
	if got, want := prefix(AccessRead, "/a/").Arguments(), []string{"/a/", "/a0"}; !slices.Equal(got, want) {
		t.Errorf("a prefix has the arguments %v, want %v", got, want)
	}
	if got, want := (Grant{AccessRead, "/a", ""}).Arguments(), []string{"/a"}; !slices.Equal(got, want) {
		t.Errorf("a key has the arguments %v, want %v", got, want)
	}
}
