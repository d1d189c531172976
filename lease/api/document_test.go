package api_test

import (
	"net/http"
	"strings"
	"testing"

	"lapse/lease"
)

// TestADocumentAloneKeepsNobodyFromEnrolling has a thief show a neighbour's document, which is no secret, until it is refused for
// that. The neighbour starts again and enrols its next key: from its own address, or from that of a NAT.
func TestADocumentAloneKeepsNobodyFromEnrolling(t *testing.T) {
	t.Parallel()
	for name, from := range map[string]func(*siege) string{
		"from its own address": func(s *siege) string { return s.theirs.PrivateIP },
		"behind a NAT":         func(*siege) string { return "203.0.113.77" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSiege(t, newWorld(t))
			_, _, err := s.store.UpdateLease(t.Context(), s.theirs.ID, func(l lease.Lease) (lease.Lease, error) {
				l.Launch, _, _ = strings.Cut(s.theirs.ClientToken, ".")
				return l, nil
			})
			if err != nil {
				t.Fatal(err)
			}
			document, kind := s.document(s.theirs.ID), ""
			for range 30 {
				if _, kind = s.thief.enrol(s.theirs.ID, document, s.myToken); kind == "too-often" {
					break
				}
			}
			if kind != "too-often" {
				t.Errorf("the thief may go on: %s", kind)
			}
			if status, kind := s.caller(from(s)).enrol(s.theirs.ID, document, s.theirToken); status != http.StatusOK {
				t.Errorf("the neighbour is answered %d %s", status, kind)
			}
		})
	}
}
