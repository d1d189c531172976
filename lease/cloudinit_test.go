package lease_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// recording is what a version of cloud-init made of wrapped samples.
type recording struct {
	Version string             `json:"version"`
	Results map[string]outcome `json:"results"` // by the name of the sample
}

type outcome struct {
	Message  []byte   `json:"message"` // as it was wrapped then
	Parts    []part   `json:"parts"`
	Warnings []string `json:"warnings"`
}

type part struct {
	Type    string `json:"type"`
	Payload []byte `json:"payload"`
}

// TestCloudInitReadsThePartsWhole compares what is wrapped with what a real cloud-init made of the same bytes: each part whole, of
// the type that it is of alone, and no warning. To record it again, name a Python with cloud-init in CLOUD_INIT_PYTHON.
func TestCloudInitReadsThePartsWhole(t *testing.T) {
	t.Parallel()
	file := filepath.Join("testdata", "cloudinit", "recorded.json")
	messages := map[string][]byte{"nothing": must(joinOf(1).Wrap(nil))}
	for name, c := range samples() {
		messages[name] = must(joinOf(1).Wrap([]byte(c.userData)))
	}
	if python := os.Getenv("CLOUD_INIT_PYTHON"); python != "" {
		askCloudInit(t, python, file, messages)
	}
	var recorded recording
	if err := json.Unmarshal(must(os.ReadFile(file)), &recorded); err != nil {
		t.Fatal(err)
	}
	if len(recorded.Results) != len(messages) || recorded.Version == "" {
		t.Errorf("%d samples, of which cloud-init %q has read %d", len(messages), recorded.Version, len(recorded.Results))
	}
	all := samples()
	all["nothing"] = sample{"#cloud-config\n{}\n", "text/cloud-config"}
	for name, c := range all {
		got := recorded.Results[name]
		if !bytes.Equal(got.Message, messages[name]) {
			t.Errorf("%s: cloud-init has read another message", name)
		}
		want := []part{{c.kind, []byte(c.userData)}}
		switch name {
		case "include", "include once": // what they name, and that is nothing
			want = nil
		case "archive":
			want = []part{{"text/cloud-config", []byte("runcmd: [a]\n")}, {"text/x-shellscript", []byte("#!/bin/sh\n")}}
		}
		whole := slices.EqualFunc(got.Parts, want, func(a, b part) bool { return a.Type == b.Type && bytes.Equal(a.Payload, b.Payload) })
		if !whole || len(got.Warnings) > 0 {
			t.Errorf("%s: cloud-init %s has read %q, and warned %q", name, recorded.Version, got.Parts, got.Warnings)
		}
	}
}

// askCloudInit records what a cloud-init makes of the messages.
func askCloudInit(t *testing.T, python, file string, messages map[string][]byte) {
	t.Helper()
	reader := exec.CommandContext(t.Context(), python, filepath.Join("testdata", "cloudinit", "record.py"))
	reader.Stdin = strings.NewReader(text(t, messages))
	said, err := reader.Output()
	if err != nil {
		t.Fatal(err)
	}
	var heard recording
	if err := json.Unmarshal(said, &heard); err != nil {
		t.Fatal(err)
	}
	for name, r := range heard.Results {
		r.Message = messages[name]
		heard.Results[name] = r
	}
	data, err := json.MarshalIndent(heard, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, append(data, '\n'), 0o600); err != nil {
		t.Fatal(err)
	}
}
