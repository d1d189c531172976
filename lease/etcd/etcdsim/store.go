package etcdsim

import (
	"slices"
	"sort"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
)

// store is the keys and their history. A change is made by put and remove, any number of them, and then commit; in
// between reads already see it.
type store struct {
	revision  int64
	compacted int64 // what was before this revision is forgotten
	items     map[string]*item
	order     []*item // by key; also those that are deleted, until that is forgotten
	log       []change
	open      change // what was done since the last commit
}

// item is one key and its versions, the last of which is how it stands.
type item struct {
	key      string
	versions []version
}

// version is a key as of a revision; kv is nil where it was deleted.
type version struct {
	revision int64
	kv       *mvccpb.KeyValue
}

// change is what one revision did, in order.
type change struct {
	revision int64
	deeds    []deed
}

// deed is one event, and the key as it was before it (nil for none).
type deed struct {
	event  *mvccpb.Event
	before *mvccpb.KeyValue
}

func (s *store) wipe() {
	*s = store{revision: 1, items: map[string]*item{}}
}

// now is the key as it stands; nil if there is none.
func (it *item) now() *mvccpb.KeyValue {
	if len(it.versions) == 0 {
		return nil
	}
	return it.versions[len(it.versions)-1].kv
}

// at is the key as it was at a revision; nil if there was none.
func (it *item) at(revision int64) *mvccpb.KeyValue {
	for i := len(it.versions) - 1; i >= 0; i-- {
		if it.versions[i].revision <= revision {
			return it.versions[i].kv
		}
	}
	return nil
}

// search is where the first key that is not less than key is in the order.
func (s *store) search(key string) int {
	return sort.Search(len(s.order), func(i int) bool { return s.order[i].key >= key })
}

// span is the items of a range, as etcd writes it: no end means one key, an end of one zero byte all that follow.
func (s *store) span(key, end []byte) []*item {
	from := s.search(string(key))
	switch {
	case len(end) == 0:
		if from < len(s.order) && s.order[from].key == string(key) {
			return s.order[from : from+1]
		}
		return nil
	case len(end) == 1 && end[0] == 0:
		return s.order[from:]
	}
	to := s.search(string(end))
	return s.order[from:max(from, to)]
}

// get is a key as it stands; nil if there is none.
func (s *store) get(key []byte) *mvccpb.KeyValue {
	if it := s.items[string(key)]; it != nil {
		return it.now()
	}
	return nil
}

func (s *store) put(key, value []byte, lease int64) {
	it := s.items[string(key)]
	if it == nil {
		it = &item{key: string(key)}
		s.items[it.key] = it
		s.order = slices.Insert(s.order, s.search(it.key), it)
	}
	kv := &mvccpb.KeyValue{
		Key: key, Value: value, Lease: lease, CreateRevision: s.revision + 1, ModRevision: s.revision + 1, Version: 1,
	}
	before := it.now()
	if before != nil {
		kv.CreateRevision, kv.Version = before.CreateRevision, before.Version+1
	}
	s.note(it, version{s.revision + 1, kv}, deed{&mvccpb.Event{Type: mvccpb.Event_PUT, Kv: kv}, before})
}

// remove deletes a key that is there.
func (s *store) remove(it *item) {
	tombstone := &mvccpb.KeyValue{Key: it.now().Key, ModRevision: s.revision + 1}
	s.note(it, version{s.revision + 1, nil}, deed{&mvccpb.Event{Type: mvccpb.Event_DELETE, Kv: tombstone}, it.now()})
}

func (s *store) note(it *item, v version, d deed) {
	it.versions = append(it.versions, v)
	s.open.deeds = append(s.open.deeds, d)
}

// commit makes what was done a revision, and returns it; false if nothing was done.
func (s *store) commit() (change, bool) {
	if len(s.open.deeds) == 0 {
		return change{}, false
	}
	s.revision++
	done := change{s.revision, s.open.deeds}
	s.log, s.open = append(s.log, done), change{}
	return done, true
}

// since is what happened from a revision on.
func (s *store) since(revision int64) []change {
	return s.log[sort.Search(len(s.log), func(i int) bool { return s.log[i].revision >= revision }):]
}

// compact forgets what was before a revision.
func (s *store) compact(revision int64) {
	s.compacted = revision
	s.log = slices.Clone(s.since(revision))
	s.order = slices.DeleteFunc(s.order, func(it *item) bool {
		first := 0 // the version that holds at the revision
		for i, v := range it.versions {
			if v.revision <= revision {
				first = i
			}
		}
		if it.versions[first].kv == nil && it.versions[first].revision <= revision {
			first++
		}
		it.versions = slices.Clone(it.versions[first:])
		if len(it.versions) == 0 {
			delete(s.items, it.key)
		}
		return len(it.versions) == 0
	})
}

// commit ends a change of the store: watches and the observer are told.
func (c *Cluster) commit(by string) {
	done, changed := c.store.commit()
	if !changed {
		return
	}
	for _, w := range c.watches {
		w.see(done, c)
	}
	if c.observe != nil {
		c.observe(done.commit(by))
	}
}

// commit is what an observer is told.
func (c change) commit(by string) Commit {
	told := Commit{Revision: c.revision, At: time.Now(), By: by}
	for _, d := range c.deeds {
		change := Change{Key: string(d.event.Kv.Key), Value: d.event.Kv.Value, Lease: d.event.Kv.Lease}
		if d.before != nil {
			change.Before = filled(d.before.Value)
		}
		if d.event.Type == mvccpb.Event_DELETE {
			change.Value, change.Lease = nil, d.before.Lease
			told.Deletes = append(told.Deletes, change)
			continue
		}
		change.Value = filled(change.Value)
		told.Puts = append(told.Puts, change)
	}
	return told
}

// filled is a value that is not nil: of a key that is there.
func filled(value []byte) []byte {
	if value == nil {
		return []byte{}
	}
	return value
}
