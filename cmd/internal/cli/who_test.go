package cli

import (
	"os"
	"os/user"
	"strconv"
	"strings"
	"testing"
)

func TestASelfDeclaredCallerIsShownAsSuch(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		effective     int
		name, sudo    string
		actor, holder string
	}{
		{0, "root", "ada", "cli:root@host (self-declared: ada)", "ada"},
		{0, "root", "", "cli:root@host", "root"},
		{0, "root", "root", "cli:root@host", "root"},
		{0, "root", "a b\nc", "cli:root@host", "root"},
		{0, "root", "cli:ada@host", "cli:root@host", "root"},
		{0, "root", strings.Repeat("a", 33), "cli:root@host", "root"},
		{1000, "eve", "the-cfo", "cli:eve@host", "eve"},
	} {
		who := caller{name: c.name, host: "host", said: saidCaller(c.effective, c.sudo)}
		if who.actor() != c.actor || who.holder() != c.holder {
			t.Errorf("%q as %d with SUDO_USER=%q is %s and launches for %s, want %s and %s", c.name, c.effective, c.sudo, who.actor(), who.holder(), c.actor, c.holder)
		}
	}
}

// Not parallel: it sets the environment.
func TestNoVariableNamesTheActor(t *testing.T) {
	me, err := user.LookupId(strconv.Itoa(os.Getuid()))
	if err != nil {
		t.Skip(err)
	}
	for _, variable := range []string{"SUDO_USER", "USER", "LOGNAME", "USERNAME", "HOME", "HOSTNAME"} {
		t.Setenv(variable, "the-cfo")
	}
	if got := Actor(); !strings.HasPrefix(got, "cli:"+me.Username+"@") || strings.Contains(strings.TrimSuffix(got, " (self-declared: the-cfo)"), "the-cfo") {
		t.Errorf("%s runs this, and the actor is %s", me.Username, got)
	}
}
