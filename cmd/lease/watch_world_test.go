package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"lapse/cmd/internal/cli"
	"lapse/lease/etcd/embedded"
)

// watching is a `lease watch` that runs beside a script.
type watching struct {
	stop          context.CancelFunc
	stdout, stder <-chan string
	code          <-chan int
}

// watch ARG…: runs `lease watch ARG…` from here on, and waits until it has begun.
func startWatch(w *world, ts *testscript.TestScript, args []string) error {
	ctx, stop := context.WithCancel(w.ctx)
	outR, outW := io.Pipe()
	errR, errW := io.Pipe()
	code := make(chan int, 1)
	w.watch = &watching{stop: stop, stdout: lines(ctx, outR), stder: lines(ctx, errR), code: code}
	go func() {
		all := append([]string{"lease", "watch", "--etcd-endpoints", ts.Getenv("ETCD")}, args...)
		code <- cli.Run(ctx, app(), all, outW, errW)
		_, _ = outW.Close(), errW.Close()
	}()
	ts.Defer(stop)
	return await(w.watch.stder, "^watching registry ")
}

// lines reads lines into a channel, which is closed at the end.
func lines(ctx context.Context, r io.Reader) <-chan string {
	told := make(chan string, 1000)
	go func() {
		defer close(told)
		for scanner := bufio.NewScanner(r); scanner.Scan(); {
			select {
			case told <- scanner.Text():
			case <-ctx.Done():
			}
		}
	}()
	return told
}

// prints REGEXP: the watch's next line on stdout. warns REGEXP: a line on stderr, sooner or later.
func watchTold(w *world, ts *testscript.TestScript, args []string) error {
	select {
	case line := <-w.watch.stdout:
		ts.Logf("%s", line)
		if !regexp.MustCompile(args[0]).MatchString(line) {
			return fmt.Errorf("got %q, want %s", line, args[0])
		}
		return nil
	case <-time.After(time.Minute):
		return errors.New("nothing was told")
	}
}

func watchWarned(w *world, _ *testscript.TestScript, args []string) error {
	return await(w.watch.stder, args[0])
}

func await(told <-chan string, pattern string) error {
	late := time.After(time.Minute)
	for last := ""; ; {
		select {
		case line, open := <-told:
			if !open {
				return fmt.Errorf("it ended before it said %s; last %q", pattern, last)
			}
			if last = line; regexp.MustCompile(pattern).MatchString(line) {
				return nil
			}
		case <-late:
			return fmt.Errorf("nobody said %s", pattern)
		}
	}
}

// unwatch: interrupts the watch, which has nothing more to tell and exits 0.
func stopWatch(w *world, _ *testscript.TestScript, _ []string) error {
	w.watch.stop()
	select {
	case code := <-w.watch.code:
		if code != 0 {
			return fmt.Errorf("exit code %d", code)
		}
	case <-time.After(time.Minute):
		return errors.New("the watch goes on")
	}
	if line, more := <-w.watch.stdout; more {
		return fmt.Errorf("got %q", line)
	}
	return nil
}

// start-etcd: starts the server again that kill-etcd stopped, with its data.
func startEtcd(w *world, ts *testscript.TestScript, _ []string) (err error) {
	if w.server, err = embedded.Start(w.ctx, embedded.Config{Dir: filepath.Clean(ts.Getenv("DIR"))}); err != nil {
		return err
	}
	ts.Defer(func() { _ = w.server.Close() })
	return nil
}
