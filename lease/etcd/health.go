package etcd

import (
	"context"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// alarmer is the part of clientv3.Maintenance that tells alarms.
type alarmer interface {
	AlarmList(ctx context.Context) (*clientv3.AlarmResponse, error)
}

// Healthy returns an error if etcd does not answer, or has raised an alarm: no space left, or corrupt data. The answer
// passes through consensus, so a member without a quorum does not give it. A client that tells no alarms, as a model
// may, is asked for the registry instead.
//
// Errors: [AlarmError].
func (s *Store) Healthy(ctx context.Context) error {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	maintenance, tells := s.client.(alarmer)
	if !tells {
		_, err := s.client.Get(ctx, s.root+"registry", clientv3.WithCountOnly())
		return err
	}
	resp, err := maintenance.AlarmList(ctx)
	if err != nil {
		return fmt.Errorf("ask etcd for alarms: %w", err)
	}
	alarm := &AlarmError{}
	for _, a := range resp.Alarms {
		alarm.Alarms = append(alarm.Alarms, a.GetAlarm().String())
	}
	if len(alarm.Alarms) > 0 {
		return alarm
	}
	return nil
}

// Server is one endpoint as it answers for itself.
type Server struct {
	Endpoint string
	Version  string // empty if it gives no answer
	Err      error  // why not; or [VersionError] if it is too old
}

// Servers asks each endpoint of the client for its version, one after the other. A client that tells none, as a model
// may, has no servers.
func (s *Store) Servers(ctx context.Context) []Server {
	client, tells := s.client.(interface {
		statusReader
		Endpoints() []string
	})
	if !tells {
		return nil
	}
	var servers []Server
	for _, endpoint := range client.Endpoints() {
		bounded, cancel := s.bounded(ctx)
		server := Server{Endpoint: endpoint}
		status, err := client.Status(bounded, endpoint)
		cancel()
		if server.Err = err; err == nil {
			server.Version, server.Err = status.Version, newEnough(endpoint, status.Version)
		}
		servers = append(servers, server)
	}
	return servers
}
