package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// env-from VARIABLE stdout|FILE: sets a variable to the output of a program.
func envFrom(_ *world, ts *testscript.TestScript, args []string) error {
	ts.Setenv(args[0], strings.TrimSpace(ts.ReadFile(args[1])))
	return nil
}

// env-json VARIABLE stdout|FILE FIELD: sets a variable to a field of a JSON object.
func envJSON(_ *world, ts *testscript.TestScript, args []string) error {
	object := map[string]any{}
	if err := json.Unmarshal([]byte(ts.ReadFile(args[1])), &object); err != nil {
		return err
	}
	ts.Setenv(args[0], fmt.Sprint(object[args[2]]))
	return nil
}

// split stdout|FILE VARIABLE…: sets variables to the first lines.
func split(_ *world, ts *testscript.TestScript, args []string) error {
	for n, line := range strings.Fields(ts.ReadFile(args[0])) {
		if n+1 < len(args) {
			ts.Setenv(args[n+1], line)
		}
	}
	return nil
}

// repeat stderr|FILE: runs the command that the program says to run again.
func repeat(_ *world, ts *testscript.TestScript, args []string) error {
	_, rest, _ := strings.Cut(ts.ReadFile(args[0]), "run `")
	again, _, found := strings.Cut(rest, "` again")
	if !found {
		return errors.New("no command to repeat")
	}
	words := strings.Fields(again)
	return ts.Exec(words[0], words[1:]...)
}
