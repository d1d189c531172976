package main

import (
	"os"
	"strings"
	"testing"

	"lapse/lease/etcd"
)

// TestSecurityShowsTheCommandsThatInitPrints compares the page with what `lease init --rbac` prints.
func TestSecurityShowsTheCommandsThatInitPrints(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../SECURITY.md")
	if err != nil {
		t.Fatal(err)
	}
	commands := userCommands(etcd.New(nil, "default", etcd.Options{}), false)
	if block := "    " + strings.Join(commands, "\n    ") + "\n"; !strings.Contains(string(page), block) {
		t.Errorf("SECURITY.md does not have these commands:\n%s", block)
	}
}

// TestACommandThatIsPrintedCanBeCopied wants nothing in it that a shell would read in its own way.
func TestACommandThatIsPrintedCanBeCopied(t *testing.T) {
	t.Parallel()
	for want, g := range map[string]etcd.Grant{
		"`etcdctl role revoke-permission r /a`":      {Access: etcd.AccessRead, Key: "/a"},
		"`etcdctl role revoke-permission r /a/ /a0`": {Access: etcd.AccessRead, Key: "/a/", End: "/a0"},
		`with etcdctl, then run`:                     {Access: etcd.AccessRead, Key: "/a; reboot"},
		`(["/a\x1b"])`:                               {Access: etcd.AccessRead, Key: "/a\x1b"},
		`(["\x00" "\x00"])`:                          {Access: etcd.AccessReadWrite, Key: "\x00", End: "\x00"},
		`(["/a b"])`:                                 {Access: etcd.AccessRead, Key: "/a b"},
	} {
		if got := narrow("r", g); !strings.Contains(got, want) {
			t.Errorf("%q: %s, want %s in it", g.Key, got, want)
		}
	}
	if got, want := grants([]etcd.Grant{{Access: etcd.AccessRead, Key: "/a\x1b[31m"}}), `"read /a\x1b[31m"`; got != want {
		t.Errorf("a key with control characters is shown as %s, want %s", got, want)
	}
}
