package script

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
)

// Pipe is a pipe that a program writes to and that nobody reads, until the test does.
func Pipe(tb testing.TB) (unread, written *os.File) {
	tb.Helper()
	unread, written, err := os.Pipe()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _, _ = unread.Close(), written.Close() })
	return unread, written
}

// Fill writes into a pipe until it accepts no more, and returns how many bytes it accepted. It opens the pipe once
// more, so that the program's own end still blocks.
func Fill(tb testing.TB, written *os.File) (filled int) {
	tb.Helper()
	fd, err := syscall.Open(fmt.Sprintf("/proc/self/fd/%d", written.Fd()), syscall.O_WRONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = syscall.Close(fd) }()
	for {
		n, err := syscall.Write(fd, []byte(strings.Repeat(".", 512)))
		if errors.Is(err, syscall.EAGAIN) {
			return filled
		}
		if err != nil {
			tb.Fatal(err)
		}
		filled += n
	}
}
