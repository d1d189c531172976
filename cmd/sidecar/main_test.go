package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"lapse/cmd/internal/script"
	"lapse/cmd/internal/sidecarcmd"
	"lapse/lease/ec2/ec2sim"
)

// TestMain lets scripts run this program as `sidecar`.
func TestMain(m *testing.M) { testscript.Main(m, map[string]func(){"sidecar": main}) }

// TestScripts runs each script in testdata on an instance whose user-data names no API.
func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir: "testdata", RequireUniqueNames: true, Cmds: map[string]func(*testscript.TestScript, bool, []string){"exits": script.Exits},
		Setup: func(env *testscript.Env) error {
			metadata, err := ec2sim.Serve(ec2sim.IMDS(ec2sim.Instance{ID: "i-0123456789abcdef0", Region: "us-east-1", Zone: "us-east-1a"}), "127.0.0.1:0")
			if err != nil {
				return err
			}
			env.Defer(func() { _ = metadata.Close() })
			env.Setenv("IMDS", metadata.URL)
			env.Setenv("SOCKET", env.WorkDir+"/s.sock")
			return nil
		},
	})
}

// Not parallel: it sets the environment.
func TestHelpFitsTheScreen(t *testing.T) {
	script.CheckHelp(t, sidecarcmd.Build{}.App)
}

// What the small program links is all resident, sooner or later.
func TestTheSmallProgramLinksNoClientOfEtcdOrAWS(t *testing.T) {
	t.Parallel()
	list := exec.CommandContext(t.Context(), "go", "list", "-buildvcs=false", "-deps", ".", "../sidecar-direct")
	list.Env = append(os.Environ(), "GOFLAGS=")
	both, err := list.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	list = exec.CommandContext(t.Context(), "go", "list", "-buildvcs=false", "-deps", ".")
	list.Env = append(os.Environ(), "GOFLAGS=")
	small, err := list.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	for _, heavy := range []string{"go.etcd.io/", "google.golang.org/grpc", "google.golang.org/protobuf", "go.uber.org/zap"} {
		if !strings.Contains("\n"+string(both), "\n"+heavy) {
			t.Errorf("sidecar-direct links no %s either: look for what it links now", heavy)
		}
		if strings.Contains("\n"+string(small), "\n"+heavy) {
			t.Errorf("sidecar links %s", heavy)
		}
	}
	for _, heavy := range []string{"github.com/aws/", "github.com/prometheus/"} {
		if strings.Contains("\n"+string(small), "\n"+heavy) {
			t.Errorf("sidecar links %s", heavy)
		}
	}
}
