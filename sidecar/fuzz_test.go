package sidecar

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"
)

// FuzzSocket: any local program may write anything to the socket. It gets JSON back, and a status that says whether it was
// refused; no term passes NotAfter, the policy, or comes earlier; and only who may release releases.
func FuzzSocket(f *testing.F) {
	for _, body := range []string{
		`{"for":"4h"}`, `{"by":"1h","reason":"more"}`, `{"until":"2026-03-05T12:00:00Z","strict":true}`, `{"until":"9999-12-31T23:59:59-23:59"}`,
		`{"for":"2562047h47m16.854775807s"}`, `{"by":"2562047h47m16.854775807s"}`, `{"for":"-1h"}`, `{"for":"1h","by":"1h"}`, `{"reason":"done"}`, ``, `{`, `{}{}`, `null`, `[]`,
		`{"FOR":"1h"}`, `{"for":"1h","for":"2h"}`, `{"reason":"\ud800"}`, `{"kind":"malformed","message":"m","facts":null}`, `{"kind":"shorten","message":"m","facts":{"ID":1}}`,
	} {
		f.Add(uint8(len(body)), int64(-1), []byte(body))
		f.Add(uint8(1), int64(-1), []byte(body))
		f.Add(uint8(2), int64(12345), []byte(body))
		f.Add(uint8(2), int64(0), []byte(body))
	}
	f.Fuzz(func(t *testing.T, which uint8, uid int64, body []byte) {
		r := bound()
		if which&4 != 0 {
			r.lease.MaxExpiresAt = time.Time{}
		}
		policy := time.Duration(which>>4) * time.Hour
		s, err := New(Config{
			InstanceID: instance, BootID: "boot-1", Open: opened(r, func() time.Time { return today }), Now: func() time.Time { return today }, MaxExtend: policy,
			Logger: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			t.Fatal(err)
		}
		before := r.lease
		path := []string{"/v1/status", "/v1/extend", "/v1/release", "/v2"}[which&3]
		method := map[bool]string{true: http.MethodGet, false: http.MethodPost}[path == "/v1/status"]
		request := httptest.NewRequest(method, path, strings.NewReader(string(body)))
		request = request.WithContext(context.WithValue(t.Context(), peerKey{}, uid))
		answer := httptest.NewRecorder()
		s.handler().ServeHTTP(answer, request)
		after := r.current()
		if path == "/v2" {
			return
		}
		if !json.Valid(answer.Body.Bytes()) || answer.Code == http.StatusInternalServerError {
			t.Fatalf("%s %q: %d %q", path, body, answer.Code, answer.Body)
		}
		changed := after.Changes != before.Changes
		if done := answer.Code == http.StatusOK; !done && changed {
			t.Fatalf("%s %q is answered with %d and changed the lease", path, body, answer.Code)
		}
		if !after.Live() && (path != "/v1/release" || uid != 0 && uid != int64(os.Getuid())) {
			t.Fatalf("%s %q by %d took the lease away", path, body, uid)
		}
		if until := after.ExpiresAt; until.Before(before.ExpiresAt) || !before.MaxExpiresAt.IsZero() && until.After(before.MaxExpiresAt) ||
			policy > 0 && until.After(today.Add(policy)) && until.After(before.ExpiresAt) {
			t.Fatalf("%s %q moves the expiry to %s", path, body, until)
		}
	})
}
