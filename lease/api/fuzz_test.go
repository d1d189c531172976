package api_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"lapse/lease"
	"lapse/lease/api"
	"lapse/lease/api/edge"
	"lapse/lease/ec2/ec2test"
	"lapse/lease/leasetest"
	"lapse/lease/problem"
)

// nowhere is an EC2 that knows nothing.
type nowhere struct{}

func (nowhere) Location() lease.Location { return ec2test.Here() }

func (nowhere) Describe(context.Context, []string) (lease.Listing, error) {
	return lease.Listing{}, nil
}

// FuzzCalls: whoever has the key of one instance may send anything anywhere. It gets JSON, a problem where it was refused, its
// own lease moves no further than it may, and a neighbour's not at all.
func FuzzCalls(f *testing.F) {
	const mine, neighbour = "i-0123456789abcdef0", "i-0123456789abcdef1"
	for _, path := range []string{"", "/heartbeat", "/extend", "/release", "/enrolment", "/peers", "/peers/../../" + neighbour + "/peers", "/../" + neighbour + "/release", "%2f..%2f" + neighbour} {
		for _, body := range []string{
			`{"for":"4h"}`, `{"by":"1h","within":"1h","user":"x"}`, `{"until":"9999-12-31T23:59:59-23:59"}`, `{"reason":"done"}`, `{"document":"AAAA","join_token":"x"}`,
			`{"claim":true,"boot_id":"b","heartbeat_timeout":"1m","changes":5}`, `{"claim":false,"boot_id":"b","heartbeat_timeout":"1ns"}`, ``, `{`, `null`, `[]`, `{}{}`,
		} {
			f.Add(uint8(len(body)), path, []byte(body))
		}
	}
	f.Fuzz(func(t *testing.T, method uint8, path string, body []byte) {
		store := leasetest.NewStore()
		defer store.Close()
		now := time.Now().UTC().Truncate(time.Millisecond)
		leases := map[string]lease.Lease{}
		for _, id := range []string{mine, neighbour} {
			l := lease.Lease{
				Schema: lease.Schema, InstanceID: id, State: lease.StateActive, Account: ec2test.Account, Region: ec2test.Region, GrantedAt: now,
				ExpiresAt: now.Add(time.Hour), ExpiresNumber: 1, MaxExpiresAt: now.Add(8 * time.Hour),
			}
			stored, err := store.PutLease(t.Context(), l)
			if err != nil {
				t.Fatal(err)
			}
			leases[id] = stored
		}
		_, _, err := store.UpdateEnrolment(t.Context(), mine, func(e lease.Enrolment) (lease.Enrolment, error) {
			return e.Enrol(now, now, lease.EnrolledKey{SHA256: "key", Proof: lease.ProofLaunch})
		})
		if err != nil {
			t.Fatal(err)
		}
		server := api.New(api.Config{Store: store, Clouds: []api.Cloud{nowhere{}}, Now: time.Now, Logger: slog.New(slog.DiscardHandler)})
		request := httptest.NewRequest([]string{http.MethodGet, http.MethodPut, http.MethodPost, http.MethodDelete}[method%4], "/", strings.NewReader(string(body)))
		request.URL.Path, request.URL.RawPath = "/v1/instances/"+mine+path, ""
		request = request.WithContext(edge.NewContext(t.Context(), edge.Caller{Key: "key", Addr: netip.MustParseAddr("10.0.0.1")}))
		answer := httptest.NewRecorder()
		server.Handler().ServeHTTP(answer, request)
		var p problem.Details
		if ok := answer.Code == http.StatusOK; !ok && answer.Code < 300 || !ok && answer.Code >= 400 && (json.Unmarshal(answer.Body.Bytes(), &p) != nil || p.Status != answer.Code) {
			t.Fatalf("%s %q %q is answered with %d %q", request.Method, path, body, answer.Code, answer.Body)
		}
		if strings.Contains(answer.Body.String(), neighbour) && answer.Code == http.StatusOK {
			t.Fatalf("%s %q %q tells of the neighbour: %q", request.Method, path, body, answer.Body)
		}
		if l, err := store.Lease(t.Context(), neighbour); err != nil || l.Revision != leases[neighbour].Revision {
			t.Fatalf("%s %q %q changes the neighbour's lease: %+v, %v", request.Method, path, body, l, err)
		}
		if l, err := store.Lease(t.Context(), mine); err != nil || l.ExpiresAt.After(l.MaxExpiresAt) || l.ExpiresAt.Before(leases[mine].ExpiresAt) {
			t.Fatalf("%s %q %q: the lease is %+v, %v", request.Method, path, body, l, err)
		}
	})
}
