package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"
)

// MFACode asks a person for the code of an MFA device: on stdin if that is a terminal, or else, if stderr is one, on
// the terminal of the process, since stdin may be a request.
func MFACode(c *cli.Context) func(context.Context, string) (string, error) {
	return func(ctx context.Context, device string) (string, error) {
		in := c.App.Reader
		if !isTerminal(in) {
			tty, err := os.Open("/dev/tty")
			if err != nil || !isTerminal(os.Stderr) {
				return "", errors.New("there is no terminal to ask on")
			}
			defer tty.Close()
			in = tty
		}
		_, _ = fmt.Fprintf(c.App.ErrWriter, "code of MFA device %s: ", device)
		line, err := Await(ctx, func() (string, error) { return bufio.NewReader(in).ReadString('\n') })
		if err != nil && !errors.Is(err, io.EOF) {
			return "", fmt.Errorf("read the code of the MFA device: %w", err)
		}
		return strings.TrimSpace(line), nil
	}
}

func isTerminal(stream any) bool {
	file, is := stream.(*os.File)
	return is && term.IsTerminal(int(file.Fd()))
}
