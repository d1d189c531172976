package cli

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"
)

// LogFlags say how much is logged, and in which form.
func LogFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "log-level", Value: "info", Usage: "log at `LEVEL`: debug, info, warn or error", Category: OtherFlags},
		&cli.BoolFlag{Name: "log-json", Usage: "log as JSON lines", Category: OtherFlags},
	}
}

// ServiceLogger logs to stderr as the flags say, for a process that must go on even if nobody reads that: it never waits
// for a line to be written, and a closed stderr does not end it. It may take longer to stop: see [Takes].
func ServiceLogger(c *cli.Context) (*slog.Logger, error) {
	handler, err := logHandler(c, func(err error) error { return Advise(explain(c.App, err)) })
	if err != nil {
		return nil, err
	}
	// A write to a closed pipe then fails; what is not read from this channel is dropped.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	lost := func(out io.Writer, lines int) error {
		record := slog.NewRecord(time.Now(), slog.LevelWarn, "log lines were dropped, because stderr could not be written", 0)
		record.Add("lines", lines)
		return handler(out).Handle(c.Context, record)
	}
	sink, ok := c.App.ErrWriter.(*Sink)
	if !ok { // not under Run
		return nil, fmt.Errorf("a service logs under Run alone, not into a %T", c.App.ErrWriter)
	}
	sink.serve(lost)
	Takes(c, serviceMax)
	return slog.New(handler(sink)), nil
}

func logHandler(c *cli.Context, advise func(error) error) (func(io.Writer) slog.Handler, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.String("log-level"))); err != nil {
		return nil, Usage("--log-level: %v", err)
	}
	options := &slog.HandlerOptions{Level: level, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Value.Kind() != slog.KindAny {
			return a
		}
		if err, is := a.Value.Any().(error); is {
			a.Value = slog.StringValue(advise(err).Error())
		}
		return a
	}}
	if c.Bool("log-json") {
		return func(out io.Writer) slog.Handler { return slog.NewJSONHandler(out, options) }, nil
	}
	return func(out io.Writer) slog.Handler { return slog.NewTextHandler(out, options) }, nil
}
