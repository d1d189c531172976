//go:build chaos

package chaos

import (
	"bytes"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// gate stands before EC2 and notes every call that destroys something. TerminateInstances is let through once the watch
// has seen that the lease of each instance was taken away, and the try authorised: a janitor that asked first and wrote
// afterwards would wait here for its own answer, and be found out.
type gate struct {
	next    http.Handler
	history *history

	mu    sync.Mutex
	calls []destruction
}

// destruction is one call.
type destruction struct {
	action  string
	ids     []string
	who     string // the access key
	arrived time.Time
	passed  time.Time
	proven  bool // all were condemned by what etcd had committed when the call passed
}

// provenWithin is how long a call waits for the proof at most.
const provenWithin = 20 * time.Second

func (g *gate) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	arrived := time.Now()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	form, err := url.ParseQuery(string(body))
	if err == nil {
		g.note(destruction{action: form.Get("Action"), ids: namedIn(form), who: accessKey(r), arrived: arrived})
	}
	g.next.ServeHTTP(rw, r)
}

func (g *gate) note(d destruction) {
	switch d.action {
	case "TerminateInstances", "StopInstances":
		for !d.proven && time.Since(d.arrived) < provenWithin {
			d.proven = !slices.ContainsFunc(d.ids, func(id string) bool { return !g.history.condemns(id) })
			if !d.proven {
				time.Sleep(10 * time.Millisecond)
			}
		}
	case "DeleteVolume", "DeleteNetworkInterface", "CancelSpotInstanceRequests":
	default:
		return
	}
	d.passed = time.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.calls = append(g.calls, d)
}

func (g *gate) everything() []destruction {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.calls)
}

// namedIn are the ids of what a call is about.
func namedIn(form url.Values) []string {
	var ids []string
	for key, values := range form {
		for _, kind := range []string{"InstanceId", "VolumeId", "NetworkInterfaceId", "SpotInstanceRequestId"} {
			if strings.HasPrefix(key, kind) {
				ids = append(ids, values...)
			}
		}
	}
	return ids
}

// accessKey is who signed a call.
func accessKey(r *http.Request) string {
	_, scope, _ := strings.Cut(r.Header.Get("Authorization"), "Credential=")
	key, _, _ := strings.Cut(scope, "/")
	return key
}
