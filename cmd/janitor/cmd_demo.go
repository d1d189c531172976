package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	ucli "github.com/urfave/cli/v2"

	"lapse/cmd/internal/cli"
	"lapse/cmd/internal/demo"
)

func demoCommand() *ucli.Command {
	return &ucli.Command{
		Name: "demo", Usage: "show Lapse at work in a simulated EC2, within a minute",
		Description: "Runs lease, janitor and sidecar as processes, against a real etcd and a simulated EC2. It needs no AWS\n" +
			"account and touches none. Exit code 1: an instance runs that should not, or the reverse.\n\n" +
			"With --stay it keeps everything running after the story, without its last act, in which all records are\n" +
			"lost, and prints the settings that let lease, janitor and the AWS CLI use it from another terminal.",
		Flags: []ucli.Flag{&ucli.BoolFlag{Name: "stay", Usage: "keep everything running until Ctrl-C"}},
		Action: func(c *ucli.Context) error {
			self, err := os.Executable()
			if err != nil {
				return err
			}
			cli.Takes(c, time.Minute) // it stops what it has started, also if nobody reads its output any longer
			ctx, stop := context.WithCancel(c.Context)
			defer stop()
			broken := make(chan os.Signal, 1) // with a handler, a write to a broken pipe is an error, and does not end the process
			signal.Notify(broken, syscall.SIGPIPE)
			defer signal.Stop(broken)
			return demo.Run(ctx, demo.Options{Binaries: filepath.Dir(self), Out: untilBroken{c.App.Writer, stop}, Stay: c.Bool("stay")})
		},
	}
}

// untilBroken stops the demo once its output cannot be written any longer.
type untilBroken struct {
	to   io.Writer
	stop func()
}

func (u untilBroken) Write(p []byte) (int, error) {
	n, err := u.to.Write(p)
	if err != nil {
		u.stop()
	}
	return n, err
}
