package main

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"lapse/cmd/internal/script"
	"lapse/sidecar"
)

const (
	floodIdle = 64 // idle connections that a flood opens
	floodFor  = 2 * time.Second
	grownMax  = 32 << 10         // KiB of resident memory that a flood may cost, the race detector's included
	answerIn  = 10 * time.Second // every answer to root, in the flood
)

// flood is a hostile program: flood SOCKET DURATION holds idle connections, opened again when they are closed, and
// opens and closes others as fast as it can. It prints how many.
func flood() {
	socket := os.Args[1]
	length, err := time.ParseDuration(os.Args[2])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return
	}
	end := time.Now().Add(length)
	for range floodIdle {
		go func() {
			for time.Now().Before(end) {
				if conn, err := net.Dial("unix", socket); err == nil {
					_, _ = conn.Read(make([]byte, 1)) // until the sidecar closes it
				}
			}
		}()
	}
	opened := 0
	for ; time.Now().Before(end); opened++ {
		if conn, err := net.Dial("unix", socket); err == nil {
			_ = conn.Close()
		}
	}
	fmt.Println(opened)
}

func TestAFloodLocksRootOutOfNothing(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	attack := script.Nobody(t, "flood", p.socket(), floodFor.String())
	if err := os.Chmod(p.dir, 0o755); err != nil { // so that the user nobody can reach the socket
		t.Fatal(err)
	}
	p.start()
	p.heartbeats("alone")
	client, before := sidecar.NewClient(p.socket()), p.memory()
	done := make(chan error, 1)
	go func() {
		said, err := attack.Output()
		t.Logf("nobody opened and closed %s connections", bytes.TrimSpace(said))
		done <- err
	}()
	asked, slowest, most := 0, time.Duration(0), 0
	for flooding := true; flooding; asked++ {
		began := time.Now()
		if _, err := client.Status(t.Context()); err != nil {
			t.Fatalf("root, after %d answers: %v", asked, err)
		}
		slowest, most = max(slowest, time.Since(began)), max(most, p.memory())
		select {
		case err := <-done:
			flooding = false
			if err != nil {
				t.Fatal(err)
			}
		default:
		}
	}
	t.Logf("root asked %d times, slowest answer %s; resident before %d KiB, at most %d KiB, after %d KiB", asked, slowest, before, most, p.memory())
	if slowest > answerIn {
		t.Errorf("root waited for %s", slowest)
	}
	if most > before+grownMax {
		t.Errorf("resident memory grew from %d KiB to %d KiB", before, most)
	}
	p.heartbeats("after the flood")
	p.ends(10 * time.Second)
}

// memory is the resident memory of the process, in KiB.
func (p *process) memory() int {
	p.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		p.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if value, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, err := strconv.Atoi(strings.Fields(value)[0])
			if err != nil {
				p.Fatal(err)
			}
			return kib
		}
	}
	p.Fatal("no VmRSS")
	return 0
}
