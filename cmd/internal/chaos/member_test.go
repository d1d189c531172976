//go:build chaos

package chaos

import (
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"os"
	"os/signal"
	"syscall"

	"go.etcd.io/etcd/server/v3/embed"
)

// memberConfig, when set, makes the test binary an etcd member with that configuration.
const memberConfig = "LAPSE_CHAOS_MEMBER"

// seat is one member's place in the cluster. The package embedded has no peers on purpose, so this is etcd's own embed.
type seat struct {
	Name, Dir     string
	Client, Peer  string // where it listens, host:port
	AdvertisePeer string // where the others find it: a proxy
	Cluster       string // name=URL of all members, with commas
	Joins         bool   // an existing cluster
}

// clusterToken is the same after a restore, as with an operator who keeps the configuration.
const clusterToken = "chaos"

// serveMember runs an etcd member until it is told to stop.
func serveMember(text string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	var s seat
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		return err
	}
	config := embed.NewConfig()
	config.Name, config.Dir = s.Name, s.Dir
	config.ListenClientUrls, config.ListenPeerUrls = at(s.Client), at(s.Peer)
	config.AdvertiseClientUrls, config.AdvertisePeerUrls = at(s.Client), at(s.AdvertisePeer)
	config.InitialCluster, config.InitialClusterToken = s.Cluster, clusterToken
	if s.Joins {
		config.ClusterState = embed.ClusterStateFlagExisting
	}
	config.EnableGRPCGateway = false
	config.AutoCompactionMode, config.AutoCompactionRetention = embed.CompactorModePeriodic, "5m" // as the embedded one
	config.UnsafeNoFsync = true                                                                   // processes die here, the machine does not
	config.LogLevel = "warn"
	server, err := embed.StartEtcd(config)
	if err != nil {
		return err
	}
	defer server.Close()
	select {
	case <-ctx.Done():
		return nil
	case err := <-server.Err():
		return err
	case <-server.Server.StopNotify():
		return errors.New("the member was stopped")
	}
}

func at(hostPort string) []url.URL { return []url.URL{{Scheme: "http", Host: hostPort}} }

func asMember(s seat) []string {
	text, _ := json.Marshal(s) // strings and a bool always marshal
	return append(os.Environ(), memberConfig+"="+string(text))
}
