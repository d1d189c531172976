package main

import (
	"crypto/tls"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strconv"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"lapse/cmd/internal/authority"
	"lapse/lease"
)

// enrol ID KEY OTHER contested: two keys of an instance that were used by turns, as the API notes it.
func enrolKeys(w *world, ts *testscript.TestScript, args []string) error {
	id, began := args[0], time.Now().Add(-time.Hour)
	_, e, err := w.store.UpdateEnrolment(w.ctx, id, func(e lease.Enrolment) (lease.Enrolment, error) {
		for n, key := range args[1:3] {
			at, err := began.Add(time.Duration(n)*time.Minute), error(nil)
			if e, err = e.Enrol(at, began, lease.EnrolledKey{SHA256: key, From: "10.0.0.1", Proof: lease.ProofLaunch}); err != nil {
				return e, err
			}
			if e, err = e.Use(at, key); err != nil {
				return e, err
			}
		}
		return e.Use(began.Add(time.Hour), args[1])
	})
	if err != nil {
		return err
	}
	if e.Contested.IsZero() != (len(args) < 4) {
		ts.Fatalf("%+v", e)
	}
	_, _, err = w.store.UpdateLease(w.ctx, id, func(l lease.Lease) (lease.Lease, error) {
		return l.Contest(time.Now(), lease.By{Actor: "instance:" + id})
	})
	return err
}

// api-answers ENV STATUS: something answers with that status over TLS, with a certificate that ca.pem has signed. ENV is its URL.
func startAPI(_ *world, ts *testscript.TestScript, args []string) error {
	status, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	ca, err := authority.New(ts.MkAbs("ca.pem"))
	if err != nil {
		return err
	}
	if err := ca.Issue("api", ts.MkAbs("api.pem"), ts.MkAbs("api.key")); err != nil {
		return err
	}
	pair, err := tls.LoadX509KeyPair(ts.MkAbs("api.pem"), ts.MkAbs("api.key"))
	if err != nil {
		return err
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if w.WriteHeader(status); r.URL.Path != "/openapi.yaml" {
			panic(http.ErrAbortHandler)
		}
	}))
	server.TLS = &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAnyClientCert}
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	ts.Defer(server.Close)
	ts.Setenv(args[0], server.URL)
	return nil
}
