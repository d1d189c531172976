package main

import (
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"lapse/cmd/internal/script"
	"lapse/lease/ec2/ec2sim"
	"lapse/lease/etcd"
)

func TestABlockedStderrStopsNoSweep(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(*testing.T, *os.File, *os.File){
		"full":   func(t *testing.T, _, stderr *os.File) { t.Helper(); script.Fill(t, stderr) },
		"closed": func(_ *testing.T, unread, _ *os.File) { _ = unread.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := script.ShortDir(t)
			sim := ec2sim.New(ec2sim.Config{Now: time.Now})
			t.Cleanup(sim.Close)
			endpoint := httptest.NewServer(sim)
			t.Cleanup(endpoint.Close)
			unread, stderr := script.Pipe(t)
			spoil(t, unread, stderr)
			program, err := os.Executable()
			if err != nil {
				t.Fatal(err)
			}
			none := filepath.Join(dir, "none")
			janitor := &exec.Cmd{
				Path: program, Args: []string{"janitor", "run", "--embedded-etcd", dir, "--schedule", "@every 1s", "--log-level", "debug"},
				Env: append(os.Environ(), "GORACE=atexit_sleep_ms=0", "AWS_ENDPOINT_URL="+endpoint.URL, "AWS_REGION="+here.Region,
					"AWS_ACCESS_KEY_ID=a", "AWS_SECRET_ACCESS_KEY=s", "AWS_CONFIG_FILE="+none, "AWS_SHARED_CREDENTIALS_FILE="+none),
				Stderr: stderr,
			}
			if err := janitor.Start(); err != nil {
				t.Fatal(err)
			}
			exited := make(chan error, 1)
			go func() { exited <- janitor.Wait() }()
			t.Cleanup(func() { _ = janitor.Process.Kill() })

			sweeps(t, "unix://"+filepath.Join(dir, "etcd.sock"), 3, exited)
			if err := janitor.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			select {
			case err := <-exited:
				if err != nil {
					t.Errorf("ended with %v", err)
				}
			case <-time.After(30 * time.Second):
				t.Error("does not end")
			}
		})
	}
}

// sweeps waits until the janitor has swept so often.
func sweeps(t *testing.T, endpoint string, times int64, exited <-chan error) {
	t.Helper()
	limit, tick := time.After(time.Minute), time.NewTicker(100*time.Millisecond)
	defer tick.Stop()
	var store *etcd.Store
	for {
		if store == nil {
			if client, err := etcd.Dial(t.Context(), etcd.Config{Endpoints: []string{endpoint}}); err == nil {
				t.Cleanup(func() { _ = client.Close() })
				store = etcd.New(client, "default", etcd.Options{})
			}
		} else if last, err := store.Checkpoint(t.Context()); err == nil && last.Sequence >= times {
			return
		}
		select {
		case <-tick.C:
		case err := <-exited:
			t.Fatalf("the janitor ended: %v", err)
		case <-limit:
			t.Fatalf("did not sweep %d times", times)
		}
	}
}
