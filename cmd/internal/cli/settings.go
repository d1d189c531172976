package cli

import (
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// prefix is that of the variables in the environment.
const prefix = "LAPSE_"

// flagTable has every flag of the three programs in one of two classes. A setting of the installation says where things
// are and how they are done: it may come from the environment and the --config file. A flag that concerns one call only
// comes from the command line alone: what to act on, how far, and every confirmation. A variable that somebody once
// exported must not launch, extend or terminate.
//
// A flag that differs between programs is listed with the program's name. A hidden one is in no class: only the command
// line gives it.
func flagTable() (installation, call []string) {
	installation = strings.Fields(`
		etcd-endpoints etcd-cacert etcd-cert etcd-key namespace account
		config output log-level log-json socket

		region ec2-share ec2-unpaced schedule interval state-dir audit-log listen
		embedded-etcd embedded-etcd-listen embedded-etcd-cert embedded-etcd-key embedded-etcd-client-ca

		boot-grace mark-grace lone-grace orphan-grace term-grace retention delete-kept-volumes complete-adoptions
		heartbeats-share rate-share

		max-extend imds`)
	call = strings.Fields(`
		help help-all yes dry-run reason quiet all check

		image-id instance-type subnet-id key-name security-group-id iam-instance-profile user-data request tag
		count term max-term heartbeat-timeout holder label id unattended wait timeout
		for by until strict at-least allow-shorten
		lease:region state expiring overdue stuck untracked foreign initial no-heartbeats
		cancel-spot-request allow-replacement
		as armed

		arm new uuid stay`)
	return installation, call
}

// isSetting reports whether the environment and the file may give a flag of a program. A flag that is in no class may
// not stand there.
func isSetting(program, flag string) bool {
	installation, call := flagTable()
	return slices.Contains(installation, flag) && !slices.Contains(call, program+":"+flag)
}

// Unclassed are the flags of an app that are not in exactly one class.
func Unclassed(app *cli.App) []string {
	installation, call := flagTable()
	var found []string
	for _, flag := range listed(allFlags(app.Commands)) {
		name := flag.Names()[0]
		here := slices.Contains(call, app.Name+":"+name)
		if setting := slices.Contains(installation, name); setting && slices.Contains(call, name) || !setting && !here && !slices.Contains(call, name) {
			found = append(found, name)
		}
	}
	return found
}

// equip gives each setting without an environment variable its variable: --mark-grace is LAPSE_MARK_GRACE. It also
// hides the default of switches.
func equip(program string, command *cli.Command) {
	for _, flag := range command.Flags {
		if b, ok := flag.(*cli.BoolFlag); ok {
			b.DisableDefaultText = true
		}
		variables := variablesOf(flag)
		switch name := flag.Names()[0]; {
		case variables == nil:
		case !isSetting(program, name):
			*variables = nil
		case len(*variables) == 0:
			*variables = []string{variable(name)}
		}
	}
}

// variable is the one in the environment that gives a flag.
func variable(flag string) string {
	return prefix + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// variablesOf is where a flag keeps the names of its variables; nil if it is of a kind that has none.
func variablesOf(flag cli.Flag) *[]string {
	switch f := flag.(type) {
	case *cli.StringFlag:
		return &f.EnvVars
	case *cli.StringSliceFlag:
		return &f.EnvVars
	case *cli.BoolFlag:
		return &f.EnvVars
	case *cli.IntFlag:
		return &f.EnvVars
	case *cli.Float64Flag:
		return &f.EnvVars
	}
	return nil
}

// settings are the flags that the environment or the --config file gives, as words of a command line: the line has
// priority over the environment, and that over the file. urfave/cli must not read the environment again, since it reads
// numbers and lists differently.
func (l line) settings(lookup func(string) (string, bool)) (words []string, err error) {
	if l.command == nil {
		return nil, nil
	}
	file, err := l.file(lookup)
	if err != nil {
		return nil, err
	}
	for _, flag := range l.command.Flags {
		name, variables := flag.Names()[0], variablesOf(flag)
		if variables == nil {
			continue
		}
		source, texts, given := "", []string{}, false
		for _, v := range slices.Backward(*variables) { // the first of them that is set counts
			if text, set := lookup(v); set {
				source, texts, given = v, []string{text}, true
			}
		}
		*variables = nil
		if given && texts[0] == "" && !isText(flag) {
			given = false // an empty variable is not a number or a list
		}
		if !given && isSetting(l.app.Name, name) {
			source = name + " in " + file.name + ":"
			texts, given = file.settings[name]
		}
		if !given || l.gives(flag.Names()...) || name == "config" {
			continue
		}
		if _, several := flag.(*cli.StringSliceFlag); len(texts) != 1 && !several {
			return nil, Usage("%s in %s is a list, and --%s takes one value", name, file.name, name)
		}
		for _, text := range texts {
			values, wrong := valuesOf(flag, text)
			if wrong != "" {
				return nil, Usage("%s %s", source, wrong)
			}
			for _, value := range values {
				words = append(words, "--"+name+"="+value)
			}
		}
	}
	return words, nil
}

// isText reports whether a flag takes one text, which may be empty.
func isText(flag cli.Flag) bool {
	_, text := flag.(*cli.StringFlag)
	return text
}
