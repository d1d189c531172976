package ec2sim

import (
	"slices"
	"strconv"
	"strings"
)

// A row is something that EC2 keeps and that has an id of its own.
type row interface{ key() string }

// A table keeps rows in the order in which they were made. Rows are numbered,
// so that a page's token stays right when earlier rows go.
type table[T row] struct {
	rows []numbered[T]
	byID map[string]T
	last uint64
}

type numbered[T row] struct {
	seq uint64
	row T
}

func (t *table[T]) add(r T) {
	if t.byID == nil {
		t.byID = make(map[string]T)
	}
	t.last++
	t.rows = append(t.rows, numbered[T]{t.last, r})
	t.byID[r.key()] = r
}

func (t *table[T]) get(id string) (T, bool) {
	r, ok := t.byID[id]
	return r, ok
}

// remove drops the rows that gone says are gone.
func (t *table[T]) remove(gone func(T) bool) {
	t.rows = slices.DeleteFunc(t.rows, func(n numbered[T]) bool {
		if !gone(n.row) {
			return false
		}
		delete(t.byID, n.row.key())
		return true
	})
}

// all returns every row, oldest first.
func (t *table[T]) all() []T {
	rows := make([]T, len(t.rows))
	for i, n := range t.rows {
		rows[i] = n.row
	}
	return rows
}

// page returns the rows after number p.after that match, at most p.size of
// them (all if 0), and the token of the page after; "" if there is none.
func (t *table[T]) page(p paging, match func(T) bool) ([]T, string) {
	start, _ := slices.BinarySearchFunc(t.rows, p.after+1, func(n numbered[T], seq uint64) int {
		if n.seq < seq {
			return -1
		}
		return 1
	})
	var rows []T
	var last uint64
	for _, n := range t.rows[start:] {
		if !match(n.row) {
			continue
		}
		if p.size > 0 && len(rows) == p.size {
			return rows, pageToken(last)
		}
		rows, last = append(rows, n.row), n.seq
	}
	return rows, ""
}

// paging is what a request says about pages.
type paging struct {
	size  int    // MaxResults; 0 for all
	after uint64 // the number of the last row seen
}

const pageTokenPrefix = "page-"

func pageToken(last uint64) string { return pageTokenPrefix + strconv.FormatUint(last, 36) }

func parsePageToken(token string) (uint64, bool) {
	number, ok := strings.CutPrefix(token, pageTokenPrefix)
	if !ok {
		return 0, false
	}
	last, err := strconv.ParseUint(number, 36, 64)
	return last, err == nil
}
