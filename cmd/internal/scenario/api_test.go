//go:build e2e

package scenario

import (
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"

	"lapse/cmd/internal/authority"
)

// movingAPI is the instance API of one janitor after another, each at an address of its own, behind a balancer of TCP whose address
// stays. To sidecars, the balancer stands for a name in DNS: which DNS server a process asks is the system's to say, and only root
// could say otherwise. How clients follow a name in DNS has its tests in package api.
type movingAPI struct {
	*world
	balancer net.Listener
	target   atomic.Value // string: where the API is
}

// newAPI makes the balancer and the certificates. Nobody serves yet.
func (w *world) newAPI() *movingAPI {
	w.t.Helper()
	a := &movingAPI{world: w}
	certificates, err := w.sim.IdentityCertificates()
	if err == nil {
		err = os.WriteFile(a.path("ec2.pem"), certificates, 0o600)
	}
	var signer authority.Authority
	if err == nil {
		signer, err = authority.New(a.path("ca.pem"))
	}
	if err == nil {
		err = signer.Issue("api", a.path("api.pem"), a.path("api.key"))
	}
	if err == nil {
		a.balancer, err = net.Listen("tcp", "127.0.0.1:0")
	}
	if err != nil {
		w.t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() { a.balance(&running) })
	w.t.Cleanup(func() {
		_ = a.balancer.Close()
		running.Wait()
	})
	return a
}

func (a *movingAPI) path(name string) string { return filepath.Join(a.dir, name) }

// address is the balancer's.
func (a *movingAPI) address() string { return a.balancer.Addr().String() }

// serve runs a janitor that serves the API, and leads the balancer there.
func (a *movingAPI) serve() *process {
	a.t.Helper()
	p := a.candidate("--api-listen", "127.0.0.1:0", "--api-cert", a.path("api.pem"), "--api-key", a.path("api.key"),
		"--api-shared-from", "127.0.0.1/32", "--identity-certificates", a.path("ec2.pem"))
	serving := regexp.MustCompile(`msg="serving the instance API".* address=(\S+)`)
	a.until("the API being served", func() bool {
		found := serving.FindStringSubmatch(strings.Join(p.all(), "\n"))
		if found != nil {
			a.target.Store(found[1])
		}
		return found != nil
	})
	return p
}

// balance passes connections on until the listener is closed.
func (a *movingAPI) balance(running *sync.WaitGroup) {
	for {
		from, err := a.balancer.Accept()
		if err != nil {
			return
		}
		running.Go(func() { a.pass(from) })
	}
}

// pass passes on what both sides of a connection send, until one of them closes it or the test ends.
func (a *movingAPI) pass(from net.Conn) {
	defer from.Close()
	target, _ := a.target.Load().(string)
	to, err := new(net.Dialer).DialContext(a.t.Context(), "tcp", target)
	if err != nil {
		return // nobody serves there
	}
	defer to.Close()
	defer context.AfterFunc(a.t.Context(), func() { _, _ = from.Close(), to.Close() })()
	go func() {
		_, _ = io.Copy(to, from)
		_ = to.Close()
	}()
	_, _ = io.Copy(from, to)
}
