package metrics

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"lapse/janitor/audit"
	"lapse/lease"
)

// TestHealthSaysWhatIsWrong lets things happen to a janitor that sweeps each minute, and asks how it is.
func TestHealthSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	checkpoint := func(leader, nonce string, age time.Duration) func(*Exporter) {
		return func(e *Exporter) {
			at := time.Now().Add(-age)
			e.Checkpoint(lease.Checkpoint{Leader: leader, Nonce: nonce, Sequence: 1, Time: at, NextSweep: at.Add(time.Minute)})
		}
	}
	turned := func(e *Exporter) { e.Turned(5 * time.Minute) }
	working := func(e *Exporter) { e.Turned(100 * time.Hour) }
	friday := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) // when the clock of a bubble begins
	pausing := func(e *Exporter) {
		e.Checkpoint(lease.Checkpoint{Leader: "one", Nonce: "a", Sequence: 1, Time: friday, NextSweep: friday.Add(62 * time.Hour)})
	}
	waiting := func(e *Exporter) { e.Turned(0) }
	leads := func(e *Exporter) { e.Led("one") }
	deposed := func(e *Exporter) { e.Led("") }
	unaudited := func(e *Exporter) {
		e.Happened(audit.Event{Kind: lease.ActionAuditFail, Reason: "disk full", Own: true})
	}
	audited := func(e *Exporter) { e.Happened(audit.Event{Kind: lease.ActionAuditResume, Own: true}) }
	after := func(d time.Duration) func(*Exporter) { return func(*Exporter) { time.Sleep(d) } }
	for name, c := range map[string]struct {
		story       []func(*Exporter)
		live, ready string // in the sentence; empty: well
	}{
		"just started":                 {nil, "", "starting"},
		"started long ago":             {[]func(*Exporter){after(3 * time.Minute)}, "not started within 2m0s", "starting"},
		"waits, and nothing was read":  {[]func(*Exporter){waiting, after(time.Hour)}, "", "has not read the registry yet"},
		"waits while another sweeps":   {[]func(*Exporter){turned, checkpoint("two", "a", time.Minute)}, "", ""},
		"waits, and nobody sweeps":     {[]func(*Exporter){turned, checkpoint("two", "a", time.Hour)}, "", "the last sweep, by two, was at 1999-12-31T23:00:00Z"},
		"waits, and nobody ever swept": {[]func(*Exporter){turned, func(e *Exporter) { e.Checkpoint(lease.Checkpoint{}) }}, "", "no janitor has swept yet"},
		"waits, and cannot read": {
			[]func(*Exporter){turned, checkpoint("two", "a", 0), after(4 * time.Minute)}, "", "has not been able to read the registry for 4m0s",
		},
		"elected, and yet to sweep":          {[]func(*Exporter){turned, leads, checkpoint("two", "a", 0)}, "", "has not written a checkpoint"},
		"leads and sweeps":                   {[]func(*Exporter){turned, leads, checkpoint("one", "a", 0), after(2 * time.Minute)}, "", ""},
		"leads, and its sweeps fail":         {[]func(*Exporter){turned, leads, checkpoint("one", "a", 0), after(4*time.Minute + time.Second)}, "", "its last checkpoint of a sweep is 4m1s old"},
		"reads its own checkpoint once more": {[]func(*Exporter){turned, leads, checkpoint("one", "a", 0), after(4*time.Minute + time.Second), checkpoint("one", "a", 0)}, "", "its last checkpoint of a sweep is 4m1s old"},
		"leads, and its schedule pauses":     {[]func(*Exporter){working, leads, pausing, after(62 * time.Hour)}, "", ""},
		"leads, and the pause is over":       {[]func(*Exporter){working, leads, pausing, after(62*time.Hour + 4*time.Minute)}, "", "its last checkpoint of a sweep is 62h4m0s old"},
		"waits, and the schedule pauses":     {[]func(*Exporter){working, pausing, after(62 * time.Hour), pausing}, "", ""},
		"its audit log is down":              {[]func(*Exporter){turned, leads, checkpoint("one", "a", 0), unaudited}, "", "until it can write to the audit log: disk full"},
		"its audit log is back":              {[]func(*Exporter){turned, leads, checkpoint("one", "a", 0), unaudited, unaudited, audited}, "", ""},
		"deposed while its log was down":     {[]func(*Exporter){turned, leads, checkpoint("one", "a", 0), unaudited, deposed, unaudited, checkpoint("two", "b", 0)}, "", ""},
		"elected since its log was down":     {[]func(*Exporter){turned, leads, unaudited, deposed, unaudited, leads, checkpoint("one", "a", 0)}, "", ""},
		"deposed, and the other sweeps":      {[]func(*Exporter){turned, leads, checkpoint("one", "a", 0), deposed, checkpoint("two", "b", 0)}, "", ""},
		"elected again, and yet to sweep":    {[]func(*Exporter){turned, leads, checkpoint("one", "a", 0), deposed, leads, checkpoint("one", "a", 0)}, "", "has not written a checkpoint"},
		"its loop hangs, although it leads":  {[]func(*Exporter){turned, leads, checkpoint("one", "a", 0), after(6 * time.Minute)}, "should have turned 1m0s ago", "6m0s old"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				e := New("v1", time.Now)
				for _, happens := range c.story {
					happens(e)
				}
				for question, answer := range map[string]struct {
					got  error
					want string
				}{"live": {e.Live(), c.live}, "ready": {e.Ready(), c.ready}} {
					if (answer.got == nil) != (answer.want == "") || answer.got != nil && !strings.Contains(answer.got.Error(), answer.want) {
						t.Errorf("%s: %v, want %q", question, answer.got, answer.want)
					}
				}
			})
		})
	}
}

// TestServing asks over HTTP until the server is told to stop.
func TestServing(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	e := New("v1", time.Now)
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- e.Serve(ctx, listener, slog.New(slog.DiscardHandler)) }()
	ask := func(path string) (int, string) {
		resp, err := http.Get("http://" + listener.Addr().String() + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(body)
	}
	if code, body := ask("/healthz"); code != http.StatusOK || body != "ok\n" {
		t.Errorf("healthz: %d %q", code, body)
	}
	if code, body := ask("/readyz"); code != http.StatusServiceUnavailable || body != "starting: the registry was not reached yet\n" {
		t.Errorf("readyz: %d %q", code, body)
	}
	e.Turned(time.Minute)
	e.Led("one")
	e.Checkpoint(lease.Checkpoint{Leader: "one", Nonce: "a", Time: time.Now(), NextSweep: time.Now().Add(time.Minute), Sequence: 1})
	if code, body := ask("/readyz"); code != http.StatusOK || body != "ok\n" {
		t.Errorf("readyz: %d %q", code, body)
	}
	if code, body := ask("/metrics"); code != http.StatusOK || !strings.Contains(body, "\nlapse_leader 1\n") {
		t.Errorf("metrics: %d %q", code, body)
	}
	stop()
	if err := <-served; err != nil {
		t.Error(err)
	}
	if _, err := net.Dial("tcp", listener.Addr().String()); err == nil {
		t.Error("still listening")
	}
	if err := e.Serve(ctx, listener, slog.New(slog.DiscardHandler)); err != nil && !errors.Is(err, net.ErrClosed) {
		t.Errorf("serving once stopped: %v", err)
	}
}

// tired is a listener that fails once, as one without file descriptors does.
type tired struct {
	net.Listener
	rested bool
}

type tiredError struct{ error }

func (tiredError) Timeout() bool   { return false }
func (tiredError) Temporary() bool { return true }

func (l *tired) Accept() (net.Conn, error) {
	if !l.rested {
		l.rested = true
		return nil, tiredError{errors.New("too many open files")}
	}
	return l.Listener.Accept()
}

// TestTheServerLogsItsErrors has no other place for them: on stderr itself they could block it.
func TestTheServerLogsItsErrors(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	served, log := make(chan error, 1), &bytes.Buffer{}
	go func() {
		served <- New("v1", time.Now).Serve(ctx, &tired{Listener: listener}, slog.New(slog.NewTextHandler(log, nil)))
	}()
	resp, err := http.Get("http://" + listener.Addr().String() + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	stop()
	if err := <-served; err != nil {
		t.Error(err)
	}
	if text := log.String(); !strings.Contains(text, "level=WARN") || !strings.Contains(text, "too many open files") {
		t.Errorf("logged %q", text)
	}
}
