package main

import (
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"lapse/cmd/internal/script"
)

// TestMain lets scripts run this program as `sidecar`.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"sidecar": main, "flood": flood})
}

// TestScripts runs each script in testdata against a sidecar with an etcd of its own.
func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{Dir: "testdata", Setup: newWorld, RequireUniqueNames: true, Cmds: worldCommands()})
}

// Not parallel: it sets the environment.
func TestHelpFitsTheScreen(t *testing.T) {
	script.CheckHelp(t, app)
}
