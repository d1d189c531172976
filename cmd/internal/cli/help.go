package cli

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"
)

// Categories of flags. What has none is what most people need, and all that --help shows of a command; --help-all shows
// the categories too, in the order of the alphabet.
const (
	OtherFlags    = "OTHER"
	registryFlags = "REGISTRY"
)

// Widths of help in columns: where the writer is no terminal and COLUMNS is not set, and the widest that is easy to read.
const (
	helpWidth    = 80
	helpWidthMax = 120
)

// margin is what stands before each line of a section.
const margin = 3

// helpTemplate is that of urfave/cli for a command, with texts and flags folded to the width.
const helpTemplate = `NAME:
   {{template "helpNameTemplate" .}}

USAGE:
   {{template "usageTemplate" .}}{{with .Description}}

DESCRIPTION:
{{paragraphs .}}{{end}}{{if .VisibleCommands}}

COMMANDS:{{template "visibleCommandTemplate" .}}{{end}}{{range .VisibleFlagCategories}}{{if shown .}}

{{with .Name}}{{.}} {{end}}OPTIONS:
{{flags .Flags}}{{end}}{{else}}{{if .VisibleFlags}}

OPTIONS:{{template "visibleFlagTemplate" .}}{{end}}{{end}}{{with more .VisibleFlagCategories}}

{{.}}{{end}}
`

func helpFlags() []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: "help", Aliases: []string{"h"}, Usage: "show help", DisableDefaultText: true},
		&cli.BoolFlag{Name: "help-all", Usage: "show help with all flags", DisableDefaultText: true},
	}
}

func (l line) asksHelp() (asked, all bool) {
	all = l.gives("help-all")
	return all || l.gives("help", "h") || l.command == nil && !l.gives("version", "v"), all
}

// showHelp explains the command that the line names, or the program.
func (l line) showHelp(w io.Writer, all bool) {
	if l.command != nil {
		printHelp(w, l.command, all)
		return
	}
	printHelp(w, &cli.Command{
		HelpName: l.app.Name, Usage: l.app.Usage, UsageText: l.app.Name + " COMMAND [command options]",
		Description: l.app.Description, Subcommands: l.app.Commands, Flags: l.app.Flags,
	}, all)
	if !all {
		return
	}
	for _, command := range l.app.Commands {
		_, _ = fmt.Fprintln(w)
		printHelp(w, command, all)
	}
}

func printHelp(w io.Writer, command *cli.Command, all bool) {
	width := widthOfHelp(w)
	shown := func(c cli.VisibleFlagCategory) bool { return all || c.Name() == "" }
	cli.HelpPrinterCustom(w, helpTemplate, command, map[string]any{
		"wrapAt":     func() int { return width },
		"paragraphs": func(text string) string { return paragraphs(text, width) },
		"shown":      shown,
		"flags":      func(flags []cli.VisibleFlag) (string, error) { return describe(flags, width, all) },
		"more": func(categories []cli.VisibleFlagCategory) string {
			more, commands := 0, len(command.VisibleCommands())
			for _, c := range categories {
				if !shown(c) {
					more += len(c.Flags())
				}
			}
			switch {
			case commands > 0 && !all:
				return join(fold(fmt.Sprintf("`%s --help-all` explains all %d commands with their flags.", command.HelpName, commands), width))
			case more > 0:
				return join(fold(fmt.Sprintf("`%s --help-all` shows %d more.", command.HelpName, more), width))
			}
			return ""
		},
	})
}

func join(lines []string) string { return strings.Join(lines, "\n") }

// describe are lines of flags with their usage. Their environment variables are only shown with all flags.
func describe(flags []cli.VisibleFlag, width int, all bool) (string, error) {
	var rows [][]string
	for _, flag := range flags {
		name, text, _ := strings.Cut(flag.String(), "\t")
		name, _, _ = strings.Cut(name, " [ ") // that it may be given several times
		if !all {
			text, _, _ = strings.Cut(text, " [$")
		}
		rows = append(rows, []string{strings.Repeat(" ", margin) + name, text})
	}
	var b strings.Builder
	err := table(&b, width, rows)
	return strings.TrimRight(b.String(), "\n"), err
}

// paragraphs fold a text to the width. Lines that are indented are examples, and stay as they are.
func paragraphs(text string, width int) string {
	var lines []string
	paragraph := ""
	end := func() {
		if paragraph != "" {
			lines = append(lines, fold(paragraph, width-margin)...)
		}
		paragraph = ""
	}
	for line := range strings.SplitSeq(text, "\n") {
		switch {
		case line == "" || strings.HasPrefix(line, " "):
			end()
			lines = append(lines, line)
		case paragraph == "":
			paragraph = line
		default:
			paragraph += " " + line
		}
	}
	end()
	for n, line := range lines {
		if line != "" {
			lines[n] = strings.Repeat(" ", margin) + line
		}
	}
	return join(lines)
}

// widthOfHelp is how many columns help has: those of the terminal, or of the variable COLUMNS.
func widthOfHelp(w io.Writer) int {
	width, _ := screen(w)
	if width == 0 {
		width, _ = strconv.Atoi(os.Getenv("COLUMNS"))
	}
	if width <= 0 {
		width = helpWidth
	}
	return min(width, helpWidthMax)
}
