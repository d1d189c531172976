package api_test

import (
	"net/http"
	"testing"

	"lapse/lease"
)

// TestAKeyThatWasReplacedHasNoReservedRoom has a thief enrol one key after the other. Each that comes takes the place of one that was
// never used, and of what is reserved for enrolled keys no instance may have more than its three.
func TestAKeyThatWasReplacedHasNoReservedRoom(t *testing.T) {
	t.Parallel()
	s := newSiege(t, newWorld(t))
	document := s.document(s.mine.ID)
	var keys []*caller
	for range 10 {
		c := s.caller(s.mine.PrivateIP)
		if status, kind := c.enrol(s.mine.ID, document, s.myToken); status != http.StatusOK {
			t.Fatalf("enrol: %d %s", status, kind)
		}
		keys = append(keys, c)
	}
	if open := s.front.Load().ProvedConnections; open > 3+1 { // and the neighbour's
		t.Errorf("%d connections of proved callers; want those of the enrolled keys", open)
	}
	before := s.answeredToProved()
	for _, c := range keys[:8] {
		if status, kind, _ := c.call(http.MethodGet, own(s.mine.ID, ""), nil); status != http.StatusUnauthorized {
			t.Fatalf("a key that was replaced is answered %d %s", status, kind)
		}
	}
	if n := s.answeredToProved() - before; n > 0 {
		t.Errorf("%d requests of keys that were replaced were answered as those of enrolled ones", n)
	}
}

// TestAKeyThatIsSettledAwayHasNoReservedRoom tries a key that was enrolled once more than once.
func TestAKeyThatIsSettledAwayHasNoReservedRoom(t *testing.T) {
	t.Parallel()
	s := newSiege(t, newWorld(t))
	kept := s.enrolment(s.mine.ID).Keys[0].SHA256
	other := s.caller(s.mine.PrivateIP)
	if status, kind := other.enrol(s.mine.ID, s.document(s.mine.ID), s.myToken); status != http.StatusOK {
		t.Fatalf("enrol: %d %s", status, kind)
	}
	settle := func(e lease.Enrolment) (lease.Enrolment, error) { return e.Settle(kept) }
	if _, _, err := s.store.UpdateEnrolment(t.Context(), s.mine.ID, settle); err != nil {
		t.Fatal(err)
	}
	before := s.answeredToProved()
	for range 5 {
		if status, kind, _ := other.call(http.MethodGet, own(s.mine.ID, ""), nil); status != http.StatusUnauthorized {
			t.Fatalf("answered %d %s", status, kind)
		}
	}
	if n := s.answeredToProved() - before; n > 1 {
		t.Errorf("%d of its requests were answered as those of an enrolled key; want the first alone", n)
	}
}

func (w *world) answeredToProved() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.proved
}
