package main

import (
	"cmp"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"

	"github.com/rogpeppe/go-internal/testscript"

	"lapse/lease/ec2/ec2sim"
	"lapse/sidecar"
)

// machine ID [sidecar=ID] [version=V] [failure=WHY]: from here on this machine is that instance. With a sidecar, one
// that renews for ID answers on a socket.
func startMachine(w *world, ts *testscript.TestScript, args []string) error {
	given := settings(args[1:])
	service := w.sim.IMDS(args[0])
	if _, known := w.sim.Instance(args[0]); !known {
		service = ec2sim.IMDS(ec2sim.Instance{ID: args[0], Region: here.Region, Zone: "us-east-1a"})
	}
	certificates, err := w.sim.IdentityCertificates()
	if err != nil {
		return err
	}
	if err := os.WriteFile(ts.MkAbs("certificates.pem"), certificates, 0o600); err != nil {
		return err
	}
	metadata := httptest.NewServer(service)
	ts.Defer(metadata.Close)
	ts.Setenv("AWS_EC2_METADATA_DISABLED", "false")
	ts.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", metadata.URL)
	if given["sidecar"] == "" {
		return nil
	}
	dir, err := os.MkdirTemp("", "s") // short: a socket's path has 107 bytes at most
	if err != nil {
		return err
	}
	ts.Defer(func() { _ = os.RemoveAll(dir) })
	socket := filepath.Join(dir, "s")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	status := sidecar.Status{InstanceID: given["sidecar"], Version: cmp.Or(given["version"], version), Failure: given["failure"]}
	server := &httptest.Server{Listener: listener, Config: &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _ = json.NewEncoder(w).Encode(status) }),
	}}
	server.Start()
	ts.Defer(server.Close)
	ts.Setenv("LAPSE_SOCKET", socket)
	return nil
}
