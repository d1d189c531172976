package main

import (
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"lapse/cmd/internal/script"
	"lapse/lease"
)

// hides CODE PROGRAM [ARG]…: like exits, and the program prints no join token of any launch that is or was open, and no user-data
// of the script's.
func hidesSecrets(w *world, ts *testscript.TestScript, args []string) error {
	if err := w.learnSecrets(); err != nil {
		return err
	}
	script.Exits(ts, false, args)
	if err := w.learnSecrets(); err != nil {
		return err
	}
	said := ts.ReadFile("stdout") + ts.ReadFile("stderr")
	for _, secret := range append(w.secrets, "s3cret") {
		if strings.Contains(said, secret) {
			return fmt.Errorf("it prints %s", secret)
		}
	}
	return nil
}

// learnSecrets remembers the join tokens that are on record in clear. There must have been one: without, nothing is checked.
func (w *world) learnSecrets() error {
	snapshot, err := w.store.Snapshot(w.ctx)
	if err != nil {
		return err
	}
	for _, l := range snapshot.Launches {
		for _, a := range l.Attempts {
			if a.JoinToken != "" {
				w.secrets = append(w.secrets, a.JoinToken)
			}
		}
	}
	if len(w.secrets) == 0 {
		return fmt.Errorf("no join token on record in %d launches", len(snapshot.Launches))
	}
	return nil
}

// joins LAUNCH INSTANCES [URL]: checks that so many instances of a launch have a join token that it admits, and this URL.
func checkJoins(w *world, _ *testscript.TestScript, args []string) error {
	l, err := w.store.Launch(w.ctx, args[0])
	if err != nil {
		return err
	}
	joining := 0
	for _, i := range w.sim.Instances() {
		data, err := base64.StdEncoding.DecodeString(i.UserData)
		if err != nil {
			return err
		}
		a, member := l.Attempt(i.Tags[lease.TagLaunch])
		if join, found := lease.JoinFrom(data); member && found && a.Admits(join.Token) && join.API == args[2] {
			joining++
		}
	}
	if fmt.Sprint(joining) != args[1] {
		return fmt.Errorf("%d instances of %s can join %s", joining, args[0], args[2])
	}
	return nil
}
