package cli

import (
	"strings"
	"testing"
)

func TestTableShowsWhatIsNotToBeSeen(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	err := Table(&out, [][]string{{"HOLDER", "STATE"}, {"ada\ti-1\nbob", "active"}, {"\x1b[31mred\u202e", "→ ü 日本"}, {"", `\n`}})
	want := `HOLDER             STATE
ada\ti-1\nbob      active
\x1b[31mred\u202e  → ü 日本
                   \n
`
	if err != nil || out.String() != want {
		t.Errorf("%v\n%swant\n%s", err, &out, want)
	}
}

func TestActorIsWhoCalledSudo(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		uid    int
		caller string
		want   string
	}{
		{0, "ada", "cli:ada@host"},
		{0, "", "cli:me@host"},
		{1000, "ada", "cli:me@host"},
	} {
		if got := actor(c.uid, "me", c.caller, "host"); got != c.want {
			t.Errorf("%d called by %q is %s, want %s", c.uid, c.caller, got, c.want)
		}
	}
}
