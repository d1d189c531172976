package etcd

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"lapse/lease"
	"lapse/lease/etcd/internal/zaplog"
)

// versions answers as servers of these versions would; an endpoint that it lacks does not answer.
type versions map[string]string

func (v versions) Status(ctx context.Context, endpoint string) (*clientv3.StatusResponse, error) {
	version, found := v[endpoint]
	if !found {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return &clientv3.StatusResponse{Version: version}, nil
}

func TestOnlyServersThatAreNewEnoughAreTrusted(t *testing.T) {
	t.Parallel()
	for version, trusted := range map[string]bool{
		"3.6.9": true, "3.6.10": true, "3.7.0": true, "3.7.3": true, "4.0.0": true,
		"3.6.8": false, "3.5.99": false, "2.9.9": false, "3.6.9-rc.0": false, "": false, "new": false,
	} {
		err := checkVersions(t.Context(), versions{"a": version}, []string{"a"})
		var old *VersionError
		switch {
		case trusted && err != nil:
			t.Errorf("%q: %v", version, err)
		case !trusted && (!errors.As(err, &old) || old.Version != version || old.Endpoint != "a"):
			t.Errorf("%q: %v, want a VersionError", version, err)
		case !trusted && !strings.Contains(err.Error(), "upgrade it to 3.6.9"):
			t.Errorf("%q: %v does not say what to do", version, err)
		}
	}
}

func TestOneOldServerAmongNewOnesIsRefused(t *testing.T) {
	t.Parallel()
	servers := versions{"a": "3.7.3", "b": "3.5.0"}
	if err := checkVersions(t.Context(), servers, []string{"a", "b"}); !errors.As(err, new(*VersionError)) {
		t.Errorf("got %v, want a VersionError", err)
	}
}

func TestServersThatAreDownAreNoReasonToRefuseTheRest(t *testing.T) {
	t.Parallel()
	if err := checkVersions(t.Context(), versions{"a": "3.7.3"}, []string{"down", "a"}); err != nil {
		t.Error(err)
	}
}

func TestNoAnswerIsAnErrorThatSaysWhatToDo(t *testing.T) {
	t.Parallel()
	deaf, err := net.Listen("tcp", "127.0.0.1:0") // takes connections, and never answers
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = deaf.Close() })
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = closed.Close()
	for endpoint, says := range map[string]string{
		"unix://" + filepath.Join(t.TempDir(), "none"): "no such socket",
		closed.Addr().String():                         "connection refused",
		"http://" + closed.Addr().String():             "connection refused",
		deaf.Addr().String():                           "no etcd answers",
	} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		_, err := Dial(ctx, Config{Endpoints: []string{endpoint}})
		cancel()
		var unreachable *UnreachableError
		if !errors.As(err, &unreachable) || unreachable.Endpoints[0] != endpoint || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: got %v, want an UnreachableError that says %q", endpoint, err, says)
		}
	}
}

func TestBadDialSettingsAreRefused(t *testing.T) {
	t.Parallel()
	notPEM := filepath.Join(t.TempDir(), "ca")
	if err := os.WriteFile(notPEM, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	one := []string{"https://127.0.0.1:1"}
	for want, config := range map[string]Config{
		"no etcd endpoint":          {},
		"go together":               {Endpoints: one, Cert: "c"},
		"no such file or directory": {Endpoints: one, CACert: "/does/not/exist"},
		"read the certificates":     {Endpoints: one, CACert: notPEM},
	} {
		if _, err := Dial(t.Context(), config); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error about %q", err, want)
		}
	}
}

func TestEveryCallToAServerThatIsNotThereIsBounded(t *testing.T) {
	t.Parallel()
	client, err := clientv3.New(clientv3.Config{Logger: zaplog.New(nil), Endpoints: []string{"unix://" + filepath.Join(t.TempDir(), "none")}})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	brief := 20 * time.Millisecond
	s := New(client, "n", Options{CallTimeout: brief, ListTimeout: brief})
	for name, call := range calls(t.Context(), s) {
		if err := call(); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v, want context.DeadlineExceeded", name, err)
		}
	}
}

func calls(ctx context.Context, s *Store) map[string]func() error {
	hb := lease.Heartbeat{InstanceID: "i-1"}
	return map[string]func() error{
		"read":     func() error { _, err := s.Lease(ctx, "i-1"); return err },
		"put":      func() error { _, err := s.PutLease(ctx, lease.Lease{InstanceID: "i-1"}); return err },
		"snapshot": func() error { _, err := s.Snapshot(ctx); return err },
		"claim":    func() error { _, err := s.Claim(ctx, hb); return err },
		"renew":    func() error { _, _, err := s.Renew(ctx, lease.Claim{Heartbeat: hb, Handle: 1}, hb); return err },
		"campaign": func() error { _, err := s.Campaign(ctx, "a", time.Second); return err },
		"healthy":  func() error { return s.Healthy(ctx) },
		"bind": func() error {
			launch := lease.Launch{Token: "a", State: lease.LaunchOpen, Revision: 1}
			_, err := s.Bind(ctx, launch, []lease.Lease{{InstanceID: "i-1"}})
			return err
		},
	}
}
