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

// add makes a row the last. One of the same id is replaced.
func (t *table[T]) add(r T) {
	if _, taken := t.byID[r.key()]; taken {
		t.remove(func(other T) bool { return other.key() == r.key() })
	}
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

// page returns the rows after number p.after that match, as show shows them,
// as many as fit the page, and the token of the page after; "" if there is none.
func (t *table[T]) page(p paging, show func(T) (T, bool)) ([]T, string) {
	start, _ := slices.BinarySearchFunc(t.rows, p.after+1, func(n numbered[T], seq uint64) int {
		if n.seq < seq {
			return -1
		}
		return 1
	})
	var rows []T
	last := p.after
	for _, n := range t.rows[start:] {
		seen, matches := show(n.row)
		if !matches {
			continue
		}
		if p.limited && len(rows) == p.size {
			return rows, p.token(last)
		}
		rows, last = append(rows, seen), n.seq
	}
	return rows, ""
}

// paging is what a request says about pages.
type paging struct {
	limited bool   // to size rows; otherwise all there are
	size    int    // MaxResults, or less
	after   uint64 // the number of the last row seen
	serial  int    // counts the short pages
}

const pageTokenPrefix = "page-"

// token leads to the page after a row. Two pages never give the same one, even
// if the second is empty.
func (p paging) token(last uint64) string {
	return pageTokenPrefix + strconv.FormatUint(last, 36) + "-" + strconv.Itoa(p.serial)
}

func parsePageToken(token string) (uint64, bool) {
	number, ok := strings.CutPrefix(token, pageTokenPrefix)
	if !ok {
		return 0, false
	}
	number, _, _ = strings.Cut(number, "-")
	last, err := strconv.ParseUint(number, 36, 64)
	return last, err == nil
}
