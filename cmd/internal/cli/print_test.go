package cli

import (
	"strings"
	"testing"
)

func TestTableShowsInvisibleCharacters(t *testing.T) {
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
