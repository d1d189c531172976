//go:build e2e

package e2e

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"sync"
	"testing"
	"time"
)

// tamper stands between a launcher and what is taken for EC2.
type tamper struct {
	t      *testing.T
	target string

	// before and after are called with the number of the call, from 1, and its action, around what EC2 does. If they are false,
	// the connection ends there.
	before, after func(n int, action string) bool
	twice         func() bool // whether EC2 hears of a call a second time

	mu    sync.Mutex
	calls int
}

// tampering listens until the test ends.
func (w *world) tampering(tm *tamper) string {
	w.t.Helper()
	tm.t, tm.target = w.t, w.aws
	server := httptest.NewServer(tm)
	w.t.Cleanup(server.Close)
	return server.URL
}

func (tm *tamper) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	form, parsed := url.ParseQuery(string(body))
	if err != nil || parsed != nil {
		panic(http.ErrAbortHandler)
	}
	tm.mu.Lock()
	tm.calls++
	n := tm.calls
	tm.mu.Unlock()
	if tm.before != nil && !tm.before(n, form.Get("Action")) {
		panic(http.ErrAbortHandler)
	}
	if tm.twice != nil && tm.twice() {
		_, _ = tm.forward(r, body)
	}
	answer, err := tm.forward(r, body)
	if err != nil || tm.after != nil && !tm.after(n, form.Get("Action")) {
		panic(http.ErrAbortHandler)
	}
	for key, values := range answer.header {
		rw.Header()[key] = values
	}
	rw.WriteHeader(answer.status)
	_, _ = rw.Write(answer.body)
}

// answered is what EC2 said.
type answered struct {
	status int
	header http.Header
	body   []byte
}

// forward makes a call, even if nobody waits for its answer any more.
func (tm *tamper) forward(r *http.Request, body []byte) (answered, error) {
	forwarded, err := http.NewRequest(r.Method, tm.target+r.URL.RequestURI(), bytes.NewReader(body))
	if err != nil {
		return answered{}, err
	}
	forwarded.Header = r.Header.Clone()
	answer, err := http.DefaultClient.Do(forwarded)
	if err != nil {
		return answered{}, err
	}
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(answer.Body)
	return answered{answer.StatusCode, answer.Header, text}, err
}

// unreliable delays every call and every answer, loses some of either, and lets EC2 hear of some calls twice.
func unreliable(seed uint64) *tamper { return tampered(seed, 0.05, 0.15, 0.1) }

// slow delays as unreliable does, and loses and repeats nothing.
func slow(seed uint64) *tamper { return tampered(seed, 0, 0, 0) }

func tampered(seed uint64, lostCalls, lostAnswers, twice float64) *tamper {
	var mu sync.Mutex
	random := rand.New(rand.NewPCG(seed, 1))
	draw := func() float64 {
		mu.Lock()
		defer mu.Unlock()
		return random.Float64()
	}
	late := func(lost float64) bool {
		time.Sleep(time.Duration(draw() * float64(50*time.Millisecond))) // the fault itself, not a wait for anything
		return draw() >= lost
	}
	return &tamper{
		before: func(int, string) bool { return late(lostCalls) },
		after:  func(int, string) bool { return late(lostAnswers) },
		twice:  func() bool { return draw() < twice },
	}
}

// killing kills a process when EC2 hears of its n-th call, or once it has carried that out.
func killing(victim func() *os.Process, at int, carriedOut bool) *tamper {
	kill := func(n int, _ string) bool {
		if n == at {
			_ = victim().Kill()
		}
		return n < at
	}
	if carriedOut {
		return &tamper{after: kill}
	}
	return &tamper{before: kill}
}
