package imds

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"lapse/lease/ec2/ec2sim"
)

const instance = "i-0123456789abcdef0"

// ask asks h, for a minute at most, and returns what was logged too.
func ask(t *testing.T, h http.Handler) (Identity, string, error) {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var log bytes.Buffer
	id, err := New(server.URL+"/", slog.New(slog.NewTextHandler(&log, nil))).Identity(ctx)
	return id, log.String(), err
}

func TestIdentityOfASimulatedInstance(t *testing.T) {
	t.Parallel()
	metadata := ec2sim.IMDS(ec2sim.Instance{
		ID: instance, Region: "eu-west-1", Zone: "eu-west-1a", PrivateIP: "10.0.0.7",
	})
	want := Identity{InstanceID: instance, Region: "eu-west-1", Zone: "eu-west-1a", Address: "10.0.0.7"}
	if got, log, err := ask(t, metadata); err != nil || got != want || log != "" {
		t.Errorf("%+v, %v, log %q", got, err, log)
	}
}

func TestEmptyAnswersAreRetried(t *testing.T) {
	t.Parallel()
	metadata := ec2sim.IMDS(ec2sim.Instance{ID: instance})
	metadata.Script(ec2sim.Nothing, ec2sim.Nothing, ec2sim.Truth)
	got, log, err := ask(t, metadata)
	if err != nil || got.InstanceID != instance {
		t.Errorf("%+v, %v", got, err)
	}
	if strings.Count(log, "retrying") != 1 {
		t.Errorf("want one warning, got %q", log)
	}
}

func TestMetadataThatComesAndGoes(t *testing.T) {
	t.Parallel()
	const gone = ec2sim.Nothing // from here on
	for name, script := range map[string][]ec2sim.Answer{
		"nothing, the id, and nothing again": {ec2sim.Nothing, ec2sim.Truth, gone},
		"not found at first":                 {ec2sim.NotFound, ec2sim.NotFound, ec2sim.Truth, gone},
		"unavailable at first":               {ec2sim.Unavailable, ec2sim.Truth, ec2sim.Unavailable},
		"no answer at first, and then none":  {ec2sim.Silence, ec2sim.Truth, ec2sim.NotFound},
		"a token that is refused":            {ec2sim.Unauthorized, ec2sim.Truth, ec2sim.Unauthorized},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			metadata := ec2sim.IMDS(ec2sim.Instance{ID: instance, Region: "eu-west-1", Zone: "eu-west-1a", PrivateIP: "10.0.0.7"})
			metadata.Script(script...)
			got, log, err := ask(t, metadata)
			if err != nil || got != (Identity{InstanceID: instance}) || strings.Count(log, "retrying") != 1 {
				t.Errorf("%+v, %v, log %q; want the id alone, after one warning", got, err, log)
			}
		})
	}
}

// service answers IMDSv2 requests from a table of paths, and notes each.
type service struct {
	answers map[string]string
	faults  func(n int64) (status int, body string) // of the nth request; status 0: none
	asked   atomic.Int64
	bare    atomic.Bool // somebody asked without a token
}

func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n := s.asked.Add(1)
	if r.Method == http.MethodGet && r.Header.Get("X-aws-ec2-metadata-token") != "token" {
		s.bare.Store(true)
	}
	if s.faults != nil {
		if status, body := s.faults(n); status != 0 {
			w.WriteHeader(status)
			fmt.Fprint(w, body)
			return
		}
	}
	answer, ok := s.answers[r.Method+" "+r.URL.Path]
	if !ok {
		http.NotFound(w, r)
		return
	}
	fmt.Fprint(w, answer)
}

func whole() *service {
	return &service{answers: map[string]string{
		"PUT /latest/api/token":             "token\n",
		"GET /latest/meta-data/instance-id": instance + "\n",
	}}
}

func TestOnlyTheIDIsRequired(t *testing.T) {
	t.Parallel()
	s := whole()
	got, _, err := ask(t, s)
	if err != nil || got != (Identity{InstanceID: instance}) || s.bare.Load() {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestFailuresAreRetriedAndNeverWithoutAToken(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]struct {
		request int64 // 1 is that for the token, 2 that for the id
		status  int
		body    string
	}{
		"server error":      {1, 500, "oops"},
		"no token given":    {1, 403, ""},
		"token not allowed": {1, 405, ""},
		"a redirect":        {1, 302, ""},
		"an empty token":    {1, 200, ""},
		"throttled":         {2, 503, ""},
		"token refused":     {2, 401, ""},
		"an empty id":       {2, 200, " \n"},
		"a portal's page":   {2, 200, "<html>please log in</html>"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := whole()
			s.faults = func(n int64) (int, string) {
				if n == fault.request {
					return fault.status, fault.body
				}
				return 0, ""
			}
			got, log, err := ask(t, s)
			if err != nil || got.InstanceID != instance || strings.Count(log, "retrying") != 1 {
				t.Errorf("%+v, %v, log %q", got, err, log)
			}
			if s.bare.Load() {
				t.Error("asked without a token, as IMDSv1 would")
			}
		})
	}
}

func TestRetriesUntilTheContextEnds(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(server.Close)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := New(server.URL, slog.New(slog.DiscardHandler)).Identity(ctx)
	var none *NoAnswerError
	if !errors.As(err, &none) || !errors.Is(err, context.DeadlineExceeded) || none.Endpoint != server.URL {
		t.Fatalf("%T %v", err, err)
	}
	for _, part := range []string{server.URL, "status 404", "hop limit"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q lacks %q", err, part)
		}
	}
}

func TestNoAnswer(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := New(server.URL, slog.New(slog.DiscardHandler)).Identity(ctx); err == nil {
		t.Error("an identity out of nowhere")
	}
}

func TestValidID(t *testing.T) {
	t.Parallel()
	for id, want := range map[string]bool{
		instance:                true,
		"i-1a2b3c4d":            true,
		"i-":                    false,
		"":                      false,
		"0123456789abcdef0":     false,
		"i-0123456789abcdef":    false,
		"i-0123456789ABCDEF0":   false,
		"i-0123456789abcdefg":   false,
		"i-0123456789abcdef0\n": false,
		"eni-1a2b3c4d":          false,
	} {
		if got := validID(id); got != want {
			t.Errorf("%q: %t", id, got)
		}
	}
}

func TestEndpoint(t *testing.T) {
	t.Parallel()
	const endpoint, mode = "AWS_EC2_METADATA_SERVICE_ENDPOINT", "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE"
	for name, c := range map[string]struct {
		env  map[string]string
		want string
	}{
		"default":            {nil, "http://169.254.169.254"},
		"the SDK's setting":  {map[string]string{endpoint: "http://127.0.0.1:1338"}, "http://127.0.0.1:1338"},
		"IPv6":               {map[string]string{mode: "IPv6"}, "http://[fd00:ec2::254]"},
		"IPv4":               {map[string]string{mode: "IPv4"}, "http://169.254.169.254"},
		"setting beats mode": {map[string]string{mode: "IPv6", endpoint: "http://imds"}, "http://imds"},
	} {
		if got := Endpoint(func(key string) string { return c.env[key] }); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}
