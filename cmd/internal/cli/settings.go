package cli

import (
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

const prefix = "LAPSE_"

// isSetting reports whether a flag of a program is a setting of the installation. A setting says where things are and how
// they are done: it may come from the environment and the --config file. A flag that concerns one call only comes from the
// command line alone: what to act on, how far, and every confirmation. A variable that somebody once exported must not
// launch, extend or terminate. Every flag that is not listed here is of that kind.
func isSetting(program, flag string) bool {
	if program == "lease" && (flag == "region" || flag == "api") { // of the leases that one call is about, and what it is to write down
		return false
	}
	return slices.Contains(strings.Fields(`
		etcd-endpoints etcd-cacert etcd-cert etcd-key namespace account
		config output log-level log-json socket

		region ec2-share ec2-unpaced schedule interval state-dir audit-log listen
		embedded-etcd embedded-etcd-listen embedded-etcd-cert embedded-etcd-key embedded-etcd-client-ca

		boot-grace mark-grace lone-grace orphan-grace term-grace retention delete-kept-volumes complete-adoptions
		heartbeats-share rate-share

		api-listen api-cert api-key api-proxy-from api-shared-from identity-certificates

		api api-cacert join-token-file max-extend imds`), flag)
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
			*variables = []string{Variable(name)}
		}
	}
}

// Variable is the one in the environment that gives a flag.
func Variable(flag string) string {
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
		if _, text := flag.(*cli.StringFlag); given && texts[0] == "" && !text {
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
