package edge

import "container/list"

// recent is a map that forgets what was used least recently when it is full. It is not safe for concurrent use.
type recent[K comparable, V any] struct {
	max   int
	order *list.List // of entry, the most recently used in front
	all   map[K]*list.Element
}

type entry[K comparable, V any] struct {
	key   K
	value V
}

func newRecent[K comparable, V any](most int) *recent[K, V] {
	return &recent[K, V]{max: most, order: list.New(), all: map[K]*list.Element{}}
}

// get returns nil if there is no such key.
func (r *recent[K, V]) get(key K) *V {
	e, ok := r.all[key]
	if !ok {
		return nil
	}
	r.order.MoveToFront(e)
	return &e.Value.(*entry[K, V]).value
}

// add adds a key that is not there.
func (r *recent[K, V]) add(key K, value V) *V {
	if len(r.all) >= r.max {
		oldest := r.order.Back()
		r.order.Remove(oldest)
		delete(r.all, oldest.Value.(*entry[K, V]).key)
	}
	e := &entry[K, V]{key, value}
	r.all[key] = r.order.PushFront(e)
	return &e.value
}

func (r *recent[K, V]) remove(key K) {
	if e, ok := r.all[key]; ok {
		r.order.Remove(e)
		delete(r.all, key)
	}
}
