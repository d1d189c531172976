// Package cli is what the three commands share: how arguments are read, how errors become exit codes, and how tables
// and JSON are printed.
//
//   - app.go: [Main], from arguments to an exit code; stop.go: what ends a command that is asked to stop.
//   - arrange.go: flags before or after arguments; mistakes.go: what is wrong with them, in a sentence.
//   - settings.go: which flags the environment and the --config file may give; config.go: that file. values.go: what a text
//     means as the value of a flag, whichever of the three it comes from.
//   - exit.go: exit codes and usage errors; advice.go: what to do about an error, in terms of the command line.
//   - registry.go: flags for etcd; package registry opens what they name.
//   - log.go: flags for logging; sink.go: a log and a service manager that nothing waits for.
//   - parse.go: durations, dates, key=value pairs; print.go: JSON, tables, questions. who.go: who calls.
//   - help.go, completion.go, recorded.go: help, and completion for shells, also of what is on record.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"
)

// Main runs the app with the process's arguments until it is done or a signal asks it to stop, and returns its exit
// code. Errors go to stderr as one sentence.
func Main(app *cli.App, args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM) //nolint:forbidigo // the root of all others
	defer stop()
	context.AfterFunc(ctx, func() { time.AfterFunc(secondSignal, stop) }) // from then on, another one ends the process at once
	return Run(ctx, app, args, os.Stdout, os.Stderr)
}

// Run is Main with its surroundings given. Output on stderr goes through a [Sink]. Once ctx has ended, it returns
// within 5 s, or within what the command [Takes].
func Run(ctx context.Context, app *cli.App, args []string, stdout, stderr io.Writer) int {
	prepare(app)
	sink := NewSink(stderr, flushTime, func(out io.Writer, lines int) error {
		_, err := fmt.Fprintf(out, "%s: %d lines were dropped, because stderr could not be written\n", app.Name, lines)
		return err
	})
	defer sink.Close()
	out := &output{to: stdout}
	app.Writer, app.ErrWriter = out, sink
	takes := &atomic.Int64{}
	if last := len(args) - 1; args[last] == completeFlag {
		return ExitCode(stoppable(ctx, takes, func() error {
			for _, word := range complete(ctx, app, args[1:last]) {
				_, _ = fmt.Fprintln(stdout, word)
			}
			return nil
		}))
	}
	l := read(app, args)
	if app.Metadata == nil {
		app.Metadata = map[string]any{}
	}
	app.Metadata[takesKey] = takes
	err := explain(app, interrupted(ctx, stoppable(ctx, takes, func() error { return l.run(ctx) })))
	if unsaid := out.failed(); unsaid != nil && (err == nil || ExitCode(err) == ExitFailed) {
		err = fmt.Errorf("the output of this command could not be written: %w", unsaid)
	}
	if lost := (*QuietError)(nil); err != nil && !errors.As(err, &lost) {
		_ = Prose(sink, fmt.Sprintf("%s: %s", app.Name, visibleLines(Advise(err).Error())))
	}
	return ExitCode(err)
}

// run does what the line says. A line that asks for help does nothing else.
func (l line) run(ctx context.Context) error {
	warnings := l.unread(os.Environ())
	if err := l.check(); err != nil {
		return err
	}
	if asked, all := l.asksHelp(); asked {
		l.showHelp(l.app.Writer, all)
		return nil
	}
	words, err := l.words(os.LookupEnv)
	if err != nil {
		return err
	}
	for _, warning := range warnings {
		_ = Prose(l.app.ErrWriter, fmt.Sprintf("%s: warning: %s", l.app.Name, warning))
	}
	return l.app.RunContext(ctx, words)
}

// prepare gives the app what all three have in common, and replaces what urfave/cli does otherwise: its own exit codes,
// help texts after errors, and slices split at commas.
func prepare(app *cli.App) {
	app.HideHelp = true // urfave's own flag is one for all programs, and written to; help is ours
	app.DisableSliceFlagSeparator = true
	app.ExitErrHandler = func(*cli.Context, error) {}
	app.OnUsageError = usageError
	app.Flags = append(app.Flags, helpFlags()...)
	for _, command := range app.Commands {
		prepareCommand(app.Name, command)
	}
	app.Commands = append(app.Commands, completionCommand(app.Name))
	app.Setup() // help names commands in full
}

func prepareCommand(program string, command *cli.Command) {
	command.OnUsageError = usageError
	command.HideHelp = true
	command.Flags = append(append(command.Flags, configFlag()), helpFlags()...)
	equip(program, command)
}

// usageError handles mistakes that [line.check] does not find.
func usageError(c *cli.Context, err error, _ bool) error {
	return Usage("%v; see `%s --help`", err, c.Command.HelpName)
}
