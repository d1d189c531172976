package imds

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
)

// FuzzIdentity: whatever answers where the metadata service should be, an identity has an id of EC2's form, and nothing
// but the token opens the way to it.
func FuzzIdentity(f *testing.F) {
	f.Add(200, "token", 200, instance, 200, "eu-west-1")
	f.Add(200, "token\n", 200, " "+instance+"\r\n", 404, "")
	f.Add(200, "to\x00ken", 200, "i-1a2b3c4d", 200, "<html>")
	f.Add(200, "token", 200, "<html>please log in</html>", 200, "")
	f.Add(302, "", 200, instance, 500, "x")
	f.Add(200, "t", 200, instance+instance, 99, "é")
	f.Add(200, strings.Repeat("t", 2000), 401, "i-1a2b3c4d\x85", 200, strings.Repeat(" ", 1100)+"late")
	var answers atomic.Pointer[service]
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { answers.Load().ServeHTTP(w, r) }))
	f.Cleanup(server.Close)
	client := New(server.URL, slog.New(slog.DiscardHandler))
	form := regexp.MustCompile(`^i-([0-9a-f]{8}|[0-9a-f]{17})$`)
	f.Fuzz(func(t *testing.T, tokenStatus int, token string, idStatus int, id string, restStatus int, rest string) {
		s := &service{faults: func(n int64) (int, string) {
			switch n {
			case 1:
				return final(tokenStatus), token
			case 2:
				return final(idStatus), id
			}
			return final(restStatus), rest
		}}
		answers.Store(s)
		ctx, cancel := context.WithTimeout(t.Context(), tryFor)
		defer cancel()
		got, err := client.try(ctx)
		if err != nil {
			if got != (Identity{}) {
				t.Fatalf("%+v beside %v", got, err)
			}
			return
		}
		if !form.MatchString(got.InstanceID) || strings.TrimSpace(id[:min(len(id), sizeMax)]) != got.InstanceID || final(tokenStatus) != 200 || final(idStatus) != 200 {
			t.Fatalf("%+v out of %d %q, %d %q", got, tokenStatus, token, idStatus, id)
		}
		for _, other := range []string{got.Region, got.Zone, got.Address} {
			if other != "" && (final(restStatus) != 200 || other != strings.TrimSpace(rest[:min(len(rest), sizeMax)])) {
				t.Fatalf("%+v out of %d %q", got, restStatus, rest)
			}
		}
	})
}

// final is a status that a server can answer with for good.
func final(status int) int { return 200 + ((status-200)%400+400)%400 }

// FuzzValidID: an id is one exactly if it has one of EC2's two forms.
func FuzzValidID(f *testing.F) {
	for _, id := range []string{instance, "i-1a2b3c4d", "i-", "", "I-1a2b3c4d", "i-1a2b3c4d\n", "i-1a2b3c4é", "eni-1a2b3c4d", instance + "0"} {
		f.Add(id)
	}
	form := regexp.MustCompile(`\Ai-([0-9a-f]{8}|[0-9a-f]{17})\z`)
	f.Fuzz(func(t *testing.T, id string) {
		if got := validID(id); got != form.MatchString(id) {
			t.Errorf("%q: %t", id, got)
		}
		if validID(fmt.Sprintf("i-%x", id)) != (len(id) == 4) {
			t.Errorf("i-%x", id)
		}
	})
}
