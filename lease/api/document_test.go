package api_test

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"lapse/lease"
	"lapse/lease/api"
	"lapse/lease/api/edge"
	"lapse/lease/api/identity"
	"lapse/lease/ec2"
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

// TestASignOfLifeIsSeenWhateverOthersAsk has no certificate of the Region, and somebody who asks for a neighbour without end: each
// time EC2 has to be asked whether that is the neighbour's own address.
func TestASignOfLifeIsSeenWhateverOthersAsk(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	i, token := w.launched("web")
	w.bind(i)
	logs := new(countedLines)
	handler := api.New(api.Config{
		Store: w.store, Clouds: []api.Cloud{w.Cloud(t, w.AWS(), ec2.Options{})}, Certificates: identity.Certificates{}, Now: time.Now,
		Logger: slog.New(slog.NewTextHandler(logs, nil)),
	}).Handler()
	enrol := func(from, document, token string) {
		ctx := edge.NewContext(t.Context(), edge.Caller{Key: "key at " + from, Addr: netip.MustParseAddr(from)})
		body := strings.NewReader(fmt.Sprintf(`{"document":%q,"join_token":%q}`, document, token))
		handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, http.MethodPost, own(i.ID, "/enrolment"), body))
	}
	for range 15 {
		enrol("203.0.113.9", "AAAA", "")
	}
	enrol(i.PrivateIP, w.document(i.ID), token)
	if w.lease(i.ID).VouchedAt.IsZero() {
		t.Error("the instance was not seen to live")
	}
	if lines := logs.lines.Load(); lines > 5 {
		t.Errorf("somebody unknown wrote %d lines into the log", lines)
	}
}

// countedLines counts the lines of a log.
type countedLines struct{ lines atomic.Int64 }

func (c *countedLines) Write(line []byte) (int, error) {
	c.lines.Add(1)
	return len(line), nil
}
