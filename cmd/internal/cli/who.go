package cli

import (
	"fmt"
	"os"
	"os/user"
	"regexp"
	"strconv"
)

// caller is who runs the command, as far as this machine knows.
type caller struct {
	name string // of the real user id; the kernel vouches for the id
	said string // who called sudo, as a variable has it that anybody may set; empty: nobody is named, or it would mean nothing
	host string
}

// whoCalls never asks the environment who the user is: USER and LOGNAME say what somebody wrote there.
func whoCalls() caller {
	id := strconv.Itoa(os.Getuid())
	who := caller{name: "uid-" + id, host: "unknown", said: saidCaller(os.Geteuid(), os.Getenv("SUDO_USER"))}
	if u, err := user.LookupId(id); err == nil {
		who.name = u.Username
	}
	if host, err := os.Hostname(); err == nil {
		who.host = host
	}
	return who
}

// saidCaller is what SUDO_USER says to root, for whom alone sudo sets it, if that can be a user's name.
func saidCaller(effective int, sudoUser string) string {
	if effective != 0 || !regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,31}$`).MatchString(sudoUser) {
		return ""
	}
	return sudoUser
}

// User is the name of the user who runs the command.
func User() string { return whoCalls().name }

// Actor names who runs the command, for histories: "cli:ada@laptop". Who called sudo is shown as what it is, a word that
// nobody vouches for: "cli:root@laptop (self-declared: ada)".
func Actor() string { return whoCalls().actor() }

func (w caller) actor() string {
	actor := "cli:" + w.name + "@" + w.host
	if w.said != "" && w.said != w.name {
		actor += fmt.Sprintf(" (self-declared: %s)", w.said)
	}
	return actor
}

// Holder is for whom this user launches unless he says so. It decides who is told and gives no right, so behind sudo it is
// who called it.
func Holder() string { return whoCalls().holder() }

func (w caller) holder() string {
	if w.said != "" {
		return w.said
	}
	return w.name
}
