package cli

import (
	"context"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"lapse/lease"
)

// completeTimeout bounds how long a completion waits for etcd, since a person waits for it at the keyboard.
const completeTimeout = time.Second

// recorded are the values in the registry for an ID or a flag. A completion must not print errors: if the registry
// cannot be read soon, there are none.
func (l line) recorded(ctx context.Context, what string) []string {
	r, opens := l.app.Metadata[registryKey].(Registry)
	if !slices.Contains([]string{"ID", "id", "holder"}, what) || !opens || l.command == nil || findFlag(l.command.Flags, "namespace") == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, completeTimeout)
	defer cancel()
	snapshot, err := l.snapshot(ctx, r)
	if err != nil {
		return nil
	}
	return recordedIn(snapshot, what)
}

// snapshot reads the registry that the line so far, the environment and the file name.
func (l line) snapshot(ctx context.Context, r Registry) (s lease.Snapshot, err error) {
	l.arguments = nil
	command := *l.command
	command.Action = func(c *cli.Context) (err error) {
		s, err = r.Snapshot(c)
		return err
	}
	l.command = &command
	words, err := l.words(os.LookupEnv)
	if err != nil {
		return s, err
	}
	app := &cli.App{Name: l.app.Name, Commands: []*cli.Command{&command}, ExitErrHandler: func(*cli.Context, error) {}, DisableSliceFlagSeparator: true}
	return s, app.RunContext(ctx, words)
}

// recordedIn are ids and tokens of leases and launches that have not ended, each with a description, or all holders.
func recordedIn(s lease.Snapshot, what string) []string {
	found := map[string]string{}
	for _, l := range s.Leases {
		over := l.State == lease.StateEnded || l.State == lease.StateUnmanaged
		switch {
		case what == "holder":
			found[l.Holder] = "holder"
		case over:
		case what == "ID":
			found[l.InstanceID] = fmt.Sprintf("%s, %s", l.State, l.Holder)
			found[l.Launch] = "launch, " + l.Holder
		}
	}
	for _, l := range s.Launches {
		if l.State == lease.LaunchOpen && what != "holder" || what == "id" {
			found[l.Token] = fmt.Sprintf("launch, %s, %s", l.State, l.Holder)
		}
	}
	// What is completed is typed into a shell: leave out everything that a shell would read as more than a word.
	plain, line := regexp.MustCompile(`^[A-Za-z0-9._@+=-]+$`), regexp.MustCompile(`[^A-Za-z0-9 ,._@+=-]`)
	var words []string
	for _, word := range slices.Sorted(maps.Keys(found)) {
		if plain.MatchString(word) && word[0] != '-' {
			words = append(words, word+":"+line.ReplaceAllString(found[word], "?"))
		}
	}
	return words
}
