package etcd

import (
	"context"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Namespaces are those in which there is a registry, in the order of the alphabet, 20 at most. It is for people who
// misspelt one; it reads a key or two for each, however many records there are.
func (s *Store) Namespaces(ctx context.Context) ([]string, error) {
	const most = 20
	all := strings.TrimSuffix(s.root, s.namespace+"/")
	end, names := clientv3.GetPrefixRangeEnd(all), []string{}
	for from := all; len(names) < most; {
		first, err := s.client.Get(ctx, from, clientv3.WithRange(end), clientv3.WithLimit(1), clientv3.WithKeysOnly())
		if err != nil || len(first.Kvs) == 0 {
			return names, err
		}
		name, _, _ := strings.Cut(strings.TrimPrefix(string(first.Kvs[0].Key), all), "/")
		registry, err := s.client.Get(ctx, all+name+"/registry", clientv3.WithCountOnly())
		if err != nil {
			return names, err
		}
		if registry.Count > 0 {
			names = append(names, name)
		}
		from = clientv3.GetPrefixRangeEnd(all + name + "/")
	}
	return names, nil
}
