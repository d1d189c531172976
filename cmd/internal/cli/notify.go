package cli

import (
	"net"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/coreos/go-systemd/v22/daemon"
)

// Notifier returns a function that sends the state of the process to the service manager, as sd_notify(3) does, at the
// socket that NOTIFY_SOCKET names; without a socket it does nothing. It never waits: what a manager does not accept now
// is sent with the next message, except for a watchdog signal, which must be fresh.
func Notifier(socket string) func(state string) {
	if socket == "" {
		return func(string) {}
	}
	n := &notifier{address: &net.UnixAddr{Name: socket, Net: "unixgram"}}
	return n.notify
}

type notifier struct {
	address *net.UnixAddr

	mu   sync.Mutex
	owed []string // not accepted yet, one of each variable
}

func (n *notifier) notify(state string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	name, _, _ := strings.Cut(state, "=")
	owed := slices.DeleteFunc(slices.Clone(n.owed), func(earlier string) bool { return strings.HasPrefix(earlier, name+"=") })
	owed = append(owed, state)
	switch {
	case n.send(strings.Join(owed, "\n")) == nil:
		n.owed = nil
	case state != daemon.SdNotifyWatchdog:
		n.owed = owed
	}
}

// send tries once to send the text. Go's own write would wait while the manager's queue is full.
func (n *notifier) send(text string) error {
	conn, err := net.DialUnix(n.address.Net, nil, n.address)
	if err != nil {
		return err
	}
	defer conn.Close()
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var sent error
	err = raw.Write(func(fd uintptr) bool {
		_, sent = syscall.Write(int(fd), []byte(text))
		return true
	})
	if err != nil {
		return err
	}
	return sent
}
