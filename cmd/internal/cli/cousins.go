package cli

import (
	"strings"
)

// cousin is the command, of any of the three programs, that people probably mean by a word of another program: "lease
// extend" for renew. It is empty if there is none.
func cousin(program, word string) string {
	for _, row := range cousins() {
		owner, _, _ := strings.Cut(row.meant, " ")
		for other := range strings.FieldsSeq(row.words) {
			if other == strings.ToLower(word) && (row.only == "" || row.only == program) {
				return row.meant
			}
		}
		if command := strings.TrimPrefix(row.meant, owner+" "); command == word && owner != program && row.only == "" {
			return row.meant
		}
	}
	return ""
}

// cousins are commands with words that people may use for them, in one program or in all.
func cousins() []struct{ meant, only, words string } {
	return []struct{ meant, only, words string }{
		{"sidecar run", "sidecar", "renew heartbeat claim start daemon serve"},
		{"sidecar status", "sidecar", "show info list why get describe ls"},
		{"sidecar release", "sidecar", "terminate stop end delete revoke kill"},
		{"sidecar extend", "sidecar", "prolong keep lengthen postpone"},
		{"janitor run", "janitor", "start daemon serve"},
		{"janitor sweep", "janitor", "plan clean cleanup once dry-run preview gc"},
		{"janitor pause", "janitor", "stop halt disable off"},
		{"janitor status", "janitor", "show info health check brakes"},
		{"janitor resume", "janitor", "continue unpause"},
		{"janitor release-brake", "janitor", "release unbrake lift disengage"},
		{"janitor arm", "janitor", "enable on enforce activate"},
		{"lease extend", "", "renew prolong lengthen postpone touch keep"},
		{"lease list", "", "ls ps leases instances"},
		{"lease show", "lease", "get describe info inspect view cat"},
		{"lease launch", "", "create start new run-instances request"},
		{"lease launch", "lease", "run add"},
		{"lease release", "", "terminate delete rm remove kill destroy end return give-back free"},
		{"lease release", "lease", "stop"},
		{"lease revoke", "", "evict expire"},
		{"lease why", "", "explain reason"},
		{"lease history", "", "log logs events audit"},
		{"lease watch", "", "follow tail monitor"},
		{"lease adopt", "", "import manage attach register"},
		{"lease unmanage", "", "forget detach unregister abandon orphan disown"},
		{"lease recover", "", "restore rebuild repair"},
		{"lease unmark", "", "pardon spare cure"},
		{"lease init", "", "setup install bootstrap"},
		{"lease doctor", "", "diagnose verify"},
		{"lease doctor", "lease", "check health"},
		{"janitor status", "", "brakes"},
		{"janitor sweep", "", "gc cleanup"},
		{"janitor arm", "", "enforce"},
		{"janitor pause", "", "disable"},
		{"janitor resume", "", "unpause"},
		{"janitor release-brake", "", "unbrake"},
		{"janitor observe", "", "report"},
		{"janitor demo", "", "tour"},
	}
}

// having are the commands that have a flag, of the same program.
func (l line) having(flag string) (commands []string) {
	for _, command := range l.app.Commands {
		if findFlag(listed(command.Flags), flag) != nil {
			commands = append(commands, "`"+l.app.Name+" "+command.Name+"`")
		}
	}
	return commands
}
