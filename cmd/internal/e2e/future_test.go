//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"

	"lapse/lease/etcd"
)

// tomorrow is a field that no version knows yet.
const tomorrow = "of_tomorrow"

// prefix of all keys of the registry.
const prefix = "/lapse/default/"

// record is a record as etcd has it.
type record struct {
	revision int64
	fields   map[string]string // by path, for the record itself and for the objects in it that keep what they do not know
}

// raw dials etcd beside the store.
func (w *world) raw() *clientv3.Client {
	w.t.Helper()
	client, err := etcd.Dial(w.t.Context(), etcd.Config{Endpoints: []string{w.etcd()}})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = client.Close() })
	return client
}

// read reads one record.
func (w *world) read(client *clientv3.Client, key string) record {
	w.t.Helper()
	resp, err := client.Get(w.t.Context(), prefix+key)
	if err != nil || len(resp.Kvs) != 1 {
		w.t.Fatalf("read %s: %v", key, err)
	}
	r := record{revision: resp.Kvs[0].ModRevision, fields: map[string]string{}}
	if err := eachObject(resp.Kvs[0].Value, func(path string, object map[string]json.RawMessage) {
		for name, value := range object {
			r.fields[path+name] = string(value)
		}
	}); err != nil {
		w.t.Fatalf("read %s: %v", key, err)
	}
	return r
}

// eachObject visits a record and the objects in it that keep fields which they do not know.
func eachObject(data []byte, visit func(path string, object map[string]json.RawMessage)) error {
	var object map[string]json.RawMessage
	if err := json.Unmarshal(data, &object); err != nil {
		return err
	}
	visit("", object)
	var attempts []map[string]json.RawMessage
	if data := object["attempts"]; data != nil {
		if err := json.Unmarshal(data, &attempts); err != nil {
			return err
		}
	}
	for n, attempt := range attempts {
		visit(fmt.Sprintf("attempts.%d.", n), attempt)
	}
	return nil
}

// plant puts the field of tomorrow into a record, as a newer version would, and returns the record.
func (w *world) plant(client *clientv3.Client, key string) record {
	w.t.Helper()
	for {
		resp, err := client.Get(w.t.Context(), prefix+key)
		if err != nil || len(resp.Kvs) != 1 {
			w.t.Fatalf("read %s: %v", key, err)
		}
		kv := resp.Kvs[0]
		written, err := client.Txn(w.t.Context()).If(clientv3.Compare(clientv3.ModRevision(prefix+key), "=", kv.ModRevision)).
			Then(clientv3.OpPut(prefix+key, w.planted(key, kv.Value), clientv3.WithLease(clientv3.LeaseID(kv.Lease)))).Commit()
		if err != nil {
			w.t.Fatalf("write %s: %v", key, err)
		}
		if written.Succeeded {
			return w.read(client, key)
		}
	}
}

func (w *world) planted(key string, data []byte) string {
	w.t.Helper()
	var whole map[string]json.RawMessage
	var attempts []map[string]json.RawMessage
	if err := eachObject(data, func(path string, object map[string]json.RawMessage) {
		object[tomorrow] = json.RawMessage(`{"by":"a newer version","at":[1,2]}`)
		if path == "" {
			whole = object
		} else {
			attempts = append(attempts, object)
		}
	}); err != nil {
		w.t.Fatalf("plant in %s: %v", key, err)
	}
	var err error
	if attempts != nil {
		whole["attempts"], err = json.Marshal(attempts)
	}
	out, err2 := json.Marshal(whole)
	if err != nil || err2 != nil {
		w.t.Fatalf("plant in %s: %v, %v", key, err, err2)
	}
	return string(out)
}

// lost are the fields that a version does not know, and that are not as they were before it wrote the record.
func (r record) lost(before record, known map[string]bool) []string {
	var lost []string
	for _, path := range slices.Sorted(maps.Keys(before.fields)) {
		name := path[strings.LastIndex(path, ".")+1:]
		if !known[name] && r.fields[path] != before.fields[path] {
			lost = append(lost, fmt.Sprintf("%s was %s and is %q", path, before.fields[path], r.fields[path]))
		}
	}
	return lost
}
