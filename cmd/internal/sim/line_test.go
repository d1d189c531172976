package sim

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"syscall"
	"time"

	"lapse/lease/api/edge"
)

// line is a process's way to the API: the real client calls the real handler, without sockets and TLS between them. It says who calls, by
// key and address, as package edge does.
type line struct {
	p    *process
	of   string // instance that the process is on
	key  string
	from string
}

// newKey is the SHA-256 that a key of this name would have, which is the same in every run of a schedule.
func newKey(name string) string {
	sum := sha256.Sum256([]byte(name))
	return hex.EncodeToString(sum[:])
}

// newRandom makes the join tokens of a launcher, which are the same in every run of a schedule.
func newRandom(launcher string) io.Reader { return rand.NewChaCha8(sha256.Sum256([]byte(launcher))) }

var (
	errReset   = errors.New("read: connection reset by peer")
	errRefuses = fmt.Errorf("dial: %w", syscall.ECONNREFUSED)
)

// RoundTrip sends a request, which may be lost, late, delivered twice, or not be answered.
func (l *line) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx := r.Context()
	var body []byte
	if r.Body != nil {
		var err error
		if body, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
	}
	question := r.Method + " " + operation(r.URL.Path)
	sent := time.Now()
	f := l.p.fate(toAPI, question, time.Millisecond, 30*time.Millisecond)
	defer func() {
		if ctx.Err() != nil {
			time.Sleep(f.noticed) // see [transport.Do]
		}
	}()
	luck := l.p.w.dice.of(l.p.name+" balances "+question, int(sent.UnixNano()/1e6))
	at, other := l.balance(&luck), l.balance(&luck)
	if luck.chance(l.p.w.trouble(toAPI)) { // and once more, perhaps after what is sent later
		l.lands(f.before+luck.between(time.Millisecond, time.Minute), r, body, other)
	}
	if f.lost && f.reset {
		wait(ctx, f.before)
		return nil, errReset
	}
	if f.lost {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if !wait(ctx, f.before) { // it is on its way, and lands
		l.lands(f.before-time.Since(sent), r, body, at)
		return nil, ctx.Err()
	}
	resp, err := l.deliver(ctx, r, body, at)
	if err != nil {
		return nil, err
	}
	wait(ctx, f.after)
	switch {
	case f.unanswered && f.reset:
		return nil, errReset
	case f.unanswered:
		<-ctx.Done()
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return resp, nil
}

// balance chooses a replica: mostly the one that the caller is connected to.
func (l *line) balance(luck *roll) *replica {
	n := len(l.p.w.front.replicas)
	home := l.p.w.dice.of("home of "+l.p.name, 0)
	if luck.chance(0.2) {
		home = roll(luck.next())
	}
	return l.p.w.front.replicas[home.next()%uint64(n)]
}

// lands delivers a request later, when nobody reads the answer.
func (l *line) lands(after time.Duration, r *http.Request, body []byte, at *replica) {
	l.p.w.processes.Go(func() {
		if wait(l.p.w.ctx, after) {
			if resp, err := l.deliver(l.p.w.ctx, r, body, at); err == nil {
				_ = resp.Body.Close()
			}
		}
	})
}

// deliver lets a replica answer. What it has carried out counts also if nobody is left to read the answer.
func (l *line) deliver(ctx context.Context, r *http.Request, body []byte, at *replica) (*http.Response, error) {
	server, handler := at.serving()
	if server == nil || l.p.w.front.isAway() {
		return nil, errRefuses
	}
	call, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(server.ctx, cancel)()
	call = edge.NewContext(call, edge.Caller{Key: l.key, Addr: netip.MustParseAddr(l.from)})
	again := r.Clone(call)
	again.Body = io.NopCloser(bytes.NewReader(body))
	answer := httptest.NewRecorder()
	handler.ServeHTTP(answer, again)
	if answer.Code == http.StatusOK {
		about, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/v1/instances/"), "/")
		l.p.w.trace.add(event{kind: called, who: l.p.name, id: about, text: fmt.Sprintf("%s %s %s %s %s %d %d",
			r.Method, operation(r.URL.Path), l.of, l.key, server.name, counter(body), counter(answer.Body.Bytes()))})
	}
	if !server.alive() {
		return nil, errReset
	}
	return answer.Result(), nil
}

// counter is the change counter of a lease that a text says last: in a renewal, what the instance has seen; in its answer, what it is told.
func counter(text []byte) (n int64) {
	const name = `"changes":`
	if at := bytes.LastIndex(text, []byte(name)); at >= 0 {
		_, _ = fmt.Sscanf(string(text[at+len(name):min(len(text), at+len(name)+20)]), "%d", &n)
	}
	return n
}

// operation is the last part of a path of the API.
func operation(path string) string {
	parts := strings.Split(strings.TrimPrefix(path, "/v1/instances/"), "/")
	if len(parts) < 2 {
		return "lease"
	}
	return parts[1]
}

// signed is a document that was made for one start of a machine.
type signed struct {
	text     string
	launched time.Time
}

// signedDocument is what the metadata service says. mu of the fleet is held.
func (m *machine) signedDocument() (string, error) {
	if d := m.caller.document; d.text != "" && d.launched.Equal(m.launched) {
		return d.text, nil
	}
	content, err := json.Marshal(map[string]any{
		"accountId": account, "region": region, "availabilityZone": m.zone, "instanceId": m.id, "privateIp": m.address(), "pendingTime": m.launched.UTC(),
	})
	if err != nil {
		return "", err
	}
	text, err := signing().sign(content)
	m.caller.document = signed{text, m.launched}
	return text, err
}

// plainUserData is the user-data as the machine sees it.
func (m *machine) plainUserData() []byte {
	plain, err := base64.StdEncoding.DecodeString(m.caller.userData)
	if err != nil {
		return nil
	}
	return plain
}
