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
