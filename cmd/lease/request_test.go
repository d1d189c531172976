package main

import (
	"strings"
	"testing"

	ucli "github.com/urfave/cli/v2"

	"lapse/cmd/internal/cli"
)

// endless is a file that does not end, as /dev/zero.
type endless struct{ read int }

func (e *endless) Read(to []byte) (int, error) {
	if e.read += len(to); e.read > 64<<20 {
		panic("64 MiB were read of what has at most 1 MiB")
	}
	return len(to), nil
}

func TestAFileWithoutAnEndIsRefused(t *testing.T) {
	t.Parallel()
	c := ucli.NewContext(&ucli.App{Reader: &endless{}}, nil, nil)
	c.Context = t.Context()
	_, err := readFile(c, "user-data", "-")
	if err == nil || cli.ExitCode(err) != cli.ExitUsage || !strings.Contains(err.Error(), "the --user-data file - has more than 1048576 bytes") {
		t.Errorf("%v", err)
	}
}
