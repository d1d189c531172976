package cli

import "github.com/coreos/go-systemd/v22/daemon"

// notices is how many words to the service manager wait while it takes none.
const notices = 16

// Notifier returns what tells the service manager how the process does, as sd_notify(3) does; nobody is told where there is
// none. It never waits: what has no room while the manager takes nothing is dropped.
func Notifier() func(state string) {
	states := make(chan string, notices)
	go func() {
		for state := range states {
			_, _ = daemon.SdNotify(false, state)
		}
	}()
	return func(state string) {
		select {
		case states <- state:
		default:
		}
	}
}
