package api_test

import (
	"bytes"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"lapse/lease"
	"lapse/lease/api/edge"
	"lapse/lease/ec2/ec2sim"
)

// siege is an instance that somebody has taken over, its key enrolled, and a neighbour who renews.
type siege struct {
	*world
	mine, theirs           ec2sim.Instance
	myToken, theirToken    string
	mineKey, thief         *caller
	neighbourCaller        *caller
	beforeLease, beforeKey []byte
}

func newSiege(t *testing.T, w *world) *siege {
	t.Helper()
	s := &siege{world: w}
	s.T = t
	s.mine, s.myToken = s.launched(w.name("mine"))
	s.theirs, s.theirToken = s.launched(w.name("theirs"))
	s.bind(s.mine)
	s.bind(s.theirs)
	s.mineKey, s.thief, s.neighbourCaller = s.caller(s.mine.PrivateIP), s.caller("203.0.113.9"), s.caller(s.theirs.PrivateIP)
	for caller, of := range map[*caller]struct {
		i     ec2sim.Instance
		token string
	}{s.mineKey: {s.mine, s.myToken}, s.neighbourCaller: {s.theirs, s.theirToken}} {
		if status, kind := caller.enrol(of.i.ID, s.document(of.i.ID), of.token); status != http.StatusOK {
			t.Fatalf("enrol: %d %s", status, kind)
		}
		if status, kind, _ := caller.call(http.MethodPut, own(of.i.ID, "/heartbeat"), heartbeatOf("boot", true)); status != http.StatusOK {
			t.Fatalf("claim: %d %s", status, kind)
		}
	}
	s.beforeLease, s.beforeKey = s.neighbourRecords()
	return s
}

func (s *siege) neighbourRecords() (records, key []byte) {
	return append(s.store.Get("lease", s.theirs.ID), s.store.Get("heartbeat", s.theirs.ID)...), s.store.Get("enrolment", s.theirs.ID)
}

// total is how many refusals were counted.
func (s *siege) total() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, times := range s.refused {
		n += times
	}
	return n
}

// attack is refused, or does no more than it may.
type attack func(s *siege) (status int, kind string)

// enrolling attacks with a key that is enrolled nowhere, and shows what it has got hold of.
func enrolling(show func(s *siege) (id, document, token string)) attack {
	return func(s *siege) (int, string) { return s.thief.enrol(show(s)) }
}

// calling attacks with the key of the instance that was taken over.
func calling(method string, path func(s *siege) string, body any) attack {
	return func(s *siege) (int, string) {
		status, kind, _ := s.mineKey.call(method, path(s), body)
		return status, kind
	}
}

func neighbours(path string) func(*siege) string {
	return func(s *siege) string { return own(s.theirs.ID, path) }
}

func mine(path string) func(*siege) string {
	return func(s *siege) string { return own(s.mine.ID, path) }
}

func enrolments() map[string]attack {
	edited := func(document string) string {
		at := len(document) / 2
		flipped := byte('A')
		if document[at] == flipped {
			flipped = 'B'
		}
		return document[:at] + string(flipped) + document[at+1:]
	}
	return map[string]attack{
		"no document":                  enrolling(func(s *siege) (string, string, string) { return s.theirs.ID, "", s.theirToken }),
		"no base64":                    enrolling(func(s *siege) (string, string, string) { return s.theirs.ID, "a document", s.theirToken }),
		"no PKCS7":                     enrolling(func(s *siege) (string, string, string) { return s.theirs.ID, "AAAA", s.theirToken }),
		"a document that is too large": enrolling(func(s *siege) (string, string, string) { return s.theirs.ID, strings.Repeat("A", 20000), s.theirToken }),
		"an edited document": enrolling(func(s *siege) (string, string, string) {
			return s.theirs.ID, edited(s.document(s.theirs.ID)), s.theirToken
		}),
		"two documents": enrolling(func(s *siege) (string, string, string) {
			return s.theirs.ID, s.document(s.theirs.ID) + s.document(s.mine.ID), s.theirToken
		}),
		"a document and more": enrolling(func(s *siege) (string, string, string) {
			return s.theirs.ID, s.document(s.theirs.ID) + "AAAA", s.theirToken
		}),
		"my document for a neighbour":                         enrolling(func(s *siege) (string, string, string) { return s.theirs.ID, s.document(s.mine.ID), s.myToken }),
		"my document, a neighbour's token, for the neighbour": enrolling(func(s *siege) (string, string, string) { return s.theirs.ID, s.document(s.mine.ID), s.theirToken }),
		"a neighbour's document with my token":                enrolling(func(s *siege) (string, string, string) { return s.theirs.ID, s.document(s.theirs.ID), s.myToken }),
		"a neighbour's document without a token":              enrolling(func(s *siege) (string, string, string) { return s.theirs.ID, s.document(s.theirs.ID), "" }),
		"a neighbour's document without a token, said to come from there": func(s *siege) (int, string) {
			s.thief.forged = s.theirs.PrivateIP
			return s.thief.enrol(s.theirs.ID, s.document(s.theirs.ID), "")
		},
		"a neighbour's document from its own address": func(s *siege) (int, string) {
			return s.caller(s.theirs.PrivateIP).enrol(s.theirs.ID, s.document(s.theirs.ID), "")
		},
		"a guessed token": enrolling(func(s *siege) (string, string, string) {
			return s.theirs.ID, s.document(s.theirs.ID), strings.Repeat("A", 43)
		}),
		"the beginning of a token": enrolling(func(s *siege) (string, string, string) {
			return s.theirs.ID, s.document(s.theirs.ID), s.theirToken[:42]
		}),
		"a token and more": enrolling(func(s *siege) (string, string, string) {
			return s.theirs.ID, s.document(s.theirs.ID), s.theirToken + "A"
		}),
		"a token in capitals": enrolling(func(s *siege) (string, string, string) {
			return s.theirs.ID, s.document(s.theirs.ID), strings.ToUpper(s.theirToken)
		}),
		"an instance that is not there": enrolling(func(s *siege) (string, string, string) {
			return "i-00000000000000000", s.document(s.theirs.ID), s.theirToken
		}),
		"another Region's key": enrolling(func(s *siege) (string, string, string) {
			far := s.Sim.Create(ec2sim.Instance{Region: "eu-west-1", Tags: map[string]string{lease.TagRegistry: uuid}})
			return far.ID, s.document(far.ID), s.theirToken
		}),
		"an instance without the registry's tag": enrolling(func(s *siege) (string, string, string) {
			i, token := s.launched(s.name("untagged"), func(i *ec2sim.Instance) { delete(i.Tags, lease.TagRegistry) })
			return i.ID, s.document(i.ID), token
		}),
		"an instance of another registry": enrolling(func(s *siege) (string, string, string) {
			i, token := s.launched(s.name("other"), func(i *ec2sim.Instance) { i.Tags[lease.TagRegistry] = "another" })
			return i.ID, s.document(i.ID), token
		}),
		"a copy of the launch tag": enrolling(func(s *siege) (string, string, string) {
			i := s.Sim.Create(ec2sim.Instance{ClientToken: "console", Tags: map[string]string{lease.TagRegistry: uuid, lease.TagLaunch: s.theirs.ClientToken}})
			return i.ID, s.document(i.ID), s.theirToken
		}),
		// A disk has the user-data, as cloud-init keeps it, and nothing else of the instance: its key is in /run.
		"an image of a neighbour, started by hand": enrolling(func(s *siege) (string, string, string) {
			i := s.Sim.Create(ec2sim.Instance{ClientToken: "console"})
			return i.ID, s.document(i.ID), s.theirToken
		}),
		"an image of a neighbour, said to be the neighbour": enrolling(func(s *siege) (string, string, string) {
			i := s.Sim.Create(ec2sim.Instance{ClientToken: "console"})
			return s.theirs.ID, s.document(i.ID), s.theirToken
		}),
		"a snapshot of a neighbour, in another launch": enrolling(func(s *siege) (string, string, string) {
			i, _ := s.launched(s.name("copy"))
			return i.ID, s.document(i.ID), s.theirToken
		}),
		"a terminated instance": enrolling(func(s *siege) (string, string, string) {
			i, token := s.launched(s.name("gone"))
			document := s.document(i.ID)
			s.Sim.SetState(i.ID, ec2sim.Terminated)
			return i.ID, document, token
		}),
		"a stopped instance": enrolling(func(s *siege) (string, string, string) {
			i, token := s.launched(s.name("stopped"))
			document := s.document(i.ID)
			s.Sim.SetState(i.ID, ec2sim.Stopped)
			return i.ID, document, token
		}),
		"a document from before a start": enrolling(func(s *siege) (string, string, string) {
			launch := func(i *ec2sim.Instance) { i.LaunchTime = time.Now().Add(-time.Hour).Truncate(time.Second) }
			i, token := s.launched(s.name("started"), launch)
			document := s.document(i.ID)
			s.restarted(i.ID)
			return i.ID, document, token
		}),
		"an old instance without a token": func(s *siege) (int, string) {
			i := s.Sim.Create(ec2sim.Instance{LaunchTime: time.Now().Add(-time.Hour), Tags: map[string]string{lease.TagRegistry: uuid}})
			return s.caller(i.PrivateIP).enrol(i.ID, s.document(i.ID), "")
		},
		"a young instance without a token, from elsewhere": enrolling(func(s *siege) (string, string, string) {
			i := s.Sim.Create(ec2sim.Instance{Tags: map[string]string{lease.TagRegistry: uuid}})
			return i.ID, s.document(i.ID), ""
		}),
		"an operator's token after its hour": func(s *siege) (int, string) {
			i, token := s.invited()
			s.mu.Lock()
			s.ahead = time.Hour + time.Second
			s.mu.Unlock()
			return s.thief.enrol(i.ID, s.document(i.ID), token)
		},
		"an operator's token, a second time": func(s *siege) (int, string) {
			i, token := s.invited()
			if status, kind := s.mineKey.enrol(i.ID, s.document(i.ID), token); status != http.StatusOK {
				s.Errorf("the first time: %d %s", status, kind)
			}
			return s.thief.enrol(i.ID, s.document(i.ID), token)
		},
		"an operator's token for another instance": func(s *siege) (int, string) {
			_, token := s.invited()
			return s.thief.enrol(s.theirs.ID, s.document(s.theirs.ID), token)
		},
	}
}

func calls() map[string]attack {
	all := map[string]attack{
		"a neighbour's release, with a body of its own": calling(http.MethodPost, neighbours("/release"), map[string]string{"reason": "done"}),
		"two objects":                            calling(http.MethodPost, mine("/extend"), `{"for":"1h"}{"for":"1h"}`),
		"a field that is not there":              calling(http.MethodPut, mine("/heartbeat"), `{"claim":true,"boot_id":"b","heartbeat_timeout":"1m","instance_id":"i-1"}`),
		"an empty body":                          calling(http.MethodPost, mine("/extend"), ``),
		"null":                                   calling(http.MethodPost, mine("/extend"), `null`),
		"a list":                                 calling(http.MethodPost, mine("/extend"), `[]`),
		"a hundred thousand brackets":            calling(http.MethodPost, mine("/extend"), `{"for":`+strings.Repeat("[", 60000)),
		"a body that is too large":               calling(http.MethodPost, mine("/extend"), `{"reason":"`+strings.Repeat("x", 1<<20)+`"}`),
		"a reason that is too long":              calling(http.MethodPost, mine("/extend"), `{"for":"48h","reason":"`+strings.Repeat("x", 201)+`"}`),
		"a negative extension":                   calling(http.MethodPost, mine("/extend"), `{"for":"-1h"}`),
		"an extension that overflows":            calling(http.MethodPost, mine("/extend"), `{"for":"2562047h48m"}`),
		"an extension to the year 0":             calling(http.MethodPost, mine("/extend"), `{"until":"0000-01-01T00:00:00Z"}`),
		"an earlier date":                        calling(http.MethodPost, mine("/extend"), map[string]string{"until": time.Now().Add(time.Hour).UTC().Format(time.RFC3339)}),
		"past the maximum, strictly":             calling(http.MethodPost, mine("/extend"), `{"for":"1000h","strict":true}`),
		"a counter that is too high":             calling(http.MethodPut, mine("/heartbeat"), `{"claim":false,"boot_id":"boot","heartbeat_timeout":"1m","changes":1000000000001}`),
		"a negative counter":                     calling(http.MethodPut, mine("/heartbeat"), `{"claim":false,"boot_id":"boot","heartbeat_timeout":"1m","changes":-1}`),
		"a counter that overflows":               calling(http.MethodPut, mine("/heartbeat"), `{"claim":false,"boot_id":"boot","heartbeat_timeout":"1m","changes":9223372036854775808}`),
		"a timeout of a day":                     calling(http.MethodPut, mine("/heartbeat"), `{"claim":true,"boot_id":"boot","heartbeat_timeout":"24h"}`),
		"a timeout of a nanosecond":              calling(http.MethodPut, mine("/heartbeat"), `{"claim":true,"boot_id":"boot","heartbeat_timeout":"1ns"}`),
		"a boot id that is too long":             calling(http.MethodPut, mine("/heartbeat"), `{"claim":true,"boot_id":"`+strings.Repeat("x", 300)+`","heartbeat_timeout":"1m"}`),
		"an address that is too long":            calling(http.MethodPut, mine("/heartbeat"), `{"claim":true,"boot_id":"boot","heartbeat_timeout":"1m","address":"`+strings.Repeat("x", 300)+`"}`),
		"another boot's heartbeat":               calling(http.MethodPut, mine("/heartbeat"), heartbeatOf("another boot", false)),
		"a method that is not there":             calling(http.MethodDelete, mine(""), nil),
		"a path that is not there":               calling(http.MethodGet, func(*siege) string { return "/v1/leases" }, nil),
		"the root":                               calling(http.MethodGet, func(*siege) string { return "/" }, nil),
		"an id that is none":                     calling(http.MethodGet, func(*siege) string { return "/v1/instances/web" }, nil),
		"an id with more behind it":              calling(http.MethodGet, func(s *siege) string { return own(s.mine.ID+"%00", "") }, nil),
		"an id in capitals":                      calling(http.MethodGet, func(s *siege) string { return own(strings.ToUpper(s.mine.ID), "") }, nil),
		"up to a neighbour":                      calling(http.MethodGet, func(s *siege) string { return own(s.mine.ID, "/%2e%2e/"+s.theirs.ID) }, nil),
		"up to a neighbour's extend":             calling(http.MethodPost, func(s *siege) string { return own(s.mine.ID, "%2f..%2f"+s.theirs.ID+"/extend") }, `{"for":"48h"}`),
		"a neighbour behind a slash":             calling(http.MethodPost, func(s *siege) string { return "/v1/instances//" + s.theirs.ID + "/release" }, `{}`),
		"a very long id":                         calling(http.MethodGet, func(*siege) string { return own("i-"+strings.Repeat("0", 3000), "") }, nil),
		"a neighbour's peers":                    calling(http.MethodGet, neighbours("/peers"), nil),
		"up to a neighbour's peers":              calling(http.MethodGet, func(s *siege) string { return own(s.mine.ID, "%2f..%2f"+s.theirs.ID+"/peers") }, nil),
		"down from my peers to a neighbour's":    calling(http.MethodGet, func(s *siege) string { return own(s.mine.ID, "/peers/%2e%2e/%2e%2e/"+s.theirs.ID+"/peers") }, nil),
		"a neighbour's peers by way of my peers": calling(http.MethodGet, func(s *siege) string { return own(s.mine.ID, "/peers/../../"+s.theirs.ID+"/peers") }, nil),
		"a neighbour among my peers":             calling(http.MethodGet, func(s *siege) string { return own(s.mine.ID, "/peers/"+s.theirs.ID) }, nil),
		"the peers of a neighbour's launch":      calling(http.MethodGet, func(s *siege) string { return own(s.mine.ID, "/peers?launch="+s.lease(s.theirs.ID).Launch) }, nil),
		"the peers of a label":                   calling(http.MethodGet, mine("/peers?label=role=monitor"), nil),
		"peers to be written":                    calling(http.MethodPost, mine("/peers"), `{}`),
		"peers for an unenrolled key": func(s *siege) (int, string) {
			status, kind, _ := s.thief.call(http.MethodGet, own(s.mine.ID, "/peers"), nil)
			return status, kind
		},
		"peers without end": func(s *siege) (status int, kind string) {
			for range 25 {
				if status, kind, _ = s.mineKey.call(http.MethodGet, own(s.mine.ID, "/peers"), nil); status == http.StatusTooManyRequests {
					break
				}
			}
			return status, kind
		},
		"an unenrolled key": func(s *siege) (int, string) {
			status, kind, _ := s.thief.call(http.MethodGet, own(s.mine.ID, ""), nil)
			return status, kind
		},
		"a release while two claim to be the instance": func(s *siege) (int, string) {
			s.contest()
			status, kind, _ := s.mineKey.call(http.MethodPost, own(s.mine.ID, "/release"), `{}`)
			return status, kind
		},
	}
	for method, path := range map[string]string{
		"GET": "", "PUT": "/heartbeat", "POST": "/extend", "POST ": "/release",
	} {
		body := map[string]any{"": nil, "/heartbeat": heartbeatOf("boot", true), "/extend": map[string]string{"for": "48h"}, "/release": map[string]string{}}[path]
		all[fmt.Sprintf("a neighbour's %s%s", method, path)] = calling(strings.TrimSpace(method), neighbours(path), body)
	}
	return all
}

// restarted moves the launch time of an instance, as a stop and a start do.
func (s *siege) restarted(id string) {
	s.Helper()
	if !s.Sim.SetState(id, ec2sim.Stopped) || !s.Sim.SetState(id, ec2sim.Pending) {
		s.Fatal("cannot restart")
	}
	s.Sim.SetLaunchTime(id, time.Now().Truncate(time.Second))
}

// invited makes an instance that an operator lets enrol.
func (s *siege) invited() (ec2sim.Instance, string) {
	s.Helper()
	i := s.Sim.Create(ec2sim.Instance{LaunchTime: time.Now().Add(-time.Hour).Truncate(time.Second), Tags: map[string]string{lease.TagRegistry: uuid}})
	token, err := lease.NewJoinToken(nil)
	if err != nil {
		s.Fatal(err)
	}
	_, _, err = s.store.UpdateEnrolment(s.Context(), i.ID, func(e lease.Enrolment) (lease.Enrolment, error) {
		return e.Invite(time.Now(), lease.HashToken(token), lease.By{}), nil
	})
	if err != nil {
		s.Fatal(err)
	}
	return i, token
}

// contest lets another key be used, and then the first again.
func (s *siege) contest() {
	s.Helper()
	other := s.caller(s.mine.PrivateIP)
	if status, kind := other.enrol(s.mine.ID, s.document(s.mine.ID), s.myToken); status != http.StatusOK {
		s.Fatalf("enrol another: %d %s", status, kind)
	}
	for _, c := range []*caller{other, s.mineKey} {
		if status, kind, _ := c.call(http.MethodPut, own(s.mine.ID, "/heartbeat"), heartbeatOf("boot", true)); status != http.StatusOK {
			s.Fatalf("claim: %d %s", status, kind)
		}
		s.mu.Lock()
		s.ahead += time.Minute
		s.mu.Unlock()
	}
	if s.lease(s.mine.ID).ContestedAt.IsZero() {
		s.Fatal("not contested")
	}
}

func TestWhatAnAttackerTries(t *testing.T) {
	t.Parallel()
	shared, tried := newWorld(t), 0
	outer := shared.T
	for kind, attacks := range map[string]map[string]attack{"enrol": enrolments(), "call": calls()} {
		for name, attack := range attacks {
			tried++
			t.Run(kind+" "+name, func(t *testing.T) { // one after the other: they count refusals
				w := shared
				if movesTime(name) {
					w = newWorld(t)
				}
				newSiege(t, w).repels(attack)
			})
			shared.T = outer
		}
	}
	if tried < 40 {
		t.Errorf("%d attacks", tried)
	}
}

// movesTime says which attacks need a world of their own.
func movesTime(name string) bool {
	return name == "an operator's token after its hour" || name == "a release while two claim to be the instance"
}

// repels checks that an attack is refused, counted, and harmless to others.
func (s *siege) repels(attack attack) {
	s.Helper()
	before := s.total()
	status, kind := attack(s)
	if status < 400 || kind == "" || s.total() == before {
		s.Errorf("answered %d %q, and %d refusals counted; want a refusal that is counted", status, kind, s.total()-before)
	}
	records, key := s.neighbourRecords()
	if !bytes.Equal(records, s.beforeLease) || !bytes.Equal(key, s.beforeKey) {
		s.Errorf("the neighbour's records are\n%s%s, and were\n%s%s", records, key, s.beforeLease, s.beforeKey)
	}
	if l := s.lease(s.mine.ID); !l.Live() || l.ExpiresAt.After(l.MaxExpiresAt) {
		s.Errorf("the lease of the instance itself is %+v", l)
	}
	if status, kind, _ := s.neighbourCaller.call(http.MethodPut, own(s.theirs.ID, "/heartbeat"), heartbeatOf("boot", false)); status != http.StatusOK {
		s.Errorf("the neighbour cannot renew: %d %s", status, kind)
	}
}

// TestAThiefEnrolsAThousandKeys has all that can be read on the instance, and enrols keys until nothing happens any more. The keys
// are names, past TLS.
func TestAThiefEnrolsAThousandKeys(t *testing.T) {
	t.Parallel()
	s := newSiege(t, newWorld(t))
	document := s.document(s.mine.ID)
	for hundred := range 10 {
		var all sync.WaitGroup
		for n := range 100 {
			all.Go(func() {
				thief := edge.Caller{Key: fmt.Sprint("thief ", hundred, n), Addr: netip.MustParseAddr(s.mine.PrivateIP)}
				body := strings.NewReader(fmt.Sprintf(`{"document":%q,"join_token":%q}`, document, s.myToken))
				request := httptest.NewRequestWithContext(edge.NewContext(t.Context(), thief), http.MethodPost, own(s.mine.ID, "/enrolment"), body)
				s.handler.ServeHTTP(httptest.NewRecorder(), request)
			})
		}
		all.Wait()
		if status, kind, _ := s.mineKey.call(http.MethodPut, own(s.mine.ID, "/heartbeat"), heartbeatOf("boot", false)); status != http.StatusOK {
			t.Fatalf("the instance itself is refused: %d %s", status, kind)
		}
	}
	e := s.enrolment(s.mine.ID)
	if len(e.Keys) > 3 || !slices.ContainsFunc(e.Keys, func(k lease.EnrolledKey) bool { return k.SHA256 == e.InUse }) {
		t.Errorf("%+v", e)
	}
}

// TestAHostileUserIsNobodyElse signs with a name of its choice.
func TestAHostileUserIsNobodyElse(t *testing.T) {
	t.Parallel()
	s := newSiege(t, newWorld(t))
	status, kind, _ := s.mineKey.call(http.MethodPost, own(s.mine.ID, "/extend"), map[string]string{
		"by": "1h", "user": "uid=0\n{\"actor\":\"janitor:one\"} " + strings.Repeat("x", math.MaxInt8),
	})
	l := s.lease(s.mine.ID)
	actor := l.History[len(l.History)-1].Actor
	if status != http.StatusOK || !strings.HasPrefix(actor, "instance:"+s.mine.ID+" uid=0") || strings.ContainsAny(actor, "\n") || len(actor) > 100 {
		t.Errorf("%d %s; signed %q", status, kind, actor)
	}
}
