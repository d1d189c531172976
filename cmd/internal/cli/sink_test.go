package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/urfave/cli/v2"
)

// reader is whoever reads a sink: it takes nothing before its gate opens, and refuses all while it is broken.
type reader struct {
	gate   chan struct{} // nil: open
	broken bool
	read   bytes.Buffer // by one goroutine
}

func (r *reader) Write(p []byte) (int, error) {
	if r.gate != nil {
		<-r.gate
	}
	if r.broken {
		return 0, errors.New("broken pipe")
	}
	return r.read.Write(p)
}

func sayLost(out io.Writer, lines int) error {
	_, err := fmt.Fprintf(out, "lost %d\n", lines)
	return err
}

func TestASinkWritesEveryLineInOrderAndWhole(t *testing.T) {
	t.Parallel()
	r := &reader{}
	sink := NewSink(r, 0, sayLost)
	var writers sync.WaitGroup
	for w := range 8 {
		writers.Go(func() {
			for n := range 500 {
				_, _ = fmt.Fprintf(sink, "%d %d\n", w, n)
			}
		})
	}
	writers.Wait()
	sink.Close()
	next, all := map[int]int{}, 0
	for line := range strings.Lines(r.read.String()) {
		var w, n int
		if _, err := fmt.Sscanf(line, "%d %d\n", &w, &n); err != nil || next[w] != n {
			t.Fatalf("read %q after %d of writer %d", line, next[w], w)
		}
		next[w]++
		all++
	}
	if all != 8*500 {
		t.Errorf("read %d lines", all)
	}
}

func TestASinkWithoutAReaderKeepsSomeAndCountsTheRest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &reader{gate: make(chan struct{})}
		sink := NewSink(r, 0, sayLost)
		const size, more = 1024, 100
		line := func(n int) string { return fmt.Sprintf("%0*d\n", size-1, n) }
		for n := range 1 + sinkSize/size + more { // one is under way
			if k, err := io.WriteString(sink, line(n)); k != size || err != nil {
				t.Fatalf("wrote %d, %v", k, err)
			}
			if n == 0 {
				synctest.Wait()
			}
		}
		close(r.gate)
		synctest.Wait()
		_, _ = io.WriteString(sink, "and on\n")
		sink.Close()
		want := line(0)
		for n := range sinkSize / size {
			want += line(n + 1)
		}
		want += fmt.Sprintf("lost %d\nand on\n", more)
		if got := r.read.String(); got != want {
			t.Errorf("read %d bytes, want %d; the end is %q", len(got), len(want), got[max(0, len(got)-50):])
		}
	})
}

func TestDroppedLinesAreCounted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &reader{broken: true}
		sink := NewSink(r, 0, sayLost)
		_, _ = io.WriteString(sink, "one\ntwo\n")
		_, _ = io.WriteString(sink, "three\n")
		synctest.Wait()
		r.broken = false
		_, _ = io.WriteString(sink, "four\n")
		sink.Close()
		if got := r.read.String(); got != "lost 3\nfour\n" {
			t.Errorf("read %q", got)
		}
	})
}

func TestASinkIsClosedWithinASecond(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &reader{}
		sink := NewSink(r, 0, sayLost)
		read, unread := io.Pipe()
		stuck := NewSink(unread, 0, sayLost)
		_, _ = io.WriteString(sink, "the last error\n")
		_, _ = io.WriteString(stuck, "nobody reads this\n")
		begun := time.Now()
		sink.Close()
		if took := time.Since(begun); took > 0 || r.read.String() != "the last error\n" {
			t.Errorf("took %v, read %q", took, r.read.String())
		}
		stuck.Close()
		if took := time.Since(begun); took != flushTime {
			t.Errorf("took %v", took)
		}
		_, _ = io.WriteString(stuck, "nor this\n")
		_ = read.Close()
	})
}

func TestAServicePrintsItsErrorLastAndInTheFormatOfItsLog(t *testing.T) {
	t.Parallel()
	var stderr bytes.Buffer
	app := &cli.App{Name: "test", Commands: []*cli.Command{{Name: "run", Flags: LogFlags(), Action: func(c *cli.Context) error {
		log, err := ServiceLogger(c)
		if err != nil {
			return err
		}
		log.Info("begun")
		return errors.New("it failed")
	}}}}
	code := Run(t.Context(), app, []string{"test", "run", "--log-json"}, io.Discard, &stderr)
	text := stderr.String()
	if code != ExitFailed || !strings.Contains(text, `"msg":"begun"}`) || !strings.HasSuffix(text, "\ntest: it failed\n") {
		t.Errorf("code %d, stderr %q", code, text)
	}
}
