//go:build chaos

package chaos

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// members is how many there are.
const members = 3

// cluster is the etcd members and the links between them. client goes to them directly, past all proxies.
type cluster struct {
	t      *testing.T
	dir    string
	seats  [members]seat
	runs   [members]*process
	peers  [members]*link // before each member, for the others
	client *clientv3.Client
	ids    [members]uint64 // as etcd calls them
}

// newCluster starts the members. They listen on loopback addresses of their own, whose ports no client's end can take
// while a member is down.
func newCluster(t *testing.T, dir string) *cluster {
	t.Helper()
	c := &cluster{t: t, dir: dir}
	var all, endpoints []string
	pid := os.Getpid()
	for n := range members {
		host := fmt.Sprintf("127.%d.%d.%d", 64+pid>>16&63, pid>>8&255, pid&252|n)
		s := &c.seats[n]
		s.Name, s.Client, s.Peer = fmt.Sprintf("m%d", n), host+":2379", host+":2380"
		s.Dir = filepath.Join(dir, s.Name)
		c.peers[n] = newLink(t, s.Peer, sourceOfPeer)
		s.AdvertisePeer = c.peers[n].address()
		all = append(all, s.Name+"=http://"+s.AdvertisePeer)
		endpoints = append(endpoints, "http://"+s.Client)
	}
	for n := range members {
		c.seats[n].Cluster = strings.Join(all, ",")
		c.start(n)
	}
	client, err := clientv3.New(clientv3.Config{
		Endpoints: endpoints, DialKeepAliveTime: 2 * time.Second, DialKeepAliveTimeout: 2 * time.Second, Logger: zap.NewNop(),
	})
	if err != nil {
		t.Fatal(err)
	}
	c.client = client
	t.Cleanup(func() {
		_ = client.Close()
		for _, p := range c.runs {
			p.finish()
		}
	})
	within(t, "a cluster of three members", func() bool { return c.learnIDs() == nil })
	return c
}

// sourceOfPeer reads which member opened a connection to another one, from the header that etcd's peers send.
func sourceOfPeer(first []byte) string {
	for line := range strings.SplitSeq(string(first), "\r\n") {
		if name, value, ok := strings.Cut(line, ": "); ok && strings.EqualFold(name, "X-Server-From") {
			return value
		}
	}
	return ""
}

func (c *cluster) start(n int) {
	command := exec.Command(os.Args[0])
	command.Env = asMember(c.seats[n])
	c.runs[n] = mustStart(c.t, command, filepath.Join(c.dir, c.seats[n].Name+".log"))
}

// learnIDs asks the members what they are called. All have to answer.
func (c *cluster) learnIDs() error {
	for n := range members {
		status, err := c.status(n)
		if err != nil {
			return err
		}
		c.ids[n] = status.Header.MemberId
	}
	return nil
}

func (c *cluster) status(n int) (*clientv3.StatusResponse, error) {
	ctx, cancel := context.WithTimeout(c.t.Context(), time.Second)
	defer cancel()
	return c.client.Status(ctx, "http://"+c.seats[n].Client)
}

// leader is the member that leads, or another one if none can be told.
func (c *cluster) leader() int {
	for n := range members {
		if status, err := c.status(n); err == nil && status.Leader != 0 {
			for m, id := range c.ids {
				if id == status.Leader {
					return m
				}
			}
		}
	}
	return 0
}

// follower is a member that does not lead.
func (c *cluster) follower(pick int) int { return (c.leader() + 1 + pick%(members-1)) % members }

// answers reports whether etcd answers a read through consensus, and at which revision.
func (c *cluster) answers(timeout time.Duration) (int64, error) {
	ctx, cancel := context.WithTimeout(c.t.Context(), timeout)
	defer cancel()
	resp, err := c.client.Get(ctx, "/lapse/default/registry", clientv3.WithCountOnly())
	if err != nil {
		return 0, err
	}
	return resp.Header.Revision, nil
}

// whole waits until every member answers and knows a leader, and etcd as a whole answers.
func (c *cluster) whole() {
	within(c.t, "every etcd member serving", func() bool {
		for n := range members {
			status, err := c.status(n)
			if err != nil || status.Leader == 0 || status.IsLearner {
				return false
			}
		}
		_, err := c.answers(2 * time.Second)
		return err == nil
	})
}

// isolate makes trouble between one member and the others, both ways.
func (c *cluster) isolate(n int, t trouble) {
	from := fmt.Sprintf("%x", c.ids[n])
	for m := range members {
		if m == n {
			c.peers[m].set("", t)
		} else {
			c.peers[m].set(from, t)
		}
	}
}

// wipe takes a killed member out of the cluster, with its data, and lets a new one join in its place. etcd may drop such
// a change when its leader changes, and admits nobody before it has heard of all that are left for a while: so it is
// asked until it has come about.
func (c *cluster) wipe(n int) {
	url, old := "http://"+c.seats[n].AdvertisePeer, c.ids[n]
	c.reconfigure("the old member gone", func(ctx context.Context, listed map[uint64][]string) bool {
		if _, there := listed[old]; there {
			_, _ = c.client.MemberRemove(ctx, old) // the list tells
		}
		return len(listed) < members
	})
	if err := os.RemoveAll(c.seats[n].Dir); err != nil {
		c.t.Fatal(err)
	}
	c.reconfigure("the new member admitted", func(ctx context.Context, listed map[uint64][]string) bool {
		for _, urls := range listed {
			if slices.Contains(urls, url) {
				return true
			}
		}
		_, _ = c.client.MemberAdd(ctx, []string{url})
		return false
	})
	c.seats[n].Joins = true
	c.start(n)
	within(c.t, "the new member serving", func() bool { return c.learnIDs() == nil })
}

// reconfigure tries a change of the members, which have their peer URLs by id, until it has come about.
func (c *cluster) reconfigure(what string, try func(context.Context, map[uint64][]string) bool) {
	within(c.t, what, func() bool {
		ctx, cancel := context.WithTimeout(c.t.Context(), 3*time.Second)
		defer cancel()
		resp, err := c.client.MemberList(ctx)
		if err != nil {
			return false
		}
		listed := map[uint64][]string{}
		for _, m := range resp.Members {
			listed[m.ID] = m.PeerURLs
		}
		return try(ctx, listed)
	})
}

// renewals sums up what the members say of renewals since each started.
func (c *cluster) renewals() [members]float64 {
	var all [members]float64
	for n := range members {
		all[n] = c.metric(n, "etcd_debugging_lease_renewed_total")
	}
	return all
}

func (c *cluster) metric(n int, name string) float64 {
	client := http.Client{Timeout: time.Second}
	resp, err := client.Get("http://" + c.seats[n].Client + "/metrics")
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		var value float64
		if rest, ok := bytes.CutPrefix(lines.Bytes(), []byte(name+" ")); ok {
			if _, err := fmt.Sscan(string(rest), &value); err == nil {
				return value
			}
		}
	}
	return 0
}

// generous bounds what processes bring about on a busy machine.
const generous = 2 * time.Minute

// within polls for a condition until a generous deadline.
func within(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(generous); !holds(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited %s in vain for: %s", generous, what)
		}
	}
}
