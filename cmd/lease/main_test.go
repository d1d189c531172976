package main

import (
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"lapse/cmd/internal/script"
)

// TestMain lets scripts run this program as `lease`.
func TestMain(m *testing.M) {
	os.Exit(script.Main(m, "lease", main))
}

// TestScripts runs each script in testdata against an etcd and an EC2 of its own. What the scripts can do beside
// running `lease` is in world_test.go.
func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{Dir: "testdata", Setup: newWorld, RequireUniqueNames: true, Cmds: worldCommands()})
}

// Not parallel: it sets the environment.
func TestHelpFitsTheScreen(t *testing.T) {
	script.CheckHelp(t, app, "--help", "launch --help")
}
