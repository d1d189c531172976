package api_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"lapse/lease"
)

// TestWhatIsNoAnswerOfTheAPIIsNone has another service of the same CA at the URL, or a balancer with a page of its own. No such
// answer is taken for a renewal, an extension or a release, and none says that nothing was changed if that is not known.
func TestWhatIsNoAnswerOfTheAPIIsNone(t *testing.T) {
	t.Parallel()
	const other = `{"schema": 3, "instance_id": "i-00000000000000001", "state": "active"}`
	for name, c := range map[string]struct {
		status int
		body   string
	}{
		"an empty object":         {http.StatusOK, `{}`},
		"null":                    {http.StatusOK, `null`},
		"nothing":                 {http.StatusOK, ``},
		"a page":                  {http.StatusOK, `<html>log in</html>`},
		"a page that refuses":     {http.StatusForbidden, `<html>log in</html>`},
		"another place":           {http.StatusFound, ``},
		"no content":              {http.StatusNoContent, ``},
		"too much":                {http.StatusOK, `{"x": "` + strings.Repeat("x", 2<<20)},
		"another instance":        {http.StatusOK, `{"lease": ` + other + `, "heartbeat": ` + other + `}`},
		"another instance's own":  {http.StatusOK, other},
		"a heartbeat without one": {http.StatusOK, `{"heartbeat": {}}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(c.status)
				_, _ = io.WriteString(w, c.body)
			}))
			s.serve(server, "127.0.0.2")
			s.dns.Host("api.example", "127.0.0.2")
			client := s.client(s.url())
			if err := s.renew(client); err == nil {
				t.Error("the heartbeat counts as renewed")
			}
			id, ctx := "i-0123456789abcdef0", t.Context()
			var unknown *lease.OutcomeUnknownError
			if _, err := client.Extend(ctx, id, lease.ExtendRequest{For: lease.Duration(time.Hour)}, lease.By{}); !errors.As(err, &unknown) {
				t.Errorf("extend: %v", err)
			}
			if _, err := client.Release(ctx, id, lease.By{}); !errors.As(err, &unknown) {
				t.Errorf("release: %v", err)
			}
			var away *lease.UnavailableError
			if _, err := client.Peers(ctx, id); !errors.As(err, &away) {
				t.Errorf("peers: %v", err)
			}
		})
	}
}

// TestPeersOfAnAPIThatIsAwayAreNotKnown, and whoever asks is told to try again.
func TestPeersOfAnAPIThatIsAwayAreNotKnown(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.replica("127.0.0.2").Close()
	s.dns.Host("api.example", "127.0.0.2")
	var away *lease.UnavailableError
	if _, err := s.client(s.url()).Peers(t.Context(), "i-0123456789abcdef0"); !errors.As(err, &away) {
		t.Errorf("%v", err)
	}
}
