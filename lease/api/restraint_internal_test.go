package api

import (
	"testing"
	"time"

	"lapse/lease"
)

func TestHowMuchOfAChangeCounterIsBelieved(t *testing.T) {
	t.Parallel()
	const id = "i-0123456789abcdef0"
	m := newMemory(time.Now)
	for n, c := range []struct {
		served, said, before, want int64 // served: by this replica just before; before: by its heartbeat, as others were told
	}{
		{0, 5, 0, 0},
		{0, 5, 3, 3},
		{0, 5, 0, 3}, // its heartbeat is gone: what was believed once is remembered
		{0, 2, 9, 2},
		{4, 9, 0, 4},
		{1, 9, 0, 4},
		{0, 9, 7, 7},
		{0, 9, 0, 7},
	} {
		if c.served > 0 {
			m.serve(lease.Lease{InstanceID: id, Changes: c.served})
		}
		if got := m.believed(id, c.said, c.before); got != c.want {
			t.Errorf("%d: %d of %d is believed, want %d", n, got, c.said, c.want)
		}
	}
}
